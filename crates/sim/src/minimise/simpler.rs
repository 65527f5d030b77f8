//! What can be taken away from a scenario, and what can be made simpler.

use super::search::Search;
use crate::Scenario;
use crate::scenario::{
    ClockEffect, DiskEffect, Effect, FailureModel, Fault, LinkEffect, Model, ProcessEffect, Timing,
    Who,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Tries everything once, what saves most first.
pub(super) fn round(search: &mut Search<'_>) {
    search.step("faults");
    let faults = search.best().faults.clone();
    search.reduce(faults, |best, faults| Scenario {
        faults: faults.to_vec(),
        ..best.clone()
    });
    search.step("duration");
    shorter(search);
    search.step("clients");
    let kept = kept(search.best());
    let clients: BTreeSet<u32> = kept.iter().map(|(_, client)| *client).collect();
    search.reduce(clients.into_iter().collect(), |best, clients| {
        let kept: Vec<(u32, u32)> = self::kept(best);
        let some = kept.into_iter().filter(|(_, it)| clients.contains(it));
        with_operations(best, &some.collect::<Vec<_>>())
    });
    search.step("operations");
    let kept = self::kept(search.best());
    search.reduce(kept, with_operations);
    search.step("members");
    for members in [1, 3] {
        if members < search.best().members {
            search.offer(with_members(search.best(), members));
        }
    }
    search.step("limits");
    let limits = search.best().limits.clone();
    search.reduce(limits.into_iter().collect(), |best, limits| Scenario {
        limits: limits.iter().copied().collect(),
        ..best.clone()
    });
    search.step("values");
    plainer(search);
}

/// The operations that are not left out, as (number, client), the first of all clients first: so
/// a piece of the list is a piece of the run.
pub(super) fn kept(scenario: &Scenario) -> Vec<(u32, u32)> {
    let mut kept = Vec::new();
    for (client, plan) in (0_u32..).zip(&scenario.workload.clients) {
        let operations = 0..plan.operations;
        let operations = operations.filter(|operation| !plan.skips(*operation));
        kept.extend(operations.map(|operation| (operation, client)));
    }
    kept.sort_unstable();
    kept
}

/// With these operations only. A client keeps its number, since what it does depends on it; those
/// behind the last that does anything go away, and faults that name them.
fn with_operations(scenario: &Scenario, kept: &[(u32, u32)]) -> Scenario {
    let mut smaller = scenario.clone();
    for (client, plan) in (0_u32..).zip(&mut smaller.workload.clients) {
        let own = kept.iter().filter(|(_, it)| *it == client);
        let mut own: Vec<u32> = own.map(|(operation, _)| *operation).collect();
        own.sort_unstable();
        let mut next = 0;
        plan.skip.clear();
        for operation in own {
            push_range(&mut plan.skip, next..operation);
            next = operation + 1;
        }
        plan.operations = next;
        if next == 0 {
            plan.pace = Duration::ZERO;
        }
    }
    let clients = &mut smaller.workload.clients;
    while clients.last().is_some_and(|plan| plan.operations == 0) {
        clients.pop();
    }
    let clients = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    let gone = |who: Who| match who {
        Who::Client(number) => number >= clients,
        Who::Member(_) | Who::Leader | Who::Follower | Who::OtherMembers | Who::Clients => false,
    };
    smaller.faults.retain_mut(|fault| without(fault, gone));
    smaller
}

fn push_range(ranges: &mut Vec<Range<u32>>, range: Range<u32>) {
    if !range.is_empty() {
        ranges.push(range);
    }
}

/// With fewer members: faults of those that are gone happen to those that are left.
fn with_members(scenario: &Scenario, members: u32) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.members = members;
    let left = |who: &mut Who| match who {
        Who::Member(number) => *number = (*number - 1) % members + 1,
        Who::Client(_) | Who::Leader | Who::Follower | Who::OtherMembers | Who::Clients => {}
    };
    for fault in &mut smaller.faults {
        match &mut fault.effect {
            Effect::Process { who, .. } | Effect::Disk { who, .. } | Effect::Clock { who, .. } => {
                left(who);
            }
            Effect::Link { link, .. } => {
                for side in [&mut link.from, &mut link.to] {
                    side.iter_mut().for_each(left);
                    side.sort_unstable();
                    side.dedup();
                }
            }
        }
    }
    smaller
}

