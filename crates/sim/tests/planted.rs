//! Known mistakes are found, and what shows one can be made small.
//!
//!     cargo test -p synod-sim --features planted --test planted

use synod_env::Bug;
use synod_env::planted::plant;
use synod_sim::minimise::{Effort, Size, minimise};
use synod_sim::{Scenario, Verdict, run};

/// Which property a bug violates in a run, if any.
fn violates(bug: Bug, scenario: &Scenario) -> Option<String> {
    plant(Some(bug));
    let verdict = run(scenario).verdict;
    plant(None);
    match verdict {
        Verdict::Violation { property, .. } => Some(property),
        Verdict::Passed | Verdict::Unknown { .. } => None,
    }
}

/// The first seed's scenario in which a bug is found, and by which property.
fn find(bug: Bug, members: u32, seeds: u64) -> (Scenario, String) {
    let scenarios = (1..=seeds).map(|seed| Scenario::from_seed(seed, members));
    let mut found = scenarios.filter_map(|scenario| {
        let property = violates(bug, &scenario)?;
        Some((scenario, property))
    });
    let first = found.next();
    first.unwrap_or_else(|| panic!("{bug:?} is not found in {seeds} seeds of {members} members"))
}

#[test]
fn a_write_that_was_acknowledged_before_it_was_synced_is_missed() {
    find(Bug::AckBeforeSync, 1, 40);
}

#[test]
fn a_lease_that_goes_by_the_wall_clock_ends_at_another_time() {
    find(Bug::ExpireByWallClock, 1, 40);
}

#[test]
fn a_lease_that_is_renewed_while_it_expires_ends_early() {
    let (_, property) = find(Bug::RenewDuringExpiry, 1, 60);
    assert!(property.starts_with("lease-"), "{property}");
}

#[test]
fn a_watch_that_misses_an_event_when_it_resumes_is_not_reliable() {
    let (_, property) = find(Bug::ResumeSkipsEvent, 1, 40);
    assert!(property.starts_with("watch-"), "{property}");
}

#[test]
fn what_shows_a_stale_read_is_made_small_and_still_shows_it() {
    let bug = Bug::SkipReadBarrier;
    let (scenario, property) = find(bug, 3, 40);
    let effort = Effort {
        runs_max: 80,
        schedules: 1,
    };
    let mut run = |candidate: &Scenario| violates(bug, candidate);
    let minimised = minimise(&scenario, &property, effort, &mut run, &mut |_| true);
    let small = minimised.expect("the scenario was found").scenario;
    assert_eq!(violates(bug, &small), Some(property));
    let (before, after) = (Size::of(&scenario), Size::of(&small));
    assert!(
        after.operations < before.operations / 2,
        "{before} became {after}"
    );
    assert!(after.faults < before.faults, "{before} became {after}");
    // Without the mistake nothing is wrong with it.
    assert!(synod_sim::run(&small).verdict.passed());
}
