//! Scenarios drawn at random.
//!
//! Each seed leaves most faults out and has the others more often: what many mild faults at a time
//! would drown shows up alone (Groce et al., *Swarm Testing*, ISSTA 2012). Some seeds add a storm,
//! in which faults meet. Faults and sizes are drawn from one stream, the workload from another.

mod storm;

use super::{
    ClientKind, ClientPlan, ClockEffect, DiskEffect, DiskOperation, Effect, Expect, FailureModel,
    Fault, Limit, Link, LinkEffect, Model, Ppm, ProcessEffect, Scenario, Timing, Who, Workload,
};
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::Prng;

/// Least operations of a scenario's clients.
const OPERATIONS_MIN: u64 = 2_000;

impl Scenario {
    /// The scenario of a seed, for so many members. It is a function of both.
    #[must_use]
    pub fn from_seed(seed: u64, members: u32) -> Self {
        let mut prng = Prng::new(seed ^ u64::from(members).rotate_right(8)).fork();
        let schedule = prng.next_u64();
        let workload = workload(&mut prng.fork());
        let mut draw = Draw::new(prng, members);
        let faults = draw.faults();
        Self {
            name: format!("seed {seed}"),
            seed: schedule,
            members,
            model: draw.model,
            limits: limits(&mut draw.prng),
            workload,
            faults,
            run: draw.run,
            expect: Expect::default(),
        }
    }
}

fn workload(prng: &mut Prng) -> Workload {
    let seed = prng.next_u64();
    let clients = 4 + prng.below(21);
    // Of kinds too, each seed leaves some out.
    let kinds: Vec<_> = ClientKind::ALL
        .into_iter()
        .filter(|_| prng.chance(1, 2))
        .collect();
    let operations = OPERATIONS_MIN.div_ceil(clients) + prng.below(40);
    let plan = |_| {
        let kind = match pick(prng, &kinds) {
            Some(kind) => *kind,
            None => ClientKind::Registers,
        };
        // Some clients ask as fast as they can, others spread what they ask over the run.
        let pace_us = if prng.chance(1, 3) {
            0
        } else {
            prng.below(40_000)
        };
        ClientPlan {
            kind,
            operations: u32::try_from(operations).expect("operations are few"),
            skip: Vec::new(),
            pace: Duration::from_micros(pace_us),
        }
    };
    Workload {
        seed,
        clients: (0..clients).map(plan).collect(),
    }
}

fn pick<'a, T>(prng: &mut Prng, among: &'a [T]) -> Option<&'a T> {
    let bound = u64::try_from(among.len()).ok().filter(|bound| *bound > 0)?;
    let place = usize::try_from(prng.below(bound)).ok()?;
    among.get(place)
}

fn limits(prng: &mut Prng) -> BTreeMap<Limit, u64> {
    let mut limits = BTreeMap::new();
    // Only where segments are small and given up soon are they used again within a run.
    let has_small_log = prng.chance(1, 4);
    for limit in Limit::ALL {
        let is_of_log = matches!(limit, Limit::LogKeepBytes | Limit::LogSegmentBytes);
        if !(is_of_log && has_small_log) && prng.chance(3, 4) {
            continue;
        }
        let few = 1 + prng.below(3);
        let some = 1 + prng.below(1_000);
        let value = match limit {
            Limit::ProposalsWaiting
            | Limit::BatchCommands
            | Limit::BatchesInflight
            | Limit::CompactionBatch
            | Limit::WatchReplayRevisions
            | Limit::LeaseExpireBatch => few,
            Limit::BatchBytes
            | Limit::WatchStreamBytes
            | Limit::WatchResponseBytes
            | Limit::LogKeepBytes
            | Limit::SnapshotChunkBytes => some,
            Limit::RequestBytes => (8 << 10) + some,
            Limit::LogSegmentBytes => (64 << 10) * few,
            // Rarely so little that writes are refused before the end.
            Limit::StateBytes if few == 1 => 300 * some.max(300),
            Limit::StateBytes => 64 << 20,
            Limit::HistoryKeepMs => 1_000 + 10 * some,
        };
        limits.insert(limit, value);
    }
    limits
}

/// What faults are drawn from.
struct Draw {
    prng: Prng,
    members: u32,
    model: Model,
    run: Duration,
    /// Those whose disk may be damaged, or who may stop for good: never a majority.
    expendable: Vec<u32>,
}

/// Families of faults; each seed has some of them.
#[derive(Clone, Copy, Debug)]
enum Family {
    Crash,
    PowerLoss,
    Restarts,
    Pause,
    Isolate,
    Halves,
    Partial,
    Flap,
    ClientCut,
    Lossy,
    Corrupt,
    Slow,
    Disk,
    Damage,
    Clock,
    Client,
}

