//! A member as a process, in a directory that goes away with it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The binary under test, cut off from the environment's own settings.
pub(crate) fn synod() -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_synod")))
}

/// A program, cut off from the environment's own settings.
pub(crate) fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars() {
        if name.starts_with("SYNOD_") || name.starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A directory of its own, removed when dropped.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("synod-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A member that serves; killed when dropped.
pub(crate) struct Member {
    child: Child,
    /// Where clients reach it.
    pub(crate) endpoint: String,
    /// What it wrote to stderr until it served.
    pub(crate) said: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Member {
    /// Starts a member on a free port with its data in `dir` and waits until it serves.
    pub(crate) fn start(dir: &Dir) -> Self {
        Self::start_with(dir, &[])
    }

    /// As `start`, with more flags.
    pub(crate) fn start_with(dir: &Dir, flags: &[&str]) -> Self {
        let mut command = synod();
        command.args(["serve", "--data-dir", &dir.join("data")]);
        command
            .args(["--listen-client-urls", "http://127.0.0.1:0"])
            .args(flags);
        Self::run(command, &dir.join("ports"))
    }

    /// Runs a command that serves and writes its ports to that file.
    pub(crate) fn run(mut command: Command, ports: &str) -> Self {
        let mut child = command
            .env("SYNOD_PORTS_FILE", ports)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("ready to serve client requests") {
            let before = said.len();
            stderr.read_line(&mut said).unwrap();
            if said.len() == before {
                let status = child.wait().unwrap();
                panic!("the member ended with {status} before it served:\n{said}");
            }
        }
        let written = std::fs::read_to_string(ports).unwrap();
        let endpoint = written
            .lines()
            .find_map(|line| line.strip_prefix("client="))
            .unwrap();
        Self {
            child,
            endpoint: endpoint.to_owned(),
            said,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client command against this member.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = synod();
        command
            .args(arguments)
            .env("SYNOD_ENDPOINTS", &self.endpoint);
        command
    }

    /// Runs a client command that must succeed; gives its standard output.
    pub(crate) fn output(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text_of(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; waits for the end. Gives the status and what it wrote to stderr since it served.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The exit code and stderr of a command that should not succeed.
pub(crate) fn failure(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    assert_ne!(code, 0, "{}", text_of(&output));
    (code, String::from_utf8(output.stderr).unwrap())
}

/// All a command printed, for messages.
pub(crate) fn text_of(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}