/// Takes machines out of a fault; false if nobody is left in it.
fn without(fault: &mut Fault, gone: impl Fn(Who) -> bool) -> bool {
    match &mut fault.effect {
        Effect::Process { who, .. } | Effect::Disk { who, .. } | Effect::Clock { who, .. } => {
            !gone(*who)
        }
        Effect::Link { link, .. } => {
            link.from.retain(|who| !gone(*who));
            link.to.retain(|who| !gone(*who));
            !link.from.is_empty() && !link.to.is_empty()
        }
    }
}

/// Lets everything heal as early as possible, by halves, and lets go of what would begin later.
fn shorter(search: &mut Search<'_>) {
    // Members need as long to begin; what is shorter means nothing to a person.
    let mut low = Duration::from_millis(100);
    for _ in 0..6 {
        let high = search.best().run.max(low);
        let middle = rounded(low + (high - low) / 2);
        if middle <= low || middle >= high {
            return;
        }
        let mut candidate = search.best().clone();
        candidate.run = middle;
        candidate.faults.retain(|fault| fault.at < middle);
        if !search.offer(candidate) {
            low = middle;
        }
    }
}

/// To two digits, so that a person can say it.
fn rounded(time: Duration) -> Duration {
    rounded_below(time, 100)
}

/// To its first digits, which as a number are below `bound`.
fn rounded_below(time: Duration, bound: u64) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut step = 1;
    while nanos / step >= bound {
        step *= 10;
    }
    Duration::from_nanos(nanos / step * step)
}

/// Rounds what is left, and turns what is special into what is usual.
fn plainer(search: &mut Search<'_>) {
    let mut candidate = search.best().clone();
    candidate.model = Model {
        timing: Timing::PartiallySynchronous,
        failure: FailureModel::CrashRecovery,
    };
    search.offer(candidate);
    // All times at once if that works, else one by one.
    for bound in [10, 100] {
        let mut candidate = search.best().clone();
        for plan in &mut candidate.workload.clients {
            plan.pace = rounded_below(plan.pace, bound);
        }
        search.offer(candidate);
        let mut candidate = search.best().clone();
        for fault in &mut candidate.faults {
            round_times(fault, bound);
        }
        search.offer(candidate);
    }
    for place in 0..search.best().faults.len() {
        for simpler in simpler_faults(&search.best().faults[place]) {
            let mut candidate = search.best().clone();
            candidate.faults[place] = simpler;
            search.offer(candidate);
        }
    }
}

fn round_times(fault: &mut Fault, bound: u64) {
    fault.at = rounded_below(fault.at, bound);
    fault.lasts = fault.lasts.map(|lasts| rounded_below(lasts, bound));
}

/// What may stand in a fault's place, the simplest first.
fn simpler_faults(fault: &Fault) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(lasts) = fault.lasts {
        for shorter in [lasts / 10, lasts / 2] {
            if shorter >= Duration::from_millis(1) {
                faults.push(Fault {
                    lasts: Some(rounded(shorter)),
                    ..fault.clone()
                });
            }
        }
    }
    for bound in [10, 100] {
        let mut round = fault.clone();
        round_times(&mut round, bound);
        faults.push(round);
    }
    let effects = simpler_effects(&fault.effect).into_iter();
    faults.extend(effects.map(|effect| Fault {
        effect,
        ..fault.clone()
    }));
    faults
}