impl Family {
    /// What may go wrong in a model, apart from damage to disks.
    fn of(model: Model, members: u32) -> Vec<Self> {
        let mut families = vec![Self::Disk, Self::Clock, Self::Client, Self::ClientCut];
        match model.failure {
            FailureModel::CrashStop => families.extend([Self::Crash]),
            FailureModel::CrashRecovery => {
                families.extend([Self::Crash, Self::Crash, Self::PowerLoss, Self::Restarts]);
            }
            FailureModel::Omission => families.extend([Self::Lossy, Self::Lossy]),
            FailureModel::Byzantine => families.extend([Self::Corrupt, Self::Corrupt]),
        }
        match model.timing {
            Timing::Synchronous => {}
            Timing::PartiallySynchronous | Timing::Asynchronous => {
                families.extend([Self::Pause, Self::Lossy, Self::Slow, Self::Corrupt]);
                if members > 1 {
                    families.extend([Self::Isolate, Self::Halves, Self::Partial, Self::Flap]);
                }
            }
        }
        if members > 1 && model.failure != FailureModel::Omission {
            families.push(Self::Damage);
        }
        families
    }
}

impl Draw {
    fn new(mut prng: Prng, members: u32) -> Self {
        let timing = match prng.below(10) {
            0..7 => Timing::PartiallySynchronous,
            7..9 => Timing::Synchronous,
            _ => Timing::Asynchronous,
        };
        let failure = match prng.below(10) {
            0..6 => FailureModel::CrashRecovery,
            6..8 => FailureModel::Omission,
            8 if members > 1 => FailureModel::CrashStop,
            9 if members > 1 => FailureModel::Byzantine,
            _ => FailureModel::CrashRecovery,
        };
        let mut expendable: Vec<u32> = (1..=members).collect();
        while expendable.len() > (members as usize - 1) / 2 {
            let drawn = prng.below(u64::try_from(expendable.len()).expect("few"));
            expendable.remove(usize::try_from(drawn).expect("few"));
        }
        let run = Duration::from_millis(3_000 + prng.below(6_000));
        Self {
            model: Model { timing, failure },
            prng,
            members,
            run,
            expendable,
        }
    }

    fn faults(&mut self) -> Vec<Fault> {
        let all = Family::of(self.model, self.members);
        let mut families: Vec<_> = all
            .iter()
            .copied()
            .filter(|_| self.prng.chance(1, 3))
            .collect();
        while families.len() < 2 {
            families.extend(pick(&mut self.prng, &all));
        }
        let mut faults = Vec::new();
        for _ in 0..2 + self.prng.below(7) {
            if let Some(family) = pick(&mut self.prng, &families) {
                self.family(*family, &mut faults);
            }
        }
        if self.prng.chance(1, 2) {
            self.storm(&mut faults);
        }
        while faults.len() < 4 {
            self.family(Family::Clock, &mut faults);
            if let Some(family) = pick(&mut self.prng, &families) {
                self.family(*family, &mut faults);
            }
        }
        faults
    }

