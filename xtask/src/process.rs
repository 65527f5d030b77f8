//! Child processes with bounded lives: everything started here is ended here.

use crate::{Outcome, world};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// What a command printed, and how it ended.
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
}

/// Runs a command with `input` until it ends, at most for `within`.
///
/// It gets a process group of its own: when the time is over, it is killed together with what it
/// started.
///
/// # Errors
/// When it cannot be started, or did not end in time.
pub(crate) fn run_within(command: &mut Command, input: &str, within: Duration) -> Outcome<Printed> {
    let name = world::name(command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("start {name}: {error}"))?;
    let stdout = drain(child.stdout.take().expect("it was piped just now"));
    let stderr = drain(child.stderr.take().expect("it was piped just now"));
    let mut stdin = child.stdin.take().expect("it was piped just now");
    // A command that needs no input may have closed it already.
    let _closed = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Some(status) = wait(&mut child, within)? else {
        // An error here means that the group has gone, which is what was wanted.
        let _gone = kill_process_group(pid(&child), Signal::KILL);
        end(&mut child);
        return Err(format!("{name} had not ended after {within:?}"));
    };
    Ok(Printed {
        stdout: collect(stdout)?,
        stderr: collect(stderr)?,
        status,
    })
}

/// Sends a signal to a child that has not been waited for, so that its number is still its own.
pub(crate) fn signal(child: &Child, signal: Signal) -> Outcome {
    kill_process(pid(child), signal).map_err(|error| format!("signal {}: {error}", child.id()))
}

/// Waits for a child; `None` when it still runs after `within`.
pub(crate) fn wait(child: &mut Child, within: Duration) -> Outcome<Option<ExitStatus>> {
    let begun = world::now();
    loop {
        match child
            .try_wait()
            .map_err(|error| format!("wait for a process: {error}"))?
        {
            Some(status) => return Ok(Some(status)),
            None if begun.elapsed() > within => return Ok(None),
            None => world::pause(LOOK_AGAIN_AFTER),
        }
    }
}

/// Kills a child, if it still runs, and takes its status so that nothing of it stays behind.
pub(crate) fn end(child: &mut Child) {
    if child.kill().is_ok() {
        // An error here means that the child has gone, which is what was wanted.
        let _gone = child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    let number = i32::try_from(child.id()).ok();
    number
        .and_then(Pid::from_raw)
        .expect("the system numbers processes from 1")
}

/// Reads a pipe to its end beside the caller, so that its writer never waits for room.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<std::io::Result<String>> {
    world::beside(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

fn collect(pipe: JoinHandle<std::io::Result<String>>) -> Outcome<String> {
    let text = pipe.join().expect("reading a pipe does not panic");
    text.map_err(|error| format!("read what a process printed: {error}"))
}
