//! The threads that serve clients.
//!
//! Each has a runtime of its own and keeps the connections it was given. A shared runtime would
//! move their tasks between its threads, and wake a second thread for a request that the first is
//! about to answer: on a quiet member that costs more than the request.

use crate::outside;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// How long tasks that are left may hold up the end of their thread.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Worker threads beside the one that made them. They end when this is dropped.
pub(super) struct Workers {
    handles: Vec<Handle>,
    ends: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// As the system has them.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let mut workers = Self {
            handles: Vec::new(),
            ends: Vec::new(),
            threads: Vec::new(),
        };
        for _ in 0..count {
            let (end, ended) = oneshot::channel();
            let (started, handle) = mpsc::sync_channel(1);
            workers
                .threads
                .push(outside::spawn_named("synod-server", move || {
                    work(&started, ended);
                })?);
            workers.ends.push(end);
            let handle = handle.recv().map_err(io::Error::other)?;
            workers.handles.push(handle?);
        }
        Ok(workers)
    }

    /// Their runtimes.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // The threads learn it by the loss of the sender.
        self.ends.clear();
        for thread in self.threads.drain(..) {
            // A panic there has been reported there.
            drop(thread.join());
        }
    }
}

/// A runtime of one thread, as the thread that serves clients needs it.
///
/// # Errors
/// As the system has them.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn work(started: &mpsc::SyncSender<io::Result<Handle>>, ended: oneshot::Receiver<()>) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            // The starter waits for this answer.
            drop(started.send(Err(error)));
            return;
        }
    };
    drop(started.send(Ok(runtime.handle().clone())));
    // Nothing is ever sent: it ends when the workers are dropped.
    drop(runtime.block_on(ended));
    runtime.shutdown_timeout(END_WITHIN);
}
