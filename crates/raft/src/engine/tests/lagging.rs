//! Members that lag behind the log, and get a snapshot; members without room.

use super::cluster::{Cluster, Refusal, id, small};
use std::time::Duration;
use synod_env::sim::LinkModel;
use synod_env::{Limits, MemberId};
use synod_log::ProposeError;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Three members, one of whom is away while the log is written and purged; the leader and the
/// one who lags.
fn lagging(cluster: &Cluster) -> (MemberId, MemberId) {
    let leader = cluster.led();
    cluster.propose(leader, secs(1)).unwrap();
    let lags = *cluster.ids.iter().find(|it| **it != leader).unwrap();
    cluster.crash(lags);
    write_and_purge(cluster, leader, lags, 100);
    (leader, lags)
}

fn write_and_purge(cluster: &Cluster, leader: MemberId, lags: MemberId, count: u64) {
    for _ in 0..count {
        cluster.propose(leader, secs(1)).unwrap();
    }
    cluster.run_for(Duration::from_millis(200));
    for member in cluster.ids.iter().filter(|it| **it != lags) {
        cluster.snapshot(*member).unwrap();
    }
}

#[test]
fn a_member_behind_the_log_gets_a_snapshot_and_then_the_log() {
    for seed in 0..4 {
        let cluster = Cluster::new(seed, 3);
        let (leader, lags) = lagging(&cluster);
        for _ in 0..10 {
            cluster.propose(leader, secs(1)).unwrap();
        }
        cluster.start(lags);
        cluster.settle();
        assert_eq!(cluster.installed(lags), 1, "seed {seed}");
        cluster.run_for(Duration::from_millis(200));
        let status = cluster.status(lags).unwrap();
        assert!(status.snapshot.0 > 100, "{status:?}");
        // It can be the source of the next.
        cluster.snapshot(lags).unwrap();
        cluster.settle();
    }
}

#[test]
fn a_member_within_what_is_kept_of_the_log_needs_no_snapshot() {
    let limits = Limits {
        log_keep_bytes: 1 << 20,
        ..small()
    };
    let cluster = Cluster::with_limits(1, 3, limits);
    let (_, lags) = lagging(&cluster);
    cluster.start(lags);
    cluster.settle();
    assert_eq!(cluster.installed(lags), 0);
}

#[test]
fn a_snapshot_gets_through_bad_links() {
    for seed in 0..6 {
        let cluster = Cluster::new(seed, 3);
        let (_, lags) = lagging(&cluster);
        cluster.links(LinkModel {
            loss_ppm: 150_000,
            duplicate_ppm: 100_000,
            reorder_ppm: 200_000,
            alter_ppm: 50_000,
            delay_max: Duration::from_millis(3),
            ..LinkModel::default()
        });
        cluster.start(lags);
        let took = cluster.until(secs(60), || cluster.installed(lags) > 0);
        assert!(took.is_some(), "seed {seed}: {}", cluster.describe());
        cluster.settle();
    }
}

#[test]
fn a_sender_that_dies_leaves_a_receiver_that_takes_another_snapshot() {
    for seed in 0..6 {
        let cluster = Cluster::new(seed, 3);
        let (leader, lags) = lagging(&cluster);
        cluster.start(lags);
        let begun = cluster.until(secs(10), || cluster.parts(lags) >= 2);
        assert!(begun.is_some(), "{}", cluster.describe());
        assert_eq!(cluster.installed(lags), 0, "the transfer is under way");
        cluster.crash(leader);
        let found = cluster.until(secs(20), || cluster.installed(lags) == 1);
        assert!(found.is_some(), "seed {seed}: {}", cluster.describe());
        cluster.settle();
    }
}

