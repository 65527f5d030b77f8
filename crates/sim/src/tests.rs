//! Whole runs: seeds pass, and pass the same way every time.

use crate::scenario::{ClientKind, ClientPlan, Effect, ProcessEffect, Who};
use crate::{Report, Scenario, Verdict, run};
use std::collections::BTreeSet;
use std::time::Duration;

/// A scenario with fewer operations, so that many fit into a test.
fn small(seed: u64, members: u32) -> Scenario {
    let mut scenario = Scenario::from_seed(seed, members);
    for client in &mut scenario.workload.clients {
        client.operations /= 4;
    }
    scenario
}

fn passes(scenario: &Scenario) -> Report {
    let report = run(scenario);
    assert!(
        report.verdict.passed(),
        "{}: {}",
        scenario.name,
        report.verdict
    );
    report
}

#[test]
fn one_member_passes_what_seeds_do_to_it() {
    for seed in 0..12 {
        passes(&small(seed, 1));
    }
}

#[test]
fn three_members_pass_what_seeds_do_to_them() {
    for seed in 0..8 {
        passes(&small(seed, 3));
    }
}

#[test]
fn five_members_pass_what_seeds_do_to_them() {
    for seed in 0..3 {
        passes(&small(seed, 5));
    }
}

#[test]
fn a_seed_is_two_thousand_operations_and_two_faults_that_bit() {
    let scenario = Scenario::from_seed(7, 1);
    let planned: u32 = scenario
        .workload
        .clients
        .iter()
        .map(|client| client.operations)
        .sum();
    assert!(planned >= 2_000, "{planned} operations are planned");
    let report = passes(&scenario);
    assert!(
        report.operations.total() >= 2_000,
        "{:?}",
        report.operations
    );
    assert!(
        report.faults_bitten.values().sum::<u64>() >= 2,
        "{:?}",
        report.faults_bitten
    );
}

#[test]
fn seeds_differ_in_all_that_is_drawn() {
    let scenarios: Vec<_> = (0..300).map(|seed| Scenario::from_seed(seed, 3)).collect();
    let effects: BTreeSet<_> = scenarios
        .iter()
        .flat_map(|scenario| &scenario.faults)
        .map(|fault| fault.effect.name())
        .collect();
    assert_eq!(
        effects,
        BTreeSet::from(Effect::NAMES),
        "every fault is drawn"
    );
    let kinds: BTreeSet<_> = scenarios
        .iter()
        .flat_map(|scenario| &scenario.workload.clients)
        .map(|client| client.kind)
        .collect();
    assert_eq!(kinds, BTreeSet::from(ClientKind::ALL));
    let models: BTreeSet<_> = scenarios.iter().map(|scenario| scenario.model).collect();
    assert_eq!(models.len(), 12, "{models:?}");
}

#[test]
fn no_more_than_a_minority_suffers_damage_to_its_disk() {
    for members in [1, 3, 5] {
        for seed in 0..500 {
            let scenario = Scenario::from_seed(seed, members);
            let mut damaged = BTreeSet::new();
            for fault in &scenario.faults {
                if !fault.effect.damages_disk() {
                    continue;
                }
                match fault.effect {
                    Effect::Process { who, .. } | Effect::Disk { who, .. } => {
                        assert!(matches!(who, Who::Member(_)), "{who:?} may be several");
                        damaged.insert(who);
                    }
                    Effect::Link { .. } | Effect::Clock { .. } => {}
                }
            }
            let most = (members as usize - 1) / 2;
            assert!(damaged.len() <= most, "seed {seed}: {damaged:?}");
        }
    }
}

#[test]
fn what_a_client_leaves_out_leaves_the_others_as_they_are() {
    let mut scenario = small(3, 1);
    scenario.faults.clear();
    let all = passes(&scenario).operations.total();
    let skipped: &mut ClientPlan = &mut scenario.workload.clients[0];
    let half = skipped.operations / 2;
    skipped.skip = vec![0..half, half..skipped.operations];
    let rest = passes(&scenario).operations.total();
    assert!(rest > 0 && rest < all, "{rest} of {all}");
}

#[test]
fn a_member_that_never_comes_back_is_a_violation_of_liveness() {
    let mut scenario = small(1, 1);
    scenario.model.failure = crate::scenario::FailureModel::CrashStop;
    scenario.expect.serve_within = Duration::from_secs(2);
    scenario.faults = vec![crate::scenario::Fault {
        at: Duration::from_millis(200),
        lasts: None,
        effect: Effect::Process {
            who: Who::Leader,
            effect: ProcessEffect::Kill,
        },
    }];
    let report = run(&scenario);
    let Verdict::Violation { property, .. } = report.verdict else {
        panic!("{}", report.verdict);
    };
    assert_eq!(property, "liveness");
}

/// Set in the process that only prints fingerprints.
const ONLY_PRINT: &str = "SYNOD_SIM_PRINT_FINGERPRINTS";

fn fingerprints() -> String {
    let runs = [(1, 1), (2, 3)].map(|(seed, members)| passes(&small(seed, members)));
    runs.map(|report| report.fingerprint.to_string()).join(" ")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test talks to itself in another process"
)]
fn another_process_with_another_environment_sees_the_same_runs() {
    if std::env::var_os(ONLY_PRINT).is_some() {
        println!("fingerprints: {}", fingerprints());
        return;
    }
    let name = "tests::another_process_with_another_environment_sees_the_same_runs";
    let this = std::env::current_exe().expect("a test runs from a file");
    let output = std::process::Command::new(this)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env_clear()
        .env(ONLY_PRINT, "1")
        .env("HOME", "/nowhere")
        .env("SOMETHING_LONG", "x".repeat(10_000))
        .output()
        .expect("the test can run itself");
    let text = String::from_utf8_lossy(&output.stdout);
    let here = fingerprints();
    assert!(text.contains(&here), "{here} here, but there:\n{text}");
    assert_eq!(here, fingerprints(), "and the same in one process");
}
