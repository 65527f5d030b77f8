//! One member on the deterministic world: its log on a disk that loses what was not synced, its
//! machine a list of what it applied.

mod cluster;
mod elections;
mod lagging;
mod partitions;
mod random;

use super::{StartError, start};
use crate::Config;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synod_env::sim::{DiskLatency, DiskOp, Options, Sim, Stuck, What};
use synod_env::{BoxFuture, Env, Limits, MemberId};
use synod_log::{
    BarrierError, Engine, Entry, Epoch, Index, Machine, ProposeError, ReceivedSnapshot, Role,
    SnapshotReader, SnapshotReceiver, Status,
};
use synod_protocols::{Hello, Peers, Port, Service};
use synod_storage::Log;

const ONE: MemberId = MemberId(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What outlives the member: written by its machine and its clients, read by the test.
#[derive(Default)]
struct Book {
    /// What the present incarnation has applied.
    applied: Vec<Entry>,
    /// The newest durable snapshot: its position and what it holds.
    snapshot: Option<(Bytes, Vec<Entry>)>,
    /// Proposals that were answered with an index.
    acknowledged: BTreeMap<u64, Index>,
    /// Snapshots fail with this.
    snapshot_error: Option<io::ErrorKind>,
}

type Shared = Arc<Mutex<Book>>;

/// Keeps what it applies in the book, and asserts that the engine gives it entry after entry.
struct Recorder {
    env: Env,
    book: Shared,
}

impl Machine for Recorder {
    fn apply(&mut self, entries: Vec<Entry>) {
        let mut book = self.book.lock().unwrap();
        for entry in entries {
            let last = book.applied.last();
            let (index, epoch) = last.map_or((0, Epoch(0)), |last| (last.index.0, last.epoch));
            assert_eq!(entry.index.0, index + 1, "a gap or a repetition");
            assert!(entry.epoch >= epoch, "epoch {} after {epoch}", entry.epoch);
            book.applied.push(entry);
        }
    }

    fn snapshot(&mut self, at: Index, position: Bytes) -> BoxFuture<'static, io::Result<()>> {
        let content = self.book.lock().unwrap().applied.clone();
        assert_eq!(content.len() as u64, at.0);
        let (env, book) = (self.env.clone(), Arc::clone(&self.book));
        Box::pin(async move {
            env.sleep(millis(3)).await;
            let mut book = book.lock().unwrap();
            if let Some(kind) = book.snapshot_error {
                return Err(io::Error::from(kind));
            }
            book.snapshot = Some((position, content));
            Ok(())
        })
    }

    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        unreachable!("the only member sends its snapshot to nobody")
    }

    fn incoming(&mut self, _at: Index, _position: Bytes) -> Box<dyn SnapshotReceiver> {
        unreachable!("the only member receives no snapshot")
    }

    fn install(&mut self, _received: Box<dyn ReceivedSnapshot>) {
        unreachable!("the only member receives no snapshot")
    }
}

/// Segments of less than a megabyte, and nothing kept behind a snapshot.
fn small() -> Limits {
    Limits {
        request_bytes_max: 1,
        batch_bytes_max: 1,
        log_segment_bytes: 1,
        log_keep_bytes: 0,
        ..Limits::default()
    }
}

/// The links of a member that has nobody to talk to.
fn alone(env: &Env) -> Port {
    let hello = Hello {
        cluster_id: 1,
        member: ONE,
        disk_id: 1,
        incarnation: 1,
    };
    let peers = Peers::start(env, hello, &[ONE].into(), None, &Limits::default());
    peers.port(Service::Engine)
}

/// Starts the member on what its disk and the book hold.
async fn open(env: &Env, book: &Shared, limits: &Limits) -> Arc<dyn Engine> {
    let options = synod_storage::Options::new(limits);
    let (log, recovered) = Log::open(env, options).await.expect("the log opens");
    let (restored, applied) = book.lock().unwrap().snapshot.clone().unzip();
    book.lock().unwrap().applied = applied.unwrap_or_default();
    let machine = Recorder {
        env: env.clone(),
        book: Arc::clone(book),
    };
    let config = Config::new(ONE, limits);
    start(
        env.clone(),
        config,
        log,
        recovered,
        restored,
        Box::new(machine),
        alone(env),
    )
    .await
    .expect("the engine starts")
}

