//! Three whole members: links, log, engine, state, node.

use super::script::{A, B, C, MEMBERS, MS};
use super::{get, put, put_command, soon};
use crate::{Config, Failure, LinkError, Node, Opened, WatchCreate, WatchMessage, open};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synod_env::sim::{ClockRates, Options, Sim};
use synod_env::{Env, Limits, MemberId, Prng};
use synod_log::Index;
use synod_protocols::Service;
use synod_state::command::{Range, Revision};
use synod_storage::identity::Founding;

type Seats = Arc<Mutex<BTreeMap<MemberId, Node>>>;

/// A member's directory, opened or founded.
async fn opened(env: &Env, member: MemberId, limits: Limits, lease_max: Duration) -> Opened {
    let founding = Founding {
        cluster_id: 1,
        member_id: member.0,
        token: "test".into(),
    };
    let config = Config {
        limits,
        leader_lease_max: lease_max,
        lease_ttl_min: Duration::from_secs(2),
        watch_progress_interval: Duration::from_secs(600),
    };
    let opened = open(env, config, &founding).await;
    opened.expect("the directory is sound")
}

/// Lives from open to the end of the world.
async fn live(env: Env, member: MemberId, limits: Limits, seats: Seats) {
    let timing = synod_raft::Config {
        members: BTreeSet::from(MEMBERS),
        ..synod_raft::Config::new(member, &limits)
    };
    let mut opened = opened(&env, member, limits, timing.election_max).await;
    let linked = opened.link(&env, &timing.members).await;
    let peers = linked.expect("nobody is refused");
    let Opened {
        prepared,
        machine,
        log,
        recovered,
        position,
        identity: _,
    } = opened;
    let port = peers.port(Service::Engine);
    let engine = synod_raft::start(env, timing, log, recovered, position, machine, port);
    let engine = engine.await.expect("the engine starts");
    let node = prepared.start(engine, peers.port(Service::Node));
    seats.lock().expect("not poisoned").insert(member, node);
}

/// Three members in one world.
pub(super) struct Members {
    sim: Sim,
    limits: Limits,
    seats: Seats,
}

impl Members {
    fn new(seed: u64, limits: Limits) -> Self {
        Self::on_disks(Sim::with_options(seed, Options::default()), limits)
    }

    /// On what their disks hold.
    pub(super) fn on_disks(sim: Sim, limits: Limits) -> Self {
        let limits = Limits {
            log_segment_bytes: 4 << 20,
            ..limits
        };
        let members = Self {
            sim,
            limits,
            seats: Seats::default(),
        };
        for member in MEMBERS {
            members.start(member);
        }
        members.settle();
        members
    }

    /// Starts a member, again if it ran before.
    fn start(&self, member: MemberId) {
        self.seats.lock().expect("not poisoned").remove(&member);
        let env = self.sim.restart(member);
        let life = live(
            env.clone(),
            member,
            self.limits.clone(),
            Arc::clone(&self.seats),
        );
        env.spawn("member", life);
    }

    pub(super) fn pass(&self, time: Duration) {
        self.sim.run_for(time).expect("time passes");
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.block_on(future).expect("every wait ends")
    }

    pub(super) fn crash(&self, member: MemberId) {
        self.sim.nemesis().crash(member);
        self.seats.lock().expect("not poisoned").remove(&member);
    }

    fn running(&self) -> Vec<Node> {
        let seats = self.seats.lock().expect("not poisoned");
        seats.values().cloned().collect()
    }

    pub(super) fn node(&self, member: MemberId) -> Node {
        let seats = self.seats.lock().expect("not poisoned");
        seats.get(&member).expect("it runs").clone()
    }

    pub(super) fn leader(&self) -> Option<Node> {
        self.running().into_iter().find(|node| {
            let reigns = node.shared.reigning().is_some();
            reigns && node.leads()
        })
    }

    /// Waits until one leads whose reign all have applied.
    fn settle(&self) {
        for _ in 0..200 {
            self.pass(50 * MS);
            let running = self.running();
            if running.len() == MEMBERS.len()
                && let Some(leader) = self.leader()
                && running
                    .iter()
                    .all(|node| node.root().reign() == leader.epoch().0.0)
            {
                return;
            }
        }
        panic!("no leader in ten seconds");
    }

