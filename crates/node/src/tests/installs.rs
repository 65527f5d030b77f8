//! Another member's snapshot in the place of the state.

use super::script::{A, B, C, Cluster, MS, Tail, led_by, spawn};
use super::{get, put, soon};
use crate::watch::CancelReason;
use crate::{Failure, WatchCreate, WatchMessage};
use bytes::Bytes;
use std::io;
use synod_env::Limits;
use synod_state::command::Command;

#[test]
fn a_snapshot_is_installed_under_watchers_batches_and_leases() {
    let cluster = led_by(A, 13);
    let node = cluster.node(C);
    let mut stream = node.watch().expect("there is room");
    let watch = |key: &'static str, start_revision| WatchCreate {
        key: key.into(),
        start_revision,
        ..WatchCreate::default()
    };
    stream.requester().create(&watch("k", 0));
    stream.requester().create(&watch("quiet", 0));
    stream.requester().create(&watch("k", 1_000));
    cluster
        .run(node.lease_grant(7, 30, soon(&node)))
        .expect("granted");
    for number in 0..20 {
        cluster
            .run(put(&cluster.node(A), "k", &number.to_string()))
            .expect("a put succeeds");
    }
    cluster.pass(100 * MS);
    cluster.set_lagging(C, true);
    // In the log, in the snapshot, and not seen by its origin.
    let covered = spawn(
        &cluster,
        C,
        |node| async move { put(&node, "own", "1").await },
    );
    cluster.pass(100 * MS);
    for number in 20..40 {
        cluster
            .run(put(&cluster.node(B), "k", &number.to_string()))
            .expect("a put succeeds");
    }
    cluster.pass(100 * MS);
    cluster
        .run(cluster.node(B).snapshot_now())
        .expect("a snapshot is written");
    // In the log, and not in the snapshot.
    let later = spawn(
        &cluster,
        C,
        |node| async move { put(&node, "own", "2").await },
    );
    let fresh = spawn(&cluster, C, |node| async move { get(&node, "k").await });
    cluster.pass(100 * MS);
    assert_eq!(*covered.lock().expect("not poisoned"), None);
    cluster.transfer(B, C);
    cluster.set_lagging(C, false);
    cluster.pass(100 * MS);
    let covered = covered.lock().expect("not poisoned").clone();
    assert_eq!(
        covered,
        Some(Err(Failure::Unknown)),
        "the snapshot may cover it"
    );
    let later = later.lock().expect("not poisoned").clone();
    assert!(matches!(later, Some(Ok(_))), "{later:?}");
    let fresh = fresh.lock().expect("not poisoned").clone();
    assert_eq!(fresh, Some(Ok(Some("39".into()))));

    let mut told = Vec::new();
    for _ in 0..3 {
        cluster.run(stream.next()).expect("the watch is made");
    }
    while told.len() < 40 {
        match cluster.run(stream.next()).expect("the stream goes on") {
            WatchMessage::Events {
                watch_id: 0,
                events,
                ..
            } => {
                told.extend(events.iter().map(|event| event.event.kv.value.clone()));
            }
            other @ (WatchMessage::Created { .. }
            | WatchMessage::Canceled { .. }
            | WatchMessage::Events { .. }
            | WatchMessage::Progress { .. }) => panic!("{other:?}"),
        }
    }
    let expected: Vec<Bytes> = (0..40)
        .map(|number: i32| number.to_string().into())
        .collect();
    assert_eq!(told, expected, "without a gap or a repetition");
    let renewed = cluster.run(node.lease_keep_alive(7, soon(&node)));
    assert_eq!(renewed, Ok(Some(30)));
    cluster.assert_agreement();
}

/// What a watcher was not told and compaction took in the meantime: it learns so, and one that
/// was told everything does not.
#[test]
fn a_watcher_behind_an_installed_compaction_is_told_so() {
    let cluster = led_by(A, 14);
    let node = cluster.node(C);
    let mut stream = node.watch().expect("there is room");
    stream.requester().create(&WatchCreate {
        key: "k".into(),
        ..WatchCreate::default()
    });
    cluster.run(put(&node, "k", "1")).expect("a put succeeds");
    cluster.pass(100 * MS);
    let second = cluster.run(stream.next());
    assert!(
        matches!(second, Some(WatchMessage::Created { .. })),
        "{second:?}"
    );
    cluster.set_lagging(C, true);
    for number in 0..10 {
        cluster
            .run(put(&cluster.node(A), "k", &number.to_string()))
            .expect("a put succeeds");
    }
    let compact = Command::Compact { revision: 8 };
    let leader = cluster.node(A);
    cluster
        .run(leader.propose(compact, soon(&leader)))
        .expect("compacted");
    cluster
        .run(leader.snapshot_now())
        .expect("a snapshot is written");
    cluster.transfer(A, C);
    cluster.set_lagging(C, false);
    let first = cluster.run(stream.next());
    assert!(
        matches!(&first, Some(WatchMessage::Events { events, .. }) if events.len() == 1),
        "{first:?}"
    );
    let over = cluster.run(stream.next());
    assert!(
        matches!(
            over,
            Some(WatchMessage::Canceled {
                reason: CancelReason::Compacted(8),
                ..
            })
        ),
        "{over:?}"
    );
}

