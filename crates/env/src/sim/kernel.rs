//! The loop that moves a world.

use super::choices::Choices;
use super::disk::SimDisk;
use super::executor::Next;
use super::member::MemberWorld;
use super::net::{PEER_PORT, SimNet, Wakers};
use super::state::{Life, State};
use super::timeline::{Due, Moment, Sleep};
use super::trace::What;
use super::{Options, Stuck};
use crate::MemberId;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A world. One lock holds all its state: the world runs on one thread, so that it is never
/// contended, and no order of locks has to be kept.
pub(super) struct Kernel(Mutex<State>);

/// How far a run may go.
#[derive(Clone, Copy)]
struct Bounds {
    /// Nothing happens that is due after this moment.
    until_ns: u64,
    /// No more happens once so many events have been recorded.
    events_max: u64,
}

impl Bounds {
    fn new(state: &State, until_ns: u64) -> Self {
        let events = state.trace.events();
        Self {
            until_ns,
            events_max: events.saturating_add(state.options.events_max),
        }
    }
}

/// Why the loop stopped.
enum Turn {
    /// The caller's future is to be polled.
    Caller,
    /// Nothing can happen before the limit, but something will later.
    Later,
    /// Nothing can ever happen.
    Never,
    /// As many events have happened as may.
    Spent,
}

