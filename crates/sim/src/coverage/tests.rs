use super::Coverage;
use crate::{Operations, Report, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::sim::Fingerprint;

fn report(bitten: &[(&'static str, u64)]) -> Report {
    Report {
        verdict: Verdict::Passed,
        fingerprint: Fingerprint(1),
        virtual_time: Duration::from_secs(60),
        events: 1_000,
        operations: Operations {
            done: 1_900,
            refused: 60,
            unknown: 40,
        },
        faults_bitten: bitten.iter().copied().collect(),
        marks: BTreeMap::from([("snapshot installed", 2)]),
    }
}

#[test]
fn a_fault_that_hardly_ever_bites_is_named() {
    let mut coverage = Coverage::default();
    for seed in 0..200 {
        let bitten: &[_] = match seed {
            0 => &[("link.cut", 70), ("disk.rot", 1), ("clock.step", 0)],
            1 => &[("link.cut", 3), ("clock.step", 0)],
            _ => &[("clock.step", 0)],
        };
        coverage.add(3, &report(bitten), Duration::from_millis(100));
    }
    assert_eq!(coverage.runs(), 200);
    let rare = coverage.rare();
    assert!(
        !rare.contains(&"link.cut"),
        "two of two hundred are one in a hundred"
    );
    for name in ["disk.rot", "clock.step", "process.kill"] {
        assert!(rare.contains(&name), "{name} bit in fewer");
    }
}

#[test]
fn the_report_has_a_row_for_everything() {
    let mut coverage = Coverage::default();
    coverage.add(1, &report(&[("link.cut", 7)]), Duration::from_millis(50));
    coverage.add(3, &report(&[("link.cut", 5)]), Duration::from_millis(100));
    let text = coverage.to_string();
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no row {name} in\n{text}"));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row("link.cut"), ["link.cut", "12", "2", "100.0", "%"]);
    assert_eq!(
        row("3 "),
        ["3", "1", "0", "0", "0.0", "h", "600", "2000", "20000"]
    );
    assert_eq!(row("snapshot installed")[2..], ["4", "2", "100.0", "%"]);
    assert!(
        text.contains("clock.leap"),
        "faults that never bit have a row too"
    );
}

#[test]
fn an_only_member_is_not_asked_for_faults_that_it_never_meets() {
    let mut coverage = Coverage::default();
    for _ in 0..200 {
        coverage.add(1, &report(&[]), Duration::from_millis(100));
    }
    assert!(!coverage.rare().contains(&"disk.rot"));
    assert!(coverage.to_string().contains("needs several members"));
    coverage.add(3, &report(&[]), Duration::from_millis(100));
    assert!(coverage.rare().contains(&"disk.rot"), "now it could have");
}
