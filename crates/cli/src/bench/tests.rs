//! Figures: what is counted, and how two runs compare.

use super::cpu::{Share, process_ticks, schedule_times};
use super::interference::sort_out;
use super::record::{Ended, Measurement, Ratio, Tally, ratio};
use super::report;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// A run of one second in which the generator ran for `busy_percent` of the time it
/// could have.
fn run(done: u64, server_ms: u32, busy_percent: u64) -> Measurement {
    let mut tally = Tally::default();
    for _ in 0..done {
        tally.add(Ended::Done, MILLI, true);
    }
    Measurement {
        endpoint: "http://127.0.0.1:1".to_owned(),
        tally,
        window: Duration::from_secs(1),
        server_cpu: Some(MILLI * server_ms),
        generator_cpu: MILLI * 100,
        generator_share: Share {
            running_ns: busy_percent * 10_000_000,
            waiting_ns: 0,
            wall_ns: 1_000_000_000,
        },
    }
}

fn close(left: Duration, right: Duration) -> bool {
    left.abs_diff(right) <= right / 500
}

#[test]
fn percentiles_are_within_a_thousandth() {
    let mut tally = Tally::default();
    for micros in 1..=10_000 {
        tally.add(Ended::Done, Duration::from_micros(micros), true);
    }
    for (percent, micros) in [(50.0, 5_000), (90.0, 9_000), (99.0, 9_900), (99.9, 9_990)] {
        let found = tally.percentile(percent);
        assert!(
            close(found, Duration::from_micros(micros)),
            "p{percent}: {found:?}"
        );
    }
    assert!(close(tally.max(), Duration::from_millis(10)));
}

#[test]
fn failures_and_time_outs_stay_in_the_latencies() {
    let mut tally = Tally::default();
    for _ in 0..90 {
        tally.add(Ended::Done, MILLI, true);
    }
    for _ in 0..9 {
        tally.add(Ended::TimedOut, 5_000 * MILLI, true);
    }
    tally.add(Ended::Failed, 2 * MILLI, true);
    assert_eq!((tally.done, tally.failed, tally.timed_out), (90, 1, 9));
    assert_eq!(tally.recorded(), 100);
    assert!(close(tally.percentile(99.0), 5_000 * MILLI));
}

#[test]
fn what_ends_after_the_window_counts_for_latency_only() {
    let mut tally = Tally::default();
    tally.add(Ended::Done, MILLI, true);
    tally.add(Ended::Done, 100 * MILLI, false);
    assert_eq!((tally.done, tally.recorded()), (1, 2));
    assert!(close(tally.max(), 100 * MILLI));
}

#[test]
fn merging_adds_everything() {
    let (mut left, mut right) = (Tally::default(), Tally::default());
    left.add(Ended::Done, MILLI, true);
    right.add(Ended::Failed, 3 * MILLI, true);
    right.first_failure = Some("why".to_owned());
    left.merge(&right);
    assert_eq!((left.done, left.failed, left.recorded()), (1, 1, 2));
    assert_eq!(left.first_failure.as_deref(), Some("why"));
    assert!(close(left.max(), 3 * MILLI));
}

#[test]
fn cpu_is_per_completed_operation() {
    let run = run(10_000, 440, 50);
    assert_eq!(run.server_us_per_op(), Some(44.0));
    assert_eq!(run.generator_us_per_op(), Some(10.0));
    assert_eq!(run.throughput(), Some(10_000.0));
    assert_eq!(self::run(0, 440, 50).server_us_per_op(), None);
}

#[test]
fn a_run_that_the_generator_limited_has_no_throughput() {
    assert!(run(10, 1, 90).throughput().is_some());
    let limited = run(10_000, 440, 91);
    assert_eq!(limited.throughput(), None);
    assert_eq!(limited.server_us_per_op(), Some(44.0));
    assert!(report::run(&limited, "operation").contains("the load generator was the limit"));
    assert_eq!(
        report::run_json(&limited)["throughput_per_s"],
        serde_json::Value::Null
    );
}

#[test]
fn time_kept_off_the_cpu_is_not_time_it_could_have_had() {
    let share = Share {
        running_ns: 450,
        waiting_ns: 500,
        wall_ns: 1_000,
    };
    assert!((share.used() - 0.9).abs() < 1e-9);
    let idle = Share {
        running_ns: 450,
        waiting_ns: 0,
        wall_ns: 1_000,
    };
    assert!((idle.used() - 0.45).abs() < 1e-9);
}

#[test]
fn a_ratio_is_the_median_of_paired_rounds() {
    let pair = |ours, theirs| (run(ours, 1, 50), run(theirs, 1, 50));
    let rounds = [pair(200, 100), pair(100, 100), pair(300, 100)];
    let expected = Ratio {
        median: 2.0,
        least: 1.0,
        most: 3.0,
    };
    assert_eq!(ratio(&rounds, Measurement::throughput), Some(expected));
    let expected = Ratio {
        median: 1.5,
        least: 1.0,
        most: 2.0,
    };
    assert_eq!(ratio(&rounds[..2], Measurement::throughput), Some(expected));
}

#[test]
fn a_ratio_with_an_unknown_round_is_unknown() {
    let rounds = [
        (run(200, 1, 50), run(100, 1, 50)),
        (run(200, 1, 99), run(100, 1, 50)),
    ];
    assert_eq!(ratio(&rounds, Measurement::throughput), None);
    assert!(ratio(&rounds, Measurement::server_us_per_op).is_some());
    assert_eq!(ratio(&[], Measurement::throughput), None);
    assert_eq!(
        ratio(&[(run(1, 1, 50), run(0, 1, 50))], Measurement::throughput),
        None
    );
}

#[test]
fn process_times_are_found_behind_any_command_name() {
    let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 9 0 5 1 1";
    assert_eq!(process_ticks(stat), Some(281));
    assert_eq!(process_ticks("12 (a"), None);
    assert_eq!(
        schedule_times("134179 2941901 2\n"),
        Some((134_179, 2_941_901))
    );
    assert_eq!(schedule_times(""), None);
}

#[test]
fn figures_are_written_for_people() {
    for (nanos, text) in [
        (950, "1 us"),
        (81_400, "81 us"),
        (1_234_000, "1.23 ms"),
        (5_000_000_000, "5.00 s"),
    ] {
        assert_eq!(report::time(Duration::from_nanos(nanos)), text);
    }
    assert_eq!(report::grouped(0), "0");
    assert_eq!(report::grouped(999), "999");
    assert_eq!(report::grouped(1_234_567), "1,234,567");
    assert_eq!(report::rate(30_466.4), "30,466/s");
}

#[test]
fn a_put_belongs_to_the_work_that_it_meets_and_to_the_quiet_far_from_any() {
    const MS: u64 = 1_000_000;
    let work = [(1_000 * MS, 1_100 * MS), (5_000 * MS, 5_100 * MS)];
    let puts = vec![
        // Far from both.
        (100 * MS, 101 * MS),
        (3_000 * MS, 3_003 * MS),
        // It waits through the beginning, is inside, spans it all.
        (990 * MS, 1_010 * MS),
        (5_050 * MS, 5_052 * MS),
        (4_990 * MS, 5_200 * MS),
        // Neither: it is too near to be undisturbed.
        (1_200 * MS, 1_201 * MS),
    ];
    let (beside, quiet) = sort_out(&work, puts);
    assert_eq!(beside, [2 * MS, 20 * MS, 210 * MS]);
    assert_eq!(quiet, [MS, 3 * MS]);
}
