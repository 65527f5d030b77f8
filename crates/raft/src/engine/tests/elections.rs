//! Elections, and what the members say of them.

use super::cluster::{Cluster, Refusal, id};
use std::time::Duration;
use synod_log::{BarrierError, Index, ProposeError, Role};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_fresh_cluster_elects_a_leader_and_gets_a_write_through() {
    for count in [1, 2, 3, 5] {
        for seed in 0..4 {
            let cluster = Cluster::new(seed, count);
            let (_, took) = cluster.working(secs(10)).expect("somebody leads");
            assert!(took < secs(3), "{count} members, seed {seed}: {took:?}");
            cluster.settle();
        }
    }
}

#[test]
fn everybody_knows_the_leader_and_the_leader_knows_everybody() {
    let cluster = Cluster::new(1, 3);
    let leader = cluster.led();
    cluster.run_for(secs(1));
    for member in &cluster.ids {
        let status = cluster.status(*member).unwrap();
        assert_eq!(status.leader, Some(leader));
        assert_eq!(status.role == Role::Leader, *member == leader);
        assert_eq!(status.committed, status.last);
        assert_eq!(status.applied, status.last);
        let members: Vec<_> = status.members.iter().map(|it| it.member).collect();
        assert_eq!(members, cluster.ids);
        for progress in &status.members {
            assert!(progress.voter);
            let matched = (*member == leader).then_some(status.last);
            assert_eq!(progress.matched, matched, "{status:?}");
        }
        let contact = status.quorum_contact;
        assert_eq!(contact.is_some(), *member == leader);
        assert!(contact.is_none_or(|contact| contact < Duration::from_millis(200)));
    }
}

#[test]
fn a_follower_says_who_leads() {
    let cluster = Cluster::new(2, 3);
    let leader = cluster.led();
    cluster.run_for(secs(1));
    for member in cluster.ids.iter().filter(|it| **it != leader) {
        let refused = cluster.propose(*member, secs(1));
        let not_leader = ProposeError::NotLeader(Some(leader));
        assert_eq!(refused, Err(Refusal::Engine(not_leader)));
        let engine = cluster.engine(*member).unwrap();
        let env = cluster.env(*member);
        let barrier = cluster.sim.block_on(env.within(engine.read_barrier()));
        assert_eq!(barrier.unwrap(), Err(BarrierError::NotLeader(Some(leader))));
        assert_eq!(engine.read_lease(), None);
    }
    let engine = cluster.engine(leader).unwrap();
    assert_eq!(
        engine.read_lease(),
        None,
        "only a sole voter needs no quorum"
    );
}

#[test]
fn a_barrier_covers_every_write_acknowledged_before_and_one_round_serves_all() {
    let cluster = Cluster::new(3, 3);
    let leader = cluster.led();
    let written = cluster.propose(leader, secs(1)).unwrap();
    let engine = cluster.engine(leader).unwrap();
    let env = cluster.env(leader);
    let barriers = (0..100).map(|_| engine.read_barrier());
    let barriers = futures_util::future::join_all(barriers);
    let barriers = cluster.sim.block_on(env.within(barriers)).unwrap();
    for barrier in barriers {
        assert!(barrier.unwrap() >= written);
    }
}

#[test]
fn when_the_leader_dies_another_takes_over_and_keeps_what_was_acknowledged() {
    for seed in 0..8 {
        let cluster = Cluster::new(seed, 3);
        let first = cluster.led();
        for _ in 0..20 {
            cluster.propose(first, secs(1)).unwrap();
        }
        cluster.crash(first);
        let (second, took) = cluster.working(secs(10)).expect("a quorum is left");
        assert_ne!(first, second);
        assert!(took < secs(2), "seed {seed}: {took:?}");
        cluster.start(first);
        cluster.settle();
        assert!(cluster.applied(first) > 20);
    }
}

#[test]
fn a_leader_that_was_paused_finds_itself_deposed() {
    for seed in 0..8 {
        let cluster = Cluster::new(seed, 3);
        let first = cluster.led();
        cluster.nemesis().pause(first);
        let others: Vec<_> = cluster.ids.iter().filter(|it| **it != first).collect();
        let elected = cluster.until(secs(10), || {
            others.iter().any(|it| {
                let status = cluster.status(**it);
                status.is_some_and(|status| status.role == Role::Leader)
            })
        });
        assert!(elected.is_some(), "seed {seed}: {}", cluster.describe());
        cluster.nemesis().resume(first);
        let deposed = cluster.until(secs(2), || {
            cluster
                .status(first)
                .is_some_and(|it| it.role == Role::Follower)
        });
        assert!(deposed.is_some(), "seed {seed}: {}", cluster.describe());
        cluster.settle();
    }
}

#[test]
fn all_members_lose_power_at_once_and_go_on_where_they_were() {
    for seed in 0..8 {
        let cluster = Cluster::new(seed, 3);
        let leader = cluster.led();
        let mut last = Index(0);
        for _ in 0..10 {
            last = cluster.propose(leader, secs(1)).unwrap();
        }
        for member in cluster.ids.clone() {
            cluster.crash(member);
        }
        for member in cluster.ids.clone() {
            cluster.start(member);
        }
        cluster.settle();
        assert!(cluster.applied(id(1)) as u64 > last.0);
    }
}