fn simpler_effects(effect: &Effect) -> Vec<Effect> {
    match effect {
        Effect::Process { who, effect } => match effect {
            ProcessEffect::Crash { disk_operation } if *disk_operation > 0 => {
                let effect = ProcessEffect::Crash { disk_operation: 0 };
                vec![Effect::Process { who: *who, effect }]
            }
            ProcessEffect::Crash { .. }
            | ProcessEffect::Kill
            | ProcessEffect::Pause
            | ProcessEffect::Freeze
            | ProcessEffect::Restart
            | ProcessEffect::Reformat => Vec::new(),
        },
        Effect::Link { link, effect } => {
            let simpler = simpler_link(*effect).map(|effect| Effect::Link {
                link: link.clone(),
                effect,
            });
            let mut effects: Vec<Effect> = simpler.into_iter().collect();
            let whole = |from: Vec<Who>, to: Vec<Who>| {
                let mut link = link.clone();
                (link.from, link.to) = (from, to);
                Effect::Link {
                    link,
                    effect: *effect,
                }
            };
            for (place, _) in link.from.iter().enumerate().filter(|_| link.from.len() > 1) {
                let mut from = link.from.clone();
                from.remove(place);
                effects.push(whole(from, link.to.clone()));
            }
            for (place, _) in link.to.iter().enumerate().filter(|_| link.to.len() > 1) {
                let mut to = link.to.clone();
                to.remove(place);
                effects.push(whole(link.from.clone(), to));
            }
            effects
        }
        Effect::Disk { who, effect } => {
            let simpler = match *effect {
                DiskEffect::Error { operation, ppm } => Some(DiskEffect::Error {
                    operation,
                    ppm: rounded_ppm(ppm),
                }),
                DiskEffect::Full { room_bytes } => {
                    (room_bytes > 0).then_some(DiskEffect::Full { room_bytes: 0 })
                }
                DiskEffect::Stall | DiskEffect::Rot { .. } => None,
            };
            let with = |effect| Effect::Disk { who: *who, effect };
            simpler.map(with).into_iter().collect()
        }
        Effect::Clock { who, effect } => {
            let with = |effect| Effect::Clock { who: *who, effect };
            simpler_clock(*effect).into_iter().map(with).collect()
        }
    }
}

/// A share that a person can say: whole percents, or all.
fn rounded_ppm(ppm: u32) -> u32 {
    if ppm > 10_000 {
        ppm / 10_000 * 10_000
    } else {
        ppm
    }
}

fn simpler_link(effect: LinkEffect) -> Option<LinkEffect> {
    match effect {
        LinkEffect::Cut => None,
        LinkEffect::Delay { min, max } => Some(LinkEffect::Delay {
            min: rounded(min),
            max: rounded(max),
        }),
        LinkEffect::Loss { ppm } => Some(LinkEffect::Loss {
            ppm: rounded_ppm(ppm),
        }),
        LinkEffect::Duplicate { ppm } => Some(LinkEffect::Duplicate {
            ppm: rounded_ppm(ppm),
        }),
        LinkEffect::Reorder { ppm } => Some(LinkEffect::Reorder {
            ppm: rounded_ppm(ppm),
        }),
        LinkEffect::Corrupt { ppm } => Some(LinkEffect::Corrupt {
            ppm: rounded_ppm(ppm),
        }),
        LinkEffect::Slow { bytes_per_s } => {
            let bytes_per_s = if bytes_per_s > 1_000 {
                bytes_per_s / 1_000 * 1_000
            } else {
                bytes_per_s
            };
            Some(LinkEffect::Slow { bytes_per_s })
        }
    }
}

fn simpler_clock(effect: ClockEffect) -> Vec<ClockEffect> {
    match effect {
        ClockEffect::Rate {
            boot_ppm,
            raw_ppm,
            wall_ppm,
        } => {
            let rate = |boot_ppm, raw_ppm, wall_ppm| ClockEffect::Rate {
                boot_ppm,
                raw_ppm,
                wall_ppm,
            };
            let round = |ppm: i32| {
                if ppm.abs() > 10_000 {
                    ppm / 10_000 * 10_000
                } else {
                    ppm
                }
            };
            vec![
                rate(boot_ppm, 0, 0),
                rate(0, raw_ppm, 0),
                rate(0, 0, wall_ppm),
                rate(round(boot_ppm), round(raw_ppm), round(wall_ppm)),
            ]
        }
        ClockEffect::Step { by_ms } => {
            let by_ms = if by_ms.abs() > 1_000 {
                by_ms / 1_000 * 1_000
            } else {
                by_ms
            };
            vec![ClockEffect::Step { by_ms }]
        }
        ClockEffect::Jump { ahead } => vec![ClockEffect::Jump {
            ahead: rounded(ahead),
        }],
        ClockEffect::Strobe { by_ms, period } => vec![ClockEffect::Strobe {
            by_ms: if by_ms.abs() > 1_000 {
                by_ms / 1_000 * 1_000
            } else {
                by_ms
            },
            period: rounded(period),
        }],
        ClockEffect::Leap => Vec::new(),
    }
}
