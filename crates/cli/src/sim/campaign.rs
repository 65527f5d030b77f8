//! Many seeds on several threads: each thread runs one world after the other.

use super::failure::{self, Shrinking};
use super::runs::{self, Timed};
use super::stop::Stop;
use crate::exit::Failure;
use crate::outside;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use synod_sim::Scenario;
use synod_sim::coverage::Coverage;

/// Seeds from the first up to and without the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Seeds {
    pub(super) fn one(seed: u64) -> Self {
        Self {
            first: seed,
            end: seed.saturating_add(1),
        }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` are no seeds: write 0..100 for those from 0 to 99");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |it: &str| it.parse::<u64>().map_err(|_| wrong());
        let (first, end) = (number(first)?, number(end)?);
        if first >= end {
            return Err(format!("`{text}` holds no seed: the last is not included"));
        }
        Ok(Self { first, end })
    }
}

/// Which runs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seeds: Seeds,
    pub(super) members: Vec<u32>,
    pub(super) jobs: usize,
    pub(super) keep_going: bool,
    pub(super) shrinking: Shrinking,
}

/// A run that has ended.
pub(super) struct Ended {
    pub(super) scenario: Scenario,
    pub(super) run: Timed,
}

/// Runs what `next` names, by number from 0 on, until it names nothing more or `each` says false.
/// `each` hears of them in the order of their numbers.
pub(super) fn on_threads(
    jobs: usize,
    stop: &Stop,
    next: &(dyn Fn(u64) -> Option<Scenario> + Sync),
    mut each: impl FnMut(Ended) -> bool,
) {
    let taken = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let (ended, arrived) = mpsc::sync_channel(jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let ended = ended.clone();
            let (taken, over) = (&taken, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) && !stop.asked() {
                    let number = taken.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = next(number) else {
                        return;
                    };
                    let run = runs::timed(&scenario, false);
                    if ended.send((number, Ended { scenario, run })).is_err() {
                        return;
                    }
                }
            });
        }
        drop(ended);
        let mut early = BTreeMap::new();
        let mut due = 0;
        let mut go_on = true;
        for (number, run) in arrived {
            early.insert(number, run);
            while let Some(run) = early.remove(&due) {
                due += 1;
                go_on = go_on && each(run);
            }
            if !go_on {
                over.store(true, Ordering::Relaxed);
            }
        }
        // Where a stop came in between, a number may be missing: the rest is heard all the same.
        for run in early.into_values() {
            if go_on {
                go_on = each(run);
            }
        }
    });
}

/// Runs all seeds of the plan with each number of members.
pub(super) fn run(plan: &Plan, stop: &Stop) -> Result<(), Failure> {
    let sizes = plan.members.len() as u64;
    let next = |number: u64| {
        let seed = plan.seeds.first.checked_add(number / sizes)?;
        let members = plan.members[usize::try_from(number % sizes).ok()?];
        (seed < plan.seeds.end).then(|| Scenario::from_seed(seed, members))
    };
    let mut coverage = Coverage::default();
    let mut failures = 0_u64;
    let mut first = None;
    on_threads(plan.jobs, stop, &next, |ended| {
        let Ended { scenario, run } = ended;
        outside::say(runs::line(&scenario, &run));
        coverage.add(scenario.members, &run.report, run.took);
        if !run.report.verdict.passed() {
            failures += 1;
            first.get_or_insert((scenario, run.report));
        }
        first.is_none() || plan.keep_going
    });
    if coverage.runs() > 1 {
        outside::say(format_args!("\n{coverage}"));
    }
    match first {
        Some((scenario, report)) => {
            if failures > 1 {
                let runs = coverage.runs();
                outside::note(format_args!("{failures} of {runs} runs failed; the first:"));
            }
            failure::handle(&scenario, &report, &plan.shrinking, stop)
        }
        None if stop.asked() => Err(Failure::other("stopped; what ran passed")),
        None => Ok(()),
    }
}
