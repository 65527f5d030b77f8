//! Faults, brought about from outside.

use super::clock::ClockRates;
use super::disk::{DiskCounters, DiskLatency, DiskOp};
use super::image::Image;
use super::kernel::{Kernel, nanos};
use super::net::LinkModel;
use super::state::State;
use super::trace::What;
use crate::MemberId;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Harms members of a world: by their process, machine, clocks, disk or links. A member that has
/// not been started yet can be prepared with it.
#[derive(Clone)]
pub struct Nemesis(Arc<Kernel>);

impl fmt::Debug for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nemesis")
    }
}

/// What a disk held at some time.
#[derive(Clone, Debug)]
pub struct DiskCopy(Image);

impl Nemesis {
    pub(super) fn new(kernel: Arc<Kernel>) -> Self {
        Self(kernel)
    }

    fn machine<T>(&self, member: MemberId, change: impl FnOnce(&mut State, usize) -> T) -> T {
        self.0.change(|state| {
            let index = state.machine(member);
            change(state, index)
        })
    }

    // Process and machine.

    /// The machine loses power: tasks are dropped, unsynced data is lost, kept or torn, and the
    /// timer clocks start anew. [`super::Sim::member`] starts the member again.
    pub fn crash(&self, member: MemberId) {
        self.machine(member, State::crash);
    }

    /// The machine loses power with the `ops`-th disk operation from now (1 is the next), which
    /// takes effect like any other and whose result nobody sees.
    ///
    /// # Panics
    /// If `ops` is zero.
    pub fn crash_at_disk_op(&self, member: MemberId, ops: u64) {
        assert!(
            ops > 0,
            "the operation before the next has already returned"
        );
        self.machine(member, |state, index| {
            let disk = &mut state.members[index].disk;
            disk.crash_at = Some(disk.counters.ops + ops);
        });
    }

    /// The machine loses power when `events` more events have happened in the world.
    pub fn crash_at_event(&self, member: MemberId, events: u64) {
        self.machine(member, |state, index| {
            let at = state.trace.events().saturating_add(events);
            state.crash_at_event.push((at, index));
        });
    }

    /// The process dies, and that is all: what it wrote is still in the page cache of a machine
    /// whose clocks run on.
    pub fn kill(&self, member: MemberId) {
        self.machine(member, State::kill);
    }

    /// None of the member's tasks runs any more, while its clocks, its disk and its links go on,
    /// as with a process that is stopped. A crash ends the pause.
    pub fn pause(&self, member: MemberId) {
        self.machine(member, State::pause);
    }

    /// The member's tasks run on.
    pub fn resume(&self, member: MemberId) {
        self.machine(member, State::resume);
    }

    /// The whole machine stands still, as a virtual machine does while a snapshot is taken: no task
    /// runs, and the clocks stop too. What was asked of the disk before is done, and messages
    /// wait. A crash ends it.
    pub fn freeze(&self, member: MemberId) {
        self.clock(member, State::freeze);
    }

    /// The machine goes on where it stood. Its clocks catch nothing up, so that nothing within it
    /// shows that time has passed.
    pub fn thaw(&self, member: MemberId) {
        self.clock(member, State::thaw);
    }

    /// The machine loses power and its disk, and gets an empty one.
    pub fn reformat(&self, member: MemberId) {
        self.machine(member, |state, index| {
            state.crash(index);
            state.members[index].disk.image = Image::new();
            state.record(Some(index), What::DiskChanged);
        });
    }

    /// What the member's disk would hold if the power failed now, as drawn here: what was not
    /// synced is kept, lost or torn in the copy, while the disk goes on.
    #[must_use]
    pub fn copy_disk(&self, member: MemberId) -> DiskCopy {
        self.machine(member, |state, index| {
            let mut image = state.members[index].disk.image.clone();
            image.crash(state.now_ns, &mut state.choices);
            DiskCopy(image)
        })
    }

    /// The machine loses power and finds the disk as it was when the copy was made: what was
    /// synced since is gone, which no disk may do. Also for a copy of another member's disk.
    pub fn roll_back_disk(&self, member: MemberId, copy: &DiskCopy) {
        self.machine(member, |state, index| {
            state.crash(index);
            state.members[index].disk.image = copy.0.clone();
            state.record(Some(index), What::DiskChanged);
            state.faults.disks_rolled_back += 1;
        });
    }

