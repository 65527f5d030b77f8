//! A server process that a command starts, watches and ends: a Synod member, or etcd to compare
//! with.

use crate::{Outcome, process, world};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A port that was free may be taken before the server listens on it; three times is no accident.
const STARTS_MAX: usize = 3;

/// Which server a program is: they take the same main flags, but not all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Etcd,
    Synod,
}

/// A running server on loopback, with its own folder; it is killed when this is dropped.
pub(crate) struct Member {
    kind: Kind,
    program: PathBuf,
    folder: PathBuf,
    /// Flags beside those that every member is started with.
    flags: Vec<String>,
    client_port: u16,
    peer_port: u16,
    child: Child,
    /// From the start of the process to its first good answer.
    ready_after: Duration,
}

impl Member {
    /// Starts `program` on free ports with data and log in `folder`, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve in time; the sentence carries the end of its log.
    pub(crate) fn start(kind: Kind, program: &Path, folder: &Path) -> Outcome<Self> {
        Self::start_with(kind, program, folder, &[])
    }

    /// The same, with further flags.
    pub(crate) fn start_with(
        kind: Kind,
        program: &Path,
        folder: &Path,
        flags: &[String],
    ) -> Outcome<Self> {
        world::create_dir(folder)?;
        let mut failure = String::new();
        for _ in 0..STARTS_MAX {
            let (client_port, peer_port) = (world::free_port()?, world::free_port()?);
            match Self::start_on(kind, program, folder, flags, client_port, peer_port) {
                Ok(member) => return Ok(member),
                Err(error) if error.contains("in use") => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    fn start_on(
        kind: Kind,
        program: &Path,
        folder: &Path,
        flags: &[String],
        client_port: u16,
        peer_port: u16,
    ) -> Outcome<Self> {
        let begun = world::now();
        let child = spawn(kind, program, folder, flags, client_port, peer_port)?;
        let mut member = Self {
            kind,
            program: program.to_path_buf(),
            folder: folder.to_path_buf(),
            flags: flags.to_vec(),
            client_port,
            peer_port,
            child,
            ready_after: Duration::ZERO,
        };
        member.wait_until_it_serves()?;
        member.ready_after = begun.elapsed();
        Ok(member)
    }

    /// Where clients reach it, as `127.0.0.1:port`.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Where other members would reach it, as `127.0.0.1:port`.
    pub(crate) fn peer_endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    /// Where it keeps its data and its log.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of its process to its first good answer.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Kills the process as a power cut would, and starts it again on the same data and ports.
    pub(crate) fn kill_and_restart(&mut self) -> Outcome {
        self.child
            .kill()
            .map_err(|error| format!("kill the member: {error}"))?;
        self.child
            .wait()
            .map_err(|error| format!("wait for the killed member: {error}"))?;
        let Self {
            kind,
            program,
            folder,
            flags,
            client_port,
            peer_port,
            ..
        } = self;
        self.child = spawn(*kind, program, folder, flags, *client_port, *peer_port)?;
        self.wait_until_it_serves()
    }

    /// Asks the process to end and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time (it is then killed) or ends with a failure.
    pub(crate) fn stop(mut self) -> Outcome {
        process::signal(&self.child, Signal::TERM)?;
        let status = process::wait(&mut self.child, STOPPED_WITHIN)?.ok_or_else(|| {
            format!("the member still ran {STOPPED_WITHIN:?} after it was asked to end")
        })?;
        // etcd re-raises the signal after its clean end.
        let is_clean = status.success() || self.kind == Kind::Etcd;
        if is_clean {
            Ok(())
        } else {
            Err(format!("the member ended with {status}"))
        }
    }

    fn wait_until_it_serves(&mut self) -> Outcome {
        let begun = world::now();
        while !is_healthy(self.client_port) {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Err(format!(
                    "the member ended with {status}:\n{}",
                    self.log_tail()
                ));
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(format!(
                    "no answer after {READY_WITHIN:?}:\n{}",
                    self.log_tail()
                ));
            }
            world::pause(LOOK_AGAIN_AFTER);
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = world::read(&self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        process::end(&mut self.child);
    }
}

fn spawn(
    kind: Kind,
    program: &Path,
    folder: &Path,
    flags: &[String],
    client_port: u16,
    peer_port: u16,
) -> Outcome<Child> {
    let client_url = format!("http://127.0.0.1:{client_port}");
    let peer_url = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(program);
    if kind == Kind::Synod {
        command.arg("serve");
    }
    command.arg("--data-dir").arg(folder.join("data"));
    command.args([
        "--listen-client-urls",
        &client_url,
        "--advertise-client-urls",
        &client_url,
    ]);
    if kind == Kind::Etcd {
        command.args(["--listen-peer-urls", &peer_url]);
        command.args(["--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("default={peer_url}")]);
        command.args(["--log-level", "warn"]);
    }
    command.args(flags);
    let (stdout, stderr) = world::log_file(&folder.join("log"))?;
    command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("start {}: {error}", program.display()))
}

/// Asks `/health`, which both servers answer only when they can serve a linearizable read.
fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"true\""))
}