    /// Draws faults of one family that belong together.
    fn family(&mut self, family: Family, faults: &mut Vec<Fault>) {
        let at = self.millis(200, self.run.as_millis() * 9 / 10);
        let lasts = Some(self.millis(50, 2_500));
        let mut add = |at, lasts, effect| faults.push(Fault { at, lasts, effect });
        match family {
            Family::Crash => {
                let effect = self.crash();
                let who = self.who_stops();
                add(at, lasts, Effect::Process { who, effect });
            }
            Family::PowerLoss => {
                for member in 1..=self.members {
                    let who = Who::Member(member);
                    let effect = self.crash();
                    add(at, lasts, Effect::Process { who, effect });
                }
            }
            Family::Restarts => {
                for number in 0..=self.prng.below(5) {
                    let who = self.member();
                    let effect = ProcessEffect::Restart;
                    let every = Duration::from_millis(number * 300);
                    add(at + every, None, Effect::Process { who, effect });
                }
            }
            Family::Pause => {
                let who = self.member();
                let effect = if self.prng.chance(1, 3) {
                    ProcessEffect::Freeze
                } else {
                    ProcessEffect::Pause
                };
                add(at, lasts, Effect::Process { who, effect });
            }
            Family::Isolate => {
                let link = Link {
                    from: vec![self.member()],
                    to: vec![Who::OtherMembers],
                    one_way: self.prng.chance(1, 3),
                };
                let link = if self.prng.chance(1, 2) {
                    link
                } else {
                    Link {
                        from: link.to,
                        to: link.from,
                        ..link
                    }
                };
                let effect = LinkEffect::Cut;
                add(at, lasts, Effect::Link { link, effect });
            }
            Family::Halves => {
                let (from, to) = self.split();
                let one_way = self.prng.chance(1, 4);
                let link = Link { from, to, one_way };
                let effect = LinkEffect::Cut;
                add(at, lasts, Effect::Link { link, effect });
            }
            Family::Partial => {
                let link = self.pair();
                let effect = LinkEffect::Cut;
                add(at, lasts, Effect::Link { link, effect });
            }
            Family::Flap => {
                let link = self.pair();
                let effect = LinkEffect::Cut;
                let period = self.millis(50, 500);
                for number in 0..5 {
                    let link = link.clone();
                    let at = at + period * number * 2;
                    add(at, Some(period), Effect::Link { link, effect });
                }
            }
            Family::ClientCut => {
                let link = Link {
                    from: vec![Who::Clients],
                    to: vec![self.member()],
                    one_way: self.prng.chance(1, 3),
                };
                let effect = LinkEffect::Cut;
                add(at, lasts, Effect::Link { link, effect });
            }
            Family::Lossy | Family::Corrupt | Family::Slow => {
                let link = self.some_links();
                let effect = self.link_effect(family);
                add(at, lasts, Effect::Link { link, effect });
            }
            Family::Disk => {
                let who = self.member();
                if self.prng.chance(1, 2) {
                    let effect = DiskEffect::Stall;
                    add(at, lasts, Effect::Disk { who, effect });
                } else {
                    // Room is needed rarely, since logs and snapshots take theirs in large pieces.
                    let most = if self.prng.chance(1, 2) { 1 } else { 200_000 };
                    let room_bytes = self.prng.below(most);
                    let effect = DiskEffect::Full { room_bytes };
                    let lasts = if self.prng.chance(1, 2) { None } else { lasts };
                    add(at, lasts, Effect::Disk { who, effect });
                }
            }
            Family::Damage => self.damage(at, lasts, faults),
            Family::Clock => {
                let who = if self.prng.chance(1, 4) {
                    Who::Clients
                } else {
                    self.member()
                };
                let effect = self.clock_effect(who);
                add(at, lasts, Effect::Clock { who, effect });
            }
            Family::Client => {
                let who = Who::Client(u32::try_from(self.prng.below(4)).expect("few"));
                // Not a freeze: whoever holds a lease by a clock that stood still holds it for
                // too long, and no promise covers that.
                let effect = match self.prng.below(2) {
                    0 => ProcessEffect::Kill,
                    _ => ProcessEffect::Pause,
                };
                add(at, lasts, Effect::Process { who, effect });
            }
        }
    }

    fn millis(&mut self, least: u64, most: impl TryInto<u64>) -> Duration {
        let most = most.try_into().unwrap_or(u64::MAX).max(least + 1);
        Duration::from_millis(least + self.prng.below(most - least))
    }

    fn ppm(&mut self, most: Ppm) -> Ppm {
        1_000 + u32::try_from(self.prng.below(most.into())).expect("below 32 bits")
    }

    fn number(&mut self) -> u32 {
        1 + u32::try_from(self.prng.below(self.members.into())).expect("few")
    }

    fn member(&mut self) -> Who {
        match self.prng.below(5) {
            0..2 => Who::Leader,
            2 if self.members > 1 => Who::Follower,
            _ => Who::Member(self.number()),
        }
    }

    /// Who may stop; where members stop for good, a minority.
    fn who_stops(&mut self) -> Who {
        match self.model.failure {
            FailureModel::CrashStop => match pick(&mut self.prng, &self.expendable) {
                Some(member) => Who::Member(*member),
                None => Who::Client(0),
            },
            FailureModel::CrashRecovery | FailureModel::Omission | FailureModel::Byzantine => {
                self.member()
            }
        }
    }

    fn crash(&mut self) -> ProcessEffect {
        match self.prng.below(4) {
            0 => ProcessEffect::Kill,
            1 => ProcessEffect::Crash { disk_operation: 0 },
            _ => ProcessEffect::Crash {
                disk_operation: 1 + u32::try_from(self.prng.below(150)).expect("few"),
            },
        }
    }

    /// Two sides that together are all members.
    fn split(&mut self) -> (Vec<Who>, Vec<Who>) {
        let first = self.number();
        let size = 1 + u32::try_from(self.prng.below((self.members - 1).into())).expect("few");
        let side = |place: u32| Who::Member(1 + (first + place) % self.members);
        let from = (0..size).map(side).collect();
        let to = (size..self.members).map(side).collect();
        (from, to)
    }

    /// Two members, in one direction or both.
    fn pair(&mut self) -> Link {
        let first = self.number();
        let step = 1 + u32::try_from(self.prng.below((self.members - 1).into())).expect("few");
        let second = 1 + (first - 1 + step) % self.members;
        Link {
            from: vec![Who::Member(first)],
            to: vec![Who::Member(second)],
            one_way: self.prng.chance(1, 2),
        }
    }