    /// The states are the same once all members have applied the same entries.
    fn assert_agreement(&self) {
        for _ in 0..100 {
            self.pass(50 * MS);
            let nodes = self.running();
            let applied: BTreeSet<_> = nodes.iter().map(|n| n.shared.roots.applied()).collect();
            if applied.len() == 1 && nodes.len() == MEMBERS.len() {
                let hashes: BTreeSet<_> = nodes.iter().map(|node| node.root().hash()).collect();
                assert_eq!(hashes.len(), 1, "states differ");
                return;
            }
        }
        let applied: Vec<_> = self.running().iter().map(|n| n.status()).collect();
        panic!("members do not catch up: {applied:?}");
    }
}

#[test]
fn any_member_takes_any_request_and_goes_on_without_the_leader() {
    let members = Members::new(1, Limits::default());
    for (number, member) in (0..).zip(MEMBERS.into_iter().cycle().take(9)) {
        let value = number.to_string();
        let done = members.run(put(&members.node(member), "k", &value));
        assert_eq!(done, Ok(2 + number), "on {member}");
        for reader in MEMBERS {
            let found = members.run(get(&members.node(reader), "k"));
            assert_eq!(found, Ok(Some(value.clone())), "on {reader}");
        }
    }
    let node = members.node(A);
    members
        .run(node.lease_grant(7, 30, soon(&node)))
        .expect("granted");
    let former = members.leader().expect("one leads").member();
    members.crash(former);
    for node in members.running() {
        let done = members.run(put(&node, "k", "later"));
        assert!(done.is_ok(), "{done:?}");
        let renewed = members.run(node.lease_keep_alive(7, soon(&node)));
        assert_eq!(renewed, Ok(Some(30)));
    }
    members.start(former);
    members.settle();
    let found = members.run(get(&members.node(former), "k"));
    assert_eq!(found, Ok(Some("later".into())));
    members.assert_agreement();
}

/// A batch is forwarded, proposed and lost with its leader or not: in each seed the client learns
/// the truth, or that nobody knows it.
#[test]
fn members_fail_in_turn_and_no_client_is_told_an_untruth() {
    let mut total = [0_usize; 3];
    for seed in 0..6 {
        let mut prng = Prng::new(seed);
        let limits = Limits {
            log_keep_bytes: 8 << 10,
            batch_commands_max: 4,
            snapshot_chunk_bytes: 4 << 10,
            ..Limits::default()
        };
        let members = Members::new(seed, limits);
        let ends = Arc::new(Mutex::new(BTreeMap::new()));
        let mut served = BTreeSet::new();
        let mut told = Watchers::new(&members);
        for _ in 0..6 {
            for node in members.running() {
                told.read(&members, &node);
                if served.insert((node.member(), node.shared.incarnation)) {
                    begin_clients(&node, &ends);
                }
            }
            let member = MEMBERS[usize::try_from(prng.below(3)).expect("small")];
            let nemesis = members.sim.nemesis();
            match prng.below(4) {
                0 => {
                    members.crash(member);
                    members.pass(Duration::from_millis(prng.below(3_000)));
                    members.start(member);
                }
                3 => {
                    nemesis.freeze(member);
                    members.pass(Duration::from_millis(prng.below(2_000)));
                    nemesis.thaw(member);
                }
                1 => {
                    for other in MEMBERS.into_iter().filter(|other| *other != member) {
                        nemesis.cut(member, other);
                        nemesis.cut(other, member);
                    }
                    members.pass(Duration::from_millis(prng.below(4_000)));
                    for other in MEMBERS {
                        nemesis.mend(member, other);
                        nemesis.mend(other, member);
                    }
                }
                _ => {
                    let other = MEMBERS[usize::try_from(prng.below(3)).expect("small")];
                    nemesis.cut(member, other);
                    members.pass(Duration::from_millis(prng.below(2_000)));
                    nemesis.mend(member, other);
                }
            }
            members.settle();
        }
        members.pass(Duration::from_secs(1));
        for node in members.running() {
            node.shared.begin_stop();
        }
        members.pass(Duration::from_secs(4));
        members.assert_agreement();
        let root = members.node(A).root();
        for (key, end) in &*ends.lock().expect("not poisoned") {
            let range = Range {
                key: key.clone().into(),
                ..Range::default()
            };
            let found = root.range(&range).expect("the present can be read");
            let version = found.kvs.first().map_or(0, |kv| kv.version);
            let number = match end {
                Ok(revision) => {
                    assert_eq!(version, 1, "seed {seed}: {key} was acknowledged");
                    assert_eq!(found.kvs[0].mod_revision, *revision);
                    0
                }
                Err(Failure::Unknown) => {
                    assert!(version <= 1, "seed {seed}: {key} has version {version}");
                    2
                }
                Err(failure) => {
                    assert_eq!(version, 0, "seed {seed}: {key} was refused: {failure}");
                    1
                }
            };
            total[number] += 1;
        }
        for node in members.running() {
            told.read(&members, &node);
        }
        told.assert_whole(&members);
    }
    assert!(total[0] > 2_000, "{total:?}");
}

