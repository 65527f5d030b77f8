//! New seeds for a time, and what they covered.

use super::campaign::{Ended, on_threads};
use super::failure;
use super::stop::Stop;
use super::{JobsArgs, OutArgs, drawn_seed, runs};
use crate::exit::Failure;
use crate::outside;
use std::collections::BTreeMap;
use std::time::Duration;
use synod_sim::coverage::Coverage;
use synod_sim::{Report, Scenario, Verdict};

/// Runs below which a fault that never bit may be chance.
const RUNS_THAT_TELL: u64 = 300;

/// How often the runs so far are told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long an idle cluster runs, in its own time.
const IDLE: Duration = Duration::from_secs(1_200);

#[derive(clap::Args, Clone, Debug)]
pub(super) struct NightlyArgs {
    /// How long
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// The first seed [default: drawn now]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    jobs: JobsArgs,
    #[command(flatten)]
    out: OutArgs,
}

impl NightlyArgs {
    pub(super) fn run(&self, stop: &Stop) -> Result<(), Failure> {
        let first = self.seed.unwrap_or_else(drawn_seed);
        let begun = outside::now();
        let within = Duration::from_secs(60 * self.minutes);
        outside::say(format_args!(
            "{} minutes of seeds from {first} on, with 1, 3 and 5 members, {}",
            self.minutes,
            failure::build()
        ));
        let next = |number: u64| {
            let members = [1, 3, 5][usize::try_from(number % 3).ok()?];
            let seed = first.checked_add(number / 3)?;
            (begun.elapsed() < within).then(|| Scenario::from_seed(seed, members))
        };
        let mut coverage = Coverage::default();
        // By property: how often, and the first.
        let mut failures: BTreeMap<String, (u64, Scenario, Report)> = BTreeMap::new();
        let mut told = begun;
        on_threads(self.jobs.count(), stop, &next, |Ended { scenario, run }| {
            coverage.add(scenario.members, &run.report, run.took);
            let property = match &run.report.verdict {
                Verdict::Passed => None,
                Verdict::Violation { property, .. } => Some(property.clone()),
                Verdict::Unknown { .. } => Some("undecided".to_owned()),
            };
            if let Some(property) = property {
                outside::say(runs::line(&scenario, &run));
                let entry = failures.entry(property);
                entry.or_insert((0, scenario, run.report)).0 += 1;
            }
            if told.elapsed() >= TELL_EVERY {
                told = outside::now();
                let (runs, minutes) = (coverage.runs(), begun.elapsed().as_secs_f64() / 60.0);
                let kinds = failures.len();
                outside::note(format_args!(
                    "  {minutes:.1} minutes, {runs} runs, {kinds} kinds of failure"
                ));
            }
            true
        });
        outside::say(format_args!("\n{coverage}"));
        for members in [1, 3, 5] {
            let ratio = idle_ratio(members);
            outside::say(format_args!(
                "idle, {members} members: {ratio:.0} times faster than real time"
            ));
        }
        self.end(&coverage, failures, stop)
    }

    fn end(
        &self,
        coverage: &Coverage,
        failures: BTreeMap<String, (u64, Scenario, Report)>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut worst = Ok(());
        for (property, (times, scenario, report)) in failures {
            outside::note(format_args!("\n{property}: {times} runs; the first:"));
            let ended = failure::handle(&scenario, &report, &self.out.shrinking(), stop);
            if let Err(failure) = ended {
                outside::note(&failure.message);
                worst = Err(failure);
            }
        }
        worst?;
        let rare = coverage.rare();
        if coverage.runs() >= RUNS_THAT_TELL && !rare.is_empty() {
            return Err(Failure::other(format!(
                "these faults bit in fewer than one of a hundred runs: {}",
                rare.join(", ")
            )));
        }
        Ok(())
    }
}

/// How many times faster than real time a cluster runs that nobody asks for anything.
fn idle_ratio(members: u32) -> f64 {
    let scenario = Scenario::idle(members, IDLE);
    let run = runs::timed(&scenario, false);
    run.report.virtual_time.as_secs_f64() / run.took.as_secs_f64().max(1e-9)
}
