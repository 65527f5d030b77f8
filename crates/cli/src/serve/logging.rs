//! Logs, without ever waiting for whoever reads them.
//!
//! A terminal that was paused, or a collector that hangs, must not stop a member: lines go
//! through a bounded queue to a thread of their own, and are dropped, counted, when it is full.

mod zap;

use crate::config::{LogOptions, LogOutput};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zap::Zap;

/// Lines that may wait.
const LINES_WAITING_MAX: usize = 4_096;

/// How long the end waits for lines that are still to be written.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Sends lines to the writing thread.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Option<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
}

/// Writes what is waiting when it is dropped.
pub(super) struct Flush {
    lines: Lines,
    ended: Receiver<()>,
}

/// Starts logging for the rest of the process.
///
/// # Errors
/// When a file cannot be opened.
pub(super) fn start(options: &LogOptions) -> Result<Flush, Failure> {
    let outputs: Result<Vec<_>, _> = options.outputs.iter().map(open).collect();
    let (outputs, json) = (outputs?, options.json);
    let (queue, waiting) = sync_channel(LINES_WAITING_MAX);
    let (end, ended) = sync_channel(0);
    let lines = Lines {
        queue,
        dropped: Arc::new(AtomicU64::new(0)),
    };
    let dropped = Arc::clone(&lines.dropped);
    outside::spawn_thread(move || {
        write_lines(&waiting, &dropped, outputs, json);
        drop(end);
    });
    let writer = {
        let lines = lines.clone();
        move || lines.clone()
    };
    let lines_of_events = fmt::layer().with_target(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter(options.level));
    let set = if options.json {
        let layer = lines_of_events.event_format(Zap);
        registry.with(layer).try_init().is_ok()
    } else {
        registry.with(lines_of_events).try_init().is_ok()
    };
    assert!(set, "logging is started once");
    Ok(Flush { lines, ended })
}

fn open(output: &LogOutput) -> Result<Box<dyn Write + Send>, Failure> {
    Ok(match output {
        LogOutput::Stderr => Box::new(io::stderr()),
        LogOutput::Stdout => Box::new(io::stdout()),
        LogOutput::File(path) => Box::new(outside::append_to(path).map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!(
                    "--log-outputs: cannot write to {}: {error}; name stderr, stdout or a file in \
                     a directory that can be written",
                    path.display()
                ),
            )
        })?),
    })
}

/// What is shown. The engine tells of every step of its own; below debug only its warnings are for
/// people.
fn filter(level: Level) -> Targets {
    let engine = if level <= Level::INFO {
        Level::WARN.min(level)
    } else {
        level
    };
    Targets::new()
        .with_default(level)
        .with_target("openraft", engine)
}

fn write_lines(
    waiting: &Receiver<Option<Vec<u8>>>,
    dropped: &AtomicU64,
    mut outputs: Vec<Box<dyn Write + Send>>,
    json: bool,
) {
    while let Ok(Some(line)) = waiting.recv() {
        let missing = dropped.swap(0, Ordering::Relaxed);
        for output in &mut outputs {
            if missing > 0 {
                let what = format!("{missing} log lines were dropped: nobody read them in time");
                drop(if json {
                    writeln!(output, r#"{{"level":"warn","msg":"{what}"}}"#)
                } else {
                    writeln!(output, "{what}")
                });
            }
            // If an output is gone there is nowhere left to complain.
            drop(output.write_all(&line).and_then(|()| output.flush()));
        }
    }
}

impl Write for Lines {
    /// One call is one line: the formatter writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Some(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // With a full queue nobody reads: then the rest is lost with the process.
        if self.lines.queue.try_send(None).is_ok() {
            self.ended.recv_timeout(FLUSH_WITHIN).ok();
        }
    }
}
