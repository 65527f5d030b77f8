//! Brings about what a scenario says goes wrong, and undoes it.
//!
//! Several faults can be on one link, clock or disk at a time. What holds there is worked out anew
//! from all that are under way whenever one begins or ends, so that none undoes another's work.

use crate::cluster::Cluster;
use crate::observer::{Machine, Sight};
use crate::record::Record;
use crate::scenario::{
    ClockEffect, DiskEffect, DiskOperation, Effect, FailureModel, Link, LinkEffect, Model,
    ProcessEffect, Scenario, Timing, Who,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use synod_env::sim::{ClockRates, DiskOp, LinkModel, Nemesis};

/// What is to happen, in order of time.
pub(crate) struct Faults {
    scenario: Scenario,
    nemesis: Nemesis,
    /// By true time, then in the order in which they came to be planned.
    steps: BTreeMap<(Duration, u64), Step>,
    planned: u64,
    underway: BTreeMap<usize, Underway>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(usize),
    End(usize),
    /// The next change of a strobing clock: forth, or back again.
    Strobe {
        fault: usize,
        forth: bool,
    },
}

/// Whom a fault that has begun is for.
struct Underway {
    machines: Vec<Machine>,
    /// Directed links.
    links: BTreeSet<(Machine, Machine)>,
}

/// What a link is like where nothing goes wrong.
pub(crate) fn quiet_link(model: Model) -> LinkModel {
    let (delay_min, delay_max) = match model.timing {
        Timing::Synchronous | Timing::PartiallySynchronous => (100, 500),
        Timing::Asynchronous => (100, 20_000),
    };
    LinkModel {
        delay_min: Duration::from_micros(delay_min),
        delay_max: Duration::from_micros(delay_max),
        ..LinkModel::default()
    }
}

impl Faults {
    pub(crate) fn new(scenario: &Scenario, nemesis: Nemesis) -> Self {
        let mut faults = Self {
            scenario: scenario.clone(),
            nemesis,
            steps: BTreeMap::new(),
            planned: 0,
            underway: BTreeMap::new(),
        };
        for (index, fault) in scenario.faults.iter().enumerate() {
            faults.plan(fault.at, Step::Begin(index));
        }
        faults
    }

    fn plan(&mut self, at: Duration, step: Step) {
        self.steps.insert((at, self.planned), step);
        self.planned += 1;
    }

    /// When something is to happen next.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.steps.keys().next().map(|(at, _)| *at)
    }

    /// Does all that is due.
    pub(crate) fn advance(&mut self, now: Duration, cluster: &mut Cluster, record: &Record) {
        while let Some(entry) = self.steps.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Step::Begin(fault) => self.begin(now, fault, cluster, record),
                Step::End(fault) => self.end(fault, cluster, record),
                Step::Strobe { fault, forth } => self.strobe(now, fault, forth),
            }
        }
    }

    /// Ends all that can end, and forgets what has not begun.
    pub(crate) fn heal(&mut self, cluster: &mut Cluster, record: &Record) {
        self.steps.clear();
        let underway: Vec<_> = self.underway.keys().copied().collect();
        for fault in underway {
            if !self.is_for_good(fault) {
                self.end(fault, cluster, record);
            }
        }
    }

    /// A member that crashed stays away where members are said to crash for good.
    fn is_for_good(&self, fault: usize) -> bool {
        let stops = match self.scenario.faults[fault].effect {
            Effect::Process { effect, .. } => matches!(
                effect,
                ProcessEffect::Kill | ProcessEffect::Crash { .. } | ProcessEffect::Reformat
            ),
            Effect::Link { .. } | Effect::Disk { .. } | Effect::Clock { .. } => false,
        };
        stops && self.scenario.model.failure == FailureModel::CrashStop
    }

    fn begin(&mut self, now: Duration, index: usize, cluster: &mut Cluster, record: &Record) {
        let fault = self.scenario.faults[index].clone();
        let underway = resolve(&fault.effect, cluster);
        if underway.machines.is_empty() {
            return;
        }
        let machines = underway.machines.clone();
        record.tell(|| Sight::FaultBegan {
            fault: index,
            machines: machines.clone(),
        });
        let links = underway.links.clone();
        self.underway.insert(index, underway);
        match fault.effect {
            Effect::Process { effect, .. } => {
                for machine in machines {
                    let bit = self.begin_process(effect, machine, cluster);
                    record.bite(fault.effect.name(), bit.into());
                }
            }
            Effect::Link { effect, .. } => {
                links.iter().for_each(|link| self.set_link(*link));
                if let LinkEffect::Delay { .. } = effect {
                    record.bite(fault.effect.name(), 1);
                }
            }
            Effect::Disk { effect, .. } => {
                let until = fault.lasts.map_or(self.scenario.run, |lasts| now + lasts);
                for machine in machines {
                    let lasts = until.saturating_sub(now);
                    let bit = self.begin_disk(effect, machine, lasts, cluster);
                    record.bite(fault.effect.name(), bit.into());
                }
            }
            Effect::Clock { effect, .. } => {
                for machine in machines {
                    let bit = self.begin_clock(effect, machine);
                    record.bite(fault.effect.name(), bit.into());
                }
                if let ClockEffect::Strobe { .. } = effect {
                    let forth = true;
                    self.plan(
                        now,
                        Step::Strobe {
                            fault: index,
                            forth,
                        },
                    );
                }
            }
        }
        if let Some(lasts) = fault.lasts
            && !self.is_for_good(index)
        {
            self.plan(now + lasts, Step::End(index));
        }
    }

    fn end(&mut self, index: usize, cluster: &mut Cluster, record: &Record) {
        let Some(Underway { machines, links }) = self.underway.remove(&index) else {
            return;
        };
        record.tell(|| Sight::FaultEnded { fault: index });
        match self.scenario.faults[index].effect {
            Effect::Process { effect, .. } => {
                for machine in machines {
                    self.end_process(effect, machine, cluster);
                }
            }
            Effect::Link { .. } => links.iter().for_each(|link| self.set_link(*link)),
            Effect::Disk { effect, .. } => {
                for machine in machines {
                    self.end_disk(effect, machine);
                }
            }
            Effect::Clock { .. } => {
                for machine in machines {
                    self.set_rates(machine);
                }
            }
        }
    }

    /// True if that is all it takes to bite; how often the other faults bite, the world counts.
    fn begin_process(
        &self,
        effect: ProcessEffect,
        machine: Machine,
        cluster: &mut Cluster,
    ) -> bool {
        let id = machine.id();
        let was_up = self.nemesis.is_up(id);
        match effect {
            ProcessEffect::Pause => {
                cluster.pause(machine);
                return false;
            }
            ProcessEffect::Freeze => {
                cluster.freeze(machine);
                return false;
            }
            ProcessEffect::Kill => {
                cluster.hold_down(machine);
                self.nemesis.kill(id);
            }
            ProcessEffect::Crash { disk_operation } => {
                cluster.hold_down(machine);
                match disk_operation {
                    0 => self.nemesis.crash(id),
                    ops => self.nemesis.crash_at_disk_op(id, ops.into()),
                }
            }
            ProcessEffect::Restart => {
                cluster.start_at_once(machine);
                self.nemesis.kill(id);
            }
            ProcessEffect::Reformat => {
                cluster.hold_down(machine);
                cluster.reformatted(machine);
                self.nemesis.reformat(id);
            }
        }
        was_up
    }

    fn end_process(&self, effect: ProcessEffect, machine: Machine, cluster: &mut Cluster) {
        match effect {
            ProcessEffect::Kill | ProcessEffect::Crash { .. } | ProcessEffect::Reformat => {
                cluster.let_up(machine);
            }
            ProcessEffect::Pause => cluster.resume(machine),
            ProcessEffect::Freeze => cluster.thaw(machine),
            ProcessEffect::Restart => {}
        }
    }

    /// As [`Faults::begin_process`].
    fn begin_disk(
        &self,
        effect: DiskEffect,
        machine: Machine,
        lasts: Duration,
        cluster: &mut Cluster,
    ) -> bool {
        let (nemesis, id) = (&self.nemesis, machine.id());
        match effect {
            DiskEffect::Stall => nemesis.stall_disk(id, lasts),
            DiskEffect::Full { .. } => self.set_room(machine),
            DiskEffect::Error { operation, .. } => {
                self.set_disk_errors(machine, operation);
            }
            DiskEffect::Rot {
                file,
                position_ppm,
                mask,
            } => {
                let files = nemesis.files(id);
                let Some(choice) = (file as usize).checked_rem(files.len()) else {
                    return false;
                };
                let (path, _) = &files[choice];
                let bytes = nemesis.written_bytes(id, path);
                let offset = bytes * u64::from(position_ppm.min(999_999)) / 1_000_000;
                if nemesis.rot(id, path, offset, mask) {
                    cluster.damaged(machine);
                }
            }
        }
        false
    }

    fn end_disk(&self, effect: DiskEffect, machine: Machine) {
        match effect {
            DiskEffect::Full { .. } => self.set_room(machine),
            DiskEffect::Error { operation, .. } => self.set_disk_errors(machine, operation),
            // A stall was given its end when it began.
            DiskEffect::Stall | DiskEffect::Rot { .. } => {}
        }
    }

    /// As [`Faults::begin_process`].
    fn begin_clock(&self, effect: ClockEffect, machine: Machine) -> bool {
        let (nemesis, id) = (&self.nemesis, machine.id());
        match effect {
            ClockEffect::Rate { .. } => {
                self.set_rates(machine);
                return false;
            }
            ClockEffect::Step { by_ms } => nemesis.step_wall(id, by_ms),
            ClockEffect::Jump { ahead } => nemesis.jump_clock(id, ahead),
            ClockEffect::Leap => nemesis.leap_second(id),
            ClockEffect::Strobe { .. } => {}
        }
        true
    }

    fn strobe(&mut self, now: Duration, index: usize, forth: bool) {
        let Effect::Clock {
            effect: ClockEffect::Strobe { by_ms, period },
            ..
        } = self.scenario.faults[index].effect
        else {
            return;
        };
        let Some(underway) = self.underway.get(&index) else {
            return;
        };
        for machine in &underway.machines {
            let by_ms = if forth { by_ms } else { -by_ms };
            self.nemesis.step_wall(machine.id(), by_ms);
        }
        let next = now + period.max(Duration::from_millis(1));
        let forth = !forth;
        self.plan(
            next,
            Step::Strobe {
                fault: index,
                forth,
            },
        );
    }

    /// How often the world says that faults of this scenario bit.
    pub(crate) fn bitten(&self, world: &synod_env::sim::Faults) -> Vec<(&'static str, u64)> {
        let mut bitten = BTreeMap::new();
        for fault in &self.scenario.faults {
            let times = match fault.effect {
                Effect::Process { effect, .. } => match effect {
                    ProcessEffect::Pause => world.runs_paused,
                    ProcessEffect::Freeze => world.runs_frozen,
                    ProcessEffect::Kill
                    | ProcessEffect::Crash { .. }
                    | ProcessEffect::Restart
                    | ProcessEffect::Reformat => 0,
                },
                Effect::Link { effect, .. } => match effect {
                    LinkEffect::Cut => world.messages_cut,
                    LinkEffect::Loss { .. } => world.messages_lost,
                    LinkEffect::Duplicate { .. } => world.messages_duplicated,
                    LinkEffect::Reorder { .. } => world.messages_reordered,
                    LinkEffect::Corrupt { .. } => world.messages_altered,
                    LinkEffect::Slow { .. } => world.messages_slowed,
                    LinkEffect::Delay { .. } => 0,
                },
                Effect::Disk { effect, .. } => match effect {
                    DiskEffect::Stall => world.disk_stalls,
                    DiskEffect::Full { .. } => world.disk_full,
                    DiskEffect::Error { .. } => {
                        world.read_errors + world.write_errors + world.sync_errors
                    }
                    DiskEffect::Rot { .. } => world.rotten_bytes_read,
                },
                Effect::Clock { effect, .. } => match effect {
                    ClockEffect::Rate { .. } => world.timers_skewed,
                    ClockEffect::Step { .. }
                    | ClockEffect::Jump { .. }
                    | ClockEffect::Strobe { .. }
                    | ClockEffect::Leap => 0,
                },
            };
            bitten.insert(fault.effect.name(), times);
        }
        bitten.into_iter().collect()
    }

    // What holds while several faults are under way.

    fn effects_on(&self, machine: Machine) -> impl Iterator<Item = &Effect> {
        let on = move |underway: &Underway| underway.machines.contains(&machine);
        let underway = self.underway.iter().filter(move |(_, u)| on(u));
        underway.map(|(index, _)| &self.scenario.faults[*index].effect)
    }

    /// Everything that goes wrong on a link adds up.
    fn set_link(&self, link: (Machine, Machine)) {
        let mut model = quiet_link(self.scenario.model);
        for (index, underway) in &self.underway {
            if !underway.links.contains(&link) {
                continue;
            }
            let Effect::Link { effect, .. } = &self.scenario.faults[*index].effect else {
                continue;
            };
            match *effect {
                LinkEffect::Cut => model.cut = true,
                LinkEffect::Delay { min, max } => {
                    model.delay_min = model.delay_min.max(min);
                    model.delay_max = model.delay_max.max(max).max(model.delay_min);
                }
                LinkEffect::Loss { ppm } => model.loss_ppm = model.loss_ppm.max(ppm),
                LinkEffect::Duplicate { ppm } => {
                    model.duplicate_ppm = model.duplicate_ppm.max(ppm);
                }
                LinkEffect::Reorder { ppm } => model.reorder_ppm = model.reorder_ppm.max(ppm),
                LinkEffect::Corrupt { ppm } => model.alter_ppm = model.alter_ppm.max(ppm),
                LinkEffect::Slow { bytes_per_s } => {
                    let least = model.bytes_per_second.unwrap_or(u64::MAX);
                    model.bytes_per_second = Some(least.min(bytes_per_s));
                }
            }
        }
        self.nemesis.set_link(link.0.id(), link.1.id(), model);
    }

    /// The rate of the fault that began last counts.
    fn set_rates(&self, machine: Machine) {
        let mut rates = ClockRates::default();
        for effect in self.effects_on(machine) {
            if let Effect::Clock {
                effect:
                    ClockEffect::Rate {
                        boot_ppm,
                        raw_ppm,
                        wall_ppm,
                    },
                ..
            } = effect
            {
                rates = ClockRates {
                    boot_ppm: i64::from(*boot_ppm),
                    raw_ppm: i64::from(*raw_ppm),
                    wall_ppm: i64::from(*wall_ppm),
                };
            }
        }
        self.nemesis.set_clock_rates(machine.id(), rates);
    }

    /// The least room counts, from what the disk holds now.
    fn set_room(&self, machine: Machine) {
        let mut room = None;
        for effect in self.effects_on(machine) {
            if let Effect::Disk {
                effect: DiskEffect::Full { room_bytes },
                ..
            } = effect
            {
                room = Some(room.map_or(*room_bytes, |least: u64| least.min(*room_bytes)));
            }
        }
        let id = machine.id();
        let capacity = room.map_or(u64::MAX, |room| {
            let used: u64 = self.nemesis.files(id).iter().map(|(_, bytes)| bytes).sum();
            used.saturating_add(room)
        });
        self.nemesis.set_disk_capacity(id, capacity);
    }

    /// The highest probability counts.
    fn set_disk_errors(&self, machine: Machine, operation: DiskOperation) {
        let mut most = 0;
        for effect in self.effects_on(machine) {
            if let Effect::Disk {
                effect: DiskEffect::Error { operation: of, ppm },
                ..
            } = effect
                && *of == operation
            {
                most = most.max(*ppm);
            }
        }
        let op = match operation {
            DiskOperation::Read => DiskOp::Read,
            DiskOperation::Write => DiskOp::Write,
            DiskOperation::Sync => DiskOp::Sync,
        };
        self.nemesis.set_disk_errors(machine.id(), op, most);
    }
}