/// The first status that `holds`, or the last one of an engine that ended.
async fn status_when(engine: &dyn Engine, mut holds: impl FnMut(&Status) -> bool) -> Status {
    let mut status = engine.status();
    loop {
        let now = status.borrow_seen().clone();
        if holds(&now) || status.changed().await.is_err() {
            return status.borrow_seen().clone();
        }
    }
}

async fn leading(engine: &dyn Engine) -> Status {
    status_when(engine, |status| status.role == Role::Leader).await
}

fn batch(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// As [`batch`], but of this length.
fn large_batch(number: u64, bytes: usize) -> Bytes {
    let mut batch = vec![0; bytes];
    batch[..8].copy_from_slice(&number.to_le_bytes());
    Bytes::from(batch)
}

/// The numbers of the proposals in a list of entries.
fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries
        .iter()
        .filter(|entry| !entry.batch.is_empty())
        .map(|entry| u64::from_le_bytes(entry.batch[..8].try_into().expect("eight bytes")))
        .collect()
}

/// A world with an engine that leads.
struct Member {
    sim: Sim,
    env: Env,
    book: Shared,
    engine: Arc<dyn Engine>,
}

fn member(seed: u64, limits: &Limits) -> Member {
    let sim = Sim::new(seed);
    let env = sim.member(ONE);
    let book = Shared::default();
    let engine = sim
        .block_on(env.within(async {
            let engine = open(&env, &book, limits).await;
            leading(&*engine).await;
            engine
        }))
        .unwrap();
    Member {
        sim,
        env,
        book,
        engine,
    }
}

impl Member {
    fn run<T>(&self, future: impl Future<Output = T> + Send) -> T {
        self.sim.block_on(self.env.within(future)).unwrap()
    }

    fn applied(&self) -> Vec<Entry> {
        self.book.lock().unwrap().applied.clone()
    }

    /// Stops the engine in an orderly way and starts it again.
    fn reopen(&mut self, limits: &Limits) {
        self.run(self.engine.stop());
        self.engine = self.run(async {
            let engine = open(&self.env, &self.book, limits).await;
            leading(&*engine).await;
            engine
        });
    }
}

#[test]
fn a_member_alone_applies_what_is_proposed_in_the_order_of_the_calls() {
    let member = member(1, &Limits::default());
    let outcomes: Vec<_> = member.run(async {
        // Asked for all at once, awaited in reverse: the order is that of asking.
        let asked: Vec<_> = (0..8)
            .map(|number| member.engine.propose(batch(number)))
            .collect();
        let mut outcomes = Vec::new();
        for proposal in asked.into_iter().rev() {
            outcomes.push(proposal.await.unwrap());
        }
        outcomes.reverse();
        outcomes
    });
    // The membership and the blank entry of the first epoch come before.
    let expected: Vec<Index> = (3..11).map(Index).collect();
    assert_eq!(outcomes, expected);
    let applied = member.applied();
    assert_eq!(numbers(&applied), (0..8).collect::<Vec<_>>());
    assert_eq!(applied[2].epoch, Epoch(1));
}

#[test]
fn the_first_write_is_applied_within_a_fifth_of_a_second_of_an_empty_start() {
    for seed in 0..20 {
        let member = member(seed, &Limits::default());
        member.run(member.engine.propose(batch(1))).unwrap();
        let took = member.sim.now();
        assert!(took < millis(200), "seed {seed}: {took:?}");
    }
}

#[test]
fn the_status_tells_where_the_member_stands() {
    let member = member(2, &Limits::default());
    member.run(member.engine.propose(batch(1))).unwrap();
    let status = member.run(status_when(&*member.engine, |status| {
        status.applied == Index(3)
    }));
    assert_eq!(status.epoch, Epoch(1));
    assert_eq!(status.leader, Some(ONE));
    assert_eq!(status.role, Role::Leader);
    assert_eq!((status.last, status.committed), (Index(3), Index(3)));
    assert_eq!(status.quorum_contact, Some(Duration::ZERO));
    assert_eq!(status.fatal, None);
    assert_eq!(status.members.len(), 1);
    assert_eq!(status.members[0].member, ONE);
    assert!(status.members[0].voter);
    assert_eq!(status.members[0].matched, Some(Index(3)));
}

