//! Loss of power at any moment: what was acknowledged stays, what was truncated stays gone.

use super::model::{Actor, Shared};
use super::*;
use std::collections::BTreeMap;
use synod_env::sim::{DiskOp, Stuck};

/// How a life of the member ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Power is lost with one of the next disk operations.
    DiskOp,
    /// Power is lost some time.
    Time,
    /// The process dies some time; the page cache stays.
    Kill,
    /// A sync of the log fails, then the process dies; the page cache stays.
    FailedSync,
}

/// What the runs have met. A run that meets none of it shows nothing.
#[derive(Debug, Default)]
struct Met {
    ends: BTreeMap<End, u32>,
    torn: u32,
    recycled: u32,
    unfinished_opens: u32,
}

/// One world: several lives on one disk.
fn run(seed: u64, lives: u64, met: &mut Met) {
    let mut fixture = Fixture::new(seed);
    let mut prng = fixture.sim.workload();
    let model = Shared::default();
    for _ in 0..lives {
        let end = match prng.below(6) {
            0..=2 => End::DiskOp,
            3 => End::Time,
            4 => End::Kill,
            _ => End::FailedSync,
        };
        let nemesis = fixture.sim.nemesis();
        match end {
            End::DiskOp => nemesis.crash_at_disk_op(ONE, prng.below(150) + 1),
            End::FailedSync => {
                nemesis.fail_disk_op(ONE, DiskOp::Sync, prng.below(40) + 1);
            }
            End::Time | End::Kill => {}
        }
        *met.ends.entry(end).or_default() += 1;
        let life = live(&fixture, &model, prng.fork(), met);
        match fixture.sim.block_on(life) {
            Ok(()) | Err(Stuck::Deadlock { .. }) => {}
            Err(stuck) => panic!("seed {seed}: {stuck}"),
        }
        if files_are_recycled(&fixture) {
            met.recycled += 1;
        }
        // What was planned and has not happened is called off.
        nemesis.fail_disk_op(ONE, DiskOp::Sync, u64::MAX);
        match end {
            End::DiskOp | End::Time => fixture.crash(),
            End::Kill | End::FailedSync => fixture.kill(),
        }
    }
    // However it ended before: what is recovered is durable, and so survives a loss of power.
    for _ in 0..2 {
        let (log, recovered) = fixture
            .try_open()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let entries = fixture.entries(&log);
        model.lock().unwrap().recovered(&log, entries, &recovered);
        drop(log);
        fixture.crash();
    }
}

async fn live(fixture: &Fixture, model: &Shared, mut prng: synod_env::Prng, met: &mut Met) {
    met.unfinished_opens += 1;
    let opened = Log::open(&fixture.env, fixture.options.clone()).await;
    let (log, recovered) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            assert!(matches!(error, StorageError::Io { .. }), "{error}");
            return;
        }
    };
    let first = recovered.purged.map_or(0, |purged| purged.index + 1);
    let entries = log.read(first..u64::MAX, usize::MAX).await;
    let entries = entries.expect("what was recovered can be read");
    met.unfinished_opens -= 1;
    met.torn += u32::from(recovered.torn.is_some());
    model.lock().unwrap().recovered(&log, entries, &recovered);
    let epoch = recovered
        .last
        .map_or(0, |last| last.epoch)
        .max(recovered.vote.map_or(0, |vote| vote.term));
    let actions = prng.below(80);
    let mut actor = Actor {
        log,
        env: fixture.env.clone(),
        model: Arc::clone(model),
        prng,
        epoch,
    };
    for _ in 0..actions {
        actor.act().await;
        if actor.log.health().borrow().fatal.is_some() {
            return;
        }
    }
}

/// True if the log does not begin with its first segment any more.
fn files_are_recycled(fixture: &Fixture) -> bool {
    let nemesis = fixture.sim.nemesis();
    nemesis.is_up(ONE) && nemesis.durable(ONE, "log/0000000000000001.log").is_none()
}

