//! Three members on a log that agrees by fiat: the test elects, deposes, and decides what of a
//! dead leader's last entries the next one has. Links and disks are those of the deterministic
//! world.

use crate::{Config, Node, Opened, open};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use synod_env::sim::{LinkModel, Options, Sim};
use synod_env::{BoxFuture, Env, Limits, MemberId, oneshot, watch};
use synod_log::{
    BarrierError, Capabilities, Engine, Entry, Epoch, Index, Machine, ProposeError,
    ReceivedSnapshot, Role, SnapshotReceiver, Status,
};
use synod_protocols::Service;
use synod_protocols::peers::Port;
use synod_storage::identity::Founding;

pub(super) const A: MemberId = MemberId(1);
pub(super) const B: MemberId = MemberId(2);
pub(super) const C: MemberId = MemberId(3);
pub(super) const MEMBERS: [MemberId; 3] = [A, B, C];

pub(super) const MS: Duration = Duration::from_millis(1);

const TTL_MIN: Duration = Duration::from_secs(2);
const LEADER_LEASE: Duration = Duration::from_millis(400);

type SharedMachine = Arc<Mutex<Box<dyn Machine>>>;

/// What becomes of entries that the former leader appended and that are not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The next leader has them.
    Kept,
    /// It does not.
    Lost,
}

#[derive(Default)]
struct Log {
    committed: Vec<Entry>,
    /// Appended by the present leader.
    tail: Vec<Bytes>,
    /// Nothing is committed while this is set.
    is_stuck: bool,
    /// What the next proposals to the leader are refused with.
    refusals: VecDeque<ProposeError>,
    epoch: Epoch,
    leader: Option<MemberId>,
    seats: BTreeMap<MemberId, Seat>,
}

struct Seat {
    status: watch::Sender<Status>,
    machine: SharedMachine,
    applied: u64,
    /// It applies nothing for now.
    lags: bool,
}

impl Log {
    fn last(&self) -> u64 {
        u64::try_from(self.committed.len() + self.tail.len()).expect("small")
    }

    fn committed(&self) -> u64 {
        u64::try_from(self.committed.len()).expect("small")
    }

    fn commit(&mut self, batch: Bytes) {
        let index = Index(self.committed() + 1);
        let epoch = self.epoch;
        self.committed.push(Entry {
            index,
            epoch,
            batch,
        });
    }

    fn commit_tail(&mut self) {
        for batch in std::mem::take(&mut self.tail) {
            self.commit(batch);
        }
    }

    fn status_of(&self, member: MemberId) -> Status {
        Status {
            epoch: self.epoch,
            leader: self.leader,
            role: if self.leader == Some(member) {
                Role::Leader
            } else {
                Role::Follower
            },
            ..Status::default()
        }
    }
}

/// The log, and who waits for a change of it.
struct Fiat {
    log: Mutex<Log>,
    changes: watch::Sender<()>,
}

impl Fiat {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("not poisoned")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.lock());
        self.changes.send(());
        result
    }
}

/// One member's side of the log.
struct Scripted {
    fiat: Arc<Fiat>,
    env: Env,
    member: MemberId,
    status: watch::Receiver<Status>,
}

/// Up to two milliseconds.
fn moment(env: &Env) -> Duration {
    Duration::from_micros(env.random() % 2_000)
}