#[test]
fn a_barrier_covers_every_write_acknowledged_before() {
    let member = member(3, &Limits::default());
    member.run(async {
        for number in 0..20 {
            let index = member.engine.propose(batch(number)).await.unwrap();
            let lease = member
                .engine
                .read_lease()
                .expect("it decides alone and leads");
            assert!(lease >= index, "lease {lease} after write {index}");
            let barrier = member.engine.read_barrier().await.unwrap();
            assert!(barrier >= index, "barrier {barrier} after write {index}");
        }
    });
}

#[test]
fn beyond_the_bound_a_proposal_is_refused_as_busy_and_leaves_no_trace() {
    let limits = Limits {
        batches_inflight_max: 2,
        ..Limits::default()
    };
    let bound = Config::new(ONE, &limits).proposals_max as u64;
    let member = member(4, &limits);
    member.run(async {
        let asked: Vec<_> = (0..=bound)
            .map(|number| member.engine.propose(batch(number)))
            .collect();
        let mut outcomes = Vec::new();
        for proposal in asked {
            outcomes.push(proposal.await);
        }
        let refused = outcomes.pop();
        assert_eq!(refused, Some(Err(ProposeError::Busy)));
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        // What is done with makes room, also when nobody waited for it.
        for number in bound + 1..=2 * bound {
            drop(member.engine.propose(batch(number)));
        }
        member.env.sleep(millis(100)).await;
        let after = member.engine.propose(batch(2 * bound + 1)).await;
        assert!(after.is_ok(), "{after:?}");
    });
    let applied: Vec<u64> = (0..bound).chain(bound + 1..=2 * bound + 1).collect();
    assert_eq!(numbers(&member.applied()), applied);
}

#[test]
fn a_stopped_engine_applies_nothing_more_and_says_so() {
    let mut member = member(5, &Limits::default());
    member.run(async {
        assert_eq!(member.engine.propose(batch(1)).await, Ok(Index(3)));
        let unanswered = member.engine.propose(batch(2));
        member.engine.stop().await;
        drop(unanswered);
        let applied = member.applied().len();
        assert_eq!(
            member.engine.propose(batch(3)).await,
            Err(ProposeError::Stopped)
        );
        assert_eq!(
            member.engine.read_barrier().await,
            Err(BarrierError::Stopped)
        );
        assert!(member.engine.snapshot_now().await.is_err());
        // Stopping twice is no error.
        member.engine.stop().await;
        member.env.sleep(millis(500)).await;
        assert_eq!(member.applied().len(), applied);
    });
    assert_eq!(member.engine.status().borrow().fatal, None);

    member.reopen(&Limits::default());
    let kept = numbers(&member.applied());
    assert_eq!(kept[0], 1);
    assert!(!kept.contains(&3), "{kept:?}");
}

#[test]
fn an_engine_that_is_dropped_ends_all_its_tasks() {
    let Member {
        sim,
        env,
        book,
        engine,
    } = member(12, &Limits::default());
    sim.block_on(env.within(engine.propose(batch(1))))
        .unwrap()
        .unwrap();
    drop(engine);
    let stuck = sim.block_on(std::future::pending::<()>()).unwrap_err();
    let Stuck::Deadlock { tasks, .. } = stuck else {
        panic!("something goes on: {stuck}");
    };
    assert!(
        !tasks.contains("raft") && !tasks.contains("log"),
        "left: {tasks}"
    );
    drop(book);
}

#[test]
fn a_failed_sync_stops_the_engine_for_good() {
    for seed in 0..10 {
        let member = member(seed, &Limits::default());
        let nemesis = member.sim.nemesis();
        member.run(async {
            member.engine.propose(batch(1)).await.unwrap();
            nemesis.set_disk_errors(ONE, DiskOp::Sync, 1_000_000);
            let failed = member.engine.propose(batch(2)).await;
            assert_eq!(failed, Err(ProposeError::Stopped), "seed {seed}");
            let status = status_when(&*member.engine, |status| status.fatal.is_some()).await;
            let fatal = status.fatal.expect("it says why");
            assert!(fatal.contains("injected"), "{fatal}");
            assert_eq!(
                member.engine.propose(batch(3)).await,
                Err(ProposeError::Stopped)
            );
            assert_eq!(
                member.engine.read_barrier().await,
                Err(BarrierError::Stopped)
            );
            member.engine.stop().await;
        });
        assert_eq!(numbers(&member.applied()), [1], "seed {seed}");
    }
}

