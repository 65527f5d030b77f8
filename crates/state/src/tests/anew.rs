//! Beginning anew: what clients have goes on, what the former cluster knew of itself does not.

use super::{audit, batch, put};
use crate::anew::{BEGINNING_REVISION_MAX, BeginError, Beginning, ForeignKey, ForeignLease};
use crate::command::{Alarm, AlarmKind, Batch, Command, Origin, Put};
use crate::reply::Refusal;
use crate::{Lease, State};
use bytes::Bytes;
use synod_env::MemberId;

const RAISE: Beginning = Beginning {
    bump_revision: 1_000,
    mark_compacted: true,
};

const KEEP: Beginning = Beginning {
    bump_revision: 0,
    mark_compacted: false,
};

/// In reign 7, with a lease that was checkpointed, an alarm, and history.
fn former() -> State {
    let mut state = State::new(1);
    let commands = vec![
        Command::Reign { reign: 7 },
        Command::LeaseGrant {
            lease: 5,
            ttl_ms: 60_000,
        },
        Command::Put(Put {
            key: "leased".into(),
            value: "x".into(),
            lease: 5,
            ..Put::default()
        }),
        put("a", "1"),
        put("a", "2"),
        Command::LeaseCheckpoint {
            remaining: vec![(5, 9_000)],
        },
        Command::SetAlarm {
            alarm: Alarm {
                kind: AlarmKind::NoSpace,
                member: MemberId(3),
            },
            raised: true,
        },
    ];
    let reign = Batch {
        reign: 7,
        ..batch(1, commands)
    };
    let applied = state.apply(1, &reign);
    assert!(applied.outcomes.iter().all(Result::is_ok), "{applied:?}");
    state
}

#[test]
fn keys_and_leases_go_on_and_the_former_cluster_does_not() {
    let mut state = former();
    let before = state.root();
    state.begin_anew(RAISE).unwrap();
    let root = state.root();
    audit::check(&root);
    assert_eq!(audit::everything(&root), audit::everything(&before));
    assert_eq!((root.revision(), root.compact_revision()), (1_004, 1_004));
    assert_eq!((root.reign(), root.time_ms(), root.index()), (0, 0, 0));
    assert_eq!(root.origin_sequence(MemberId(1)), None);
    assert_eq!(root.alarms().count(), 0);
    let whole = Lease {
        id: 5,
        ttl_ms: 60_000,
        remaining_ms: 0,
    };
    assert_eq!(root.leases().collect::<Vec<_>>(), [whole]);
    assert_eq!(root.lease_keys(5).collect::<Vec<_>>(), ["leased"]);
}

/// The first batch of the new cluster may have numbers that the old one has seen.
#[test]
fn a_new_cluster_writes_above_the_raised_revision() {
    let mut state = former();
    state.begin_anew(RAISE).unwrap();
    let origin = Origin {
        member: MemberId(1),
        incarnation: 1,
        sequence: 1,
    };
    let first = Batch {
        origin,
        reign: 1,
        time_ms: 0,
        commands: vec![Command::Reign { reign: 1 }, put("a", "3")],
    };
    let applied = state.apply(1, &first);
    assert_eq!(applied.dropped, None);
    assert_eq!(applied.events[0].kv.mod_revision, 1_005);
    assert_eq!(applied.events[0].kv.version, 3);
    audit::check(&state.root());
}

#[test]
fn watches_of_the_former_cluster_learn_that_their_history_is_gone() {
    let mut state = former();
    state.begin_anew(RAISE).unwrap();
    for seen_before in [1, 4, 5, 600, 1_003] {
        assert!(
            state.root().events(seen_before, 1).is_err(),
            "{seen_before}"
        );
    }
    assert_eq!(state.root().events(1_004, 1), Ok(Vec::new()));
    let refused = state.apply(1, &batch(1, vec![Command::Compact { revision: 4 }]));
    assert_eq!(refused.outcomes, [Err(Refusal::Compacted(1_004))]);
}