type Ends = Arc<Mutex<BTreeMap<String, Result<Revision, Failure>>>>;

fn begin_clients(node: &Node, ends: &Ends) {
    for client in 0..3 {
        let (node, ends) = (node.clone(), Arc::clone(ends));
        node.env().clone().spawn("client", async move {
            for number in 0.. {
                let (member, life) = (node.member(), node.shared.incarnation);
                let key = format!("{member}.{life}.{client}.{number}");
                let deadline = node.now() + Duration::from_secs(2);
                let end = node.propose(put_command(&key, &"v".repeat(100), 0), deadline);
                let end = end.await.map(|reply| reply.revision);
                let stops = end == Err(Failure::Stopped);
                ends.lock().expect("not poisoned").insert(key, end);
                if stops {
                    return;
                }
                node.env().sleep(20 * MS).await;
            }
        });
    }
}

/// A watch of everything on each member, resumed when the member lives again.
struct Watchers(BTreeMap<MemberId, Watching>);

#[derive(Default)]
struct Watching {
    life: u64,
    stream: Option<crate::WatchStream>,
    /// The revisions told, in order.
    told: Vec<Revision>,
}

impl Watchers {
    fn new(members: &Members) -> Self {
        let mut watchers = Self(BTreeMap::new());
        for node in members.running() {
            watchers.read(members, &node);
        }
        watchers
    }

    /// Reads what a member has to tell.
    fn read(&mut self, members: &Members, node: &Node) {
        let watching = self.0.entry(node.member()).or_default();
        let life = node.shared.incarnation;
        if watching.life != life {
            let stream = node.watch().expect("there is room");
            stream.requester().create(&WatchCreate {
                range_end: "\0".into(),
                start_revision: watching.told.last().map_or(1, |last| last + 1),
                ..WatchCreate::default()
            });
            (watching.life, watching.stream) = (life, Some(stream));
        }
        let stream = watching.stream.as_mut().expect("it was opened");
        members.run(std::future::poll_fn(|cx| {
            while let std::task::Poll::Ready(Some(message)) = stream.poll_next(cx) {
                match message {
                    WatchMessage::Created { .. } | WatchMessage::Progress { .. } => {}
                    WatchMessage::Canceled { .. } => panic!("{message:?}"),
                    WatchMessage::Events { events, .. } => {
                        let revisions = events.iter().map(|event| event.event.kv.mod_revision);
                        watching.told.extend(revisions);
                    }
                }
            }
            std::task::Poll::Ready(())
        }));
    }

    /// Everybody was told of every revision, once and in order.
    fn assert_whole(&self, members: &Members) {
        let last = members.node(A).root().revision();
        let expected: Vec<Revision> = (2..=last).collect();
        for (member, Watching { told, .. }) in &self.0 {
            let differs = told.iter().zip(&expected).find(|(a, b)| a != b);
            assert_eq!(differs, None, "on {member}");
            assert_eq!(told.len(), expected.len(), "on {member}");
        }
    }
}

/// A lease, and until when it must be there by true time.
struct Promise {
    lives_until: Duration,
    /// The log entry by which it was granted.
    granted: Index,
}

