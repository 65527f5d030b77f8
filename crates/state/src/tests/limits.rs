//! Bounds that are set for the whole cluster.

use super::{audit, batch, put};
use crate::command::Command;
use crate::limit::{BY_BYTES_MAX, LimitChange, LimitKind};
use crate::reply::Refusal;
use crate::{Invalid, Root, State};
use std::time::Duration;
use synod_env::HistoryKeep;

fn change(kind: LimitKind, value: Option<u64>) -> LimitChange {
    LimitChange {
        kind,
        value,
        wall_ms: 5,
        by: "a person".into(),
    }
}

/// The state after these changes of limits.
fn after(changes: &[(LimitKind, Option<u64>)]) -> Root {
    let mut state = State::new(1);
    for (index, (kind, value)) in (1..).zip(changes) {
        let set = Command::SetLimit(change(*kind, *value));
        let applied = state.apply(index, &batch(index, vec![set]));
        assert!(applied.outcomes[0].is_ok());
        audit::check(&state.root());
    }
    state.root()
}

#[test]
fn a_quota_that_was_set_outlasts_what_leaders_were_started_with() {
    let mut state = State::new(1);
    let quota = |value| Command::SetLimit(change(LimitKind::QuotaBytes, value));
    let by_leader = Command::SetQuota { bytes: 50 };
    state.apply(1, &batch(1, vec![quota(Some(1_000)), by_leader.clone()]));
    assert_eq!(state.root().quota_bytes(), 1_000);
    let fits = state.apply(2, &batch(2, vec![put("a", "v".repeat(100))]));
    assert!(fits.outcomes[0].is_ok());
    let refused = state.apply(3, &batch(3, vec![put("a", "v".repeat(900))]));
    assert_eq!(refused.outcomes, [Err(Refusal::NoSpace)]);
    // Given back, it stays until a leader says what it was started with.
    state.apply(4, &batch(4, vec![quota(None)]));
    assert_eq!(state.root().quota_bytes(), 1_000);
    state.apply(5, &batch(5, vec![by_leader]));
    assert_eq!(state.root().quota_bytes(), 50);
}

#[test]
fn a_full_cluster_can_be_given_more_room() {
    let mut state = State::new(1);
    state.apply(
        1,
        &batch(1, vec![Command::SetQuota { bytes: 10 }, put("a", "1")]),
    );
    assert_eq!(state.root().alarms().count(), 1);
    let more = Command::SetLimit(change(LimitKind::QuotaBytes, Some(1_000)));
    let applied = state.apply(2, &batch(2, vec![more]));
    assert!(applied.outcomes[0].is_ok());
    assert_eq!(state.root().quota_bytes(), 1_000);
}

#[test]
fn history_is_kept_as_was_said_last() {
    use LimitKind::{HistoryMs, HistoryRevisions};
    let minute = HistoryKeep::For(Duration::from_secs(60));
    let cases: [(&[(LimitKind, Option<u64>)], _); 7] = [
        (&[], None),
        (&[(HistoryMs, Some(60_000))], Some(minute)),
        (&[(HistoryMs, Some(0))], Some(HistoryKeep::Everything)),
        (
            &[(HistoryMs, Some(60_000)), (HistoryRevisions, Some(7))],
            Some(HistoryKeep::Revisions(7)),
        ),
        (
            &[(HistoryRevisions, Some(7)), (HistoryMs, Some(60_000))],
            Some(minute),
        ),
        (
            &[(HistoryMs, Some(60_000)), (HistoryRevisions, Some(0))],
            Some(HistoryKeep::Everything),
        ),
        (&[(HistoryMs, Some(60_000)), (HistoryMs, None)], None),
    ];
    for (changes, expected) in cases {
        assert_eq!(after(changes).history_keep(), expected, "{changes:?}");
    }
}

#[test]
fn the_last_change_of_each_limit_is_remembered() {
    use LimitKind::{HistoryMs, QuotaBytes, TxnOps};
    let root = after(&[
        (TxnOps, Some(5)),
        (QuotaBytes, Some(9)),
        (TxnOps, None),
        (HistoryMs, None),
    ]);
    let expected = [
        change(QuotaBytes, Some(9)),
        change(TxnOps, None),
        change(HistoryMs, None),
    ];
    assert!(root.limit_changes().eq(&expected));
    assert_eq!(
        (root.limit(TxnOps), root.limit(QuotaBytes)),
        (None, Some(9))
    );
}

#[test]
fn a_limit_that_makes_no_sense_is_refused() {
    let check = |kind, value| Command::SetLimit(change(kind, Some(value))).check(1);
    for kind in LimitKind::ALL {
        let (least, most) = (*kind.range().start(), *kind.range().end());
        assert_eq!((check(kind, least), check(kind, most)), (Ok(()), Ok(())));
        assert_eq!(check(kind, most + 1), Err(Invalid::Limit));
        if let Some(below) = least.checked_sub(1) {
            assert_eq!(check(kind, below), Err(Invalid::Limit));
        }
    }
    let talkative = LimitChange {
        by: vec![b'x'; BY_BYTES_MAX + 1].into(),
        ..change(LimitKind::TxnOps, None)
    };
    assert_eq!(Command::SetLimit(talkative).check(1), Err(Invalid::Limit));
}