impl Kernel {
    pub(super) fn new(seed: u64, choices: Choices, options: Options) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::new(seed, choices, options))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when true time has come to `at_ns`, for a member that is still there.
    pub(super) fn reach(self: &Arc<Self>, life: Life, at_ns: u64) -> Sleep {
        Sleep::new(Arc::clone(self), life, Moment::True(at_ns))
    }

    pub(super) fn world(self: &Arc<Self>, id: MemberId) -> Arc<MemberWorld> {
        let life = {
            let mut state = self.lock();
            let index = state.machine(id);
            state.start(index)
        };
        let kernel = || Arc::clone(self);
        Arc::new(MemberWorld {
            disk: Arc::new(SimDisk {
                kernel: kernel(),
                life,
            }),
            net: Arc::new(SimNet {
                kernel: kernel(),
                life,
                port: PEER_PORT,
            }),
            kernel: kernel(),
            life,
        })
    }

    /// Changes the world, then drops the tasks of whoever did not survive it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        bury(state);
        result
    }

    /// Drops everything, whatever it holds of the world.
    pub(super) fn end(&self) {
        let timeline = self.change(|state| {
            for index in 0..state.members.len() {
                state.kill(index);
            }
            std::mem::take(&mut state.timeline)
        });
        drop(timeline);
    }

    /// Runs until `future` is ready, but no longer than the limits allow.
    pub(super) fn block_on<T>(
        self: &Arc<Self>,
        future: impl Future<Output = T>,
    ) -> Result<T, Stuck> {
        let mut future = pin!(future);
        let _running = Running::new(self);
        let (handle, bounds) = {
            let mut state = self.lock();
            let until_ns = state.now_ns.saturating_add(nanos(state.options.run_max));
            (
                state.tasks.begin_caller(self),
                Bounds::new(&state, until_ns),
            )
        };
        let waker = Waker::from(Arc::clone(&handle));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.turn(bounds) {
                Turn::Caller => {
                    handle.begin_poll();
                    let polled = future.as_mut().poll(&mut cx);
                    bury(self.lock());
                    if let Poll::Ready(value) = polled {
                        return Ok(value);
                    }
                }
                Turn::Later => return Err(self.stuck(StuckBy::Time)),
                Turn::Never => return Err(self.stuck(StuckBy::Deadlock)),
                Turn::Spent => return Err(self.stuck(StuckBy::Events)),
            }
        }
    }

    /// Runs until true time is `until_ns`.
    pub(super) fn run_until(self: &Arc<Self>, until_ns: u64) -> Result<(), Stuck> {
        let _running = Running::new(self);
        let bounds = Bounds::new(&self.lock(), until_ns);
        loop {
            match self.turn(bounds) {
                Turn::Caller => {}
                Turn::Later | Turn::Never => {
                    let mut state = self.lock();
                    state.now_ns = state.now_ns.max(until_ns);
                    return Ok(());
                }
                Turn::Spent => return Err(self.stuck(StuckBy::Events)),
            }
        }
    }

    /// Polls tasks and lets events happen, until there is a reason to stop. It gives the lock back
    /// only where somebody else's code runs.
    fn turn(&self, bounds: Bounds) -> Turn {
        let mut guard = self.lock();
        loop {
            if !guard.doomed.is_empty() {
                bury(guard);
                guard = self.lock();
            }
            let state = &mut *guard;
            if state.trace.events() >= bounds.events_max {
                return Turn::Spent;
            }
            if !state.crash_at_event.is_empty() {
                state.crash_as_planned();
                if !state.doomed.is_empty() {
                    continue;
                }
            }
            match state.choose() {
                Next::Caller => {
                    let what = What::Ran { task: 0, name: "" };
                    state.record(None, what);
                    return Turn::Caller;
                }
                Next::Task {
                    id,
                    member,
                    number,
                    name,
                } => {
                    state.record(Some(member), What::Ran { task: number, name });
                    let mut runnable = state.tasks.take(id);
                    drop(guard);
                    let polled = runnable.poll();
                    guard = self.lock();
                    let over = match polled {
                        Poll::Ready(()) => {
                            guard.tasks.end(id);
                            Some(runnable)
                        }
                        Poll::Pending => guard.tasks.put_back(id, runnable),
                    };
                    guard.doomed.extend(over);
                }
                Next::Nothing => {
                    let Some(next_ns) = state.timeline.next_ns() else {
                        return Turn::Never;
                    };
                    if next_ns > bounds.until_ns {
                        return Turn::Later;
                    }
                    state.now_ns = state.now_ns.max(next_ns);
                    let wakers = match state.timeline.pop() {
                        Some(Due::Ring { member, waker }) => {
                            state.record(Some(member), What::Rang);
                            Wakers::one(waker)
                        }
                        Some(Due::Arrive(envelope)) => state.arrive(envelope),
                        None => Wakers::default(),
                    };
                    drop(guard);
                    wakers.wake();
                    guard = self.lock();
                }
            }
        }
    }

    fn stuck(&self, by: StuckBy) -> Stuck {
        let state = self.lock();
        let at = Duration::from_nanos(state.now_ns);
        let tasks = state
            .tasks
            .names()
            .into_iter()
            .map(|(name, count)| format!("{name} x{count}"))
            .collect::<Vec<_>>()
            .join(", ");
        match by {
            StuckBy::Deadlock => Stuck::Deadlock { at, tasks },
            StuckBy::Time => Stuck::Time { at, tasks },
            StuckBy::Events => Stuck::Events { at, tasks },
        }
    }
}

#[derive(Clone, Copy)]
enum StuckBy {
    Deadlock,
    Time,
    Events,
}

/// Releases the world, then drops the tasks of members that are gone. Their destructors may use
/// the world, which no longer answers them.
fn bury(mut state: MutexGuard<'_, State>) {
    if state.doomed.is_empty() {
        return;
    }
    let doomed = std::mem::take(&mut state.doomed);
    drop(state);
    drop(doomed);
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Marks that a world runs, so that a task which tries to run it again is told so.
struct Running<'a>(&'a Kernel);

impl<'a> Running<'a> {
    fn new(kernel: &'a Kernel) -> Self {
        let mut state = kernel.lock();
        let nested = std::mem::replace(&mut state.running, true);
        drop(state);
        assert!(!nested, "a task must not run the world it is part of");
        Self(kernel)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running = false;
        state.tasks.end_caller();
    }
}
