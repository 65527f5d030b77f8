//! Reads and leases on members that do not lead, or cease to.

use super::script::{A, B, C, MEMBERS, MS, Tail, led_by, spawn};
use super::{get, put, put_command, soon};
use crate::{Consistency, Failure};
use bytes::Bytes;
use std::time::Duration;
use synod_env::Instant;
use synod_env::sim::LinkModel;

#[test]
fn a_follower_reads_every_write_acknowledged_before() {
    for seed in 0..20 {
        let cluster = led_by(A, seed);
        for number in 0..20 {
            let writer = MEMBERS[number % 2];
            let value = number.to_string();
            cluster
                .run(put(&cluster.node(writer), "k", &value))
                .expect("a put succeeds");
            let found = cluster.run(get(&cluster.node(C), "k"));
            assert_eq!(found, Ok(Some(value)), "seed {seed}");
        }
        // However far behind it is.
        cluster.set_lagging(C, true);
        cluster
            .run(put(&cluster.node(B), "k", "new"))
            .expect("a put succeeds");
        let read = spawn(&cluster, C, |node| async move { get(&node, "k").await });
        cluster.pass(Duration::from_secs(1));
        assert_eq!(
            *read.lock().expect("not poisoned"),
            None,
            "it must not answer yet"
        );
        let at_once = cluster.node(C);
        let stale = cluster.run(at_once.read(Consistency::Serializable, Instant::ZERO));
        assert!(stale.is_ok(), "who does not care is served at once");
        cluster.set_lagging(C, false);
        cluster
            .run(put(&cluster.node(A), "other", "v"))
            .expect("a put succeeds");
        cluster.pass(100 * MS);
        let read = read.lock().expect("not poisoned").clone();
        assert_eq!(read, Some(Ok(Some("new".to_owned()))));
    }
}

/// What a round proves was proved too early for a reader that comes while it is under way.
#[test]
fn a_reader_is_not_served_by_a_round_that_began_before_it() {
    let cluster = led_by(A, 7);
    cluster
        .run(put(&cluster.node(A), "k", "old"))
        .expect("a put succeeds");
    cluster.pass(100 * MS);
    cluster.set_lagging(C, true);
    let slow = LinkModel {
        delay_min: 100 * MS,
        delay_max: 100 * MS,
        ..LinkModel::default()
    };
    cluster.sim.nemesis().set_link(A, C, slow);
    let first = spawn(&cluster, C, |node| async move { get(&node, "k").await });
    cluster.pass(30 * MS);
    cluster
        .run(put(&cluster.node(A), "k", "new"))
        .expect("a put succeeds");
    let second = spawn(&cluster, C, |node| async move { get(&node, "k").await });
    cluster.pass(1_000 * MS);
    let first = first.lock().expect("not poisoned").clone();
    assert_eq!(
        first,
        Some(Ok(Some("old".into()))),
        "it began before the write"
    );
    assert_eq!(
        *second.lock().expect("not poisoned"),
        None,
        "it began after"
    );
    cluster.set_lagging(C, false);
    cluster
        .run(put(&cluster.node(A), "other", "v"))
        .expect("a put succeeds");
    cluster.pass(1_000 * MS);
    let second = second.lock().expect("not poisoned").clone();
    assert_eq!(second, Some(Ok(Some("new".into()))));
}

#[test]
fn a_lost_round_is_overtaken_and_a_slow_one_is_waited_for() {
    let cluster = led_by(A, 7);
    let nemesis = cluster.sim.nemesis();
    nemesis.cut(C, A);
    let read = spawn(&cluster, C, |node| async move { get(&node, "k").await });
    cluster.pass(100 * MS);
    nemesis.mend(C, A);
    cluster.pass(200 * MS);
    assert_eq!(*read.lock().expect("not poisoned"), Some(Ok(None)));
    let slow = LinkModel {
        delay_min: 600 * MS,
        delay_max: 600 * MS,
        ..LinkModel::default()
    };
    nemesis.set_link(A, C, slow);
    let read = spawn(&cluster, C, |node| async move { get(&node, "k").await });
    cluster.pass(700 * MS);
    assert_eq!(*read.lock().expect("not poisoned"), Some(Ok(None)));
}

/// A leader that was deposed and does not know it serves no read from what it has.
#[test]
fn a_deposed_leader_reads_what_the_next_one_has_written() {
    let cluster = led_by(A, 8);
    cluster
        .run(put(&cluster.node(A), "k", "old"))
        .expect("a put succeeds");
    cluster.set_lagging(A, true);
    cluster.elect(B, Tail::Kept, &[A]);
    cluster.pass(100 * MS);
    cluster
        .run(put(&cluster.node(C), "k", "new"))
        .expect("a put succeeds");
    let read = spawn(&cluster, A, |node| async move { get(&node, "k").await });
    let write = spawn(
        &cluster,
        A,
        |node| async move { put(&node, "k", "newer").await },
    );
    cluster.pass(Duration::from_secs(1));
    assert_eq!(*read.lock().expect("not poisoned"), None);
    assert_eq!(*write.lock().expect("not poisoned"), None);
    cluster.set_lagging(A, false);
    cluster.tell(A);
    cluster
        .run(put(&cluster.node(C), "other", "v"))
        .expect("a put succeeds");
    cluster.pass(Duration::from_secs(1));
    let read = read.lock().expect("not poisoned").clone();
    let value = read.expect("it ends").expect("it succeeds");
    assert!(
        value == Some("new".into()) || value == Some("newer".into()),
        "{value:?}"
    );
    let written = write.lock().expect("not poisoned").clone();
    assert!(matches!(written, Some(Ok(_))), "{written:?}");
    cluster.assert_agreement();
}

