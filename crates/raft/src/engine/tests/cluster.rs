//! Clusters on the deterministic world, and what must hold of every one of them.
//!
//! While a cluster runs, it is checked at each step: at most one member leads in an epoch, every
//! member applies the same entries in the same order without gap, and a snapshot that is
//! installed is a prefix of them. What was acknowledged is compared at the end.

use super::batch;
use crate::{Config, StartError, start};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use synod_env::sim::{LinkModel, Nemesis, Options, Sim};
use synod_env::{BoxFuture, Env, Limits, MemberId};
use synod_log::{
    Engine, Entry, Epoch, Index, Machine, ProposeError, ReceivedSnapshot, Role, SnapshotReader,
    SnapshotReceiver, Status,
};
use synod_protocols::{Hello, Peers, Service};
use synod_storage::{Log, StorageError};

/// What a member has on its disk beside its log, and what the test knows of its present life.
#[derive(Default)]
struct Member {
    incarnation: u64,
    /// The disks of all members, on record.
    disks: Option<BTreeMap<MemberId, u128>>,
    /// The newest durable snapshot: its position and what it holds.
    snapshot: Option<(Bytes, Vec<Entry>)>,
    /// The present life has ended by an error of its disk.
    failed: bool,
    /// How many entries the present life has applied.
    applied: usize,
    engine: Option<Arc<dyn Engine>>,
    /// Snapshots that were installed, in all lives.
    installed: u64,
    /// Parts of snapshots that were received, in all lives.
    parts: u64,
}

/// What is true of the whole cluster.
#[derive(Default)]
struct Book {
    members: BTreeMap<MemberId, Member>,
    /// What anybody has applied.
    history: Vec<Entry>,
    leaders: BTreeMap<Epoch, MemberId>,
    /// Proposals that were answered with an index.
    acknowledged: BTreeMap<u64, Index>,
    next_number: u64,
}

impl Book {
    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members.get_mut(&id).expect("a member of the cluster")
    }

    fn applied(&mut self, id: MemberId, entry: Entry) {
        let at = self.member(id).applied;
        assert_eq!(entry.index.0, at as u64 + 1, "{id}: a gap or a repetition");
        match self.history.get(at) {
            Some(agreed) => assert_eq!(*agreed, entry, "{id} applies something else"),
            None => {
                let before = self.history.last().map_or(Epoch(0), |last| last.epoch);
                assert!(
                    entry.epoch >= before,
                    "epoch {} after {before}",
                    entry.epoch
                );
                self.history.push(entry);
            }
        }
        self.member(id).applied += 1;
    }
}

type Shared = Arc<Mutex<Book>>;

/// Keeps what it applies in the book; parts of its snapshots are single entries.
struct Recorder {
    env: Env,
    id: MemberId,
    book: Shared,
}

impl Recorder {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

impl Machine for Recorder {
    fn apply(&mut self, entries: Vec<Entry>) {
        let mut book = self.book();
        for entry in entries {
            book.applied(self.id, entry);
        }
    }

    fn snapshot(&mut self, at: Index, position: Bytes) -> BoxFuture<'static, io::Result<()>> {
        let content = {
            let mut book = self.book();
            let applied = book.member(self.id).applied;
            assert_eq!(applied as u64, at.0);
            book.history[..applied].to_vec()
        };
        let (env, id, book) = (self.env.clone(), self.id, Arc::clone(&self.book));
        Box::pin(async move {
            env.sleep(Duration::from_millis(3)).await;
            book.lock().unwrap().member(id).snapshot = Some((position, content));
            Ok(())
        })
    }

    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        let snapshot = self.book().member(self.id).snapshot.clone();
        let env = self.env.clone();
        Box::pin(async move {
            env.sleep(Duration::from_millis(1)).await;
            Ok(snapshot.map(|(position, content)| {
                let reader = Reader {
                    position,
                    content,
                    next: 0,
                };
                Box::new(reader) as Box<dyn SnapshotReader>
            }))
        })
    }

    fn incoming(&mut self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver> {
        Box::new(Receiver {
            env: self.env.clone(),
            id: self.id,
            book: Arc::clone(&self.book),
            at,
            position,
            content: Vec::new(),
        })
    }

    fn install(&mut self, received: Box<dyn ReceivedSnapshot>) {
        let received: Box<dyn std::any::Any> = received;
        let Received(content) = *received.downcast().expect("what was received");
        let mut book = self.book();
        let member = book.member(self.id);
        assert!(
            member.applied < content.len(),
            "{}: state goes back",
            self.id
        );
        member.applied = content.len();
        member.installed += 1;
        assert_eq!(book.history[..content.len()], content[..], "{}", self.id);
    }
}