/// Compaction of what a quiet watcher has long been past is none of its business.
#[test]
fn a_quiet_watcher_outlives_an_installed_compaction() {
    let cluster = led_by(A, 18);
    let mut stream = cluster.node(C).watch().expect("there is room");
    stream.requester().create(&WatchCreate {
        key: "quiet".into(),
        ..WatchCreate::default()
    });
    for number in 0..10 {
        cluster
            .run(put(&cluster.node(A), "k", &number.to_string()))
            .expect("a put succeeds");
    }
    cluster.pass(100 * MS);
    cluster.set_lagging(C, true);
    let leader = cluster.node(A);
    cluster
        .run(put(&leader, "k", "more"))
        .expect("a put succeeds");
    let compact = Command::Compact { revision: 9 };
    cluster
        .run(leader.propose(compact, soon(&leader)))
        .expect("compacted");
    cluster
        .run(leader.snapshot_now())
        .expect("a snapshot is written");
    cluster.transfer(A, C);
    cluster.set_lagging(C, false);
    cluster
        .run(put(&leader, "quiet", "v"))
        .expect("a put succeeds");
    let created = cluster.run(stream.next());
    assert!(
        matches!(created, Some(WatchMessage::Created { .. })),
        "{created:?}"
    );
    let told = cluster.run(stream.next());
    assert!(
        matches!(&told, Some(WatchMessage::Events { events, .. }) if events.len() == 1),
        "{told:?}"
    );
}

#[test]
fn a_member_restarts_from_a_snapshot_that_it_received() {
    let mut cluster = led_by(A, 15);
    cluster.set_lagging(C, true);
    for number in 0..50 {
        cluster
            .run(put(&cluster.node(A), &format!("{number}"), "v"))
            .expect("a put succeeds");
    }
    cluster
        .run(cluster.node(A).snapshot_now())
        .expect("a snapshot is written");
    cluster.transfer(A, C);
    // Its own next snapshot refers to nothing that the received one does not have.
    cluster.set_lagging(C, false);
    cluster
        .run(put(&cluster.node(C), "0", "w"))
        .expect("a put succeeds");
    cluster
        .run(cluster.node(C).snapshot_now())
        .expect("a snapshot is written");
    cluster
        .run(put(&cluster.node(C), "1", "w"))
        .expect("a put succeeds");
    cluster
        .run(cluster.node(C).snapshot_now())
        .expect("a snapshot is written");
    cluster.restart(C);
    assert_eq!(
        cluster.run(get(&cluster.node(C), "0")),
        Ok(Some("w".into()))
    );
    assert_eq!(
        cluster.run(get(&cluster.node(C), "49")),
        Ok(Some("v".into()))
    );
    cluster.assert_agreement();
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused_and_leaves_nothing() {
    let limits = Limits {
        snapshot_chunk_bytes: 1_000,
        ..Limits::default()
    };
    let cluster = Cluster::new(17, limits);
    cluster.elect(A, Tail::Kept, &[]);
    cluster.set_lagging(C, true);
    for number in 0..100 {
        cluster
            .run(put(&cluster.node(A), &format!("{number}"), &"v".repeat(50)))
            .expect("a put succeeds");
    }
    cluster
        .run(cluster.node(A).snapshot_now())
        .expect("a snapshot is written");
    let whole = cluster.outgoing(A);
    assert!(whole.parts.len() > 4, "{} parts", whole.parts.len());
    let files = || cluster.sim.nemesis().files(C);
    let before = files();

    let mut missing = whole.clone();
    missing.parts.pop();
    let mut swapped = whole.clone();
    swapped.parts.swap(1, 2);
    let mut altered = whole.clone();
    let mut part = altered.parts[2].to_vec();
    *part.last_mut().expect("it is not empty") ^= 1;
    altered.parts[2] = part.into();
    let mut longer = whole.clone();
    longer.parts.push(whole.parts[1].clone());
    let mut headless = whole.clone();
    headless.parts.remove(0);
    for broken in [missing, swapped, altered, longer, headless] {
        let refused = cluster.receive(C, &broken).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::InvalidData));
        cluster.pass(1_000 * MS);
        assert_eq!(files(), before);
    }

    // One that is given up, while this member wants to write its own.
    let mut given_up = cluster.incoming(C, &whole);
    for part in &whole.parts[..3] {
        cluster
            .run(given_up.part(part.clone()))
            .expect("it is taken");
    }
    let own = cluster.run(cluster.node(C).snapshot_now());
    let busy = own.map_err(|error| error.kind());
    assert_eq!(busy, Err(io::ErrorKind::ResourceBusy));
    drop(given_up);
    cluster.pass(1_000 * MS);
    assert_eq!(files(), before);

    // Received and not yet installed: an older one of this member's own must not replace it.
    let received = cluster.receive(C, &whole).expect("it is whole");
    let own = cluster.run(cluster.node(C).snapshot_now());
    let busy = own.map_err(|error| error.kind());
    assert_eq!(busy, Err(io::ErrorKind::ResourceBusy));
    drop(received);
}
