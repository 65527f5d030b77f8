//! The lease clock's promises, one by one.

use super::{CHECKPOINT_TTL_MIN, LeaseClock, Renewal};
use std::time::Duration;
use synod_env::Reading;

const TTL: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Reading {
    let boot_ns = 1_000_000_000 + ms * 1_000_000;
    Reading {
        boot_ns,
        raw_ns: boot_ns,
    }
}

/// Lets time pass in steps short enough not to count as a stall.
fn pass(clock: &mut LeaseClock, from_ms: u64, to_ms: u64) {
    for ms in (from_ms..to_ms).step_by(50) {
        assert_eq!(clock.tick(at(ms)), None, "no stall at {ms} ms");
    }
    assert_eq!(clock.tick(at(to_ms)), None);
}

fn clock_with(id: i64, ttl: Duration) -> LeaseClock {
    let mut clock = LeaseClock::begin(at(0), [], Duration::ZERO);
    clock.granted(at(0), id, ttl);
    clock
}

#[test]
fn a_lease_expires_after_its_ttl_and_never_before() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 5_000);
    assert!(clock.take_due(at(4_999), 10, |_| false).is_empty());
    assert!(
        clock.take_due(at(5_000), 10, |_| false).is_empty(),
        "the clock may be 200 ppm fast"
    );
    assert_eq!(clock.take_due(at(5_003), 10, |_| false), [7]);
    assert!(
        clock.take_due(at(9_000), 10, |_| false).is_empty(),
        "it is proposed once"
    );
}

#[test]
fn the_slower_oscillator_decides() {
    let mut clock = clock_with(7, TTL);
    let slewed = Reading {
        boot_ns: 7_000_000_000,
        raw_ns: 5_500_000_000,
    };
    assert!(
        clock.take_due(slewed, 10, |_| false).is_empty(),
        "only 4.5 s have passed for sure"
    );
    let later = Reading {
        boot_ns: 8_000_000_000,
        raw_ns: 6_100_000_000,
    };
    assert_eq!(clock.take_due(later, 10, |_| false), [7]);
}

#[test]
fn a_renewal_starts_the_ttl_anew() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 4_000);
    assert!(matches!(clock.renew(at(4_000), 7), Renewal::Renewed(TTL)));
    pass(&mut clock, 4_050, 9_000);
    assert!(clock.take_due(at(8_990), 10, |_| false).is_empty());
    assert_eq!(clock.take_due(at(9_010), 10, |_| false), [7]);
}

#[test]
fn a_lease_does_not_expire_while_its_renewal_is_on_its_way() {
    let mut clock = clock_with(7, TTL);
    assert!(clock.renewal_arrived(7));
    pass(&mut clock, 0, 6_000);
    assert!(clock.take_due(at(6_000), 10, |_| false).is_empty());
    clock.renewal_gone(7);
    assert_eq!(clock.take_due(at(6_010), 10, |_| false), [7]);
}

#[test]
fn a_renewal_waits_for_the_outcome_of_a_proposed_expiry() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 5_010);
    assert_eq!(clock.take_due(at(5_010), 10, |_| false), [7]);
    let Renewal::Wait(mut outcome) = clock.renew(at(5_011), 7) else {
        panic!("a renewal under way of an expiry must wait");
    };
    assert_eq!(outcome.try_receive(), None);
    clock.ended(7);
    assert_eq!(outcome.try_receive(), Some(()));
    assert!(matches!(clock.renew(at(5_012), 7), Renewal::Unknown));
}

#[test]
fn an_expiry_that_came_to_nothing_leaves_the_lease_alive_and_due_again() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 5_010);
    assert_eq!(clock.take_due(at(5_010), 10, |_| false), [7]);
    clock.expiry_failed(at(5_020), &[7]);
    assert!(matches!(clock.renew(at(5_030), 7), Renewal::Renewed(TTL)));
    pass(&mut clock, 5_060, 10_020);
    assert!(clock.take_due(at(10_020), 10, |_| false).is_empty());
    assert_eq!(clock.take_due(at(10_040), 10, |_| false), [7]);
}