impl Promise {
    /// Lets time pass. False once the lease has ended, which must not be early.
    fn pass(&self, members: &Members, time: Duration) -> bool {
        let end = members.sim.now() + time;
        while members.sim.now() < end {
            members.pass(10 * MS);
            let ended = members.running().into_iter().any(|node| {
                // A member that was restarted may not have come to the grant yet.
                let applied = node.shared.roots.applied();
                applied >= self.granted && node.root().lease(7).is_none()
            });
            if ended {
                let (now, until) = (members.sim.now(), self.lives_until);
                assert!(now >= until, "it ended at {now:?}, before {until:?}");
                return false;
            }
        }
        true
    }
}

#[test]
fn a_member_is_linked_with_those_it_was_founded_with_and_no_others() {
    let members = Members::new(6, Limits::default());
    for others in [&[A][..], &[A, B], &[A, B, C, MemberId(4)]] {
        let env = members.sim.restart(A);
        let linked = members.run(env.within(async {
            let mut opened = opened(&env, A, Limits::default(), Duration::from_secs(1)).await;
            opened.link(&env, &others.iter().copied().collect()).await
        }));
        let Err(LinkError::Members(recorded)) = &linked else {
            panic!("{others:?}: {linked:?}");
        };
        assert_eq!(*recorded, BTreeSet::from(MEMBERS));
        let text = linked.expect_err("as seen above").to_string();
        assert!(text.contains("of the members 1, 2, 3"), "{text}");
    }
    // Nothing was lost by trying.
    members.start(A);
    members.settle();
    let node = members.node(A);
    members.run(put(&node, "k", "v")).expect("a put succeeds");
}

/// Clocks run at different rates within what is declared, leaders die, stand still and are cut
/// off, and a client renews through whomever it reaches. The lease is there for its whole TTL
/// after each renewal that was acknowledged, by true time; and it ends when no renewal comes.
#[test]
fn a_lease_never_ends_early_whoever_leads() {
    const TTL: Duration = Duration::from_secs(3);
    let mut renewals = 0;
    for seed in 0..8 {
        let mut prng = Prng::new(seed);
        let members = Members::new(seed, Limits::default());
        let nemesis = members.sim.nemesis();
        for (member, ppm) in MEMBERS.into_iter().zip([-190, 190, 0]) {
            let rates = ClockRates {
                boot_ppm: ppm,
                raw_ppm: -ppm,
                ..ClockRates::default()
            };
            nemesis.set_clock_rates(member, rates);
        }
        let node = members.node(A);
        let asked = members.sim.now();
        members
            .run(node.lease_grant(7, 3, soon(&node)))
            .expect("granted");
        let mut promise = Promise {
            lives_until: asked + TTL,
            granted: node.shared.roots.applied(),
        };
        for _ in 0..10 {
            let faulty = MEMBERS[usize::try_from(prng.below(3)).expect("small")];
            let lasts = Duration::from_millis(prng.below(1_500));
            let lives = match prng.below(3) {
                0 => {
                    members.crash(faulty);
                    let lives = promise.pass(&members, lasts);
                    members.start(faulty);
                    lives
                }
                1 => {
                    nemesis.pause(faulty);
                    let lives = promise.pass(&members, lasts);
                    nemesis.resume(faulty);
                    lives
                }
                _ => {
                    for other in MEMBERS.into_iter().filter(|other| *other != faulty) {
                        nemesis.cut(faulty, other);
                        nemesis.cut(other, faulty);
                    }
                    let lives = promise.pass(&members, lasts);
                    for other in MEMBERS {
                        nemesis.mend(faulty, other);
                        nemesis.mend(other, faulty);
                    }
                    lives
                }
            };
            if !lives {
                break;
            }
            let running = members.running();
            let node = &running[usize::try_from(prng.below(2)).expect("small") % running.len()];
            let asked = members.sim.now();
            let deadline = node.now() + Duration::from_millis(500);
            if members.run(node.lease_keep_alive(7, deadline)) == Ok(Some(3)) {
                promise.lives_until = asked + TTL;
                renewals += 1;
            }
        }
        promise.pass(&members, Duration::from_secs(20));
        // The others hear of it a little later.
        members.pass(Duration::from_secs(1));
        for node in members.running() {
            assert!(node.root().lease(7).is_none(), "seed {seed}: it never ends");
        }
    }
    assert!(renewals > 20, "{renewals} renewals");
}
