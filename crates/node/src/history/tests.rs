//! The clock of history by itself, with made-up times.

use super::*;
use synod_env::Prng;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A member that writes one revision a second and looks every second; says when it forgot what.
fn run(keep: HistoryKeep, until: Duration, leads: impl Fn(Duration) -> bool) -> Vec<(u64, i64)> {
    let mut history = History::default();
    let begun = Instant::ZERO + HOUR;
    let mut done = Vec::new();
    let mut passed = Duration::ZERO;
    while passed <= until {
        let seconds = passed.as_secs();
        let present = 1 + i64::try_from(seconds).unwrap();
        let now = begun + passed;
        if let Some(revision) = history.tick(now, keep, present, leads(passed)) {
            history.forgotten(now, revision);
            done.push((seconds, revision));
        }
        passed += SECOND;
    }
    done
}

#[test]
fn by_time_the_last_period_is_kept() {
    // Revision 1 was the present when the member started; what was written a second later has 2.
    let done = run(HistoryKeep::For(10 * MINUTE), 31 * MINUTE, |_| true);
    assert_eq!(done, [(600, 1), (1_200, 541), (1_800, 1_141)]);
}

#[test]
fn by_a_long_time_something_is_forgotten_every_hour() {
    let done = run(HistoryKeep::For(5 * HOUR), 8 * HOUR, |_| true);
    let times: Vec<_> = done.iter().map(|(at, _)| at / 3_600).collect();
    assert_eq!(times, [5, 6, 7, 8]);
    for (at, revision) in &done {
        let age = i64::try_from(*at).unwrap() + 1 - revision;
        assert!((18_000..=18_360).contains(&age), "{done:?}");
    }
}

#[test]
fn by_revisions_so_many_are_kept() {
    let done = run(HistoryKeep::Revisions(100), 20 * MINUTE, |_| true);
    assert_eq!(done, [(300, 201), (600, 501), (900, 801), (1_200, 1_101)]);
    assert_eq!(
        run(HistoryKeep::Revisions(2_000), 20 * MINUTE, |_| true),
        []
    );
}

#[test]
fn everything_is_kept_if_nobody_wants_less() {
    assert_eq!(run(HistoryKeep::Everything, 3 * HOUR, |_| true), []);
}

/// Whoever follows knows the age of revisions as well, and forgets once it leads.
#[test]
fn a_new_leader_forgets_at_once_what_is_old_enough() {
    let leads = |passed: Duration| passed >= 25 * MINUTE;
    let done = run(HistoryKeep::For(10 * MINUTE), 36 * MINUTE, leads);
    assert_eq!(done, [(1_500, 841), (2_100, 1_441)]);
}

#[test]
fn what_came_to_nothing_is_tried_again_with_the_next_note() {
    let mut history = History::default();
    let keep = HistoryKeep::For(10 * MINUTE);
    let mut tried = Vec::new();
    for second in 0..=800 {
        let now = Instant::ZERO + second * SECOND;
        if let Some(revision) = history.tick(now, keep, i64::from(second) + 1, true) {
            tried.push((second, revision));
        }
    }
    assert_eq!(tried, [(600, 1), (660, 1), (720, 61), (780, 121)]);
}

#[test]
fn a_quiet_cluster_has_nothing_to_forget_twice() {
    let mut history = History::default();
    let mut done = Vec::new();
    for second in 0..7_200_u32 {
        let now = Instant::ZERO + second * SECOND;
        if let Some(revision) = history.tick(now, HistoryKeep::For(MINUTE), 7, true) {
            history.forgotten(now, revision);
            done.push((second, revision));
        }
    }
    assert_eq!(done, [(60, 7)]);
}

#[test]
fn a_changed_wish_begins_anew() {
    let mut history = History::default();
    let mut done = Vec::new();
    for second in 0..1_000_u32 {
        let now = Instant::ZERO + second * SECOND;
        let keep = match second {
            0..500 => HistoryKeep::For(10 * MINUTE),
            500..600 => HistoryKeep::Everything,
            _ => HistoryKeep::For(MINUTE),
        };
        if let Some(revision) = history.tick(now, keep, i64::from(second), true) {
            history.forgotten(now, revision);
            done.push(second);
        }
    }
    assert_eq!(done.first(), Some(&660));
    assert_eq!(done.len(), 6);
}

/// Whatever the period, whenever somebody leads: nothing younger than the period is forgotten, and
/// while somebody leads nothing is kept that is much older than two periods. Looks come a little
/// late, so that notes lie a fifth further apart than they should.
#[test]
fn history_is_kept_for_its_period_and_not_for_ever() {
    for seed in 0..300 {
        let mut prng = Prng::new(seed);
        let mut draw = |below: u64| prng.next_u64() % below;
        let period = Duration::from_millis(1_000 + draw(20_000_000));
        let keep = HistoryKeep::For(period);
        let step = note_every(period) / 5;
        let ought = period + period / 5 + interval(period) + 4 * note_every(period);
        let mut history = History::default();
        // When each revision stopped being the present one.
        let mut superseded: Vec<Instant> = vec![Instant::ZERO; 2];
        let mut forgotten = 0_usize;
        let mut now = Instant::ZERO;
        let mut leads_since = Some(now);
        for _ in 0..2_000 {
            now = now + step;
            if draw(3) > 0 {
                superseded.push(now);
            }
            if draw(300) == 0 {
                leads_since = leads_since.is_none().then_some(now);
            }
            let present = i64::try_from(superseded.len() - 1).unwrap();
            let due = history.tick(now, keep, present, leads_since.is_some());
            if let Some(revision) = due {
                forgotten = usize::try_from(revision).unwrap();
                history.forgotten(now, revision);
                // It is kept itself; the one before was superseded by it.
                let age = now.saturating_since(superseded[forgotten]);
                assert!(age >= period, "seed {seed}: {age:?} of {period:?}");
            }
            let Some(since) = leads_since else { continue };
            let led = now.saturating_since(since);
            if led > ought && forgotten + 1 < superseded.len() {
                let age = now.saturating_since(superseded[forgotten + 1]);
                assert!(age <= ought, "seed {seed}: {age:?} of {period:?}");
            }
        }
    }
}