/// Nobody waits for the marker that closes the tail of an idle log.
#[test]
fn a_log_that_fails_while_nobody_waits_for_it_stops_the_engine_too() {
    for seed in 0..10 {
        let member = member(seed, &Limits::default());
        let nemesis = member.sim.nemesis();
        member.run(async {
            member.engine.propose(batch(1)).await.unwrap();
            nemesis.set_disk_errors(ONE, DiskOp::Write, 1_000_000);
            member.env.sleep(millis(500)).await;
            let status = member.engine.status().borrow().clone();
            let fatal = status.fatal.expect("it says why");
            assert!(fatal.contains("injected"), "{fatal}");
            let refused = member.engine.propose(batch(2)).await;
            assert_eq!(refused, Err(ProposeError::Stopped), "seed {seed}");
        });
    }
}

#[test]
fn a_snapshot_that_fails_is_reported_and_nothing_else_happens() {
    let member = member(6, &small());
    member.run(async {
        member.engine.propose(batch(1)).await.unwrap();
        member.book.lock().unwrap().snapshot_error = Some(io::ErrorKind::StorageFull);
        let error = member.engine.snapshot_now().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        member.engine.propose(batch(2)).await.unwrap();
        member.book.lock().unwrap().snapshot_error = None;
        assert_eq!(member.engine.snapshot_now().await.unwrap(), Index(4));
        let status = status_when(&*member.engine, |status| status.snapshot == Index(4)).await;
        assert_eq!(status.fatal, None);
    });
}

#[test]
fn a_restart_from_a_snapshot_applies_only_what_came_after() {
    let mut member = member(7, &small());
    member.run(async {
        for number in 0..10 {
            member.engine.propose(batch(number)).await.unwrap();
        }
        assert_eq!(member.engine.snapshot_now().await.unwrap(), Index(12));
        for number in 10..15 {
            member.engine.propose(batch(number)).await.unwrap();
        }
    });
    member.reopen(&small());
    assert_eq!(numbers(&member.applied()), (0..15).collect::<Vec<_>>());
    // And again, with nothing after the snapshot, whose log is all gone.
    member.run(member.engine.snapshot_now()).unwrap();
    member.reopen(&small());
    assert_eq!(numbers(&member.applied()), (0..15).collect::<Vec<_>>());
    let index = member.run(member.engine.propose(batch(15))).unwrap();
    assert_eq!(index, member.applied().last().unwrap().index);
}

#[test]
fn a_log_without_its_snapshot_is_refused() {
    let member = member(8, &small());
    let refused = member.run(async {
        member.engine.propose(batch(1)).await.unwrap();
        member.engine.snapshot_now().await.unwrap();
        member.engine.stop().await;

        let options = synod_storage::Options::new(&small());
        let (log, recovered) = Log::open(&member.env, options).await.unwrap();
        let machine = Box::new(Recorder {
            env: member.env.clone(),
            book: Shared::default(),
        });
        let config = Config::new(ONE, &small());
        let port = alone(&member.env);
        start(
            member.env.clone(),
            config,
            log,
            recovered,
            None,
            machine,
            port,
        )
        .await
        .err()
    });
    let gap = StartError::Gap {
        snapshot: Index(0),
        purged: Index(3),
    };
    assert_eq!(refused, Some(gap));
}