#[test]
fn a_thousand_worlds_of_four_lives_lose_nothing_acknowledged() {
    let mut met = Met::default();
    for seed in 0..1_000 {
        run(seed, 4, &mut met);
    }
    // Each of these must have happened often, or the test has lost its teeth.
    assert!(met.ends.values().all(|count| *count > 400), "{met:?}");
    assert!(met.torn > 20, "{met:?}");
    assert!(met.recycled > 100, "{met:?}");
    assert!(met.unfinished_opens > 100, "{met:?}");
}

/// A fixed run, cut off at each of its disk operations in turn.
#[test]
fn power_can_fail_at_each_disk_operation_of_a_run() {
    let script = |fixture: &Fixture, model: &Shared| {
        let model = Arc::clone(model);
        let (env, options) = (fixture.env.clone(), fixture.options.clone());
        async move {
            let (log, recovered) = Log::open(&env, options).await.expect("the log opens");
            model
                .lock()
                .unwrap()
                .recovered(&log, Vec::new(), &recovered);
            let prng = synod_env::Prng::new(77);
            let mut actor = Actor {
                log,
                env,
                model,
                prng,
                epoch: 1,
            };
            for _ in 0..120 {
                actor.act().await;
            }
            actor.log.close().await;
        }
    };
    let mut op = 0;
    loop {
        op += 1;
        let mut fixture = Fixture::new(5);
        let model = Shared::default();
        fixture.sim.nemesis().crash_at_disk_op(ONE, op);
        let ended = fixture.sim.block_on(script(&fixture, &model));
        fixture.crash();
        let (log, recovered) = fixture.open();
        let entries = fixture.entries(&log);
        model.lock().unwrap().recovered(&log, entries, &recovered);
        if ended.is_ok() {
            break;
        }
    }
    assert!(op > 100, "the run had only {op} disk operations");
}

/// All entries of a segment are purged when the log moves on to the next one. The old one must stay
/// until the new one's opening record is durable: the vote is nowhere else.
#[test]
fn a_purged_segment_stays_until_the_next_one_stands_in_for_it() {
    let mut moved = 0;
    for op in 1..30 {
        let mut fixture = Fixture::new(op);
        let (log, _) = fixture.open();
        fixture.run(log.save_vote(vote(5))).unwrap();
        fixture.fill(&log, 1, 1..11, 900);
        fixture.run(log.purge(at(1, 10))).unwrap();
        fixture.wait(Duration::from_millis(50));
        assert_eq!(
            fixture
                .sim
                .nemesis()
                .durable(ONE, "log/0000000000000003.log"),
            None
        );
        fixture.sim.nemesis().crash_at_disk_op(ONE, op);
        let appended = fixture
            .sim
            .block_on(append(&log, vec![entry(1, 11, vec![3; 1_400])]));
        moved += u32::from(appended.is_ok());
        fixture.crash();
        let recovered = fixture.open().1;
        assert_eq!(recovered.vote, Some(vote(5)), "operation {op}");
        assert_eq!(recovered.purged, Some(at(1, 10)), "operation {op}");
        assert!(
            appended.is_err() || recovered.last == Some(at(1, 11)),
            "operation {op}"
        );
    }
    assert!((5..29).contains(&moved), "{moved}");
}

/// The process dies between the renaming of a prepared segment and the sync that makes its new name
/// durable. The next process sees the name; before it writes there, the name must be safe.
#[test]
fn a_name_that_only_the_cache_knows_is_made_durable_before_it_counts() {
    let second = "log/0000000000000002.log";
    let mut met = 0;
    for steps in 0..700 {
        let mut fixture = Fixture::new(9);
        let (log, _) = fixture.open();
        fixture.wait(Duration::from_micros(steps * 3));
        drop(log);
        fixture.kill();
        let is_visible = files(&fixture).iter().any(|path| path == second);
        let is_durable = fixture.sim.nemesis().durable(ONE, second).is_some();
        if !is_visible || is_durable {
            continue;
        }
        met += 1;
        let (log, _) = fixture.open();
        fixture.fill(&log, 1, 1..13, 900);
        drop(log);
        fixture.crash();
        assert_eq!(
            fixture.open().1.last,
            Some(at(1, 12)),
            "after {steps} steps"
        );
    }
    assert!(met > 3, "the process never died at the right moment");
}
