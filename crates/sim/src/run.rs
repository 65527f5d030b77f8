//! A run from its start to its report.

use crate::cluster::Cluster;
use crate::faults::{Faults, quiet_link};
use crate::observer::{Machine, Observer, Phase, Sight};
use crate::promises;
use crate::record::Record;
use crate::report::{Report, Verdict};
use crate::scenario::Scenario;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use synod_checker::Mark;
use synod_env::sim::{Fingerprint, Options, Sim};

/// How often a run looks after its machines while clients ask: often enough to have followed the
/// log before it is compacted.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often it does when little happens.
const LOOK_SELDOM_EVERY: Duration = Duration::from_millis(50);

/// Events between two looks after which a run is given up: something spins.
const EVENTS_MAX: u64 = 500_000;

/// How long it may take, once requests succeed, until every client has done what it has left.
const FINISH_WITHIN: Duration = Duration::from_secs(120);

/// How long members may take to come to the same state once nobody asks for anything.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);

/// How long watches may take to tell what was written last: long enough for one that has to notice
/// that its stream is broken, and to find another member.
const WATCHES_TELL_WITHIN: Duration = Duration::from_secs(4);

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario) -> Report {
    run_observed(scenario, None)
}

/// Runs a scenario and tells `observer` what happens. It changes nothing in the run.
#[must_use]
pub fn run_observed(scenario: &Scenario, observer: Option<Box<dyn Observer>>) -> Report {
    let options = Options {
        link: quiet_link(scenario.model),
        events_max: EVENTS_MAX,
        ..Options::default()
    };
    let sim = Sim::with_options(scenario.seed, options);
    let record = Record::new(sim.nemesis(), observer);
    if record.is_observed() {
        let told = record.clone();
        sim.observe(move |event| {
            let sight = Sight::World {
                machine: event.member.map(Machine::of),
                what: event.what,
            };
            told.tell_at(event.at, &sight);
        });
    }
    let faults = Faults::new(scenario, sim.nemesis());
    let cluster = Cluster::new(sim, scenario, &record);
    if record.is_observed() {
        cluster.listen();
    }
    let mut run = Run {
        faults,
        cluster,
        scenario,
        record,
    };
    let ended = catch_unwind(AssertUnwindSafe(|| run.phases()));
    let verdict = match ended {
        Ok(Ok(())) => run.record.verdict(),
        Ok(Err(Over)) => run.record.verdict(),
        Err(panic) => Verdict::Violation {
            property: promises::NO_PANIC.into(),
            witness: text_of(&*panic),
        },
    };
    run.report(verdict)
}

/// What a panic said.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".into())
}

/// The run has its verdict.
struct Over;

struct Run<'a> {
    scenario: &'a Scenario,
    cluster: Cluster,
    faults: Faults,
    record: Record,
}

impl Run<'_> {
    fn phases(&mut self) -> Result<(), Over> {
        self.begin(Phase::Faults);
        let until = self.scenario.run;
        while self.now() < until {
            self.step(until)?;
        }
        self.faults.heal(&mut self.cluster, &self.record);

        self.begin(Phase::Serve);
        let within = self.scenario.expect.serve_within;
        let within_ns = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        self.record.say(Mark::Healed { within_ns });
        self.cluster.hurry();
        let until = self.now() + within + FINISH_WITHIN;
        self.wait(
            "clients should have done all they had to",
            until,
            Cluster::clients_are_done,
        )?;

        self.begin(Phase::Scan);
        self.cluster.scan();
        let until = self.now() + SETTLE_WITHIN;
        self.wait(
            "everything should have been read back",
            until,
            Cluster::clients_are_done,
        )?;
        let until = self.now() + SETTLE_WITHIN;
        self.wait(
            "all leases should have ended",
            until,
            Cluster::leases_have_ended,
        )?;
        let until = self.now() + SETTLE_WITHIN;
        self.wait(
            "members should have come to the same state",
            until,
            Cluster::states_are_equal,
        )?;
        // Watches have the same time to tell the last changes.
        let until = self.now() + WATCHES_TELL_WITHIN;
        while self.now() < until {
            self.step(until)?;
        }
        let now = self.now();
        self.cluster.tend(now);
        self.record.say(Mark::Settled);
        self.record.finish();
        Ok(())
    }

    fn now(&self) -> Duration {
        self.cluster.sim().now()
    }

    fn begin(&self, phase: Phase) {
        self.record.tell(|| Sight::Phase(phase));
    }

    /// Lets the world go on for a while, no further than `until`.
    fn step(&mut self, until: Duration) -> Result<(), Over> {
        let now = self.now();
        self.faults.advance(now, &mut self.cluster, &self.record);
        self.cluster.tend(now);
        let next = self.faults.next().unwrap_or(Duration::MAX);
        let look_every = if self.cluster.clients_are_busy() {
            LOOK_EVERY
        } else {
            LOOK_SELDOM_EVERY
        };
        let next = next.min(now + look_every).min(until);
        if let Err(stuck) = self.cluster.sim().run_until(next) {
            self.record
                .violate(promises::NO_LIVELOCK, stuck.to_string());
        }
        if self.record.violation().is_some() {
            return Err(Over);
        }
        Ok(())
    }

    /// Lets the world go on until something holds; that it does not by `until` is a violation.
    fn wait(
        &mut self,
        what: &str,
        until: Duration,
        holds: impl Fn(&Cluster) -> Result<(), String>,
    ) -> Result<(), Over> {
        while let Err(missing) = holds(&self.cluster) {
            if self.now() >= until {
                let witness = format!("by {until:?} {what}: {missing}");
                self.record.violate(promises::LIVENESS, witness);
                return Err(Over);
            }
            self.step(until)?;
        }
        Ok(())
    }

    fn report(self, verdict: Verdict) -> Report {
        let sim = self.cluster.sim();
        for (fault, times) in self.faults.bitten(&sim.faults()) {
            self.record.bite(fault, times);
        }
        let Fingerprint(world) = sim.fingerprint();
        let fingerprint = Fingerprint(world ^ u128::from(self.record.digest()));
        let inner = self.record.lock();
        Report {
            verdict,
            fingerprint,
            virtual_time: sim.now(),
            events: sim.events(),
            operations: inner.operations,
            faults_bitten: inner.bitten.clone(),
            marks: inner.marks.clone(),
        }
    }
}
