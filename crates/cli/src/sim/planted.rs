//! Bugs planted on purpose, and how soon they are found.

use super::JobsArgs;
use super::stop::Stop;
use crate::exit::Failure;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct PlantedArgs {
    /// Only this bug
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
    /// Seeds after which a bug counts as not found
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    seeds: u64,
    /// Seeds, for the rate with faults and without, of the runs that find it
    #[arg(long, default_value_t = 60, value_name = "COUNT")]
    rate_over: u64,
    /// Make the first run that finds each bug small, write it here and draw it
    #[arg(long, value_name = "DIR")]
    show: Option<PathBuf>,
    /// How long a run may be made smaller
    #[arg(long, default_value = "2m", value_name = "TIME", requires = "show", value_parser = crate::config::duration)]
    shrink_for: Duration,
    #[command(flatten)]
    jobs: JobsArgs,
}

#[cfg(not(feature = "planted"))]
impl PlantedArgs {
    #[expect(
        clippy::unused_self,
        reason = "the same call with and without the feature"
    )]
    pub(super) fn run(&self, _stop: &Stop) -> Result<(), Failure> {
        Err(Failure::new(
            crate::exit::Exit::Usage,
            "this build holds no planted bugs, as no release does; build them in with\n  \
             cargo run --release --features planted -- sim planted",
        ))
    }
}

#[cfg(feature = "planted")]
mod table {
    use super::super::failure::{self, Shrinking};
    use super::super::runs;
    use super::{Failure, PlantedArgs, Stop};
    use crate::exit::Exit;
    use crate::outside;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use synod_env::Bug;
    use synod_env::planted::plant;
    use synod_sim::{Scenario, Verdict};

    /// What came of one bug.
    struct Found {
        /// After how many seeds, and by which property.
        first: Option<(u64, String)>,
        with_faults: Rate,
        without: Rate,
    }

    #[derive(Clone, Copy, Default)]
    struct Rate {
        found: u64,
        of: u64,
    }

    impl std::fmt::Display for Rate {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}/{}", self.found, self.of)
        }
    }

    /// The how-manieth scenario of a search: the sizes take turns.
    fn scenario(number: u64, faults: bool) -> Scenario {
        let members = [3, 1, 5][usize::try_from(number % 3).expect("below 3")];
        let mut scenario = Scenario::from_seed(1 + number / 3, members);
        if !faults {
            scenario.faults.clear();
        }
        scenario
    }

    /// Which property the bug violates in a run, if any.
    fn violates(bug: Bug, scenario: &Scenario) -> Option<String> {
        plant(Some(bug));
        let verdict = runs::timed(scenario, false).report.verdict;
        plant(None);
        match verdict {
            Verdict::Violation { property, .. } => Some(property),
            Verdict::Passed | Verdict::Unknown { .. } => None,
        }
    }

    /// Tries scenarios by number on all threads, until `enough`; gives what the first ones find.
    fn search(
        jobs: usize,
        count: u64,
        stop: &Stop,
        until_first: bool,
        found: &(dyn Fn(u64) -> Option<String> + Sync),
    ) -> Vec<(u64, String)> {
        let (taken, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            let mut own = Vec::new();
            while !stop.asked() && !over.load(Ordering::Relaxed) {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                if let Some(property) = found(number) {
                    own.push((number, property));
                    over.store(until_first, Ordering::Relaxed);
                }
            }
            own
        };
        let mut all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            let ended = threads.into_iter().filter_map(|thread| thread.join().ok());
            ended.flatten().collect::<Vec<_>>()
        });
        all.sort();
        all
    }

    impl PlantedArgs {
        pub(in super::super) fn run(&self, stop: &Stop) -> Result<(), Failure> {
            let bugs: Vec<Bug> = match &self.bug {
                None => Bug::ALL.to_vec(),
                Some(wanted) => {
                    let known = Bug::ALL.iter().copied().filter(|bug| bug.name() == *wanted);
                    known.collect()
                }
            };
            if bugs.is_empty() {
                let known: Vec<String> = Bug::ALL.iter().map(|bug| bug.name()).collect();
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "no bug of that name is planted; there are {}",
                        known.join(", ")
                    ),
                ));
            }
            outside::say(format_args!(
                "{:<26} {:>9} {:>9} {:>14} {:>16}  property",
                "bug", "seeds", "seconds", "rate", "without faults"
            ));
            let mut missed = Vec::new();
            for bug in bugs {
                let begun = outside::now();
                let found = self.find(bug, stop);
                let seconds = begun.elapsed().as_secs_f64();
                let (seeds, property) = match &found.first {
                    Some((seeds, property)) => (seeds.to_string(), property.as_str()),
                    None => ("-".to_owned(), "not found"),
                };
                outside::say(format_args!(
                    "{:<26} {seeds:>9} {seconds:>9.1} {:>14} {:>16}  {property}",
                    bug.name(),
                    found.with_faults.to_string(),
                    found.without.to_string()
                ));
                match &found.first {
                    Some((seeds, _)) => self.show(bug, seeds - 1, stop),
                    None => missed.push(bug.name()),
                }
                if stop.asked() {
                    return Err(Failure::other("stopped"));
                }
            }
            if missed.is_empty() {
                return Ok(());
            }
            Err(Failure::other(format!("not found: {}", missed.join(", "))))
        }

        /// Makes the run of that number small and draws it, if that is wanted.
        fn show(&self, bug: Bug, number: u64, stop: &Stop) {
            let Some(out) = &self.show else {
                return;
            };
            let shrinking = Shrinking {
                out: out.join(bug.name()),
                within: self.shrink_for,
            };
            let scenario = scenario(number, true);
            plant(Some(bug));
            let report = runs::timed(&scenario, false).report;
            // That it fails is what was looked for.
            let told = failure::handle(&scenario, &report, &shrinking, stop);
            plant(None);
            if let Err(failure) = told {
                outside::note(failure.message);
            }
        }

        fn find(&self, bug: Bug, stop: &Stop) -> Found {
            let jobs = self.jobs.count();
            let with = |number| violates(bug, &scenario(number, true));
            let without = |number| violates(bug, &scenario(number, false));
            let first = search(jobs, self.seeds, stop, true, &with);
            let rate = |found: &(dyn Fn(u64) -> Option<String> + Sync)| Rate {
                found: search(jobs, self.rate_over, stop, false, found).len() as u64,
                of: self.rate_over,
            };
            Found {
                first: first
                    .into_iter()
                    .next()
                    .map(|(number, it)| (number + 1, it)),
                with_faults: rate(&with),
                without: rate(&without),
            }
        }
    }
}