    /// True time since the start of the world, which no member can see.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.lock().now_ns)
    }

    /// True while an incarnation of the member exists, paused or not.
    #[must_use]
    pub fn is_up(&self, member: MemberId) -> bool {
        self.machine(member, |state, index| state.members[index].up)
    }

    // Clocks.

    fn clock(&self, member: MemberId, change: impl FnOnce(&mut State, usize)) {
        let timers = self.machine(member, |state, index| {
            change(state, index);
            state.record(Some(index), What::ClockChanged);
            let timers = state.timeline.take_timers(index);
            state.faults.timers_moved += timers.len() as u64;
            timers
        });
        for timer in timers {
            timer.wake();
        }
    }

    /// From now on the member's clocks run at these rates.
    pub fn set_clock_rates(&self, member: MemberId, rates: ClockRates) {
        self.clock(member, |state, index| {
            let now_ns = state.now_ns;
            state.members[index].clocks.set_rates(now_ns, rates);
        });
    }

    /// The timer and decision clocks jump ahead, as when a machine was suspended.
    pub fn jump_clock(&self, member: MemberId, ahead: Duration) {
        self.clock(member, |state, index| {
            state.members[index].clocks.jump(ahead);
        });
    }

    /// A leap second as most systems insert it: the wall clock shows the second that just was once
    /// more. (A daemon that smears it instead is a wall clock at another rate for some hours.) To
    /// strobe a wall clock, as a daemon at odds with another does, step it to and fro.
    pub fn leap_second(&self, member: MemberId) {
        self.step_wall(member, -1_000);
    }

    /// The wall clock is set by so many milliseconds, forwards or backwards.
    pub fn step_wall(&self, member: MemberId, by_ms: i64) {
        self.clock(member, |state, index| {
            state.members[index].clocks.step_wall(by_ms);
        });
    }

    // Links. A half-open link is one that is cut in one direction.

    /// Sets how messages from one member to another fare from now on. Those under way keep their
    /// delay, but do not arrive over a link that is cut by then.
    pub fn set_link(&self, from: MemberId, to: MemberId, model: LinkModel) {
        self.link(from, to, |link| *link = model);
    }

    /// Cuts a link in one direction.
    pub fn cut(&self, from: MemberId, to: MemberId) {
        self.link(from, to, |link| link.cut = true);
    }

    /// Mends what [`Nemesis::cut`] cut, in one direction.
    pub fn mend(&self, from: MemberId, to: MemberId) {
        self.link(from, to, |link| link.cut = false);
    }

    fn link(&self, from: MemberId, to: MemberId, change: impl FnOnce(&mut LinkModel)) {
        self.machine(from, |state, index| {
            let receiver = state.machine(to);
            change(state.links.model(index, receiver));
            state.record(Some(index), What::LinkChanged { to });
        });
    }

    // Disks.

    fn disk<T>(&self, member: MemberId, change: impl FnOnce(&mut State, usize) -> T) -> T {
        self.machine(member, |state, index| {
            let result = change(state, index);
            state.record(Some(index), What::DiskChanged);
            result
        })
    }

    /// The disk takes so long from now on.
    pub fn set_disk_latency(&self, member: MemberId, latency: DiskLatency) {
        self.disk(member, |state, index| {
            state.members[index].disk.latency = latency;
        });
    }

    /// The disk has room for so many bytes of files; `u64::MAX` for no limit.
    pub fn set_disk_capacity(&self, member: MemberId, bytes: u64) {
        self.disk(member, |state, index| {
            state.members[index].disk.capacity_bytes = bytes;
        });
    }

    /// One operation of a kind reports an input/output error: the `ops`-th from now (1 is the
    /// next). A write that fails may have written some of its sectors; a sync that fails has
    /// dropped what it was to make durable.
    ///
    /// # Panics
    /// If `ops` is zero.
    pub fn fail_disk_op(&self, member: MemberId, op: DiskOp, ops: u64) {
        let passes = ops.checked_sub(1);
        let passes = passes.expect("the operation before the next has already returned");
        self.disk(member, |state, index| {
            state.members[index].disk.fail_after[op as usize] = Some(passes);
        });
    }

    /// So many of a million operations of a kind report an input/output error from now on.
    pub fn set_disk_errors(&self, member: MemberId, op: DiskOp, ppm: u32) {
        self.disk(member, |state, index| {
            state.members[index].disk.error_ppm[op as usize] = ppm;
        });
    }

    /// No operation that begins from now on completes before `duration` has passed, but for
    /// writes: they go into the cache as ever, and a loss of power takes them along.
    pub fn stall_disk(&self, member: MemberId, duration: Duration) {
        self.disk(member, |state, index| {
            let until_ns = state.now_ns.saturating_add(nanos(duration));
            state.members[index].disk.stalled_until_ns = until_ns;
        });
    }

    /// Flips the bits of `mask` in one byte of a file, on the disk and for all readers. False if
    /// the file is not that long, or not there.
    pub fn rot(&self, member: MemberId, path: &str, offset: u64, mask: u8) -> bool {
        self.disk(member, |state, index| {
            let now_ns = state.now_ns;
            let image = &mut state.members[index].disk.image;
            let flipped = image.flip(path, offset, mask, now_ns);
            state.faults.rotten_bytes += u64::from(flipped);
            flipped
        })
    }

    /// The files of the disk, in order of their paths, with their lengths in bytes.
    #[must_use]
    pub fn files(&self, member: MemberId) -> Vec<(String, u64)> {
        self.machine(member, |state, index| {
            state.members[index].disk.image.files().collect()
        })
    }

    /// How long a file is up to its last byte that is not zero: what was written of a file that
    /// was made longer ahead of time. Zero if there is no such file.
    #[must_use]
    pub fn written_bytes(&self, member: MemberId, path: &str) -> u64 {
        self.machine(member, |state, index| {
            state.members[index].disk.image.written_bytes(path)
        })
    }

    /// What the disk has done so far.
    #[must_use]
    pub fn disk_counters(&self, member: MemberId) -> DiskCounters {
        self.machine(member, |state, index| state.members[index].disk.counters)
    }

    /// What of a file survives whatever happens: its durable content under a durable name.
    #[must_use]
    pub fn durable(&self, member: MemberId, path: &str) -> Option<Bytes> {
        self.machine(member, |state, index| {
            let now_ns = state.now_ns;
            state.members[index].disk.image.durable(path, now_ns)
        })
    }
}