    /// All links, those of members, those of clients, or those of one member.
    fn some_links(&mut self) -> Link {
        let all = vec![Who::OtherMembers, Who::Clients];
        let (from, to) = match self.prng.below(4) {
            0 => (all.clone(), all),
            1 if self.members > 1 => (vec![Who::OtherMembers], vec![Who::OtherMembers]),
            2 => (vec![Who::Clients], vec![Who::OtherMembers]),
            _ => (vec![self.member()], all),
        };
        let one_way = self.prng.chance(1, 4);
        Link { from, to, one_way }
    }

    fn link_effect(&mut self, family: Family) -> LinkEffect {
        match family {
            Family::Corrupt => LinkEffect::Corrupt {
                ppm: self.ppm(100_000),
            },
            Family::Slow => match self.prng.below(2) {
                0 => LinkEffect::Slow {
                    bytes_per_s: 2_000 + self.prng.below(200_000),
                },
                _ => {
                    let min = self.millis(0, 50);
                    let max = min + self.millis(1, 300);
                    LinkEffect::Delay { min, max }
                }
            },
            Family::Crash
            | Family::PowerLoss
            | Family::Restarts
            | Family::Pause
            | Family::Isolate
            | Family::Halves
            | Family::Partial
            | Family::Flap
            | Family::ClientCut
            | Family::Lossy
            | Family::Disk
            | Family::Damage
            | Family::Clock
            | Family::Client => match self.prng.below(3) {
                0 => LinkEffect::Loss {
                    ppm: self.ppm(250_000),
                },
                1 => LinkEffect::Duplicate {
                    ppm: self.ppm(400_000),
                },
                _ => LinkEffect::Reorder {
                    ppm: self.ppm(400_000),
                },
            },
        }
    }

    fn damage(&mut self, at: Duration, lasts: Option<Duration>, faults: &mut Vec<Fault>) {
        let Some(member) = pick(&mut self.prng, &self.expendable).copied() else {
            return;
        };
        let who = Who::Member(member);
        let mut add = |at, lasts, effect| faults.push(Fault { at, lasts, effect });
        match self.prng.below(4) {
            0 => {
                let effect = ProcessEffect::Reformat;
                add(at, lasts, Effect::Process { who, effect });
            }
            1 => {
                for _ in 0..=self.prng.below(4) {
                    let effect = self.rot();
                    add(at, None, Effect::Disk { who, effect });
                }
                // What is rotten is found when it is read.
                let effect = ProcessEffect::Restart;
                let soon = at + Duration::from_millis(10);
                add(soon, None, Effect::Process { who, effect });
            }
            _ => {
                let operation = match self.prng.below(3) {
                    0 => DiskOperation::Read,
                    1 => DiskOperation::Write,
                    _ => DiskOperation::Sync,
                };
                let most = if self.prng.chance(1, 2) {
                    20_000
                } else {
                    400_000
                };
                let ppm = self.ppm(most);
                let effect = DiskEffect::Error { operation, ppm };
                add(at, lasts, Effect::Disk { who, effect });
                if operation == DiskOperation::Read {
                    // Members read little of their disk but when they start.
                    let effect = ProcessEffect::Restart;
                    let soon = at + Duration::from_millis(10);
                    add(soon, None, Effect::Process { who, effect });
                }
            }
        }
    }

    fn rot(&mut self) -> DiskEffect {
        DiskEffect::Rot {
            file: u32::try_from(self.prng.below(64)).expect("few"),
            position_ppm: u32::try_from(self.prng.below(1_000_000)).expect("few"),
            mask: 1 << self.prng.below(8),
        }
    }

    fn clock_effect(&mut self, who: Who) -> ClockEffect {
        let signed = |prng: &mut Prng, most: u64| {
            let drawn = i64::try_from(prng.below(2 * most + 1)).expect("small");
            drawn - i64::try_from(most).expect("small")
        };
        let ppm = |prng: &mut Prng, most| i32::try_from(signed(prng, most)).expect("small");
        match self.prng.below(5) {
            // Slewed by percents, as a daemon may; the raw clock stays within its promise.
            0..2 => ClockEffect::Rate {
                boot_ppm: ppm(&mut self.prng, 50_000),
                raw_ppm: ppm(&mut self.prng, 190),
                wall_ppm: ppm(&mut self.prng, 100_000),
            },
            2 => ClockEffect::Strobe {
                by_ms: signed(&mut self.prng, 5_000),
                period: self.millis(10, 300),
            },
            3 if matches!(who, Who::Clients) => ClockEffect::Jump {
                ahead: self.millis(1, 5_000),
            },
            3 => ClockEffect::Leap,
            _ => ClockEffect::Step {
                by_ms: signed(&mut self.prng, 86_400_000),
            },
        }
    }
}
