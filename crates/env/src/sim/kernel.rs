//! The state of a world and the loop that moves it.

use super::choices::Choices;
use super::clock::Clocks;
use super::disk::{DiskState, SimDisk};
use super::executor::{Next, Runnable, TaskId, Tasks};
use super::faults::Faults;
use super::net::{Inboxes, Links, PEER_PORT, SimNet, Wakers};
use super::timeline::{Due, Moment, Sleep, Timeline};
use super::trace::{Trace, What};
use super::{Options, Stuck};
use crate::{BoxFuture, Disk, Instant, MemberId, Net, Prng, Reading, WallTime, World};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// One incarnation of a member: it ends when the member crashes or is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) member: usize,
    incarnation: u64,
}

pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) up: bool,
    incarnation: u64,
    pub(super) paused: bool,
    /// The machine stands still, clocks and all.
    pub(super) frozen: bool,
    /// Tasks that could run if the member were neither paused nor frozen.
    parked: Vec<TaskId>,
    pub(super) clocks: Clocks,
    pub(super) disk: DiskState,
    pub(super) inboxes: Inboxes,
    /// Where each incarnation's randomness comes from.
    entropy: Prng,
    random: Prng,
}

pub(super) struct State {
    pub(super) now_ns: u64,
    pub(super) tasks: Tasks,
    pub(super) timeline: Timeline,
    pub(super) members: Vec<Member>,
    index: BTreeMap<MemberId, usize>,
    pub(super) links: Links,
    pub(super) choices: Choices,
    pub(super) trace: Trace,
    pub(super) faults: Faults,
    pub(super) options: Options,
    /// Members that lose power once so many events have happened.
    pub(super) crash_at_event: Vec<(u64, usize)>,
    /// Tasks of members that are gone, to be dropped as soon as the lock is released.
    doomed: Vec<Runnable>,
    seed: u64,
    running: bool,
}

/// A world. One lock holds all its state: the world runs on one thread, so that it is never
/// contended, and no order of locks has to be kept.
pub(super) struct Kernel(Mutex<State>);

impl State {
    pub(super) fn is_alive(&self, life: Life) -> bool {
        let member = &self.members[life.member];
        member.up && member.incarnation == life.incarnation
    }

