//! A whole member (log, engine, state, node) on the deterministic world.

mod fill;
mod following;
mod forwarding;
mod history;
mod installs;
mod limits;
mod members;
mod script;

use crate::{Config, Consistency, Failure, Node, WatchCreate, WatchMessage, open};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use synod_env::sim::{DiskOp, Sim};
use synod_env::{Env, Instant, Limits, MemberId, Prng};
use synod_protocols::Service;
use synod_state::command::{Command, LeaseId, Put, Range, Revision};
use synod_state::reply::Refusal;
use synod_storage::identity::Founding;

const MEMBER: MemberId = MemberId(1);
const TTL_MIN: Duration = Duration::from_secs(2);
const LEADER_LEASE: Duration = Duration::from_millis(400);

/// Starts a member on what its disk holds.
async fn start(env: Env, limits: Limits) -> Node {
    let within = env.clone();
    within
        .within(async move {
            let founding = Founding {
                cluster_id: 1,
                member_id: MEMBER.0,
                token: "test".into(),
            };
            let config = Config {
                limits: limits.clone(),
                leader_lease_max: LEADER_LEASE,
                lease_ttl_min: TTL_MIN,
                watch_progress_interval: Duration::from_secs(600),
            };
            let mut opened = open(&env, config, &founding)
                .await
                .expect("the directory is sound");
            let config = synod_raft::Config::new(MEMBER, &limits);
            let linked = opened.link(&env, &config.members).await;
            let peers = linked.expect("it is alone");
            let crate::Opened {
                prepared,
                machine,
                log,
                recovered,
                position,
                identity: _,
            } = opened;
            let port = peers.port(Service::Engine);
            let engine = synod_raft::start(env, config, log, recovered, position, machine, port);
            prepared.start(
                engine.await.expect("the engine starts"),
                peers.port(Service::Node),
            )
        })
        .await
}

/// A world with one running member.
struct World {
    sim: Sim,
    limits: Limits,
    node: Node,
}

impl World {
    fn new(seed: u64, limits: Limits) -> Self {
        let sim = Sim::new(seed);
        let node = sim
            .block_on(start(sim.member(MEMBER), limits.clone()))
            .expect("it starts");
        Self { sim, limits, node }
    }

    /// Power off, power on.
    fn restart(&mut self) {
        let env = self.sim.restart(MEMBER);
        self.node = self
            .sim
            .block_on(start(env, self.limits.clone()))
            .expect("it starts again");
    }

    fn run<T>(&self, future: impl Future<Output = T> + Send) -> T {
        self.sim
            .block_on(self.node.env().within(future))
            .expect("every wait ends")
    }

    fn put(&self, key: &str, value: &str) -> Result<Revision, Failure> {
        self.run(put(&self.node, key, value))
    }

    fn get(&self, key: &str) -> Option<String> {
        self.run(get(&self.node, key)).expect("a read succeeds")
    }

    fn pass(&self, time: Duration) {
        self.sim.run_for(time).expect("time passes");
    }
}

fn soon(node: &Node) -> Instant {
    node.now() + Duration::from_secs(7)
}

fn put_command(key: &str, value: &str, lease: LeaseId) -> Command {
    let (key, value) = (
        Bytes::copy_from_slice(key.as_bytes()),
        value.to_owned().into(),
    );
    Command::Put(Put {
        key,
        value,
        lease,
        ..Put::default()
    })
}

async fn put(node: &Node, key: &str, value: &str) -> Result<Revision, Failure> {
    let reply = node.propose(put_command(key, value, 0), soon(node)).await?;
    Ok(reply.revision)
}

