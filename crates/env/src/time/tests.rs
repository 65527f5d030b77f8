use super::{Instant, Reading};
use std::time::Duration;

#[test]
fn instants_saturate_at_both_ends() {
    let start = Instant::ZERO;
    assert_eq!(start - Duration::from_secs(1), start);
    assert_eq!(Instant::NEVER + Duration::from_nanos(1), Instant::NEVER);
    assert_eq!(start + Duration::MAX, Instant::NEVER);
    let later = start + Duration::from_secs(1);
    assert_eq!(later.saturating_since(start), Duration::from_secs(1));
    assert_eq!(start.saturating_since(later), Duration::ZERO);
}

#[test]
fn an_instant_is_shown_in_seconds() {
    let at = Instant::from_nanos(12_003_456_789);
    assert_eq!(at.to_string(), "12.003456s");
}

fn reading(boot_ns: u64, raw_ns: u64) -> Reading {
    Reading { boot_ns, raw_ns }
}

#[test]
fn the_time_between_readings_lies_between_what_both_oscillators_say_and_their_error() {
    const SECOND: u64 = 1_000_000_000;
    let earlier = reading(5 * SECOND, 7 * SECOND);
    let later = reading(15 * SECOND, 18 * SECOND);
    let elapsed = later.since(earlier);
    // 10 s less 200 ppm and 1 us; 11 s and 200 ppm and 1 us.
    assert_eq!(elapsed.min, Duration::from_nanos(9_997_999_000));
    assert_eq!(elapsed.max, Duration::from_nanos(11_002_201_000));
}

#[test]
fn between_a_reading_and_a_later_one_no_time_has_passed_for_sure() {
    let (earlier, later) = (reading(100, 100), reading(200, 200));
    let elapsed = earlier.since(later);
    assert_eq!(elapsed.min, Duration::ZERO);
    assert_eq!(elapsed.max, Duration::from_micros(1));
    assert_eq!(later.since(earlier).min, Duration::ZERO);
}