// Whom a fault is for.

fn resolve(effect: &Effect, cluster: &Cluster) -> Underway {
    match effect {
        Effect::Process { who, .. } | Effect::Disk { who, .. } | Effect::Clock { who, .. } => {
            Underway {
                machines: machines(&[*who], &[], cluster),
                links: BTreeSet::new(),
            }
        }
        Effect::Link { link, .. } => resolve_link(link, cluster),
    }
}

fn resolve_link(link: &Link, cluster: &Cluster) -> Underway {
    let named = |side: &[Who]| {
        let named = side.iter().filter(|who| !matches!(who, Who::OtherMembers));
        machines(&named.copied().collect::<Vec<_>>(), &[], cluster)
    };
    let from = machines(&link.from, &named(&link.to), cluster);
    let to = machines(&link.to, &named(&link.from), cluster);
    let mut links = BTreeSet::new();
    for from in &from {
        for to in to.iter().filter(|to| *to != from) {
            links.insert((*from, *to));
            if !link.one_way {
                links.insert((*to, *from));
            }
        }
    }
    let ends = links.iter().flat_map(|(from, to)| [*from, *to]);
    let machines: BTreeSet<_> = ends.collect();
    Underway {
        machines: machines.into_iter().collect(),
        links,
    }
}

/// The machines that are meant, each once, in order. `others` are what the other side names.
fn machines(whose: &[Who], others: &[Machine], cluster: &Cluster) -> Vec<Machine> {
    let mut meant = BTreeSet::new();
    for who in whose {
        match who {
            Who::Member(number) => {
                if cluster.members().any(|member| member == *number) {
                    meant.insert(Machine::Member(*number));
                }
            }
            Who::Leader => meant.extend(cluster.leader().map(Machine::Member)),
            Who::Follower => meant.extend(cluster.follower().map(Machine::Member)),
            Who::OtherMembers => {
                let members = cluster.members().map(Machine::Member);
                meant.extend(members.filter(|member| !others.contains(member)));
            }
            Who::Client(number) => {
                if *number < cluster.clients() {
                    meant.insert(Machine::Client(*number));
                }
            }
            Who::Clients => meant.extend((0..cluster.clients()).map(Machine::Client)),
        }
    }
    meant.into_iter().collect()
}