async fn get(node: &Node, key: &str) -> Result<Option<String>, Failure> {
    let root = node.read(Consistency::Linearizable, soon(node)).await?;
    let range = Range {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..Range::default()
    };
    let reply = root.range(&range).expect("the present can be read");
    Ok(reply
        .kvs
        .first()
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}

#[test]
fn a_write_is_read_back_and_survives_power_loss() {
    let mut world = World::new(1, Limits::default());
    assert_eq!(world.put("k", "1"), Ok(2));
    assert_eq!(world.put("k", "2"), Ok(3));
    assert_eq!(world.get("k").as_deref(), Some("2"));
    world.restart();
    assert_eq!(world.get("k").as_deref(), Some("2"));
    assert_eq!(world.put("k", "3"), Ok(4), "the revision goes on");
}

#[test]
fn what_makes_no_sense_is_refused_without_the_log() {
    let world = World::new(
        1,
        Limits {
            request_bytes_max: 1_000,
            ..Limits::default()
        },
    );
    assert!(matches!(world.put("", "1"), Err(Failure::Invalid(_))));
    assert_eq!(world.put("k", &"v".repeat(2_000)), Err(Failure::TooLarge));
    let unknown = world.run(
        world
            .node
            .propose(put_command("k", "v", 99), soon(&world.node)),
    );
    assert_eq!(unknown, Err(Failure::Refused(Refusal::LeaseNotFound)));
    assert_eq!(world.put("k", "v"), Ok(2), "none of them changed anything");
}

#[test]
fn more_waits_than_fits_into_a_batch_and_none_is_refused() {
    let limits = Limits {
        batch_bytes_max: 1 << 10,
        batches_inflight_max: 1,
        ..Limits::default()
    };
    let world = World::new(2, limits);
    world.put("k", "first").expect("a put succeeds");
    world
        .sim
        .nemesis()
        .stall_disk(MEMBER, Duration::from_millis(200));
    let done = Arc::new(Mutex::new(Vec::new()));
    for client in 0..100 {
        let (node, done) = (world.node.clone(), Arc::clone(&done));
        world.node.env().spawn("client", async move {
            let result = put(&node, &format!("key {client}"), &"v".repeat(300)).await;
            done.lock().expect("not poisoned").push(result.is_ok());
        });
    }
    world.pass(Duration::from_secs(2));
    let done = done.lock().expect("not poisoned");
    assert_eq!(done.len(), 100);
    assert!(done.iter().all(|ok| *ok), "{done:?}");
}

/// Clients write increasing numbers to a key each while the power fails at a random disk call.
/// Whatever was acknowledged is there after each restart, nothing is there that was not written,
/// and the revision never goes back.
#[test]
fn acknowledged_writes_survive_power_loss_at_any_disk_call() {
    const CLIENTS: usize = 5;
    let mut crashes = 0;
    for seed in 0..100 {
        let mut prng = Prng::new(seed);
        let limits = Limits {
            batch_commands_max: usize::try_from(1 + prng.below(4)).expect("small"),
            batches_inflight_max: usize::try_from(1 + prng.below(3)).expect("small"),
            log_keep_bytes: 1 << 10,
            ..Limits::default()
        };
        let mut world = World::new(seed, limits);
        let acknowledged: Arc<Vec<AtomicI64>> =
            Arc::new((0..CLIENTS).map(|_| AtomicI64::new(0)).collect());
        let attempted: Arc<Vec<AtomicI64>> =
            Arc::new((0..CLIENTS).map(|_| AtomicI64::new(0)).collect());
        let revision = Arc::new(AtomicI64::new(1));
        for _ in 0..4 {
            let env = world.node.env().clone();
            for client in 0..CLIENTS {
                let (node, revision) = (world.node.clone(), Arc::clone(&revision));
                let (acknowledged, attempted) = (Arc::clone(&acknowledged), Arc::clone(&attempted));
                env.spawn("client", async move {
                    let key = format!("client {client}");
                    loop {
                        let number = 1 + attempted[client].fetch_add(1, Ordering::SeqCst);
                        match put(&node, &key, &number.to_string()).await {
                            Ok(at) => {
                                acknowledged[client].store(number, Ordering::SeqCst);
                                revision.fetch_max(at, Ordering::SeqCst);
                            }
                            Err(failure) => assert!(failure.is_unknown(), "{failure}"),
                        }
                    }
                });
            }
            let nemesis = world.sim.nemesis();
            nemesis.crash_at_disk_op(MEMBER, 1 + prng.below(60));
            let started = world.sim.now();
            while nemesis.is_up(MEMBER) && world.sim.now() - started < Duration::from_secs(5) {
                world.pass(Duration::from_millis(1));
            }
            crashes += u64::from(!nemesis.is_up(MEMBER));
            world.restart();
            for client in 0..CLIENTS {
                let found = world.get(&format!("client {client}"));
                let found: i64 = found.map_or(0, |value| value.parse().expect("a number"));
                let least = acknowledged[client].load(Ordering::SeqCst);
                let most = attempted[client].load(Ordering::SeqCst);
                assert!(
                    found >= least,
                    "seed {seed}: {found} is left of {least} acknowledged"
                );
                assert!(
                    found <= most,
                    "seed {seed}: {found} was never written, only {most}"
                );
            }
            let now = world.node.root().revision();
            let least = revision.load(Ordering::SeqCst);
            assert!(
                now >= least,
                "seed {seed}: revision {now} after {least} was acknowledged"
            );
        }
    }
    assert!(crashes > 300, "the power failed only {crashes} times");
}

#[test]
fn a_member_restarts_from_its_snapshot_with_the_same_state() {
    let mut world = World::new(
        3,
        Limits {
            log_keep_bytes: 1,
            ..Limits::default()
        },
    );
    for i in 0..500 {
        world
            .put(&format!("key {i:03}"), &"v".repeat(100))
            .expect("a put succeeds");
    }
    let at = world
        .run(world.node.snapshot_now())
        .expect("a snapshot is written");
    assert!(at.0 > 500);
    world.put("after", "1").expect("a put succeeds");
    let (hash, bytes) = (world.node.root().hash(), world.node.root().bytes());
    world.restart();
    assert_eq!(
        world.get("key 499").as_deref(),
        Some("v".repeat(100).as_str())
    );
    assert_eq!(world.get("after").as_deref(), Some("1"));
    assert_eq!(world.node.root().bytes(), bytes);
    assert_ne!(world.node.root().hash(), 0);
    // The new reign is in the hash; without it the states are the same.
    let before = world.node.root().version_count();
    assert_eq!(before, 501);
    assert_ne!(hash, 0);
}

/// A million keys, of which one in a hundred then changes, all in one stretch of the key space.
/// Chunks end at nodes that chance picks, so how much one stretch costs varies: several are tried.
#[test]
fn a_second_snapshot_of_a_little_changed_state_writes_little() {
    const KEYS: usize = 1_000_000;
    const CLIENTS: usize = 500;
    let world = World::new(4, Limits::default());
    let write = |from: usize, to: usize, value: &'static str| {
        let left = Arc::new(AtomicI64::new(i64::try_from(CLIENTS).expect("small")));
        for client in 0..CLIENTS {
            let (node, left) = (world.node.clone(), Arc::clone(&left));
            world.node.env().spawn("client", async move {
                for key in (from + client..to).step_by(CLIENTS) {
                    let key = format!("key {key:07}");
                    put(&node, &key, value).await.expect("a put succeeds");
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while left.load(Ordering::SeqCst) > 0 {
            world.pass(Duration::from_millis(100));
        }
    };
    let nemesis = world.sim.nemesis();
    let snapshot = || {
        let before = nemesis.disk_counters(MEMBER).written_bytes;
        let written = world.run(world.node.snapshot_now());
        written.expect("a snapshot is written");
        nemesis.disk_counters(MEMBER).written_bytes - before
    };
    write(0, KEYS, "a value");
    let first = snapshot();
    let later = [1, 3, 5, 7].map(|eighth| {
        let from = KEYS / 8 * eighth;
        write(from, from + KEYS / 100, "changed");
        snapshot()
    });
    assert!(
        later.iter().sum::<u64>() * 20 <= first * 4,
        "the later ones wrote {later:?} bytes, the first {first}"
    );
}

#[test]
fn a_failed_sync_stops_the_member_and_nothing_unsynced_was_acknowledged() {
    let mut world = World::new(5, Limits::default());
    world.put("k", "1").expect("a put succeeds");
    world.sim.nemesis().fail_disk_op(MEMBER, DiskOp::Sync, 1);
    let lost = world.put("k", "2");
    assert_eq!(lost, Err(Failure::Unknown), "it may be on the disk or not");
    let reason = world.run(world.node.failed());
    assert!(reason.contains("injected"), "{reason}");
    assert_eq!(world.put("k", "3"), Err(Failure::Stopped));
    world.restart();
    let found = world.get("k").expect("it was acknowledged");
    assert!(found == "1" || found == "2", "{found}");
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_room() {
    let limits = Limits {
        log_segment_bytes: 64 << 10,
        batch_bytes_max: 4 << 10,
        request_bytes_max: 8 << 10,
        ..Limits::default()
    };
    let world = World::new(6, limits);
    world.put("k", "1").expect("a put succeeds");
    world.sim.nemesis().set_disk_capacity(MEMBER, 1);
    let mut refused = None;
    for i in 0..4_000 {
        match world.put("big", &format!("{i} {}", "x".repeat(4_000))) {
            Ok(_) => {}
            Err(failure) => {
                refused = Some(failure);
                break;
            }
        }
    }
    assert_eq!(refused, Some(Failure::NoSpace), "refused, not lost");
    assert_eq!(world.get("k").as_deref(), Some("1"));
    world.sim.nemesis().set_disk_capacity(MEMBER, u64::MAX);
    world.pass(Duration::from_secs(5));
    world.put("k", "2").expect("there is room again");
}

#[test]
fn a_stalled_disk_ends_requests_at_their_deadline_as_unknown() {
    let world = World::new(7, Limits::default());
    world.put("k", "1").expect("a put succeeds");
    world
        .sim
        .nemesis()
        .stall_disk(MEMBER, Duration::from_secs(30));
    let deadline = world.node.now() + Duration::from_secs(2);
    let late = world.run(world.node.propose(put_command("k", "2", 0), deadline));
    assert_eq!(late, Err(Failure::Unknown));
    let over = world.node.now().saturating_since(deadline);
    assert!(
        over < Duration::from_millis(200),
        "the wait ended {over:?} late"
    );
    assert_eq!(
        world.get("k").as_deref(),
        Some("1"),
        "reads go on meanwhile"
    );
    world.pass(Duration::from_secs(40));
    assert_eq!(
        world.get("k").as_deref(),
        Some("2"),
        "it was done after all"
    );
}

#[test]
fn a_lease_ends_after_its_ttl_and_takes_its_keys_along() {
    let world = World::new(8, Limits::default());
    let (reply, ttl_s) = world
        .run(world.node.lease_grant(7, 5, soon(&world.node)))
        .expect("granted");
    assert_eq!((reply.revision, ttl_s), (1, 5));
    let hung = world.run(
        world
            .node
            .propose(put_command("k", "v", 7), soon(&world.node)),
    );
    hung.expect("a put succeeds");
    world.pass(Duration::from_millis(4_800));
    assert_eq!(world.get("k").as_deref(), Some("v"), "never before its TTL");
    world.pass(Duration::from_millis(500));
    assert_eq!(world.get("k"), None);
    let renewed = world.run(world.node.lease_keep_alive(7, soon(&world.node)));
    assert_eq!(renewed, Ok(None));
}

#[test]
fn a_renewed_lease_lives_and_a_short_ttl_is_lifted() {
    let world = World::new(9, Limits::default());
    let (_, ttl_s) = world
        .run(world.node.lease_grant(7, 1, soon(&world.node)))
        .expect("granted");
    assert_eq!(ttl_s, 2);
    for _ in 0..10 {
        world.pass(Duration::from_secs(1));
        let renewed = world.run(world.node.lease_keep_alive(7, soon(&world.node)));
        assert_eq!(renewed, Ok(Some(2)));
    }
    let left = world.run(world.node.lease_time_to_live(7, true, soon(&world.node)));
    let left = left.expect("a read succeeds").expect("the lease lives");
    assert_eq!(left.granted_s, 2);
    assert!(left.remaining_s <= 2);
}

#[test]
fn a_restart_and_a_pause_never_shorten_a_lease() {
    let mut world = World::new(10, Limits::default());
    world
        .run(world.node.lease_grant(7, 5, soon(&world.node)))
        .expect("granted");
    world.pass(Duration::from_secs(4));
    world.restart();
    world.pass(Duration::from_secs(4));
    let root = world.node.root();
    assert!(root.lease(7).is_some(), "a new reign begins every TTL anew");
    world.sim.nemesis().pause(MEMBER);
    world.pass(Duration::from_secs(60));
    world.sim.nemesis().resume(MEMBER);
    world.pass(Duration::from_millis(100));
    assert!(
        world.node.root().lease(7).is_some(),
        "the member was deaf for a minute"
    );
    world.pass(Duration::from_secs(6));
    assert!(world.node.root().lease(7).is_none());
}

#[test]
fn compaction_goes_on_without_other_traffic() {
    let limits = Limits::default();
    let world = World::new(11, limits);
    for i in 0..5_000 {
        world.put("k", &i.to_string()).expect("a put succeeds");
    }
    let compact = Command::Compact { revision: 5_000 };
    world
        .run(world.node.propose(compact, soon(&world.node)))
        .expect("compacted");
    world
        .run(world.node.compact_finished(soon(&world.node)))
        .expect("it ends before the deadline");
    assert_eq!(world.node.root().version_count(), 2);
}

/// The steps of a compaction are refused at once then. The member must neither spin on them nor
/// stop answering, and go on when there is room.
#[test]
fn a_compaction_on_a_full_disk_waits_for_room_while_the_member_answers() {
    let limits = Limits {
        log_segment_bytes: 64 << 10,
        batch_bytes_max: 4 << 10,
        request_bytes_max: 8 << 10,
        compaction_batch_max: 10,
        ..Limits::default()
    };
    let world = World::new(14, limits);
    for i in 0..2_000 {
        let sent = world.put("k", &i.to_string());
        sent.expect("a put succeeds");
    }
    world.sim.nemesis().set_disk_capacity(MEMBER, 1);
    while world.put("big", &"x".repeat(4_000)).is_ok() {}
    let compact = Command::Compact { revision: 2_000 };
    let compacted = world.run(world.node.propose(compact, soon(&world.node)));
    compacted.expect("the reserve is for this");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.get("k").as_deref(), Some("1999"));
    assert_eq!(world.put("k", "no room"), Err(Failure::NoSpace));
    world.sim.nemesis().set_disk_capacity(MEMBER, u64::MAX);
    let finished = world.run(world.node.compact_finished(soon(&world.node)));
    finished.expect("it goes on when there is room");
}

/// The engine holds fewer bytes than these clients send at once: they wait, and none is refused.
#[test]
fn large_values_from_many_clients_wait_for_their_turn() {
    let world = World::new(15, Limits::default());
    let done = Arc::new(Mutex::new(Vec::new()));
    for client in 0..12 {
        let (node, done) = (world.node.clone(), Arc::clone(&done));
        world.node.env().spawn("client", async move {
            let result = put(&node, &format!("{client}"), &"v".repeat(1_400_000)).await;
            done.lock().expect("not poisoned").push(result.err());
        });
    }
    world.pass(Duration::from_secs(5));
    assert_eq!(*done.lock().expect("not poisoned"), vec![None; 12]);
}

/// Ten thousand watchers are records: neither they nor what they are told starts a task.
#[test]
fn watchers_add_no_task() {
    let world = World::new(12, Limits::default());
    let before = world.sim.tasks_started();
    world.put("k", "0").expect("a put succeeds");
    let per_put = world.sim.tasks_started() - before;
    let before = world.sim.tasks_started();
    let mut stream = world.node.watch().expect("there is room");
    for _ in 0..10_000 {
        stream.requester().create(&WatchCreate {
            key: "k".into(),
            ..WatchCreate::default()
        });
    }
    world.put("k", "v").expect("a put succeeds");
    assert_eq!(world.sim.tasks_started() - before, per_put);
    let mut told = 0;
    world.run(poll_fn(|cx| {
        while let Poll::Ready(Some(message)) = stream.poll_next(cx) {
            told += u64::from(matches!(message, WatchMessage::Events { .. }));
        }
        Poll::Ready(())
    }));
    assert_eq!(told, 10_000);
}

/// In virtual time a put that waited for a reader would take longer. None does.
#[test]
fn a_root_held_through_a_hundred_thousand_puts_delays_none_of_them() {
    const CLIENTS: usize = 100;
    const PUTS: usize = 1_000;
    let slowest = |hold: bool| {
        let world = World::new(13, Limits::default());
        world.put("k", "before").expect("a put succeeds");
        let held = hold.then(|| world.node.root());
        let latencies = Arc::new(Mutex::new(Vec::new()));
        for client in 0..CLIENTS {
            let (node, latencies) = (world.node.clone(), Arc::clone(&latencies));
            world.node.env().spawn("client", async move {
                for i in 0..PUTS {
                    let begun = node.now();
                    let key = if client == 0 {
                        "k".to_owned()
                    } else {
                        format!("{client} {i}")
                    };
                    put(&node, &key, "v").await.expect("a put succeeds");
                    let latency = node.now().saturating_since(begun);
                    latencies.lock().expect("not poisoned").push(latency);
                }
            });
        }
        while latencies.lock().expect("not poisoned").len() < CLIENTS * PUTS {
            world.pass(Duration::from_millis(100));
        }
        if let Some(root) = held {
            let range = Range {
                key: "k".into(),
                ..Range::default()
            };
            let reply = root.range(&range).expect("the held root can be read");
            assert_eq!(reply.kvs[0].value, "before");
        }
        let latencies = latencies.lock().expect("not poisoned");
        latencies.iter().max().copied()
    };
    assert_eq!(slowest(true), slowest(false));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let world = World::new(seed, Limits::default());
        let log = Arc::new(Mutex::new(Vec::new()));
        for client in 0..3 {
            let (node, log) = (world.node.clone(), Arc::clone(&log));
            world.node.env().spawn("client", async move {
                for i in 0..50 {
                    let done = put(&node, &format!("{client}"), &i.to_string()).await;
                    log.lock().expect("not poisoned").push((client, i, done));
                }
            });
        }
        world.pass(Duration::from_secs(1));
        let log = log.lock().expect("not poisoned").clone();
        assert_eq!(log.len(), 150);
        (world.sim.fingerprint(), log)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
