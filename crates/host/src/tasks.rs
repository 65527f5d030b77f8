//! The member's threads and the tasks on them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use synod_env::{BoxFuture, watch};
use tokio::runtime::{self, Handle, Runtime};

/// The thread of the tasks that are not dedicated.
const CORE_THREAD: &str = "synod-core";

/// Whether a member runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// It runs.
    Running,
    /// It was stopped.
    Stopped,
    /// A task found a mistake of ours and panicked, or could not be started; the member stopped
    /// as a whole rather than go on without it.
    Failed {
        /// The task's name.
        task: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Threads of a member did not end in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillRunning {
    /// Their names.
    pub threads: Vec<&'static str>,
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "still running: {}", self.threads.join(", "))
    }
}

impl std::error::Error for StillRunning {}

/// How much a thread is worth where processors are scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    Ordinary,
    /// It gives way: whoever waits for it waits for much anyway.
    Background,
}

/// The niceness of background threads: beside an ordinary one they get a quarter of a processor.
const BACKGROUND_NICE: i32 = 5;

impl Rank {
    /// Gives the calling thread this rank.
    fn take(self) {
        match self {
            Self::Ordinary => {}
            Self::Background => {
                // Linux keeps a niceness for each thread, and takes none for the calling one. Who
                // may not lower it, in some container, goes on as before.
                let nice = rustix::process::setpriority_process(None, BACKGROUND_NICE);
                let (Ok(_) | Err(_)) = nice;
            }
        }
    }
}

#[derive(Default)]
struct Threads {
    /// Names of those that have not ended, by number.
    running: BTreeMap<u64, &'static str>,
    started: u64,
    handles: Vec<JoinHandle<()>>,
}

pub(crate) struct Tasks {
    core: Handle,
    state: watch::Sender<HostState>,
    threads: Mutex<Threads>,
    ended: Condvar,
}

/// An executor for one thread, with timers and nothing else: it parks on a condition variable,
/// so that waking it from another thread costs one call at most.
fn executor() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_time().build()
}

impl Tasks {
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = executor()?;
        let (state, _) = watch::channel(HostState::Running);
        let tasks = Arc::new(Self {
            core: runtime.handle().clone(),
            state,
            threads: Mutex::default(),
            ended: Condvar::new(),
        });
        let stopped = tasks.stopped();
        tasks.thread(CORE_THREAD, move || runtime.block_on(stopped))?;
        Ok(tasks)
    }

    pub(crate) fn state(&self) -> watch::Receiver<HostState> {
        self.state.subscribe()
    }

    pub(crate) fn spawn(self: &Arc<Self>, name: &'static str, task: BoxFuture<'static, ()>) {
        // After a stop the executor drops what it is given.
        drop(self.core.spawn(self.guarded(name, task)));
    }

    pub(crate) fn spawn_dedicated(
        self: &Arc<Self>,
        name: &'static str,
        rank: Rank,
        task: BoxFuture<'static, ()>,
    ) {
        if *self.state.borrow() != HostState::Running {
            return;
        }
        let task = self.guarded(name, task);
        let stopped = self.stopped();
        let started = executor().and_then(|runtime| {
            self.thread(name, move || {
                rank.take();
                runtime.block_on(until(stopped, task));
            })
        });
        if let Err(error) = started {
            self.fail(name, format!("cannot start its thread: {error}"));
        }
    }

    /// Stops the member, and waits for its threads no longer than `within`.
    pub(crate) fn stop(&self, within: Duration) -> Result<(), StillRunning> {
        self.leave(HostState::Stopped);
        let threads = self.lock();
        let (mut threads, _) = self
            .ended
            .wait_timeout_while(threads, within, |threads| !threads.running.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        if !threads.running.is_empty() {
            return Err(StillRunning {
                threads: threads.running.values().copied().collect(),
            });
        }
        let handles = std::mem::take(&mut threads.handles);
        drop(threads);
        for handle in handles {
            // They have nothing left to do, and a panic in a thread has been reported.
            drop(handle.join());
        }
        Ok(())
    }

    /// Leaves the state of running, once.
    fn leave(&self, state: HostState) {
        self.state.send_if(|current| {
            let running = *current == HostState::Running;
            if running {
                *current = state;
            }
            running
        });
    }

    fn fail(&self, task: &'static str, reason: String) {
        self.leave(HostState::Failed { task, reason });
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the member stops.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut state = self.state.subscribe();
        async move {
            while *state.borrow() == HostState::Running {
                if state.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// The task, but if it panics the member stops.
    fn guarded(
        self: &Arc<Self>,
        name: &'static str,
        mut task: BoxFuture<'static, ()>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let tasks = Arc::clone(self);
        poll_fn(move |cx| {
            let poll = AssertUnwindSafe(|| task.as_mut().poll(cx));
            catch_unwind(poll).unwrap_or_else(|panic| {
                tasks.fail(name, message(panic.as_ref()));
                Poll::Ready(())
            })
        })
    }

    fn thread(
        self: &Arc<Self>,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut threads = self.lock();
        threads.handles.retain(|handle| !handle.is_finished());
        threads.started += 1;
        let number = threads.started;
        threads.running.insert(number, name);
        let running = RunningThread {
            tasks: Arc::clone(self),
            number,
        };
        // The new thread's end waits for this lock, and so does the end of one that fails to start.
        drop(threads);
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            // Last to be dropped: after the executor and its tasks.
            let _running = running;
            body();
        })?;
        self.lock().handles.push(handle);
        Ok(())
    }
}

/// Reports the end of a thread.
struct RunningThread {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Drop for RunningThread {
    fn drop(&mut self) {
        self.tasks.lock().running.remove(&self.number);
        self.tasks.ended.notify_all();
    }
}

/// Runs `task` until it ends or `stopped` does; drops it on the thread that ran it.
async fn until(stopped: impl Future<Output = ()>, task: impl Future<Output = ()>) {
    let mut stopped = pin!(stopped);
    let mut task = pin!(task);
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        task.as_mut().poll(cx)
    })
    .await;
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
