//! The command line's door to the world: clock, environment, files, terminal, tasks.
//!
//! The member itself reaches the world through `synod-env`; what stands around it (client
//! commands, the tour, benchmarks) comes here, and nowhere else.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the door for the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long this thread has had a core to itself, in all. What other programs take of the machine
/// is not in it.
pub(crate) fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread has not run for less than nothing")
}

/// Nanoseconds since 1970, to tell one run's keys and files from another's.
#[expect(clippy::disallowed_methods, reason = "the door for the clock")]
pub(crate) fn wall_ns() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}

/// The environment; names and values that are not UTF-8 cannot be options and are left out.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.into_string().ok();
    std::env::vars_os()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect()
}

/// The command line, beginning with the program's name. Flags and their values are text: what is
/// not UTF-8 is passed on with marks in its place, for the message that refuses it.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// One environment name.
#[expect(clippy::disallowed_methods, reason = "the door for the environment")]
pub(crate) fn environment_value(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A whole text file.
pub(crate) fn read_file(path: impl AsRef<Path>) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// A whole file.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Whether there is anything of that name.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Gives a file another name in the same directory, so that it keeps it when power fails.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or_else(|| Path::new("."));
    std::fs::File::open(above)?.sync_all()
}

/// Replaces a file in one step: a reader sees the old content or the new.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// Opens a new file for reading and writing; an old one of that name is emptied.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn create_file(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

/// Removes a file, if it is there.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn remove_file(path: &Path) {
    drop(std::fs::remove_file(path));
}

/// Opens a file to write at its end, which is made if it is not there.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn append_to(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
}

/// Lets nobody but its owner use a file.
pub(crate) fn keep_to_owner(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Whether there is a socket at that path.
pub(crate) fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether there is a directory at that path.
pub(crate) fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

/// Connects to a socket of this machine, and leaves.
///
/// # Errors
/// As the system has them; a socket on which nobody listens refuses.
pub(crate) fn probe_socket(path: &Path) -> io::Result<()> {
    UnixStream::connect(path).map(drop)
}

/// Tells whoever supervises the process, as in `sd_notify(3)`; if nobody does, nobody is told.
///
/// # Errors
/// As the system has them.
pub(crate) fn notify_supervisor(state: &str) -> io::Result<()> {
    let Some(socket) = environment_value("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
    else {
        return Ok(());
    };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
}

/// Makes a directory and its parents.
#[expect(clippy::disallowed_methods, reason = "the door for files")]
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub(crate) struct ScratchDir(std::path::PathBuf);

impl ScratchDir {
    /// Makes it.
    ///
    /// # Errors
    /// As the system has them.
    pub(crate) fn under(parent: &Path, purpose: &str) -> io::Result<Self> {
        let name = format!("synod-{purpose}-{}-{}", std::process::id(), wall_ns());
        let path = parent.join(name);
        create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Everything on standard input.
pub(crate) fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes data to standard output, flushed.
///
/// Ends the process when the reader has gone (`synod watch | head`): nobody is left to serve.
pub(crate) fn put_stdout(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    if let Err(error) = written {
        let quiet = error.kind() == ErrorKind::BrokenPipe;
        if !quiet {
            note(format_args!(
                "synod: cannot write to standard output: {error}"
            ));
        }
        std::process::exit(i32::from(!quiet));
    }
}

/// Writes a line to standard output.
pub(crate) fn say(line: impl Display) {
    put_stdout(format!("{line}\n").as_bytes());
}

/// Writes a line to standard error. If that fails there is nowhere left to complain.
pub(crate) fn note(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// A task on the current tokio runtime.
#[expect(clippy::disallowed_methods, reason = "the door for tasks")]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// A thread of its own.
#[expect(clippy::disallowed_methods, reason = "the door for threads")]
pub(crate) fn spawn_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(work)
}

/// A thread of its own with a name.
pub(crate) fn spawn_named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// Ends after `time`.
#[expect(clippy::disallowed_methods, reason = "the door for timers")]
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Blocks this thread.
#[expect(clippy::disallowed_methods, reason = "the door for timers")]
pub(crate) fn sleep_blocking(time: Duration) {
    std::thread::sleep(time);
}

/// `None` if `wait` has not ended after `time`.
#[expect(clippy::disallowed_methods, reason = "the door for timers")]
pub(crate) async fn within<T>(time: Duration, wait: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, wait).await.ok()
}

/// How many entries a directory has; none if it cannot be read.
pub(crate) fn count_entries(path: &str) -> u64 {
    std::fs::read_dir(path).map_or(0, |entries| entries.count() as u64)
}
