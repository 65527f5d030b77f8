//! A client that runs beside the scenario: a watch, a keep-alive, a campaign.

use super::is_log;
use crate::{Outcome, process, world};
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

const LINE_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// More than any scenario leaves unread.
const UNREAD_LINES_MAX: usize = 10_000;

/// It is killed when this is dropped.
pub(super) struct Background {
    child: Child,
    lines: Receiver<String>,
}

impl Background {
    pub(super) fn start(command: &mut Command) -> Outcome<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| format!("start {}: {error}", world::name(command)))?;
        let stdout = child.stdout.take().expect("it was piped just now");
        let (sender, lines) = sync_channel(UNREAD_LINES_MAX);
        // The reader ends with the pipe, which ends with the child.
        let _reader = world::beside(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines
                .filter(|line| !is_log(line))
                .try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines })
    }

    /// The next `count` lines.
    ///
    /// # Errors
    /// When they do not come in time; the sentence carries those that came.
    pub(super) fn read(&self, count: usize) -> Outcome<Vec<String>> {
        let mut lines = Vec::new();
        while lines.len() < count {
            match self.lines.recv_timeout(LINE_WITHIN) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("only {lines:?} after {LINE_WITHIN:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended after {lines:?}"));
                }
            }
        }
        Ok(lines)
    }

    /// Interrupts the client, as a person would from the keyboard, and returns what it had not yet
    /// been asked for.
    pub(super) fn stop(mut self) -> Outcome<Vec<String>> {
        process::signal(&self.child, Signal::INT)?;
        if process::wait(&mut self.child, STOPPED_WITHIN)?.is_none() {
            return Err(format!(
                "it still ran {STOPPED_WITHIN:?} after it was interrupted"
            ));
        }
        Ok(self.lines.iter().collect())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        process::end(&mut self.child);
    }
}