struct Reader {
    position: Bytes,
    content: Vec<Entry>,
    next: usize,
}

impl SnapshotReader for Reader {
    fn at(&self) -> Index {
        Index(self.content.len() as u64)
    }

    fn position(&self) -> Bytes {
        self.position.clone()
    }

    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        let rest = &self.content[self.next..];
        let part = &rest[..rest.len().min(16)];
        self.next += part.len();
        let mut bytes = BytesMut::new();
        for entry in part {
            bytes.put_u64_le(entry.index.0);
            bytes.put_u64_le(entry.epoch.0);
            bytes.put_u32_le(u32::try_from(entry.batch.len()).unwrap());
            bytes.put_slice(&entry.batch);
        }
        let part = (!bytes.is_empty()).then(|| bytes.freeze());
        Box::pin(async move { Ok(part) })
    }
}

struct Receiver {
    env: Env,
    id: MemberId,
    book: Shared,
    at: Index,
    position: Bytes,
    content: Vec<Entry>,
}

impl SnapshotReceiver for Receiver {
    fn part(&mut self, mut part: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.env.sleep(Duration::from_micros(500)).await;
            self.book.lock().unwrap().member(self.id).parts += 1;
            while !part.is_empty() {
                let (index, epoch) = (Index(part.get_u64_le()), Epoch(part.get_u64_le()));
                let length = part.get_u32_le() as usize;
                let batch = part.split_to(length);
                self.content.push(Entry {
                    index,
                    epoch,
                    batch,
                });
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn ReceivedSnapshot>>> {
        Box::pin(async move {
            assert_eq!(self.content.len() as u64, self.at.0, "a part is missing");
            self.env.sleep(Duration::from_millis(3)).await;
            {
                let mut book = self.book.lock().unwrap();
                let member = book.member(self.id);
                let before = member.snapshot.as_ref().map_or(0, |held| held.1.len());
                assert!(before < self.content.len(), "an older snapshot counts");
                member.snapshot = Some((self.position, self.content.clone()));
            }
            // Loading it takes a while, in which it is durable and not installed.
            self.env.sleep(Duration::from_millis(2)).await;
            Ok(Box::new(Received(self.content)) as Box<dyn ReceivedSnapshot>)
        })
    }
}

struct Received(Vec<Entry>);

impl ReceivedSnapshot for Received {
    fn at(&self) -> Index {
        Index(self.0.len() as u64)
    }
}

/// Starts a member on what its disk and the book hold, and reports in the book.
async fn live(env: Env, id: MemberId, members: BTreeSet<MemberId>, book: Shared, limits: Limits) {
    let (hello, known) = {
        let mut book = book.lock().unwrap();
        let member = book.member(id);
        member.incarnation += 1;
        member.engine = None;
        member.failed = false;
        let hello = Hello {
            cluster_id: 1,
            member: id,
            disk_id: 1_000 + u128::from(id.0),
            incarnation: member.incarnation,
        };
        (hello, member.disks.clone())
    };
    let peers = Peers::start(&env, hello, &members, known, &limits);
    let disks = peers.founded().await.expect("nobody refuses a member");
    let (restored, applied) = {
        let mut book = book.lock().unwrap();
        let member = book.member(id);
        member.disks = Some(disks);
        let applied = member.snapshot.as_ref().map_or(0, |held| held.1.len());
        member.applied = applied;
        (member.snapshot.clone().map(|held| held.0), applied)
    };
    let options = synod_storage::Options::new(&limits);
    let (log, recovered) = match Log::open(&env, options).await {
        Ok(opened) => opened,
        Err(StorageError::Io { .. }) => {
            book.lock().unwrap().member(id).failed = true;
            return;
        }
        Err(error) => panic!("{id}: {error}"),
    };
    let machine = Box::new(Recorder {
        env: env.clone(),
        id,
        book: Arc::clone(&book),
    });
    let mut config = Config::new(id, &limits);
    config.members = members;
    let port = peers.port(Service::Engine);
    let started = start(env.clone(), config, log, recovered, restored, machine, port).await;
    let engine = match started {
        Ok(engine) => engine,
        Err(StartError::Engine(why)) if why.contains("injected") => {
            book.lock().unwrap().member(id).failed = true;
            return;
        }
        Err(error) => panic!("{id} on {applied} entries: {error}"),
    };
    let mut status = engine.status();
    book.lock().unwrap().member(id).engine = Some(engine);
    loop {
        let now = status.borrow_seen().clone();
        if now.role == Role::Leader {
            let mut book = book.lock().unwrap();
            let leader = *book.leaders.entry(now.epoch).or_insert(id);
            assert_eq!(leader, id, "two leaders in epoch {}", now.epoch);
        }
        if now.fatal.is_some() {
            book.lock().unwrap().member(id).failed = true;
            return;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// A cluster in a world of its own.
pub(super) struct Cluster {
    pub(super) sim: Sim,
    pub(super) ids: Vec<MemberId>,
    limits: Limits,
    book: Shared,
}

/// Segments of less than a megabyte, and nothing kept behind a snapshot.
pub(super) fn small() -> Limits {
    Limits {
        log_keep_bytes: 0,
        ..super::small()
    }
}

pub(super) fn id(number: u64) -> MemberId {
    MemberId(number)
}

impl Cluster {
    /// Starts members 1 to `count`.
    pub(super) fn new(seed: u64, count: u64) -> Self {
        Self::with_limits(seed, count, small())
    }

    pub(super) fn with_limits(seed: u64, count: u64, limits: Limits) -> Self {
        let options = Options {
            run_max: Duration::from_secs(3_600),
            ..Options::default()
        };
        let ids: Vec<_> = (1..=count).map(MemberId).collect();
        let book = Shared::default();
        book.lock().unwrap().members = ids.iter().map(|id| (*id, Member::default())).collect();
        let cluster = Self {
            sim: Sim::with_options(seed, options),
            ids,
            limits,
            book,
        };
        for id in &cluster.ids {
            cluster.start(*id);
        }
        cluster
    }

    /// Starts a member that is not there, or starts it anew.
    pub(super) fn start(&self, id: MemberId) {
        let env = self.sim.member(id);
        let members = self.ids.iter().copied().collect();
        let live = live(
            env.clone(),
            id,
            members,
            Arc::clone(&self.book),
            self.limits.clone(),
        );
        env.spawn("live", live);
    }

    /// Loss of power, and a new start.
    pub(super) fn restart(&self, id: MemberId) {
        self.nemesis().crash(id);
        self.start(id);
    }

    pub(super) fn crash(&self, id: MemberId) {
        self.nemesis().crash(id);
        self.book().member(id).engine = None;
    }

    pub(super) fn nemesis(&self) -> Nemesis {
        self.sim.nemesis()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub(super) fn engine(&self, id: MemberId) -> Option<Arc<dyn Engine>> {
        let up = self.nemesis().is_up(id);
        self.book().member(id).engine.clone().filter(|_| up)
    }

    pub(super) fn status(&self, id: MemberId) -> Option<Status> {
        Some(self.engine(id)?.status().borrow().clone())
    }

    pub(super) fn run_for(&self, duration: Duration) {
        self.sim.run_for(duration).unwrap();
    }

    /// Runs until something holds, for `most` at the most; how long it took, if it came to hold.
    pub(super) fn until(
        &self,
        most: Duration,
        mut holds: impl FnMut() -> bool,
    ) -> Option<Duration> {
        let begun = self.sim.now();
        loop {
            let took = self.sim.now() - begun;
            if holds() {
                return Some(took);
            }
            if took >= most {
                return None;
            }
            self.run_for(Duration::from_millis(5));
        }
    }

    /// Who leads in the latest epoch that anybody leads in.
    pub(super) fn leader(&self) -> Option<MemberId> {
        let leads = |id: &MemberId| {
            let status = self.status(*id)?;
            (status.role == Role::Leader).then_some((status.epoch, *id))
        };
        self.ids.iter().filter_map(leads).max().map(|(_, id)| id)
    }

    /// Waits for a leader that gets a proposal through; who it is, and how long that took.
    pub(super) fn working(&self, most: Duration) -> Option<(MemberId, Duration)> {
        let begun = self.sim.now();
        while self.sim.now() - begun < most {
            for id in &self.ids {
                let is_leader = self.status(*id).is_some_and(|it| it.role == Role::Leader);
                if is_leader && self.propose(*id, Duration::from_millis(60)).is_ok() {
                    return Some((*id, self.sim.now() - begun));
                }
            }
            self.run_for(Duration::from_millis(5));
        }
        None
    }

    /// As [`Cluster::working`], for tests that have nothing to learn from its absence.
    pub(super) fn led(&self) -> MemberId {
        let found = self.working(Duration::from_secs(20));
        found
            .unwrap_or_else(|| panic!("nobody leads: {}", self.describe()))
            .0
    }

    /// Proposes the next number at a member and waits for what becomes of it.
    pub(super) fn propose(&self, id: MemberId, most: Duration) -> Result<Index, Refusal> {
        self.propose_bytes(id, 8, most)
    }

    /// As [`Cluster::propose`], a batch of so many bytes.
    pub(super) fn propose_bytes(
        &self,
        id: MemberId,
        bytes: usize,
        most: Duration,
    ) -> Result<Index, Refusal> {
        let engine = self.engine(id).ok_or(Refusal::Down)?;
        let env = self.env(id);
        let proposed = propose(&env, &*engine, &self.book, bytes, most);
        self.sim.block_on(env.within(proposed)).unwrap()
    }

    pub(super) fn env(&self, id: MemberId) -> Env {
        self.sim.member(id)
    }

    /// Proposes at a member for ever, four at a time, as long as it leads.
    pub(super) fn work(&self, id: MemberId) {
        let env = self.env(id);
        let (book, within) = (Arc::clone(&self.book), env.clone());
        env.spawn("work", async move {
            loop {
                let engine = book.lock().unwrap().member(id).engine.clone();
                let Some(engine) = engine else {
                    within.sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let one = || propose(&within, &*engine, &book, 8, Duration::from_millis(300));
                let four = futures_util::future::join_all([one(), one(), one(), one()]).await;
                let rest = if four.iter().any(Result::is_err) {
                    20
                } else {
                    5
                };
                within.sleep(Duration::from_millis(rest)).await;
            }
        });
    }

    pub(super) fn snapshot(&self, id: MemberId) -> io::Result<Index> {
        let engine = self.engine(id).expect("it is up");
        let env = self.env(id);
        self.sim
            .block_on(env.within(engine.snapshot_now()))
            .unwrap()
    }

    pub(super) fn cut(&self, from: &[u64], to: &[u64]) {
        for from in from {
            for to in to.iter().filter(|to| *to != from) {
                self.nemesis().cut(id(*from), id(*to));
            }
        }
    }

    /// Cuts members off from each other, in both directions, unless they are in one group.
    pub(super) fn partition(&self, groups: &[&[u64]]) {
        for one in groups {
            for other in groups.iter().filter(|other| *other != one) {
                self.cut(one, other);
            }
        }
    }

    pub(super) fn links(&self, model: LinkModel) {
        for from in &self.ids {
            for to in self.ids.iter().filter(|to| *to != from) {
                self.nemesis().set_link(*from, *to, model);
            }
        }
    }

    pub(super) fn heal(&self) {
        self.links(LinkModel::default());
        for id in &self.ids {
            self.nemesis().resume(*id);
            self.nemesis().set_disk_capacity(*id, u64::MAX);
        }
        self.start_missing();
    }

    fn start_missing(&self) {
        for id in &self.ids {
            if self.has_failed(*id) {
                self.crash(*id);
            }
            if !self.nemesis().is_up(*id) {
                self.start(*id);
            }
        }
    }

    /// True if the member's disk has failed, which has ended its engine.
    pub(super) fn has_failed(&self, id: MemberId) -> bool {
        self.book().member(id).failed
    }

    pub(super) fn installed(&self, id: MemberId) -> u64 {
        self.book().member(id).installed
    }

    pub(super) fn parts(&self, id: MemberId) -> u64 {
        self.book().member(id).parts
    }

    pub(super) fn applied(&self, id: MemberId) -> usize {
        self.book().member(id).applied
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.book().acknowledged.len()
    }

    pub(super) fn epochs(&self) -> usize {
        self.book().leaders.len()
    }

    pub(super) fn describe(&self) -> String {
        self.ids
            .iter()
            .map(|id| format!("\n  {id}: {:?}", self.status(*id)))
            .collect()
    }

    /// Heals everything and checks that nothing that was acknowledged is lost, that nothing was
    /// applied twice, and that everybody gets to the same state.
    pub(super) fn settle(&self) {
        self.heal();
        let mut refusal = None;
        let last = (0..20).find_map(|_| {
            // A crash may have been waiting for its moment.
            self.start_missing();
            self.run_for(Duration::from_secs(1));
            let proposed = self.propose(self.leader()?, Duration::from_secs(2));
            refusal = proposed.err();
            proposed.ok()
        });
        let last = last.unwrap_or_else(|| panic!("{refusal:?}: {}", self.describe()));
        let everybody = || {
            self.start_missing();
            self.ids.iter().all(|id| self.applied(*id) as u64 >= last.0)
        };
        let took = self.until(Duration::from_secs(30), everybody);
        assert!(took.is_some(), "somebody lags: {}", self.describe());
        let book = self.book();
        let mut seen = BTreeMap::new();
        for entry in book.history.iter().filter(|entry| !entry.batch.is_empty()) {
            let number = super::numbers(std::slice::from_ref(entry))[0];
            let before = seen.insert(number, entry.index);
            assert_eq!(before, None, "{number} was applied twice");
        }
        for (number, index) in &book.acknowledged {
            assert_eq!(seen.get(number), Some(index), "{number} was acknowledged");
        }
    }
}

/// Why a proposal was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Engine(ProposeError),
    Late,
    Down,
}

async fn propose(
    env: &Env,
    engine: &dyn Engine,
    book: &Shared,
    bytes: usize,
    most: Duration,
) -> Result<Index, Refusal> {
    let number = {
        let mut book = book.lock().unwrap();
        book.next_number += 1;
        book.next_number
    };
    let content = if bytes == 8 {
        batch(number)
    } else {
        super::large_batch(number, bytes)
    };
    let proposed = engine.propose(content);
    match env.deadline(env.now() + most, proposed).await {
        Ok(Ok(index)) => {
            book.lock().unwrap().acknowledged.insert(number, index);
            Ok(index)
        }
        Ok(Err(error)) => Err(Refusal::Engine(error)),
        Err(_deadline) => Err(Refusal::Late),
    }
}
