//! Where these commands touch files, clocks, ports and processes: their only door to the world.
#![expect(
    clippy::disallowed_methods,
    reason = "developer commands live in the real world only"
)]

use crate::Outcome;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The root of the checkout this program was built from.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("the folder of this crate lies in the checkout")
        .to_path_buf()
}

/// The folder `cargo` builds into.
pub(crate) fn target_dir() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(chosen.unwrap_or_else(|| "target".into()))
}

/// The `cargo` that started this program, so that a command uses one toolchain throughout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The value of an environment variable, if it is set and is text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether a missing tool is a failure (`CI=true`) rather than a named skip.
pub(crate) fn is_ci() -> bool {
    variable("CI").is_some_and(|value| value == "true" || value == "1")
}

pub(crate) fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
}

/// The bytes of a file; for those that need not be text.
pub(crate) fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Outcome {
    write_bytes(path, text.as_bytes())
}

pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes).map_err(|error| format!("write {}: {error}", path.display()))
}

pub(crate) fn create_dir(path: &Path) -> Outcome {
    fs::create_dir_all(path).map_err(|error| format!("create {}: {error}", path.display()))
}

/// Removes a folder with all that is in it; a missing folder is what was wanted.
pub(crate) fn remove_dir(path: &Path) -> Outcome {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies a program, so that it may be executed from where it now stands.
pub(crate) fn install_program(from: &Path, to: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    fs::copy(from, to)
        .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("copy {} to {}: {error}", from.display(), to.display()))
}

/// Opens a log that a server appends to, twice: for its standard output and its standard error.
pub(crate) fn log_file(path: &Path) -> Outcome<(Stdio, Stdio)> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|file| Ok((Stdio::from(file.try_clone()?), Stdio::from(file))))
        .map_err(|error| format!("open {}: {error}", path.display()))
}

/// The files in a folder whose names end in `suffix`, sorted.
pub(crate) fn files(folder: &Path, suffix: &str) -> Outcome<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("list {}: {error}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    Ok(found)
}

/// What the files in a folder and below it take on the disk.
pub(crate) fn disk_bytes(folder: &Path) -> Outcome<f64> {
    use std::os::unix::fs::MetadataExt as _;
    const BLOCK_BYTES: f64 = 512.0;
    let listing = |error| format!("list {}: {error}", folder.display());
    let mut total = 0.0;
    for entry in fs::read_dir(folder).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let metadata = entry.metadata().map_err(listing)?;
        total += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.blocks() as f64 * BLOCK_BYTES
        };
    }
    Ok(total)
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits between two looks at something that cannot call back.
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// Runs `work` beside the caller: the pipes of a child must be drained while it is waited for.
pub(crate) fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(work)
}

/// A loopback port that was free a moment ago.
///
/// Another program may take it before the server does; whoever starts a server tries again then.
pub(crate) fn free_port() -> Outcome<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("find a free port: {error}"))
}

/// Runs a command to its end, showing its output as it comes.
///
/// # Errors
/// When it cannot be started or exits with a failure.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| format!("start {}: {error}", name(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", name(command)))
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or exits with a failure; the sentence then carries its standard error.
pub(crate) fn output_of(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("start {}: {error}", name(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!(
            "{} ended with {}: {complaint}",
            name(command),
            output.status
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as a person would type it, for messages.
pub(crate) fn name(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |program| {
            program.to_string_lossy().into_owned()
        });
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