/// A snapshot of one's own waits for the one that is being received, and that one's sender is
/// given up when it falls silent: so neither waits for ever.
#[test]
fn a_receiver_whose_sender_is_gone_writes_its_own_snapshot_in_the_end() {
    let cluster = Cluster::new(1, 3);
    let (leader, lags) = lagging(&cluster);
    let third = cluster.ids.iter().find(|it| ![leader, lags].contains(it));
    cluster.start(lags);
    cluster
        .until(secs(10), || cluster.parts(lags) >= 2)
        .unwrap();
    cluster.crash(leader);
    cluster.crash(*third.unwrap());
    let begun = cluster.sim.now();
    cluster.snapshot(lags).unwrap();
    let took = cluster.sim.now() - begun;
    assert!(took > secs(20) && took < secs(40), "{took:?}");
    cluster.settle();
}

/// Loss of power at any moment of a transfer leaves the old state or the new one.
#[test]
fn loss_of_power_at_any_moment_of_a_transfer_leaves_the_old_state_or_the_new() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..60 {
        let cluster = Cluster::new(seed % 3, 3);
        let (_, lags) = lagging(&cluster);
        cluster.start(lags);
        cluster
            .until(secs(10), || cluster.parts(lags) >= 1)
            .unwrap();
        // From the first part to well after the installation.
        cluster.run_for(micros(seed * 350));
        cluster.restart(lags);
        let before = cluster.installed(lags);
        if before == 0 {
            old += 1;
        } else {
            new += 1;
        }
        cluster.settle();
        assert!(cluster.applied(lags) > 100);
    }
    assert!(old > 5 && new > 5, "{old} before, {new} after");
}

#[test]
fn loss_of_power_at_any_disk_call_of_a_transfer_leaves_the_old_state_or_the_new() {
    for ops in 1..=24 {
        let cluster = Cluster::new(ops, 3);
        let (_, lags) = lagging(&cluster);
        cluster.start(lags);
        cluster
            .until(secs(10), || cluster.parts(lags) >= 1)
            .unwrap();
        cluster.nemesis().crash_at_disk_op(lags, ops);
        cluster.run_for(Duration::from_millis(500));
        // If it is up yet, it falls when it takes part in what follows.
        cluster.settle();
        assert!(cluster.applied(lags) > 100);
    }
}

/// A leader that is cut off writes entries that nobody counts. What comes back to it is a
/// snapshot that covers others in their places.
#[test]
fn a_snapshot_replaces_entries_that_lost() {
    let mut in_between = 0;
    for seed in 0..24 {
        let cluster = Cluster::new(seed, 3);
        let lost = cluster.led();
        let others: Vec<u64> = cluster.ids.iter().map(|it| it.0).collect();
        let others: Vec<u64> = others.into_iter().filter(|it| *it != lost.0).collect();
        cluster.partition(&[&[lost.0], &others]);
        // Some seeds leave fewer entries there than the snapshot covers, some more.
        for _ in 0..(seed % 4) * 40 {
            let refused = cluster.propose(lost, Duration::from_millis(1));
            assert_ne!(refused.ok(), Some(synod_log::Index(u64::MAX)));
        }
        let new = cluster.until(secs(10), || cluster.leader().is_some_and(|it| it != lost));
        assert!(new.is_some());
        let leader = cluster.led();
        write_and_purge(&cluster, leader, lost, 60);
        cluster.links(LinkModel::default());
        if seed >= 4 {
            // The window in which the snapshot is durable and the log is not fitted to it.
            let begun = cluster.until(secs(10), || cluster.parts(lost) >= 3);
            assert!(begun.is_some(), "{}", cluster.describe());
            cluster.run_for(micros(seed * 300));
            in_between += u64::from(cluster.installed(lost) == 0);
            cluster.restart(lost);
        }
        cluster.settle();
        assert!(cluster.applied(lost) > 60);
    }
    assert!(
        in_between > 3,
        "{in_between} losses of power before the end"
    );
}

