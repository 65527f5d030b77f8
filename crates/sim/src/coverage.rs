//! What many runs have covered, as a report for people: a fault that never bit tested nothing.

use crate::report::{Operations, Report, Verdict};
use crate::scenario::Effect;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A fault that bites in fewer of a hundred runs than this is as good as absent.
const BITES_IN_PERCENT: u64 = 1;

/// Runs of one number of members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Runs {
    passed: u64,
    violations: u64,
    unknown: u64,
    virtual_time: Duration,
    real_time: Duration,
    events: u64,
    operations: Operations,
}

/// How often something happened, and in how many runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    times: u64,
    runs: u64,
}

/// What many runs have covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By number of members.
    runs: BTreeMap<u32, Runs>,
    faults: BTreeMap<&'static str, Count>,
    marks: BTreeMap<&'static str, Count>,
}

impl Coverage {
    /// Adds a run of so many members, which took `real` on one core.
    pub fn add(&mut self, members: u32, report: &Report, real: Duration) {
        let runs = self.runs.entry(members).or_default();
        match report.verdict {
            Verdict::Passed => runs.passed += 1,
            Verdict::Violation { .. } => runs.violations += 1,
            Verdict::Unknown { .. } => runs.unknown += 1,
        }
        runs.virtual_time += report.virtual_time;
        runs.real_time += real;
        runs.events += report.events;
        runs.operations.done += report.operations.done;
        runs.operations.refused += report.operations.refused;
        runs.operations.unknown += report.operations.unknown;
        let count = |counts: &mut BTreeMap<_, Count>, of: &BTreeMap<&'static str, u64>| {
            for (name, times) in of.iter().filter(|(_, times)| **times > 0) {
                let count = counts.entry(*name).or_default();
                count.times += times;
                count.runs += 1;
            }
        };
        count(&mut self.faults, &report.faults_bitten);
        count(&mut self.marks, &report.marks);
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs_of(1)
    }

    /// How many runs there were of at least so many members.
    fn runs_of(&self, members_min: u32) -> u64 {
        let runs = self.runs.range(members_min..).map(|(_, runs)| runs);
        runs.map(|it| it.passed + it.violations + it.unknown).sum()
    }

    /// In how many runs a fault could have happened: an only member's disk is never damaged.
    fn runs_for(&self, fault: &str) -> u64 {
        let needs_others = Effect::DAMAGING.contains(&fault);
        self.runs_of(if needs_others { 2 } else { 1 })
    }

    /// Whether a fault bit in too few of the runs in which it could have happened.
    fn is_rare(&self, fault: &str) -> bool {
        let bit = self.faults.get(fault).map_or(0, |it| it.runs);
        bit * 100 < self.runs_for(fault) * BITES_IN_PERCENT
    }

    /// Faults that bit in fewer than one of a hundred of the runs in which they could have.
    #[must_use]
    pub fn rare(&self) -> Vec<&'static str> {
        let names = Effect::NAMES.into_iter();
        names.filter(|name| self.is_rare(name)).collect()
    }
}

/// `part` of `whole` in percent, with the digits that tell something.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1_000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// How many times faster than real time.
pub(crate) fn ratio(virtual_time: Duration, real_time: Duration) -> f64 {
    virtual_time.as_secs_f64() / real_time.as_secs_f64().max(1e-9)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8} {:>8} {:>10} {:>8} {:>11} {:>12} {:>12} {:>12}",
            "members",
            "seeds",
            "violations",
            "unknown",
            "virtual",
            "virtual/real",
            "ops checked",
            "ops/s/core"
        )?;
        for (members, runs) in &self.runs {
            let seeds = runs.passed + runs.violations + runs.unknown;
            let operations = runs.operations.total();
            let per_second = operations as f64 / runs.real_time.as_secs_f64().max(1e-9);
            writeln!(
                f,
                "{members:<8} {seeds:>8} {:>10} {:>8} {:>9.1} h {:>12.0} {operations:>12} {per_second:>12.0}",
                runs.violations,
                runs.unknown,
                runs.virtual_time.as_secs_f64() / 3_600.0,
                ratio(runs.virtual_time, runs.real_time),
            )?;
        }
        let runs = self.runs();
        writeln!(
            f,
            "\n{:<28} {:>12} {:>10} {:>8}",
            "fault", "bit", "in seeds", ""
        )?;
        let mut names: Vec<&str> = Effect::NAMES.to_vec();
        names.extend(self.faults.keys().filter(|it| !Effect::NAMES.contains(it)));
        for name in names {
            let count = self.faults.get(name).copied().unwrap_or_default();
            let note = match self.runs_for(name) {
                0 => "  needs several members",
                _ if self.is_rare(name) => "  below 1 %",
                _ => "",
            };
            let share = percent(count.runs, self.runs_for(name));
            writeln!(
                f,
                "{name:<28} {:>12} {:>10} {share:>8}{note}",
                count.times, count.runs
            )?;
        }
        if !self.marks.is_empty() {
            writeln!(
                f,
                "\n{:<28} {:>12} {:>10} {:>8}",
                "mark", "reached", "in seeds", ""
            )?;
            for (name, count) in &self.marks {
                let share = percent(count.runs, runs);
                writeln!(
                    f,
                    "{name:<28} {:>12} {:>10} {share:>8}",
                    count.times, count.runs
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