#[test]
fn a_purge_keeps_the_bytes_it_was_told_to_keep() {
    let limits = Limits {
        log_keep_bytes: 1_000,
        ..small()
    };
    let member = member(9, &limits);
    let (bytes, purged) = member.run(async {
        for number in 0..100 {
            member.engine.propose(batch(number)).await.unwrap();
        }
        assert_eq!(member.engine.snapshot_now().await.unwrap(), Index(102));
        member.engine.stop().await;
        let options = synod_storage::Options::new(&limits);
        let (log, recovered) = Log::open(&member.env, options).await.unwrap();
        (
            log.bytes(),
            recovered.purged.expect("something was purged").index,
        )
    });
    assert!(bytes >= 1_000, "{bytes} bytes are left");
    assert!(bytes < 1_200, "{bytes} bytes are left");
    assert!(purged < 102, "purged up to {purged}");
}

const FULL: ProposeError = ProposeError::NoSpace;

/// Proposes one after the other until one is refused; how many were applied, and the refusal.
async fn until_refused(
    member: &Member,
    mut propose: impl FnMut() -> BoxFuture<'static, Result<Index, ProposeError>>,
) -> (u64, ProposeError) {
    let mut applied = 0;
    loop {
        if let Err(error) = propose().await {
            return (applied, error);
        }
        applied += 1;
        assert!(
            applied < 1_000,
            "nothing is refused: {:?}",
            *member.engine.status().borrow()
        );
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_a_reserve_and_recovers() {
    let member = member(10, &small());
    let nemesis = member.sim.nemesis();
    member.run(async {
        nemesis.set_disk_capacity(ONE, 0);
        let large = large_batch(0, 32 << 10);
        assert_eq!(
            until_refused(&member, || member.engine.propose(large.clone()))
                .await
                .1,
            FULL
        );
        assert_eq!(
            until_refused(&member, || member.engine.propose(batch(1)))
                .await
                .1,
            FULL
        );
        assert!(member.engine.read_lease().is_some());
        // Some small ones get through all the same, and then they too are refused in time.
        let reserved = until_refused(&member, || member.engine.propose_reserved(batch(2))).await;
        assert_eq!(reserved, (16, FULL));

        nemesis.set_disk_capacity(ONE, u64::MAX);
        let mut tries = 0;
        while let Err(error) = member.engine.propose(large.clone()).await {
            assert_eq!(error, FULL);
            member.env.sleep(millis(200)).await;
            tries += 1;
            assert!(tries < 20, "the disk has room again");
        }
        assert_eq!(member.engine.status().borrow().fatal, None);
    });
}

#[test]
fn while_a_segment_is_prepared_proposals_line_up_in_order() {
    for seed in 0..5 {
        let member = member(seed, &small());
        // Filling a segment with zeros takes many writes, an append takes one.
        let latency = DiskLatency {
            write: (millis(20), millis(40)),
            ..DiskLatency::default()
        };
        member.sim.nemesis().set_disk_latency(ONE, latency);
        let polls = count_polls(&member.sim);
        member.run(async {
            for round in 0..30 {
                let asked: Vec<_> = (8 * round..8 * round + 8)
                    .map(|number| member.engine.propose(large_batch(number, 60 << 10)))
                    .collect();
                for proposal in asked {
                    proposal.await.unwrap();
                }
            }
        });
        assert_eq!(
            numbers(&member.applied()),
            (0..240).collect::<Vec<_>>(),
            "seed {seed}"
        );
        let parked = polls.lock().unwrap().get("raft-parking").copied();
        assert!(
            parked > Some(10),
            "seed {seed}: nothing had to wait: {parked:?}"
        );
    }
}

/// Counts polls of tasks by name from now on.
fn count_polls(sim: &Sim) -> Arc<Mutex<BTreeMap<&'static str, u64>>> {
    let polls: Arc<Mutex<BTreeMap<&'static str, u64>>> = Arc::default();
    let counted = Arc::clone(&polls);
    sim.observe(move |event| {
        if let What::Ran { name, .. } = event.what {
            *counted.lock().unwrap().entry(name).or_default() += 1;
        }
    });
    polls
}

/// Proposes numbers for ever, four at a time, with a snapshot now and then.
async fn life(env: Env, book: Shared, first: u64) {
    let engine = open(&env, &book, &small()).await;
    leading(&*engine).await;
    let mut number = first;
    loop {
        let asked: Vec<_> = (number..number + 4)
            .map(|number| (number, engine.propose(batch(number))))
            .collect();
        number += 4;
        for (number, proposal) in asked {
            match proposal.await {
                Ok(index) => {
                    book.lock().unwrap().acknowledged.insert(number, index);
                }
                Err(error) => panic!("a healthy member refused {number}: {error:?}"),
            }
        }
        if number.is_multiple_of(40) {
            engine.snapshot_now().await.unwrap();
        }
    }
}

/// Runs some lives, each ended by a loss of power at a random moment; the fingerprint, and how
/// many batches were acknowledged.
fn lives(seed: u64) -> (u128, usize) {
    let options = Options {
        run_max: Duration::from_secs(600),
        ..Options::default()
    };
    let sim = Sim::with_options(seed, options);
    let nemesis = sim.nemesis();
    let book = Shared::default();
    let mut prng = sim.workload();
    let mut longest: Vec<Entry> = Vec::new();
    for life_number in 0..4 {
        let env = sim.member(ONE);
        env.spawn(
            "life",
            life(env.clone(), Arc::clone(&book), life_number * 100_000),
        );
        match prng.below(3) {
            0 => {
                sim.run_for(Duration::from_micros(prng.below(60_000)))
                    .unwrap();
                nemesis.crash(ONE);
            }
            1 => nemesis.crash_at_disk_op(ONE, 1 + prng.below(300)),
            _ => nemesis.crash_at_event(ONE, prng.below(3_000)),
        }
        while nemesis.is_up(ONE) {
            sim.run_for(millis(1)).unwrap();
        }
        // A life that ended early may not have got to where the one before it was.
        let applied = std::mem::take(&mut book.lock().unwrap().applied);
        let common = longest.len().min(applied.len());
        assert_eq!(
            applied[..common],
            longest[..common],
            "seed {seed}: history changed"
        );
        if applied.len() > longest.len() {
            longest = applied;
        }
    }

    // The last life is not disturbed.
    let env = sim.member(ONE);
    sim.block_on(env.within(async {
        let engine = open(&env, &book, &small()).await;
        leading(&*engine).await;
        engine.propose(batch(u64::MAX)).await.unwrap();
    }))
    .unwrap();
    let book = book.lock().unwrap();
    assert!(
        book.applied.len() > longest.len(),
        "seed {seed}: applied entries are lost"
    );
    assert_eq!(
        book.applied[..longest.len()],
        longest[..],
        "seed {seed}: history changed"
    );
    let mut seen = BTreeMap::new();
    for entry in book.applied.iter().filter(|entry| !entry.batch.is_empty()) {
        let number = numbers(std::slice::from_ref(entry))[0];
        let before = seen.insert(number, entry.index);
        assert_eq!(before, None, "seed {seed}: {number} was applied twice");
    }
    for (number, index) in &book.acknowledged {
        assert_eq!(
            seen.get(number),
            Some(index),
            "seed {seed}: {number} was acknowledged"
        );
    }
    let order = numbers(&book.applied);
    assert!(
        order.is_sorted(),
        "seed {seed}: not in the order of proposing: {order:?}"
    );
    (sim.fingerprint().0, book.acknowledged.len())
}

#[test]
fn no_crash_loses_reorders_or_repeats_an_acknowledged_batch() {
    let acknowledged: usize = (0..100).map(|seed| lives(seed).1).sum();
    println!("{acknowledged} batches were acknowledged");
    assert!(
        acknowledged > 1_000,
        "only {acknowledged} batches were acknowledged in all lives"
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..3 {
        assert_eq!(lives(seed), lives(seed), "seed {seed}");
    }
    assert_ne!(lives(0), lives(1));
}

#[test]
fn one_write_of_one_client_costs_few_polls() {
    let member = member(11, &Limits::default());
    member.run(member.engine.propose(batch(0))).unwrap();
    let polls = count_polls(&member.sim);
    let writes = 100;
    member.run(async {
        for number in 0..writes {
            member.engine.propose(batch(number)).await.unwrap();
        }
    });
    let polls = polls.lock().unwrap();
    let total: u64 = polls.values().sum();
    println!("polls per {writes} writes: {polls:?}, {total} together");
    assert!(
        total <= 10 * writes,
        "{total} polls for {writes} writes: {polls:?}"
    );
}
