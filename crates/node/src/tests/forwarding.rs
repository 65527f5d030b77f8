//! Writes on members that do not lead, or cease to.

use super::script::{A, B, C, Cluster, MEMBERS, MS, Tail, led_by, spawn};
use super::{get, put, put_command, soon};
use crate::messages::{Ask, Forwarding, Refused};
use crate::{Consistency, Failure, Node};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synod_env::sim::LinkModel;
use synod_env::{Lane, Limits, MemberId, Prng};
use synod_log::ProposeError;
use synod_state::command::{Batch, Origin};

#[test]
fn any_member_takes_any_request() {
    let cluster = led_by(A, 1);
    for (number, member) in (0..).zip(MEMBERS.into_iter().cycle().take(9)) {
        let node = cluster.node(member);
        let value = number.to_string();
        let done = cluster.run(put(&node, "k", &value));
        assert_eq!(done, Ok(2 + number), "on {member}");
        for reader in MEMBERS {
            let found = cluster.run(get(&cluster.node(reader), "k"));
            assert_eq!(found, Ok(Some(value.clone())), "on {reader}");
        }
    }
    let node = cluster.node(B);
    let missing = cluster.run(node.propose(put_command("k", "v", 99), soon(&node)));
    let refused = synod_state::reply::Refusal::LeaseNotFound;
    assert_eq!(missing, Err(Failure::Refused(refused)));
    cluster.assert_agreement();
}

#[test]
fn requests_wait_for_a_leader_until_their_deadline() {
    let cluster = Cluster::new(2, Limits::default());
    let node = cluster.node(B);
    let deadline = node.now() + Duration::from_secs(1);
    let lost = cluster.run(node.propose(put_command("k", "1", 0), deadline));
    assert_eq!(lost, Err(Failure::NoLeader));
    let deadline = node.now() + Duration::from_secs(1);
    let unread = cluster.run(node.read(Consistency::Linearizable, deadline));
    assert_eq!(unread.err(), Some(Failure::NoLeader));
    let deadline = node.now() + Duration::from_secs(1);
    let unrenewed = cluster.run(node.lease_keep_alive(7, deadline));
    assert_eq!(unrenewed, Err(Failure::NoLeader));

    let done = spawn(
        &cluster,
        B,
        |node| async move { put(&node, "k", "2").await },
    );
    cluster.pass(Duration::from_secs(3));
    assert_eq!(*done.lock().expect("not poisoned"), None);
    cluster.elect(C, Tail::Kept, &[]);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(*done.lock().expect("not poisoned"), Some(Ok(2)));
}

type Ends = Arc<Mutex<BTreeMap<String, Result<i64, Failure>>>>;

/// Clients of a member that write each key once.
fn write_keys(node: &Node, clients: usize, ends: &Ends) {
    for client in 0..clients {
        let (node, ends) = (node.clone(), Arc::clone(ends));
        node.env().clone().spawn("client", async move {
            let life = node.shared.incarnation;
            for number in 0.. {
                let key = format!("{}.{life}.{client}.{number}", node.member());
                let deadline = node.now() + Duration::from_secs(2);
                let end = node.propose(put_command(&key, "v", 0), deadline).await;
                let end = end.map(|reply| reply.revision);
                let stops = end == Err(Failure::Stopped);
                ends.lock().expect("not poisoned").insert(key, end);
                if stops {
                    return;
                }
                node.env().sleep(25 * MS).await;
            }
        });
    }
}

