use super::{Effort, Minimised, Size, minimise};
use crate::Scenario;
use crate::scenario::{
    ClientKind, ClientPlan, ClockEffect, DiskEffect, Effect, Expect, FailureModel, Fault, Limit,
    Link, LinkEffect, Model, ProcessEffect, Timing, Who, Workload,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Five members, six clients of 300 operations, 30 faults.
fn large() -> Scenario {
    let client = |index: usize| ClientPlan {
        kind: ClientKind::ALL[index],
        operations: 300,
        skip: Vec::new(),
        pace: Duration::from_micros(2_347),
    };
    let fault = |index: u32| {
        let who = Who::Member(1 + index % 5);
        let effect = match index % 4 {
            0 => Effect::Process {
                who,
                effect: ProcessEffect::Pause,
            },
            1 => Effect::Link {
                link: Link {
                    from: vec![Who::Leader, Who::Client(index % 6)],
                    to: vec![Who::Member(4), Who::Member(5)],
                    one_way: false,
                },
                effect: LinkEffect::Loss { ppm: 123_456 },
            },
            2 => Effect::Disk {
                who,
                effect: DiskEffect::Stall,
            },
            _ => Effect::Clock {
                who,
                effect: ClockEffect::Step { by_ms: 4_711 },
            },
        };
        Fault {
            at: Duration::from_micros(100_003 + 211_017 * u64::from(index)),
            lasts: Some(Duration::from_micros(523_456)),
            effect,
        }
    };
    Scenario {
        name: "large".to_owned(),
        seed: 7,
        members: 5,
        model: Model {
            timing: Timing::Asynchronous,
            failure: FailureModel::Byzantine,
        },
        limits: BTreeMap::from([(Limit::BatchBytes, 100), (Limit::BatchCommands, 1)]),
        workload: Workload {
            seed: 8,
            clients: (0..6).map(client).collect(),
        },
        faults: (0..30).map(fault).collect(),
        run: Duration::from_secs(20),
        expect: Expect::default(),
    }
}

fn asks(scenario: &Scenario, client: usize, operation: u32) -> bool {
    let plan = scenario.workload.clients.get(client);
    plan.is_some_and(|plan| operation < plan.operations && !plan.skips(operation))
}

/// Fails if two operations meet a lossy link while a machine is paused, in a batch of one.
fn failing(scenario: &Scenario) -> Option<String> {
    let has = |name: &str| scenario.faults.iter().any(|it| it.effect.name() == name);
    let fails = scenario.members >= 3
        && asks(scenario, 4, 117)
        && asks(scenario, 1, 118)
        && has("process.pause")
        && has("link.loss")
        && scenario.limits.contains_key(&Limit::BatchCommands);
    fails.then(|| "linearizable".to_owned())
}

fn shrink(
    effort: Effort,
    run: &mut dyn FnMut(&Scenario) -> Option<String>,
) -> Result<Minimised, Option<String>> {
    minimise(&large(), "linearizable", effort, run, &mut |_| true)
}

#[test]
fn only_what_the_failure_needs_is_left() {
    let small = shrink(Effort::default(), &mut failing).unwrap();
    let scenario = &small.scenario;
    assert!(small.complete);
    assert!(failing(scenario).is_some());
    let size = Size::of(scenario);
    assert_eq!(
        (size.members, size.clients, size.operations, size.faults),
        (3, 2, 2, 2)
    );
    assert_eq!(
        scenario.workload.clients.len(),
        5,
        "clients keep their numbers"
    );
    assert_eq!(scenario.limits.len(), 1);
    assert!(size.run < Duration::from_secs(1), "{size}");
    let written = crate::file::write(scenario);
    assert_eq!(
        crate::file::read(&written).as_ref(),
        Ok(scenario),
        "{written}"
    );
}

#[test]
fn numbers_become_round() {
    let small = shrink(Effort::default(), &mut failing).unwrap();
    let written = crate::file::write(&small.scenario);
    for round in [
        "share: 12%",
        "pace: 2ms",
        "at: 100ms, for: 500ms",
        "at: 300ms",
    ] {
        assert!(written.contains(round), "{round} is not in {written}");
    }
}

#[test]
fn another_failure_does_not_count() {
    let mut run = |scenario: &Scenario| {
        if scenario.faults.len() < 20 {
            return Some("durability".to_owned());
        }
        failing(scenario)
    };
    let small = shrink(Effort::default(), &mut run).unwrap();
    assert_eq!(small.scenario.faults.len(), 20);
    let other = shrink(Effort::default(), &mut |_| Some("durability".to_owned()));
    assert_eq!(other, Err(Some("durability".to_owned())));
    assert_eq!(shrink(Effort::default(), &mut |_| None), Err(None));
}

#[test]
fn a_failure_that_hides_under_some_schedules_is_still_made_small() {
    // Three schedules of four hide it, but for the first run.
    let mut hides = |scenario: &Scenario| {
        let shown = scenario.seed == 7 && *scenario == large() || scenario.seed.is_multiple_of(4);
        failing(scenario).filter(|_| shown)
    };
    let effort = Effort {
        runs_max: 5_000,
        schedules: 12,
    };
    let small = shrink(effort, &mut hides).unwrap();
    assert!(hides(&small.scenario).is_some(), "it fails by itself");
    assert_eq!(Size::of(&small.scenario).faults, 2);
}

#[test]
fn the_search_ends_with_its_budget_or_when_it_is_told_to() {
    let effort = Effort {
        runs_max: 10,
        schedules: 1,
    };
    let mut runs = 0;
    let small = shrink(effort, &mut |scenario| {
        runs += 1;
        failing(scenario)
    })
    .unwrap();
    assert!(!small.complete);
    assert_eq!((small.runs, runs), (10, 10));
    assert!(failing(&small.scenario).is_some());
    let mut asked = 0;
    let mut go_on = |_: &super::Progress| {
        asked += 1;
        asked <= 3
    };
    let effort = Effort::default();
    let small = minimise(&large(), "linearizable", effort, &mut failing, &mut go_on).unwrap();
    assert_eq!((small.complete, small.runs), (false, 4));
}