#[test]
fn a_follower_without_room_refuses_and_catches_up_when_it_has_some() {
    for seed in 0..3 {
        let cluster = Cluster::new(seed, 3);
        let leader = cluster.led();
        let full = *cluster.ids.iter().find(|it| **it != leader).unwrap();
        cluster.nemesis().set_disk_capacity(full, 0);
        for _ in 0..80 {
            cluster.propose_bytes(leader, 60 << 10, secs(2)).unwrap();
        }
        let status = cluster.status(full).unwrap();
        assert_eq!(status.fatal, None);
        let behind = cluster.applied(leader) - cluster.applied(full);
        assert!(behind > 10, "it has room: {behind} behind");
        cluster.nemesis().set_disk_capacity(full, u64::MAX);
        cluster.settle();
        assert_eq!(cluster.status(full).unwrap().fatal, None);
    }
}

#[test]
fn a_cluster_whose_disks_are_full_refuses_stays_alive_and_recovers() {
    for seed in 0..3 {
        let cluster = Cluster::new(seed, 3);
        let leader = cluster.led();
        for member in &cluster.ids {
            cluster.nemesis().set_disk_capacity(*member, 0);
        }
        let mut refusals = 0;
        for _ in 0..200 {
            match cluster.propose_bytes(leader, 60 << 10, Duration::from_millis(200)) {
                Ok(_) => {}
                Err(Refusal::Engine(ProposeError::NoSpace) | Refusal::Late) => refusals += 1,
                Err(other) => panic!("seed {seed}: {other:?}: {}", cluster.describe()),
            }
            if refusals > 20 {
                break;
            }
        }
        assert!(refusals > 20, "somebody has room");
        for member in &cluster.ids {
            assert_eq!(cluster.status(*member).unwrap().fatal, None);
        }
        cluster.settle();
    }
}

/// Elections write, and a disk that stays full must not stop its member by them.
#[test]
fn elections_leave_room_on_full_disks() {
    let cluster = Cluster::new(5, 3);
    let leader = cluster.led();
    for member in &cluster.ids {
        cluster.nemesis().set_disk_capacity(*member, 0);
    }
    while cluster
        .propose_bytes(leader, 8 << 10, Duration::from_millis(200))
        .is_ok()
    {}
    let begun = cluster.epochs();
    let ran_out = (0..1_000).any(|_| {
        let Some(leader) = cluster.leader() else {
            return cluster.working(secs(5)).is_none();
        };
        // Whoever leads is cut off until another does.
        let others = cluster.ids.iter().map(|it| it.0);
        let others: Vec<u64> = others.filter(|it| *it != leader.0).collect();
        cluster.partition(&[&[leader.0], &others]);
        let deposed = cluster.until(secs(3), || cluster.leader() != Some(leader));
        cluster.links(LinkModel::default());
        cluster.run_for(Duration::from_millis(200));
        deposed.is_none()
    });
    assert!(ran_out, "there is room for ever");
    let elections = cluster.epochs() - begun;
    assert!(elections > 10, "{elections} elections");
    for member in &cluster.ids {
        let status = cluster.status(*member).unwrap();
        assert_eq!(status.fatal, None, "{status:?}");
    }
    cluster.settle();
}

#[test]
fn a_slow_disk_does_not_make_its_member_do_everything_twice() {
    let cluster = Cluster::new(1, 3);
    let leader = cluster.led();
    for member in &cluster.ids {
        // A sync takes longer than a heartbeat's interval.
        let latency = synod_env::sim::DiskLatency {
            sync: (Duration::from_millis(60), Duration::from_millis(90)),
            ..synod_env::sim::DiskLatency::default()
        };
        cluster.nemesis().set_disk_latency(*member, latency);
    }
    cluster.work(leader);
    cluster.run_for(secs(2));
    let (before, epochs) = (cluster.acknowledged(), cluster.epochs());
    cluster.run_for(secs(10));
    let written = cluster.acknowledged() - before;
    // Four at a time, each round a sync or two.
    assert!(written > 150, "{written} writes in ten seconds");
    assert_eq!(cluster.epochs(), epochs, "the leader changed");
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(id(leader.0), leader);
    cluster.heal();
}