/// Every key that was acknowledged is there, once, and none that was refused.
fn assert_ends(cluster: &Cluster, reader: MemberId, ends: &Ends) -> [usize; 3] {
    let root = cluster.node(reader).root();
    let mut count = [0; 3];
    for (key, end) in &*ends.lock().expect("not poisoned") {
        let range = synod_state::command::Range {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let found = root.range(&range).expect("the present can be read");
        let version = found.kvs.first().map_or(0, |kv| kv.version);
        match end {
            Ok(revision) => {
                assert_eq!(version, 1, "{key} was acknowledged at {revision}");
                assert_eq!(found.kvs[0].mod_revision, *revision, "{key}");
                count[0] += 1;
            }
            Err(Failure::Unknown) => {
                assert!(version <= 1, "{key} was written {version} times");
                count[2] += 1;
            }
            Err(failure) => {
                assert_eq!(version, 0, "{key} was refused: {failure}");
                count[1] += 1;
            }
        }
    }
    count
}

/// The leader dies with batches of others appended and not committed. Whether the next leader has
/// them or not, each client learns the truth or that nobody knows it.
#[test]
fn a_leader_dies_with_forwarded_batches_in_flight() {
    let mut total = [0; 3];
    for seed in 0..20 {
        let limits = Limits {
            batch_commands_max: 3,
            ..Limits::default()
        };
        let cluster = Cluster::new(seed, limits);
        cluster.elect(A, Tail::Kept, &[]);
        let ends = Ends::default();
        for member in [B, C] {
            write_keys(&cluster.node(member), 10, &ends);
        }
        cluster.pass(200 * MS);
        cluster.stick();
        cluster.pass(Duration::from_millis(1 + seed % 5));
        cluster.crash(A);
        cluster.pass(100 * MS);
        let tail = if seed % 2 == 0 {
            Tail::Kept
        } else {
            Tail::Lost
        };
        cluster.elect(B, tail, &[]);
        cluster.pass(Duration::from_secs(1));
        cluster.node(B).shared.begin_stop();
        cluster.node(C).shared.begin_stop();
        cluster.assert_agreement();
        let count = assert_ends(&cluster, C, &ends);
        for (total, count) in total.iter_mut().zip(count) {
            *total += count;
        }
    }
    assert!(total[0] > 10_000, "{total:?}");
    assert_eq!(
        total[2], 0,
        "with a new leader each fate is known: {total:?}"
    );
}

/// A fence settles what is unheard of: the answer to a forward is lost, and so is the forward.
#[test]
fn a_forward_that_is_lost_is_found_out_and_proposed_anew() {
    let cluster = led_by(A, 4);
    cluster
        .run(put(&cluster.node(B), "k", "0"))
        .expect("a put succeeds");
    let nemesis = cluster.sim.nemesis();
    // Lost on its way.
    nemesis.cut(B, A);
    let done = spawn(
        &cluster,
        B,
        |node| async move { put(&node, "k", "1").await },
    );
    cluster.pass(100 * MS);
    nemesis.mend(B, A);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(*done.lock().expect("not poisoned"), Some(Ok(3)));
    // Done, and the answer is lost: the origin sees it in its own log.
    nemesis.cut(A, B);
    let done = spawn(
        &cluster,
        B,
        |node| async move { put(&node, "k", "2").await },
    );
    cluster.pass(100 * MS);
    assert_eq!(*done.lock().expect("not poisoned"), Some(Ok(4)));
    nemesis.mend(A, B);
    cluster.assert_agreement();
}

fn forged(cluster: &Cluster, from: MemberId, sequence: u64, key: &str) -> Bytes {
    let reign = cluster.node(from).root().reign();
    let batch = Batch {
        origin: Origin {
            member: from,
            incarnation: cluster.node(from).shared.incarnation,
            sequence,
        },
        reign,
        time_ms: u64::MAX,
        commands: vec![put_command(key, "v", 0)],
    };
    let ask = Ask::Forward {
        within: Duration::from_secs(5),
        batch: batch.encode(),
    };
    ask.encode()
}

/// What is answered, if anything is.
fn forward(cluster: &Cluster, from: MemberId, to: MemberId, ask: Bytes) -> Option<Forwarding> {
    let port = cluster.port(from);
    let deadline = cluster.node(from).now() + Duration::from_secs(5);
    let answer = cluster
        .run(port.ask(to, Lane::Append, ask, deadline))
        .ok()?;
    Some(Forwarding::decode(answer).expect("it is an answer"))
}

const SILENCE: Option<Forwarding> = None;

#[test]
fn a_repeated_or_late_forward_applies_once() {
    let cluster = led_by(A, 5);
    let first = forged(&cluster, B, 1_000, "k");
    let taken = forward(&cluster, B, A, first.clone());
    assert!(
        matches!(taken, Some(Forwarding::Proposed { .. })),
        "{taken:?}"
    );
    let again = forward(&cluster, B, A, first.clone());
    assert_eq!(again, SILENCE);
    let late = forged(&cluster, B, 999, "k");
    let late = forward(&cluster, B, A, late);
    assert_eq!(late, Some(Forwarding::Refused(Refused::Late)));
    // In a later reign the copy is of another one.
    cluster.elect(C, Tail::Kept, &[]);
    cluster.pass(100 * MS);
    let again = forward(&cluster, B, C, first);
    assert_eq!(again, Some(Forwarding::Refused(Refused::NotLeading)));
    let not_leading = forged(&cluster, B, 2_000, "k");
    let not_leading = forward(&cluster, B, A, not_leading);
    assert_eq!(not_leading, Some(Forwarding::Refused(Refused::NotLeading)));
    cluster.assert_agreement();
    let root = cluster.node(C).root();
    assert_eq!(root.revision(), 2, "one put was applied, once");
    assert!(
        root.time_ms() < 1_000_000,
        "the leader sets the time, not the origin"
    );
}

/// A copy of a forward that was refused must not be taken up after its origin proposed anew.
#[test]
fn a_copy_of_a_refused_forward_is_not_taken_up() {
    let cluster = led_by(A, 6);
    cluster.stick();
    // One batch more than may wait fills the leader's places.
    let inflight_max = u64::try_from(cluster.limits.batches_inflight_max).expect("small");
    let port = cluster.port(B);
    let deadline = cluster.node(B).now() + Duration::from_secs(3);
    let asks: Vec<_> = (0..=2 * inflight_max)
        .map(|number| {
            let ask = forged(&cluster, B, 1_000 + number, "k");
            port.ask(A, Lane::Append, ask, deadline)
        })
        .collect();
    cluster.pass(100 * MS);
    cluster.unstick();
    let answers = asks.into_iter().map(|ask| {
        let answer = cluster.run(ask).expect("it is answered");
        Forwarding::decode(answer).expect("it is an answer")
    });
    let refused = answers
        .zip(1_000..)
        .filter(|(answer, _)| *answer == Forwarding::Refused(Refused::Busy))
        .map(|(_, number)| number);
    let refused: Vec<u64> = refused.collect();
    assert_eq!(
        refused,
        [1_000 + 2 * inflight_max],
        "the last one finds no place"
    );
    cluster.pass(100 * MS);
    let copy = forged(&cluster, B, refused[0], "k");
    let copy = forward(&cluster, B, A, copy);
    assert_eq!(copy, SILENCE);
}

/// What the leader's engine refuses is tried again where that can help, by whoever has it, and
/// otherwise the client learns why.
#[test]
fn what_the_engine_refuses_is_done_later_or_not_at_all() {
    use ProposeError::{Busy, NoQuorum, NoSpace, NotLeader};
    let cluster = led_by(A, 17);
    for member in [A, B] {
        let node = cluster.node(member);
        for refusals in [&[Busy, Busy][..], &[NotLeader(None)], &[NoQuorum, Busy]] {
            cluster.refuse(refusals);
            // What is done on one member the other applies a moment later.
            cluster.pass(10 * MS);
            let before = cluster.node(A).root().revision();
            let done = cluster.run(put(&node, "k", "v"));
            assert_eq!(done, Ok(before + 1), "on {member} after {refusals:?}");
            assert_eq!(cluster.refusals(), 0);
        }
        cluster.refuse(&[NoSpace]);
        let refused = cluster.run(put(&node, "k", "v"));
        assert_eq!(refused, Err(Failure::NoSpace), "on {member}");
    }
    cluster.assert_agreement();
}

#[test]
fn a_member_that_stops_ends_every_wait() {
    let cluster = led_by(A, 16);
    for member in [B, A] {
        cluster.stick();
        let write = spawn(&cluster, member, |node| async move {
            put(&node, "k", "1").await
        });
        cluster.set_lagging(member, true);
        let read = spawn(
            &cluster,
            member,
            |node| async move { get(&node, "k").await },
        );
        cluster.pass(10 * MS);
        let node = cluster.node(member);
        let deadline = node.now() + Duration::from_secs(1);
        cluster.run(node.stop(deadline));
        assert!(node.now() <= deadline + 100 * MS);
        cluster.pass(100 * MS);
        let write = write.lock().expect("not poisoned").clone();
        assert_eq!(write, Some(Err(Failure::Unknown)));
        let read = read.lock().expect("not poisoned").clone();
        assert!(read.is_some(), "it has ended, done or not");
        assert_eq!(cluster.run(put(&node, "k", "2")), Err(Failure::Stopped));
    }
}

fn one_of<T: Copy, const N: usize>(prng: &mut Prng, of: [T; N]) -> T {
    let number = prng.below(u64::try_from(N).expect("small"));
    of[usize::try_from(number).expect("below N")]
}

fn ppm(prng: &mut Prng, below: u32) -> u32 {
    u32::try_from(prng.below(u64::from(below))).expect("below a u32")
}

/// Elections, lost messages, lagging members, power cuts and snapshots in any order. Each client
/// learns the truth or that nobody knows it, and all members agree.
#[test]
fn a_hundred_seeds_of_a_random_mix() {
    let mut total = [0; 3];
    for seed in 0..100 {
        let mut prng = Prng::new(seed);
        let limits = Limits {
            batch_commands_max: one_of(&mut prng, [1, 2, 3, 4]),
            batches_inflight_max: one_of(&mut prng, [1, 2, 3]),
            ..Limits::default()
        };
        let link = LinkModel {
            delay_max: Duration::from_millis(1 + prng.below(10)),
            loss_ppm: ppm(&mut prng, 50_000),
            duplicate_ppm: ppm(&mut prng, 50_000),
            reorder_ppm: ppm(&mut prng, 200_000),
            ..LinkModel::default()
        };
        let mut cluster = Cluster::with_link(seed, limits, link);
        cluster.elect(A, Tail::Kept, &[]);
        let ends = Ends::default();
        for member in MEMBERS {
            write_keys(&cluster.node(member), 3, &ends);
        }
        for _ in 0..8 {
            let member = one_of(&mut prng, MEMBERS);
            let tail = one_of(&mut prng, [Tail::Kept, Tail::Lost]);
            match prng.below(6) {
                0 | 1 => {
                    cluster.stick();
                    cluster.pass(Duration::from_millis(prng.below(20)));
                    let untold = one_of(&mut prng, MEMBERS);
                    cluster.elect(member, tail, &[untold]);
                    cluster.pass(Duration::from_millis(prng.below(300)));
                    cluster.tell(untold);
                }
                2 => {
                    cluster.depose();
                    cluster.pass(Duration::from_millis(prng.below(500)));
                    cluster.elect(member, tail, &[]);
                }
                3 => {
                    cluster.set_lagging(member, true);
                    cluster.pass(Duration::from_millis(prng.below(700)));
                    let other = one_of(&mut prng, MEMBERS);
                    if other != member && cluster.run(cluster.node(other).snapshot_now()).is_ok() {
                        cluster.transfer(other, member);
                    }
                    cluster.set_lagging(member, false);
                }
                4 => {
                    cluster.restart(member);
                    cluster.elect(one_of(&mut prng, MEMBERS), tail, &[]);
                    write_keys(&cluster.node(member), 3, &ends);
                }
                _ => {
                    let other = one_of(&mut prng, MEMBERS);
                    cluster.sim.nemesis().cut(member, other);
                    cluster.pass(Duration::from_millis(prng.below(2_000)));
                    cluster.sim.nemesis().mend(member, other);
                }
            }
            cluster.pass(Duration::from_millis(prng.below(200)));
        }
        cluster.pass(Duration::from_secs(1));
        for member in MEMBERS {
            cluster.node(member).shared.begin_stop();
        }
        cluster.pass(Duration::from_secs(3));
        cluster.assert_agreement();
        let count = assert_ends(&cluster, A, &ends);
        assert!(
            count[1] >= 9,
            "seed {seed}: not every client has its answer"
        );
        for (total, count) in total.iter_mut().zip(count) {
            *total += count;
        }
    }
    assert!(total[0] > 30_000 && total[2] > 50, "{total:?}");
}