#[test]
fn history_is_kept_for_whoever_asks_for_it() {
    let mut state = former();
    let history = state.root().events(2, 100).unwrap();
    state.begin_anew(KEEP).unwrap();
    assert_eq!(state.root().revision(), 4);
    assert_eq!(state.root().events(2, 100).unwrap(), history);
    // Twice is the same as once, also where there is nothing left to compact.
    let compacted = Beginning {
        mark_compacted: true,
        ..KEEP
    };
    state.begin_anew(compacted).unwrap();
    state.begin_anew(compacted).unwrap();
    assert_eq!(state.root().compact_revision(), 4);
}

#[test]
fn a_revision_is_not_raised_beyond_what_is_left_for_changes() {
    let mut state = former();
    let before = state.root().hash();
    for bump_revision in [BEGINNING_REVISION_MAX.cast_unsigned(), u64::MAX] {
        let too_high = Beginning {
            bump_revision,
            ..RAISE
        };
        let error = state.begin_anew(too_high).unwrap_err();
        assert!(
            matches!(error, BeginError::RevisionTooHigh { revision: 4, .. }),
            "{error}"
        );
    }
    assert_eq!(state.root().hash(), before);
    let highest = Beginning {
        bump_revision: BEGINNING_REVISION_MAX.cast_unsigned() - 4,
        ..RAISE
    };
    state.begin_anew(highest).unwrap();
    assert_eq!(state.root().revision(), BEGINNING_REVISION_MAX);
}

fn key(name: &'static str, mod_revision: i64, lease: i64) -> ForeignKey {
    ForeignKey {
        key: name.into(),
        value: Bytes::from_static(b"value"),
        create_revision: 2,
        mod_revision,
        version: 3,
        lease,
    }
}

const LEASE: ForeignLease = ForeignLease {
    lease: 5,
    ttl_ms: 60_000,
};

#[test]
fn what_another_service_has_becomes_a_state() {
    let keys = vec![key("c", 7, 0), key("a", 7, 5), key("b", 3, 5)];
    let state = State::from_foreign(9, keys, vec![LEASE], 1).unwrap();
    let root = state.root();
    audit::check(&root);
    assert_eq!((root.revision(), root.compact_revision()), (9, 9));
    let shown = audit::everything(&root).into_iter();
    let shown: Vec<_> = shown
        .map(|kv| {
            (
                kv.key,
                kv.create_revision,
                kv.mod_revision,
                kv.version,
                kv.lease,
            )
        })
        .collect();
    let expected = [("a", 2, 7, 3, 5), ("b", 2, 3, 3, 5), ("c", 2, 7, 3, 0)];
    let expected = expected.map(|(key, create, changed, version, lease)| {
        (Bytes::from(key), create, changed, version, lease)
    });
    assert_eq!(shown, expected);
    assert_eq!(root.lease_keys(5).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_no_service_can_have_is_refused() {
    let refused = |keys: Vec<ForeignKey>, leases: Vec<ForeignLease>| {
        State::from_foreign(9, keys, leases, 1)
            .unwrap_err()
            .to_string()
    };
    let nameless = ForeignKey {
        key: Bytes::new(),
        ..key("a", 3, 0)
    };
    assert_eq!(refused(vec![nameless], vec![]), "key \"\" is empty");
    let unwritten = ForeignKey {
        version: 0,
        ..key("a", 3, 0)
    };
    assert_eq!(
        refused(vec![unwritten], vec![]),
        "key \"a\" exists but was never written"
    );
    assert_eq!(
        refused(vec![key("a", 1, 0)], vec![]),
        "key \"a\" was changed before it was made"
    );
    let late = "key \"a\" was changed after the revision of the whole";
    assert_eq!(refused(vec![key("a", 10, 0)], vec![]), late);
    let hanging = "key \"a\" hangs on a lease that does not exist";
    assert_eq!(refused(vec![key("a", 3, 6)], vec![LEASE]), hanging);
    let twice = vec![key("a", 3, 0), key("a", 4, 0)];
    assert_eq!(refused(twice, vec![]), "key \"a\" is there twice");
    assert_eq!(
        refused(vec![], vec![LEASE, LEASE]),
        "lease 5 is there twice"
    );
    let timeless = ForeignLease {
        lease: 5,
        ttl_ms: 0,
    };
    assert_eq!(
        refused(vec![], vec![timeless]),
        "lease 5 has no time to live"
    );
    assert!(State::from_foreign(0, vec![], vec![], 1).is_err());
}