#[test]
fn a_stall_of_the_member_lengthens_every_lease_by_itself() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 1_000);
    let gap = clock
        .tick(at(5_500))
        .expect("4.5 s without a tick are a stall");
    assert!(gap >= Duration::from_millis(4_500));
    assert!(
        clock.take_due(at(5_500), 10, |_| false).is_empty(),
        "the service was deaf for 4.5 s"
    );
    pass(&mut clock, 5_550, 9_450);
    assert!(clock.take_due(at(9_450), 10, |_| false).is_empty());
    assert_eq!(clock.take_due(at(9_520), 10, |_| false), [7]);
}

#[test]
fn a_new_reign_extends_every_lease_by_the_longest_leader_lease() {
    let lease = (7, TTL, None);
    let mut clock = LeaseClock::begin(at(0), [lease], Duration::from_secs(1));
    pass(&mut clock, 0, 6_000);
    assert!(clock.take_due(at(6_000), 10, |_| false).is_empty());
    assert_eq!(clock.take_due(at(6_010), 10, |_| false), [7]);
}

#[test]
fn a_new_reign_goes_on_from_a_recorded_remainder() {
    let long = Duration::from_secs(3_600);
    let lease = (7, long, Some(Duration::from_secs(10)));
    let mut clock = LeaseClock::begin(at(0), [lease], Duration::from_secs(1));
    let (ttl, left) = clock.remaining(at(0), 7).expect("it is known");
    assert_eq!((ttl, left), (long, Duration::from_secs(11)));
    assert!(
        matches!(clock.renew(at(1), 7), Renewal::ClearCheckpoint),
        "the promise of a full TTL must be in the log before it is made"
    );
    clock.checkpoint_applied(7, false);
    assert!(matches!(clock.renew(at(2), 7), Renewal::Renewed(ttl) if ttl == long));
}

#[test]
fn only_long_leases_are_recorded_and_once_a_minute() {
    let mut clock = LeaseClock::begin(at(0), [], Duration::ZERO);
    clock.granted(at(0), 1, CHECKPOINT_TTL_MIN);
    clock.granted(at(0), 2, CHECKPOINT_TTL_MIN * 10);
    assert!(clock.take_checkpoints(at(59_999), 10, |_| false).is_empty());
    let taken = clock.take_checkpoints(at(60_000), 10, |_| false);
    let ids: Vec<_> = taken.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [2]);
    assert!(
        taken[0].1 >= Duration::from_secs(540),
        "never less than what is left"
    );
    assert!(clock.take_checkpoints(at(60_001), 10, |_| false).is_empty());
    assert_eq!(clock.take_checkpoints(at(120_000), 10, |_| false).len(), 1);
}

#[test]
fn expiries_come_in_bounded_portions() {
    let mut clock = LeaseClock::begin(at(0), [], Duration::ZERO);
    for id in 1..=10 {
        clock.granted(at(0), id, TTL);
    }
    pass(&mut clock, 0, 5_050);
    assert_eq!(clock.take_due(at(5_050), 4, |_| false).len(), 4);
    assert_eq!(clock.take_due(at(5_050), 4, |_| false).len(), 4);
    assert_eq!(clock.take_due(at(5_050), 4, |_| false).len(), 2);
    assert!(clock.take_due(at(5_050), 4, |_| false).is_empty());
}

#[test]
fn a_renewal_while_a_remainder_is_being_recorded_clears_it_first() {
    let long = CHECKPOINT_TTL_MIN * 10;
    let mut clock = clock_with(7, long);
    assert_eq!(clock.take_checkpoints(at(60_000), 10, |_| false).len(), 1);
    assert!(
        matches!(clock.renew(at(60_001), 7), Renewal::ClearCheckpoint),
        "the record would undo the renewal after a restart"
    );
    clock.checkpoint_applied(7, true);
    clock.checkpoint_applied(7, false);
    assert!(matches!(clock.renew(at(60_002), 7), Renewal::Renewed(ttl) if ttl == long));
    assert_eq!(clock.take_checkpoints(at(120_000), 10, |_| false).len(), 1);
    clock.checkpoint_failed(&[7]);
    assert!(matches!(clock.renew(at(120_001), 7), Renewal::Renewed(_)));
}

#[test]
fn a_lease_that_is_being_granted_anew_is_passed_over() {
    let mut clock = clock_with(7, TTL);
    pass(&mut clock, 0, 5_050);
    assert!(clock.take_due(at(5_050), 10, |id| id == 7).is_empty());
    assert_eq!(clock.take_due(at(5_060), 10, |_| false), [7]);
}
