//! Clusters under a random mix of faults, and that a seed is a run.

use super::cluster::Cluster;
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::sim::{ClockRates, DiskOp, LinkModel};
use synod_env::{MemberId, Prng};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn between(prng: &mut Prng, least: u64, most: u64) -> u64 {
    least + prng.below(most - least + 1)
}

/// A number below `end`.
fn pick(prng: &mut Prng, end: usize) -> usize {
    usize::try_from(prng.below(end as u64)).unwrap()
}

/// What a run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Report {
    fingerprint: u128,
    acknowledged: usize,
    epochs: usize,
    installed: u64,
}

/// Some seconds of faults and work, then peace, and the question whether all is well.
fn run(seed: u64, steps: u64, kinds: u64) -> Report {
    let count = [1, 3, 3, 5][(seed % 4) as usize];
    let cluster = Cluster::new(seed, count);
    let mut prng = cluster.sim.workload();
    for member in cluster.ids.clone() {
        cluster.work(member);
    }
    // The founding needs all of them.
    cluster.led();
    for _ in 0..steps {
        fault(&cluster, &mut prng, kinds);
        cluster.run_for(millis(between(&mut prng, 20, 700)));
    }
    cluster.settle();
    Report {
        fingerprint: cluster.sim.fingerprint().0,
        acknowledged: cluster.acknowledged(),
        epochs: cluster.epochs(),
        installed: cluster.ids.iter().map(|id| cluster.installed(*id)).sum(),
    }
}

/// Faults of all kinds but errors of the disk.
const GENTLE: u64 = 16;
/// These too.
const ALL: u64 = 18;

fn fault(cluster: &Cluster, prng: &mut Prng, kinds: u64) {
    let nemesis = cluster.nemesis();
    for member in cluster.ids.clone() {
        if cluster.has_failed(member) {
            cluster.crash(member);
        }
        if !nemesis.is_up(member) && prng.below(2) == 0 {
            cluster.start(member);
            cluster.work(member);
        }
    }
    let victim = cluster.ids[pick(prng, cluster.ids.len())];
    let other = cluster.ids[pick(prng, cluster.ids.len())];
    let victim = if prng.below(3) == 0 {
        cluster.leader().unwrap_or(victim)
    } else {
        victim
    };
    match prng.below(kinds) {
        0 => cluster.crash(victim),
        1 => nemesis.kill(victim),
        2 => nemesis.crash_at_disk_op(victim, between(prng, 1, 200)),
        3 => nemesis.crash_at_event(victim, between(prng, 1, 3_000)),
        4 => nemesis.pause(victim),
        5 => cluster.ids.iter().for_each(|it| nemesis.resume(*it)),
        6 => nemesis.cut(victim, other),
        7 => {
            let (some, rest): (Vec<MemberId>, Vec<MemberId>) =
                cluster.ids.iter().partition(|_| prng.below(2) == 0);
            let numbers =
                |them: Vec<MemberId>| -> Vec<u64> { them.into_iter().map(|it| it.0).collect() };
            cluster.partition(&[&numbers(some), &numbers(rest)]);
        }
        8 | 9 => cluster.links(LinkModel::default()),
        10 => cluster.links(LinkModel {
            loss_ppm: u32::try_from(prng.below(200_000)).unwrap(),
            duplicate_ppm: 50_000,
            reorder_ppm: 100_000,
            alter_ppm: 20_000,
            delay_max: millis(between(prng, 1, 15)),
            ..LinkModel::default()
        }),
        11 => nemesis.stall_disk(victim, millis(between(prng, 1, 600))),
        12 => nemesis.set_disk_capacity(victim, [0, u64::MAX][pick(prng, 2)]),
        13 => {
            let drift = |prng: &mut Prng| i64::try_from(prng.below(40_000)).unwrap() - 20_000;
            let rates = ClockRates {
                boot_ppm: drift(prng),
                raw_ppm: drift(prng),
                wall_ppm: drift(prng),
            };
            nemesis.set_clock_rates(victim, rates);
        }
        16 => nemesis.fail_disk_op(victim, DiskOp::Sync, between(prng, 1, 100)),
        17 => nemesis.fail_disk_op(victim, DiskOp::Write, between(prng, 1, 100)),
        14 => nemesis.jump_clock(victim, millis(between(prng, 1, 2_000))),
        _ => {
            // A machine that is up and not paused ends its snapshot.
            if let Some(engine) = cluster.engine(victim) {
                cluster.env(victim).spawn("snapshot", async move {
                    drop(engine.snapshot_now().await);
                });
            }
        }
    }
}

#[test]
fn no_mix_of_faults_breaks_what_a_cluster_promises() {
    let mut all = Report::default();
    for seed in 0..100 {
        let report = run(seed, 16, GENTLE);
        all.acknowledged += report.acknowledged;
        all.epochs += report.epochs;
        all.installed += report.installed;
    }
    println!("{all:?}");
    assert!(all.acknowledged > 10_000, "{all:?}");
    assert!(all.epochs > 200, "{all:?}");
    assert!(all.installed > 10, "{all:?}");
}

#[test]
fn no_failing_disk_breaks_what_a_cluster_promises() {
    for seed in 1_000..1_030 {
        run(seed, 12, ALL);
    }
}

#[test]
fn the_fingerprints_of_some_runs() {
    for seed in 0..4 {
        let report = run(seed, 8, GENTLE);
        assert_eq!(report, run(seed, 8, GENTLE), "seed {seed}");
        println!("fingerprint of {seed}: {:032x}", report.fingerprint);
    }
}

/// Nothing of the process shows in a run: not its environment, its addresses, its hash seeds.
#[test]
fn a_seed_is_the_same_run_in_another_process() {
    let tell = |name: &str, value: &str| {
        let this = std::env::current_exe().expect("a test has a file");
        let test = "engine::tests::random::the_fingerprints_of_some_runs";
        let output = std::process::Command::new(this)
            .args(["--exact", test, "--nocapture"])
            .env(name, value)
            .output()
            .expect("a test can be run again");
        let text = String::from_utf8(output.stdout).expect("a test prints text");
        let told: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once("fingerprint of ")?.1.split_once(": "))
            .map(|(seed, print)| (seed.to_owned(), print.to_owned()))
            .collect();
        assert_eq!(told.len(), 4, "{text}");
        told
    };
    let long = "x".repeat(10_000);
    assert_eq!(tell("TZ", "UTC"), tell("SOMETHING_ELSE", &long));
}
