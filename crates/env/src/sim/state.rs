//! What a world consists of at one moment, and what happens to its members.

use super::Options;
use super::choices::Choices;
use super::clock::Clocks;
use super::disk::DiskState;
use super::executor::{Next, Runnable, TaskId, Tasks};
use super::faults::Faults;
use super::net::{Inboxes, Links};
use super::timeline::Timeline;
use super::trace::{Trace, What};
use crate::{MemberId, Prng};
use std::collections::BTreeMap;

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
    pub(super) random: Prng,
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
    pub(super) doomed: Vec<Runnable>,
    seed: u64,
    pub(super) running: bool,
}

impl State {
    pub(super) fn new(seed: u64, choices: Choices, options: Options) -> Self {
        Self {
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
        }
    }

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
    pub(super) fn start(&mut self, index: usize) -> Life {
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
    pub(super) fn choose(&mut self) -> Next {
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

    /// Crashes whoever is to lose power by now.
    pub(super) fn crash_as_planned(&mut self) {
        let events = self.trace.events();
        while let Some(due) = self.crash_at_event.iter().position(|(at, _)| *at <= events) {
            let (_, index) = self.crash_at_event.remove(due);
            self.crash(index);
        }
    }
}