impl Engine for Scripted {
    fn propose(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        let (fiat, env, member) = (Arc::clone(&self.fiat), self.env.clone(), self.member);
        let appended = {
            let mut log = fiat.lock();
            if log.leader == Some(member)
                && let Some(refusal) = log.refusals.pop_front()
            {
                Err(refusal)
            } else if log.leader == Some(member) {
                log.tail.push(batch);
                Ok((log.epoch, log.last()))
            } else {
                Err(ProposeError::NotLeader(log.leader))
            }
        };
        let Ok((epoch, index)) = appended else {
            return Box::pin(async move { appended.map(|_| Index(0)) });
        };
        let (round, takes) = (Arc::clone(&fiat), self.env.sleep(moment(&env)));
        env.spawn("round", async move {
            takes.await;
            round.change(|log| {
                if log.epoch == epoch && !log.is_stuck {
                    log.commit_tail();
                }
            });
        });
        Box::pin(async move {
            let mut changes = fiat.changes.subscribe();
            loop {
                {
                    let log = fiat.lock();
                    let entry = log
                        .committed
                        .get(usize::try_from(index - 1).expect("small"));
                    match entry {
                        Some(entry) if entry.epoch != epoch => return Err(ProposeError::Unknown),
                        Some(_) if log.seats[&member].applied >= index => return Ok(Index(index)),
                        None if log.epoch != epoch => return Err(ProposeError::Unknown),
                        Some(_) | None => {}
                    }
                }
                let (Ok(()) | Err(watch::Closed)) = changes.changed().await;
            }
        })
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<Index, BarrierError>> {
        let (fiat, member) = (Arc::clone(&self.fiat), self.member);
        let epoch = fiat.lock().epoch;
        let takes = self.env.sleep(moment(&self.env));
        Box::pin(async move {
            takes.await;
            let log = fiat.lock();
            if log.leader == Some(member) && log.epoch == epoch {
                Ok(Index(log.committed()))
            } else {
                Err(BarrierError::NotLeader(log.leader))
            }
        })
    }

    fn read_lease(&self) -> Option<Index> {
        None
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    fn snapshot_now(&self) -> BoxFuture<'static, io::Result<Index>> {
        let fiat = Arc::clone(&self.fiat);
        let member = self.member;
        Box::pin(async move {
            let (at, written) = {
                let log = fiat.lock();
                let at = Index(log.seats[&member].applied);
                let mut machine = log.seats[&member].machine.lock().expect("not poisoned");
                (
                    at,
                    machine.snapshot(at, Bytes::copy_from_slice(&at.0.to_le_bytes())),
                )
            };
            written.await.map(|()| at)
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Applies what is committed, a little later than it is.
async fn apply(fiat: Arc<Fiat>, env: Env, member: MemberId) {
    let mut changes = fiat.changes.subscribe();
    loop {
        let (Ok(()) | Err(watch::Closed)) = changes.changed().await;
        env.sleep(moment(&env)).await;
        let (machine, entries) = {
            let log = fiat.lock();
            let seat = &log.seats[&member];
            let from = usize::try_from(seat.applied).expect("small");
            let entries = if seat.lags || from > log.committed.len() {
                Vec::new()
            } else {
                log.committed[from..].to_vec()
            };
            (Arc::clone(&seat.machine), entries)
        };
        let Some(last) = entries.last().map(|entry| entry.index.0) else {
            continue;
        };
        machine.lock().expect("not poisoned").apply(entries);
        fiat.change(|log| {
            let seat = log.seats.get_mut(&member).expect("it has a seat");
            seat.applied = last;
        });
    }
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) at: Index,
    pub(super) position: Bytes,
    pub(super) parts: Vec<Bytes>,
}

/// Three members, none of which leads yet.
pub(super) struct Cluster {
    pub(super) sim: Sim,
    pub(super) limits: Limits,
    fiat: Arc<Fiat>,
    nodes: BTreeMap<MemberId, Node>,
    ports: BTreeMap<MemberId, Port>,
}

impl Cluster {
    pub(super) fn new(seed: u64, limits: Limits) -> Self {
        Self::with_link(seed, limits, LinkModel::default())
    }

    pub(super) fn with_link(seed: u64, limits: Limits, link: LinkModel) -> Self {
        let options = Options {
            link,
            ..Options::default()
        };
        // The members' own logs stay empty.
        let limits = Limits {
            log_segment_bytes: 4 << 20,
            ..limits
        };
        let mut cluster = Self {
            sim: Sim::with_options(seed, options),
            limits,
            fiat: Arc::new(Fiat {
                log: Mutex::new(Log::default()),
                changes: watch::channel(()).0,
            }),
            nodes: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        // They are founded together: each waits for all.
        let started = MEMBERS.map(|member| cluster.start(member, &cluster.sim.member(member)));
        for (member, started) in MEMBERS.into_iter().zip(started) {
            cluster.seat(member, started);
        }
        // Their links stand.
        cluster.pass(Duration::from_secs(1));
        cluster
    }

    /// Begins a life of a member.
    fn start(&self, member: MemberId, env: &Env) -> oneshot::Receiver<(Node, Port)> {
        let config = Config {
            limits: self.limits.clone(),
            leader_lease_max: LEADER_LEASE,
            lease_ttl_min: TTL_MIN,
            watch_progress_interval: Duration::from_secs(600),
        };
        let fiat = Arc::clone(&self.fiat);
        let (done, started) = oneshot::channel();
        let within = env.clone();
        env.spawn("member", async move {
            let env = within;
            let founding = Founding {
                cluster_id: 1,
                member_id: member.0,
                token: "test".into(),
            };
            let opened = open(&env, config, &founding).await;
            let mut opened = opened.expect("the directory is sound");
            let linked = opened.link(&env, &BTreeSet::from(MEMBERS)).await;
            let port = linked.expect("nobody is refused").port(Service::Node);
            let Opened {
                prepared,
                machine,
                position,
                ..
            } = opened;
            let applied = position.map_or(0, |position| {
                u64::from_le_bytes(position.as_ref().try_into().expect("eight bytes"))
            });
            let status = fiat.change(|log| {
                let (status, statuses) = watch::channel(log.status_of(member));
                let seat = Seat {
                    status,
                    machine: Arc::new(Mutex::new(machine)),
                    applied,
                    lags: false,
                };
                log.seats.insert(member, seat);
                statuses
            });
            env.spawn("apply", apply(Arc::clone(&fiat), env.clone(), member));
            let engine = Scripted {
                fiat: Arc::clone(&fiat),
                env: env.clone(),
                member,
                status,
            };
            let node = prepared.start(Arc::new(engine), port.clone());
            fiat.changes.send(());
            drop(done.send((node, port)));
        });
        started
    }

    /// Waits until a life has begun.
    fn seat(&mut self, member: MemberId, started: oneshot::Receiver<(Node, Port)>) {
        let started = self.sim.block_on(started).expect("every wait ends");
        let (node, port) = started.expect("it starts");
        self.nodes.insert(member, node);
        self.ports.insert(member, port);
    }

    pub(super) fn node(&self, member: MemberId) -> Node {
        self.nodes[&member].clone()
    }

    pub(super) fn port(&self, member: MemberId) -> Port {
        self.ports[&member].clone()
    }

    pub(super) fn pass(&self, time: Duration) {
        self.sim.run_for(time).expect("time passes");
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.block_on(future).expect("every wait ends")
    }

    /// Elects a leader, of which all members learn but those in `untold`.
    pub(super) fn elect(&self, leader: MemberId, tail: Tail, untold: &[MemberId]) {
        let told: Vec<_> = self.fiat.change(|log| {
            match tail {
                Tail::Kept => log.commit_tail(),
                Tail::Lost => log.tail.clear(),
            }
            log.is_stuck = false;
            log.epoch.0 += 1;
            log.leader = Some(leader);
            log.commit(Bytes::new());
            let told = log
                .seats
                .iter()
                .filter(|(member, _)| !untold.contains(member));
            told.map(|(member, seat)| (seat.status.clone(), log.status_of(*member)))
                .collect()
        });
        for (status, now) in told {
            status.send(now);
        }
    }

    /// Nobody leads any more, as every member knows.
    pub(super) fn depose(&self) {
        let told: Vec<_> = self.fiat.change(|log| {
            log.leader = None;
            let seats = log.seats.iter();
            seats
                .map(|(member, seat)| (seat.status.clone(), log.status_of(*member)))
                .collect()
        });
        for (status, now) in told {
            status.send(now);
        }
    }

    /// Tells a member who leads.
    pub(super) fn tell(&self, member: MemberId) {
        let (status, now) = {
            let log = self.fiat.lock();
            (log.seats[&member].status.clone(), log.status_of(member))
        };
        status.send(now);
    }

    /// The next proposals to the leader are refused so.
    pub(super) fn refuse(&self, with: &[ProposeError]) {
        self.fiat.change(|log| log.refusals.extend(with));
    }

    /// Refusals of [`Cluster::refuse`] that have not been met yet.
    pub(super) fn refusals(&self) -> usize {
        self.fiat.lock().refusals.len()
    }

    /// Nothing is committed from now on, until the next election.
    pub(super) fn stick(&self) {
        self.fiat.change(|log| log.is_stuck = true);
    }

    /// Whether a member stops applying what is committed.
    pub(super) fn set_lagging(&self, member: MemberId, lags: bool) {
        self.fiat.change(|log| {
            let seat = log.seats.get_mut(&member).expect("it has a seat");
            seat.lags = lags;
        });
    }

    /// Power off.
    pub(super) fn crash(&self, member: MemberId) {
        self.sim.nemesis().crash(member);
    }

    /// Power on.
    pub(super) fn restart(&mut self, member: MemberId) {
        let env = self.sim.restart(member);
        let started = self.start(member, &env);
        self.seat(member, started);
        self.pass(Duration::from_secs(1));
    }

    /// Commits what is appended, and goes on to commit.
    pub(super) fn unstick(&self) {
        self.fiat.change(|log| {
            log.is_stuck = false;
            log.commit_tail();
        });
    }

    fn machine(&self, member: MemberId) -> SharedMachine {
        Arc::clone(&self.fiat.lock().seats[&member].machine)
    }

    /// The newest snapshot of a member, part by part.
    pub(super) fn outgoing(&self, from: MemberId) -> Parts {
        let source = self.machine(from);
        self.run(async {
            let outgoing = source.lock().expect("not poisoned").outgoing();
            let reader = outgoing.await.expect("it can be read");
            let mut reader = reader.expect("it is there");
            let mut parts = Vec::new();
            while let Some(part) = reader.next().await.expect("it can be read") {
                parts.push(part);
            }
            Parts {
                at: reader.at(),
                position: reader.position(),
                parts,
            }
        })
    }

    /// Begins to receive a snapshot.
    pub(super) fn incoming(&self, to: MemberId, of: &Parts) -> Box<dyn SnapshotReceiver> {
        let machine = self.machine(to);
        let mut machine = machine.lock().expect("not poisoned");
        machine.incoming(of.at, of.position.clone())
    }

    /// Sends a snapshot to a member; what it makes of it.
    pub(super) fn receive(
        &self,
        to: MemberId,
        of: &Parts,
    ) -> io::Result<Box<dyn ReceivedSnapshot>> {
        let mut receiver = self.incoming(to, of);
        self.run(async {
            for part in &of.parts {
                receiver.part(part.clone()).await?;
            }
            receiver.finish().await
        })
    }

    /// Sends the newest snapshot of one member to another, which goes on from it.
    pub(super) fn transfer(&self, from: MemberId, to: MemberId) {
        let parts = self.outgoing(from);
        let received = self.receive(to, &parts).expect("it is whole");
        assert_eq!(received.at(), parts.at);
        let target = self.machine(to);
        target.lock().expect("not poisoned").install(received);
        self.fiat.change(|log| {
            let seat = log.seats.get_mut(&to).expect("it has a seat");
            seat.applied = parts.at.0;
        });
    }

    /// Waits until all members that are up have applied all there is; their states are the same.
    pub(super) fn assert_agreement(&self) {
        self.pass(Duration::from_secs(2));
        let nemesis = self.sim.nemesis();
        let up = MEMBERS.into_iter().filter(|member| nemesis.is_up(*member));
        let behind = || {
            let log = self.fiat.lock();
            let mut up = up.clone();
            up.find(|member| log.seats[member].applied != log.committed())
        };
        // A leader that stops still settles what it has forwarded, so there is always news; but
        // there are moments between.
        for _ in 0..20 {
            if behind().is_some() {
                self.pass(MS);
            }
        }
        assert_eq!(behind(), None, "a member does not keep up");
        let hashes: BTreeMap<_, _> = up
            .clone()
            .map(|member| (member, self.node(member).root().hash()))
            .collect();
        let first = hashes.values().next().copied();
        let same = hashes.values().all(|hash| Some(*hash) == first);
        assert!(same, "states differ: {hashes:?}");
    }
}

/// A cluster led by a member whose reign is applied.
pub(super) fn led_by(leader: MemberId, seed: u64) -> Cluster {
    let cluster = Cluster::new(seed, Limits::default());
    cluster.elect(leader, Tail::Kept, &[]);
    cluster.pass(100 * MS);
    cluster
}

/// Runs `work` as a task of a member; what it ends with.
pub(super) fn spawn<T: Send + 'static, F>(
    cluster: &Cluster,
    member: MemberId,
    work: impl FnOnce(Node) -> F,
) -> Arc<Mutex<Option<T>>>
where
    F: Future<Output = T> + Send + 'static,
{
    let ended = Arc::new(Mutex::new(None));
    let (node, told) = (cluster.node(member), Arc::clone(&ended));
    let work = work(node.clone());
    node.env().spawn("client", async move {
        let result = work.await;
        *told.lock().expect("not poisoned") = Some(result);
    });
    ended
}
