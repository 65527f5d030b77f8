//! One run, timed, and the line that tells it.

use crate::outside;
use std::time::Duration;
use synod_sim::picture::Gatherer;
use synod_sim::{Report, Scenario, Verdict};

/// A run and what it took.
pub(super) struct Timed {
    pub(super) report: Report,
    /// Time of one core.
    pub(super) took: Duration,
    /// What was seen of it, if it was looked at.
    pub(super) gatherer: Option<Gatherer>,
}

/// Runs a scenario on this thread. Looking at a run takes time and changes nothing in it.
pub(super) fn timed(scenario: &Scenario, look: bool) -> Timed {
    let gatherer = look.then(|| Gatherer::new(scenario));
    let observer = gatherer.as_ref().map(Gatherer::observer);
    let begun = outside::thread_cpu_time();
    let report = synod_sim::run_observed(scenario, observer);
    let took = outside::thread_cpu_time().saturating_sub(begun);
    Timed {
        report,
        took,
        gatherer,
    }
}

/// A run in one line.
pub(super) fn line(scenario: &Scenario, run: &Timed) -> String {
    let Report {
        verdict,
        fingerprint,
        virtual_time,
        operations,
        faults_bitten,
        ..
    } = &run.report;
    let verdict = match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Violation { property, .. } => format!("VIOLATION of {property}"),
        Verdict::Unknown { .. } => "undecided".to_owned(),
    };
    let real = run.took.as_secs_f64().max(1e-9);
    let (kinds, times) = (
        faults_bitten.values().filter(|times| **times > 0).count(),
        faults_bitten.values().sum::<u64>(),
    );
    format!(
        "{} · {} members · {verdict} · {fingerprint} · {:.1} s virtual, {:.0}x real · {} ops, \
         {:.0}/s ({} refused, {} unknown) · {kinds} kinds of fault bit {times} times",
        scenario.name,
        scenario.members,
        virtual_time.as_secs_f64(),
        virtual_time.as_secs_f64() / real,
        operations.total(),
        operations.total() as f64 / real,
        operations.refused,
        operations.unknown,
    )
}