    pub(super) fn find(&self, id: MemberId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// The machine of a member, switched on for the first time if need be.
    pub(super) fn machine(&mut self, id: MemberId) -> usize {
        if let Some(index) = self.find(id) {
            return index;
        }
        // Apart from the streams of other members, and from the world's own, which begin with the
        // seed itself and with its complement.
        let member = id.0.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x6d65_6d62_6572;
        let mut entropy = Prng::new(self.seed ^ member).fork();
        self.members.push(Member {
            id,
            up: false,
            incarnation: 0,
            paused: false,
            frozen: false,
            parked: Vec::new(),
            clocks: Clocks::switched_on(self.now_ns, &mut self.choices),
            disk: DiskState::new(self.options.disk),
            inboxes: Inboxes::default(),
            random: entropy.fork(),
            entropy,
        });
        let index = self.members.len() - 1;
        self.index.insert(id, index);
        index
    }

    pub(super) fn record(&mut self, member: Option<usize>, what: What) {
        let id = member.map(|index| self.members[index].id);
        self.trace.record(self.now_ns, id, what);
    }

    /// Starts an incarnation of a member that is down; returns the one that is up.
    fn start(&mut self, index: usize) -> Life {
        let member = &mut self.members[index];
        if !member.up {
            member.up = true;
            member.incarnation += 1;
            member.paused = false;
            member.frozen = false;
            member.clocks.thaw(self.now_ns);
            member.random = member.entropy.fork();
            self.record(Some(index), What::Started);
        }
        Life {
            member: index,
            incarnation: self.members[index].incarnation,
        }
    }

    /// The member's process is gone: its tasks and what it had received. False if it was not up.
    fn end(&mut self, index: usize, what: What) -> bool {
        let member = &mut self.members[index];
        if !member.up {
            return false;
        }
        member.up = false;
        member.parked.clear();
        member.disk.image.close_all();
        for envelope in std::mem::take(&mut member.inboxes).into_waiting() {
            self.faults.messages_forgotten += 1;
            self.links.release(&envelope);
        }
        let ended = self.tasks.end_all(index);
        self.doomed.extend(ended);
        self.record(Some(index), what);
        true
    }

    /// The process dies; the machine, its page cache and its clocks go on.
    pub(super) fn kill(&mut self, index: usize) {
        let bit = self.end(index, What::Killed);
        self.faults.kills += u64::from(bit);
    }

    /// The machine loses power, whether the process is up or not.
    pub(super) fn crash(&mut self, index: usize) {
        let bit = self.end(index, What::Crashed);
        if !bit {
            self.record(Some(index), What::Crashed);
        }
        self.faults.crashes += u64::from(bit);
        let member = &mut self.members[index];
        member.disk.crash_at = None;
        let losses = member.disk.image.crash(self.now_ns, &mut self.choices);
        self.faults.lose(losses);
        member.clocks.reboot(self.now_ns, &mut self.choices);
    }

    pub(super) fn pause(&mut self, index: usize) {
        if !self.members[index].paused {
            self.members[index].paused = true;
            self.record(Some(index), What::Paused);
        }
    }

    pub(super) fn resume(&mut self, index: usize) {
        if self.members[index].paused {
            self.members[index].paused = false;
            self.record(Some(index), What::Resumed);
            self.unpark(index);
        }
    }

    pub(super) fn freeze(&mut self, index: usize) {
        if !self.members[index].frozen {
            self.members[index].frozen = true;
            self.members[index].clocks.freeze(self.now_ns);
            self.record(Some(index), What::Frozen);
        }
    }

    pub(super) fn thaw(&mut self, index: usize) {
        if self.members[index].frozen {
            self.members[index].frozen = false;
            self.members[index].clocks.thaw(self.now_ns);
            self.record(Some(index), What::Thawed);
            self.unpark(index);
        }
    }

    /// Lets those run that were held back, unless there is another reason to.
    fn unpark(&mut self, index: usize) {
        let member = &mut self.members[index];
        if !member.paused && !member.frozen {
            self.tasks.make_ready(&mut member.parked);
        }
    }

    /// Chooses among the tasks that can run and may.
    fn choose(&mut self) -> Next {
        let (members, faults) = (&mut self.members, &mut self.faults);
        self.tasks.choose(&mut self.choices, |member, id| {
            let member = &mut members[member];
            let held = member.paused || member.frozen;
            if held {
                faults.runs_paused += u64::from(member.paused);
                faults.runs_frozen += u64::from(member.frozen);
                member.parked.push(id);
            }
            held
        })
    }

    fn bounds(&self, until_ns: u64) -> Bounds {
        let events = self.trace.events();
        Bounds {
            until_ns,
            events_max: events.saturating_add(self.options.events_max),
        }
    }

    /// Crashes whoever is to lose power by now.
    fn crash_as_planned(&mut self) {
        let events = self.trace.events();
        while let Some(due) = self.crash_at_event.iter().position(|(at, _)| *at <= events) {
            let (_, index) = self.crash_at_event.remove(due);
            self.crash(index);
        }
    }
}

/// How far a run may go.
#[derive(Clone, Copy)]
struct Bounds {
    /// Nothing happens that is due after this moment.
    until_ns: u64,
    /// No more happens once so many events have been recorded.
    events_max: u64,
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
        Arc::new(Self(Mutex::new(State {
            now_ns: 0,
            tasks: Tasks::default(),
            timeline: Timeline::default(),
            members: Vec::new(),
            index: BTreeMap::new(),
            links: Links::new(options.link, options.lane_messages_max),
            choices,
            trace: Trace::new(seed),
            faults: Faults::default(),
            options,
            crash_at_event: Vec::new(),
            doomed: Vec::new(),
            seed,
            running: false,
        })))
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
            (state.tasks.begin_caller(self), state.bounds(until_ns))
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
        let bounds = self.lock().bounds(until_ns);
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

/// The world as one incarnation of a member sees it.
pub(super) struct MemberWorld {
    kernel: Arc<Kernel>,
    life: Life,
    disk: Arc<SimDisk>,
    net: Arc<SimNet>,
}

impl MemberWorld {
    /// The network at a port of this machine, and the world it is of.
    pub(super) fn net_on(&self, port: u16) -> (&Arc<Kernel>, Arc<SimNet>) {
        let net = Arc::new(SimNet {
            kernel: Arc::clone(&self.kernel),
            life: self.life,
            port,
        });
        (&self.kernel, net)
    }

    fn clocks<T>(&self, look: impl FnOnce(&Clocks, u64) -> T) -> T {
        let state = self.kernel.lock();
        look(&state.members[self.life.member].clocks, state.now_ns)
    }
}

impl World for MemberWorld {
    fn now(&self) -> Instant {
        self.clocks(Clocks::now)
    }

    fn clock(&self) -> Reading {
        self.clocks(Clocks::reading)
    }

    fn wall(&self) -> WallTime {
        let mut state = self.kernel.lock();
        let state = &mut *state;
        let clocks = &state.members[self.life.member].clocks;
        state.faults.wall_misread += u64::from(clocks.wall_was_set);
        clocks.wall(state.now_ns)
    }

    fn random(&self) -> u64 {
        let mut state = self.kernel.lock();
        state.members[self.life.member].random.next_u64()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let kernel = Arc::clone(&self.kernel);
        Box::pin(Sleep::new(kernel, self.life, Moment::Local(at)))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let mut state = self.kernel.lock();
        if state.is_alive(self.life) {
            let member = self.life.member;
            state.tasks.spawn(&self.kernel, member, name, task);
        } else {
            drop(state);
            drop(task);
        }
    }

    fn spawn_dedicated(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.spawn(name, task);
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }

    fn net(&self) -> Arc<dyn Net> {
        Arc::clone(&self.net) as Arc<dyn Net>
    }
}