#[test]
fn a_lease_is_kept_alive_through_any_member_and_ends_without() {
    let cluster = led_by(A, 9);
    let node = cluster.node(B);
    let (_, ttl_s) = cluster
        .run(node.lease_grant(7, 3, soon(&node)))
        .expect("granted");
    assert_eq!(ttl_s, 3);
    cluster
        .run(node.propose(put_command("k", "v", 7), soon(&node)))
        .expect("a put succeeds");
    for member in MEMBERS.into_iter().cycle().take(9) {
        cluster.pass(Duration::from_secs(2));
        let node = cluster.node(member);
        let renewed = cluster.run(node.lease_keep_alive(7, soon(&node)));
        assert_eq!(renewed, Ok(Some(3)));
        let left = cluster.run(node.lease_time_to_live(7, true, soon(&node)));
        let left = left.expect("it is told").expect("the lease lives");
        assert_eq!(
            (left.granted_s, left.keys),
            (3, vec![Bytes::from_static(b"k")])
        );
        assert!(left.remaining_s <= 3);
    }
    for member in MEMBERS {
        let node = cluster.node(member);
        assert_eq!(cluster.run(node.lease_keep_alive(8, soon(&node))), Ok(None));
        let leases = cluster.run(node.leases(soon(&node)));
        assert_eq!(leases, Ok(vec![7]));
    }
    cluster.pass(Duration::from_millis(3_500));
    for member in MEMBERS {
        let node = cluster.node(member);
        assert_eq!(cluster.run(node.lease_keep_alive(7, soon(&node))), Ok(None));
        assert_eq!(cluster.run(get(&node, "k")), Ok(None));
        let times = cluster.run(node.lease_time_to_live(7, true, soon(&node)));
        assert_eq!(times, Ok(None));
    }
}

/// The clock of a deposed leader goes on, and it may not even know that it is deposed: it must not
/// renew a lease which the next leader counts from an earlier moment on.
#[test]
fn a_deposed_leader_renews_nothing_and_expires_nothing() {
    let cluster = led_by(A, 10);
    let node = cluster.node(A);
    cluster
        .run(node.lease_grant(7, 5, soon(&node)))
        .expect("granted");
    cluster.elect(B, Tail::Kept, &[A]);
    cluster.set_lagging(A, true);
    cluster.pass(Duration::from_secs(3));
    let deadline = node.now() + Duration::from_secs(1);
    let renewed = cluster.run(node.lease_keep_alive(7, deadline));
    assert_eq!(renewed, Err(Failure::TimedOut), "by whose clock?");
    cluster.set_lagging(A, false);
    cluster.tell(A);
    // By the clock of the former leader it would end now; by that of the next one it is renewed.
    cluster.pass(MS);
    let renewed = cluster.run(node.lease_keep_alive(7, soon(&node)));
    assert_eq!(renewed, Ok(Some(5)));
    cluster.pass(Duration::from_millis(4_900));
    assert!(cluster.node(C).root().lease(7).is_some());
    cluster.assert_agreement();
}

/// Elected again, a member has two reigns behind it; what it proves for the later one must not
/// speak for the clock of the earlier.
#[test]
fn what_is_proved_for_a_later_reign_does_not_renew_by_the_clock_of_an_earlier() {
    let cluster = led_by(A, 11);
    let node = cluster.node(A);
    cluster
        .run(node.lease_grant(7, 5, soon(&node)))
        .expect("granted");
    // It leads again before it learns that it did not.
    cluster.elect(B, Tail::Kept, &[A, C]);
    cluster.elect(A, Tail::Kept, &[A, B, C]);
    cluster.pass(MS);
    let reign = node.shared.reigning().as_ref().map(|r| r.reign);
    assert_eq!(reign, Some(1), "its clock is that of its first reign");
    let deadline = node.now() + Duration::from_secs(1);
    let renewed = cluster.run(node.lease_keep_alive(7, deadline));
    assert_eq!(renewed, Err(Failure::TimedOut));
    cluster.tell(A);
    let renewed = cluster.run(node.lease_keep_alive(7, soon(&node)));
    assert_eq!(renewed, Ok(Some(5)), "by the clock of its present reign");
}

/// A proposal that time made a leader make is not carried over into a later reign, neither its
/// own nor another member's: by then the lease may have been renewed.
#[test]
fn an_expiry_that_was_refused_is_not_proposed_in_a_later_reign() {
    for next in [A, B] {
        let cluster = led_by(A, 12);
        let node = cluster.node(A);
        cluster
            .run(node.lease_grant(7, 3, soon(&node)))
            .expect("granted");
        // A was deposed and does not know it. Its expiry is refused, since it does not lead.
        cluster.set_lagging(A, true);
        cluster.elect(B, Tail::Kept, &[A]);
        cluster.pass(3_150 * MS);
        assert!(cluster.node(C).root().lease(7).is_some());
        cluster.set_lagging(A, false);
        cluster.elect(next, Tail::Kept, &[]);
        cluster.pass(2_900 * MS);
        assert!(
            cluster.node(C).root().lease(7).is_some(),
            "the TTL begins anew with each reign"
        );
        cluster.pass(600 * MS);
        assert!(cluster.node(C).root().lease(7).is_none());
    }
}
