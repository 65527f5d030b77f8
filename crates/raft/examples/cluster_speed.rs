//! How fast a simulated cluster turns: `cargo run --release -p synod-raft --example cluster_speed`.
//!
//! Prints, for one, three and five members on one thread: how much faster than real time they
//! run with nothing to do, and proposals per second of real time with clients that always have
//! some in flight; and which tasks are polled how often.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real time is what is measured here, and printed"
)]

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synod_env::sim::{Options, Sim, What};
use synod_env::{BoxFuture, Env, Limits, MemberId};
use synod_log::{
    Engine, Entry, Index, Machine, ReceivedSnapshot, Role, SnapshotReader, SnapshotReceiver,
};
use synod_protocols::{Hello, Peers, Service};
use synod_raft::{Config, start};
use synod_storage::Log;

/// Applies nothing and needs no snapshot, since nothing is purged.
struct Nothing;

impl Machine for Nothing {
    fn apply(&mut self, _entries: Vec<Entry>) {}

    fn snapshot(&mut self, _at: Index, _position: Bytes) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async { Err(io::Error::from(io::ErrorKind::Unsupported)) })
    }

    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        Box::pin(async { Ok(None) })
    }

    fn incoming(&mut self, _at: Index, _position: Bytes) -> Box<dyn SnapshotReceiver> {
        unreachable!("nobody has a snapshot to send")
    }

    fn install(&mut self, _received: Box<dyn ReceivedSnapshot>) {
        unreachable!("nobody has a snapshot to send")
    }
}

type Engines = Arc<Mutex<BTreeMap<MemberId, Arc<dyn Engine>>>>;

async fn live(env: Env, member: MemberId, members: BTreeSet<MemberId>, engines: Engines) {
    let limits = Limits::default();
    let hello = Hello {
        cluster_id: 1,
        member,
        disk_id: u128::from(member.0),
        incarnation: 1,
    };
    let peers = Peers::start(&env, hello, &members, None, &limits);
    peers.founded().await.expect("all are members");
    let options = synod_storage::Options::new(&limits);
    let (log, recovered) = Log::open(&env, options).await.expect("an empty disk");
    let mut config = Config::new(member, &limits);
    config.members = members;
    let port = peers.port(Service::Engine);
    let started = start(env, config, log, recovered, None, Box::new(Nothing), port);
    let engine = started.await.expect("an empty log");
    engines
        .lock()
        .expect("nobody panics")
        .insert(member, engine);
}

/// A cluster that has a leader.
struct Cluster {
    sim: Sim,
    /// The leader's.
    env: Env,
    engine: Arc<dyn Engine>,
    /// They run as long as somebody has them.
    _engines: Engines,
}

fn cluster(count: u64) -> Cluster {
    let options = Options {
        run_max: Duration::from_secs(1_000_000),
        events_max: u64::MAX,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    let members: BTreeSet<_> = (1..=count).map(MemberId).collect();
    let engines = Engines::default();
    for member in &members {
        let env = sim.member(*member);
        let live = live(env.clone(), *member, members.clone(), Arc::clone(&engines));
        env.spawn("live", live);
    }
    loop {
        sim.run_for(Duration::from_secs(1))
            .expect("the world turns");
        let all = engines.lock().expect("nobody panics").clone();
        let leader = all
            .into_iter()
            .find(|(_, engine)| engine.status().borrow().role == Role::Leader);
        if let Some((member, engine)) = leader {
            return Cluster {
                env: sim.member(member),
                sim,
                engine,
                _engines: engines,
            };
        }
    }
}

fn polls(sim: &Sim) -> Arc<Mutex<BTreeMap<&'static str, u64>>> {
    let polls: Arc<Mutex<BTreeMap<&'static str, u64>>> = Arc::default();
    let counted = Arc::clone(&polls);
    sim.observe(move |event| {
        if let What::Ran { name, .. } = event.what {
            *counted
                .lock()
                .expect("nobody panics")
                .entry(name)
                .or_default() += 1;
        }
    });
    polls
}

fn idle(count: u64) {
    let cluster = cluster(count);
    let sim = &cluster.sim;
    let (begun, events, virtually) = (Instant::now(), sim.events(), sim.now());
    while begun.elapsed() < Duration::from_secs(2) {
        sim.run_for(Duration::from_secs(20))
            .expect("the world turns");
    }
    let real = begun.elapsed().as_secs_f64();
    let virtually = (sim.now() - virtually).as_secs_f64();
    let events = (sim.events() - events) as f64;
    println!(
        "idle, {count} members: {:>6.0} x real time, {:>5.0} events per virtual second, {:.2} M events/s",
        virtually / real,
        events / virtually,
        events / real / 1e6,
    );
    let polls = polls(sim);
    sim.run_for(Duration::from_secs(10))
        .expect("the world turns");
    println!(
        "    polls in 10 virtual seconds: {:?}",
        polls.lock().expect("nobody panics")
    );
}

fn load(count: u64, clients: usize) {
    let cluster = cluster(count);
    let Cluster {
        sim, env, engine, ..
    } = &cluster;
    let done = Arc::new(Mutex::new(0_u64));
    for _ in 0..clients {
        let (engine, done) = (Arc::clone(engine), Arc::clone(&done));
        env.spawn("client", async move {
            while engine.propose(Bytes::from_static(&[7; 128])).await.is_ok() {
                *done.lock().expect("nobody panics") += 1;
            }
        });
    }
    let (begun, virtually) = (Instant::now(), sim.now());
    while begun.elapsed() < Duration::from_secs(2) {
        sim.run_for(Duration::from_millis(200))
            .expect("the world turns");
    }
    let real = begun.elapsed().as_secs_f64();
    let virtually = (sim.now() - virtually).as_secs_f64();
    let proposals = *done.lock().expect("nobody panics") as f64;
    println!(
        "load, {count} members, {clients:>2} clients: {:>6.1} x real time, {:>7.0} proposals/s virtual, {:>7.0} proposals/s real",
        virtually / real,
        proposals / virtually,
        proposals / real,
    );
}

fn main() {
    for count in [1, 3, 5] {
        idle(count);
    }
    for count in [1, 3, 5] {
        for clients in [1, 8] {
            load(count, clients);
        }
    }
}
