//! What a client does, one operation after the other.
//!
//! What an operation is follows from the workload's seed, the client's number and the operation's
//! number; what it finds may steer its second half (a swap after a read).

use super::lease::Lock;
use super::{Client, endpoint_of};
use crate::observer::Machine;
use crate::scenario::ClientKind;
use crate::wire::Ask;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use synod_checker::{
    Body, Compare, DeleteRange, Field, KeyValue, LeaseId, Operation, Outcome, Put, Range, Refusal,
    Relation, Response, Revision, Txn, TxnOp, WatchRequest,
};
use synod_env::Prng;
use synod_session::Class;
use synod_state::limit::LimitKind;

/// How far a client's processes have come together.
#[derive(Default)]
pub(crate) struct Progress {
    starts: AtomicU64,
    next: AtomicU32,
    /// Operations end at once after this: nobody waits between them any more.
    hurries: AtomicBool,
    /// Workers of the last process that have not come to the end.
    working: AtomicU32,
    done: AtomicBool,
}

/// A client does up to so many operations at a time; how many, follows from the workload's seed.
const WORKERS_MAX: u64 = 6;

impl Progress {
    /// Counts a start; the first is 1.
    pub(super) fn start(&self) -> u64 {
        1 + self.starts.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on no time passes between operations.
    pub(crate) fn hurry(&self) {
        self.hurries.store(true, Ordering::Relaxed);
    }

    /// How many operations were begun.
    pub(crate) fn begun(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Whether all operations have ended.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

/// Accounts of the transfers, each with this at the beginning.
const ACCOUNTS: u64 = 5;
const BALANCE: i64 = 100;

/// Locks that all clients fight for.
const LOCKS: u64 = 2;

/// How long whoever wants a lock keeps its lease: waiting, and acting as the holder.
const LOCK_WITHIN: Duration = Duration::from_secs(4);

/// Watches that one client has open.
const WATCHES_MAX: usize = 3;

/// What a process knows while it works.
struct Work {
    client: Client,
    /// The operation under way.
    number: u32,
    /// Values it has written so far.
    writes: u32,
    prng: Prng,
    /// The highest revision seen.
    seen: Revision,
    /// Where keys were seen last.
    last: BTreeMap<Bytes, Revision>,
    watches: Arc<AtomicUsize>,
    lease: Option<LeaseId>,
    /// Of a hundred values, how many are long.
    long_values: u64,
}

/// Of a hundred values of a workload, how many are long. In some workloads nearly all are, so that
/// logs and snapshots grow to several segments and chunks.
fn long_values(workload_seed: u64) -> u64 {
    if Prng::new(workload_seed).fork().chance(1, 6) {
        90
    } else {
        2
    }
}

/// Starts a client's workers, which share its operations among themselves.
pub(super) fn start(client: &Client) {
    let setup = &client.0.setup;
    let mut prng = Prng::new(setup.workload_seed ^ u64::from(setup.number).rotate_right(16)).fork();
    let workers = 1 + u32::try_from(prng.below(WORKERS_MAX)).expect("few");
    setup.progress.working.store(workers, Ordering::Relaxed);
    for _ in 0..workers {
        client.env().spawn("client works", work(client.clone()));
    }
}

async fn work(client: Client) {
    let setup = client.0.setup.clone();
    let (plan, progress) = (&setup.plan, &setup.progress);
    let mut work = Work {
        client,
        number: 0,
        writes: 0,
        prng: Prng::new(0),
        seen: 1,
        last: BTreeMap::new(),
        watches: Arc::new(AtomicUsize::new(0)),
        lease: None,
        long_values: long_values(setup.workload_seed),
    };
    loop {
        let number = progress.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.operations {
            break;
        }
        if plan.skips(number) {
            continue;
        }
        let stream = u64::from(setup.number) << 32 | u64::from(number);
        work.prng =
            Prng::new(setup.workload_seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95)).fork();
        work.number = number;
        work.writes = 0;
        let pace_ns = u64::try_from(plan.pace.as_nanos()).unwrap_or(u64::MAX / 2);
        let pause_ns = work.prng.below(pace_ns.saturating_mul(2).max(1));
        if !progress.hurries.load(Ordering::Relaxed) && pause_ns > 0 {
            work.client
                .env()
                .sleep(Duration::from_nanos(pause_ns))
                .await;
        }
        match plan.kind {
            ClientKind::Registers => work.register().await,
            ClientKind::Sets => work.set().await,
            ClientKind::Transfers => work.transfer().await,
            ClientKind::Ranges => work.range().await,
            ClientKind::Counters => work.counter().await,
            ClientKind::Watches => work.watched().await,
            ClientKind::Leases => work.leased().await,
            ClientKind::Locks => work.locked().await,
            ClientKind::Maintenance => work.maintain().await,
        }
    }
    if progress.working.fetch_sub(1, Ordering::Relaxed) == 1 {
        progress.done.store(true, Ordering::Relaxed);
    }
}

/// Reads everything, through each member in turn.
pub(crate) async fn scan(client: Client) {
    let setup = client.0.setup.clone();
    for member in 1..=setup.members {
        let endpoint = endpoint_of(Machine::Member(member).id());
        let now = client.now();
        client.session().endpoints.hint(now, endpoint);
        let everything = Range {
            key: Bytes::from_static(b"\0"),
            end: Bytes::from_static(b"\0"),
            ..Range::default()
        };
        client.perform(Operation::Range(everything)).await;
    }
    setup.progress.done.store(true, Ordering::Relaxed);
}

/// Everything that begins with `prefix`, which ends in a slash.
fn prefix(prefix: &'static str) -> (Bytes, Bytes) {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (Bytes::from_static(prefix.as_bytes()), end.into())
}

fn not_changed_since(key: &Bytes, revision: Revision) -> Compare {
    Compare {
        key: key.clone(),
        end: Bytes::new(),
        relation: Relation::Equal,
        field: Field::Mod(revision),
    }
}

fn get(key: &Bytes) -> Range {
    Range {
        key: key.clone(),
        ..Range::default()
    }
}

impl Work {
    fn percent(&mut self) -> u64 {
        self.prng.below(100)
    }

    fn key(&mut self, kind: &str, keys: u64) -> Bytes {
        format!("{kind}/{:02}", self.prng.below(keys)).into()
    }

    /// A value that nobody else writes, now and then a long one.
    fn value(&mut self, says: &str) -> Bytes {
        self.writes += 1;
        let client = self.client.0.setup.number;
        let mut value = format!("{says}#{client}.{}.{}", self.number, self.writes);
        if self.prng.chance(self.long_values, 100) {
            let long = usize::try_from(self.prng.below(2_000)).expect("small");
            value.push_str(&".".repeat(long));
        }
        value.into()
    }

    /// Does an operation; its answer, if there is one.
    async fn ask(&mut self, operation: Operation) -> Option<Response> {
        match self.client.perform(operation).await {
            Outcome::Done(response) => {
                self.seen = self.seen.max(response.revision);
                Some(response)
            }
            Outcome::Refused(_) | Outcome::Unknown => None,
        }
    }

    /// Reads; the pairs, if there is an answer.
    async fn read(&mut self, range: Range) -> Option<Vec<KeyValue>> {
        match self.ask(Operation::Range(range)).await?.body {
            Body::Range { kvs, .. } => Some(kvs),
            Body::Put { .. }
            | Body::DeleteRange { .. }
            | Body::Txn { .. }
            | Body::Compact
            | Body::LeaseGrant { .. }
            | Body::LeaseRevoke
            | Body::LeaseKeepAlive { .. }
            | Body::LeaseTimeToLive { .. } => None,
        }
    }

    async fn put(&mut self, key: Bytes, lease: LeaseId) -> Option<Response> {
        let (value, prev_kv) = (self.value(""), self.prng.chance(1, 4));
        let put = Put {
            key,
            value,
            lease,
            prev_kv,
        };
        self.ask(Operation::Put(put)).await
    }

    async fn delete(&mut self, key: Bytes, end: Bytes) -> Option<Response> {
        let prev_kv = self.prng.chance(1, 2);
        let delete = DeleteRange { key, end, prev_kv };
        self.ask(Operation::DeleteRange(delete)).await
    }

    async fn register(&mut self) {
        let key = self.key("r", 6);
        match self.percent() {
            0..40 => {
                let serializable = self.prng.chance(1, 8);
                let range = Range {
                    serializable,
                    ..get(&key)
                };
                if let Some(kvs) = self.read(range).await {
                    let revision = kvs.first().map_or(0, |kv| kv.mod_revision);
                    self.last.insert(key, revision);
                }
            }
            40..65 => {
                if let Some(response) = self.put(key.clone(), 0).await {
                    self.last.insert(key, response.revision);
                }
            }
            65..75 => {
                if self.delete(key.clone(), Bytes::new()).await.is_some() {
                    self.last.insert(key, 0);
                }
            }
            _ => {
                let revision = self.last.get(&key).copied().unwrap_or(0);
                let put = self.put_op(key.clone(), "");
                let swap = Txn {
                    compares: vec![not_changed_since(&key, revision)],
                    then: vec![put],
                    otherwise: vec![TxnOp::Range(get(&key))],
                };
                self.ask(Operation::Txn(swap)).await;
            }
        }
    }

    fn put_op(&mut self, key: Bytes, says: &str) -> TxnOp {
        let value = self.value(says);
        TxnOp::Put(Put {
            key,
            value,
            ..Put::default()
        })
    }

    async fn set(&mut self) {
        let client = self.client.0.setup.number;
        match self.percent() {
            0..75 => {
                let element = format!("s/{client:03}/{:06}", self.number);
                self.put(element.into(), 0).await;
            }
            75..95 => {
                let (key, end) = prefix("s/");
                let count_only = self.prng.chance(1, 2);
                let limit = if count_only { 0 } else { 20 };
                let range = Range {
                    key,
                    end,
                    count_only,
                    limit,
                    ..Range::default()
                };
                self.read(range).await;
            }
            _ => {
                // So that the set does not grow without end.
                let end = format!("s/{client:03}/{:06}", self.number.saturating_sub(50));
                let start = format!("s/{client:03}/");
                self.delete(start.into(), end.into()).await;
            }
        }
    }

    async fn transfer(&mut self) {
        let (key, end) = prefix("a/");
        let range = Range {
            key,
            end,
            ..Range::default()
        };
        let Some(kvs) = self.read(range).await else {
            return;
        };
        if kvs.is_empty() {
            return self.open_accounts().await;
        }
        let balances: Vec<i64> = kvs.iter().map(balance).collect();
        let sum: i64 = balances.iter().sum();
        if sum != BALANCE * i64::try_from(ACCOUNTS).expect("few") {
            let found = format!("{sum} in {balances:?}");
            self.client
                .record()
                .violate(crate::promises::SUM_OF_ACCOUNTS, found);
        }
        if self.percent() < 30 {
            return;
        }
        let (from, to) = (self.prng.below(ACCOUNTS), self.prng.below(ACCOUNTS - 1));
        let from = usize::try_from(from).expect("few");
        let to = usize::try_from(to).expect("few");
        let to = if to >= from { to + 1 } else { to };
        let amount = 1 + i64::try_from(self.prng.below(20)).expect("small");
        let (payer, payee) = (&kvs[from], &kvs[to]);
        let less = self.put_op(payer.key.clone(), &(balances[from] - amount).to_string());
        let more = self.put_op(payee.key.clone(), &(balances[to] + amount).to_string());
        let transfer = Txn {
            compares: vec![
                not_changed_since(&payer.key, payer.mod_revision),
                not_changed_since(&payee.key, payee.mod_revision),
            ],
            then: vec![less, more],
            otherwise: vec![TxnOp::Range(get(&payer.key)), TxnOp::Range(get(&payee.key))],
        };
        self.ask(Operation::Txn(transfer)).await;
    }

    async fn open_accounts(&mut self) {
        let keys: Vec<Bytes> = (0..ACCOUNTS).map(|i| format!("a/{i}").into()).collect();
        let compares = keys.iter().map(|key| not_changed_since(key, 0)).collect();
        let says = BALANCE.to_string();
        let then = keys
            .into_iter()
            .map(|key| self.put_op(key, &says))
            .collect();
        let open = Txn {
            compares,
            then,
            otherwise: Vec::new(),
        };
        self.ask(Operation::Txn(open)).await;
    }

    async fn range(&mut self) {
        match self.percent() {
            0..40 => {
                let key = self.key("k", 30);
                self.put(key, 0).await;
            }
            40..90 => {
                let past = i64::try_from(self.prng.below(60)).expect("small");
                let mut range = Range {
                    key: self.key("k", 30),
                    end: self.key("k", 30),
                    ..Range::default()
                };
                match self.percent() {
                    0..40 => (range.key, range.end) = prefix("k/"),
                    40..60 => range.end = Bytes::from_static(b"\0"),
                    _ => {}
                }
                match self.percent() {
                    0..15 => range.limit = 1 + past / 10,
                    15..25 => range.keys_only = true,
                    25..35 => range.count_only = true,
                    35..45 => range.serializable = true,
                    45..70 => range.revision = (self.seen - past).max(1),
                    70..72 => range.revision = self.seen + 1_000_000,
                    _ => {}
                }
                self.read(range).await;
            }
            _ => {
                let (key, end) = (self.key("k", 30), self.key("k", 30));
                self.delete(key, end).await;
            }
        }
    }

    async fn counter(&mut self) {
        let key = self.key("c", 3);
        let Some(kvs) = self.read(get(&key)).await else {
            return;
        };
        let (revision, count) = kvs
            .first()
            .map_or((0, 0), |kv| (kv.mod_revision, balance(kv)));
        let put = self.put_op(key.clone(), &(count + 1).to_string());
        let swap = Txn {
            compares: vec![not_changed_since(&key, revision)],
            then: vec![put],
            otherwise: vec![TxnOp::Range(get(&key))],
        };
        self.ask(Operation::Txn(swap)).await;
    }

    async fn watched(&mut self) {
        if self.percent() < 5 && self.watches.load(Ordering::Relaxed) < WATCHES_MAX {
            self.begin_watch();
        }
        match self.percent() {
            0..70 => {
                let key = self.key("w", 8);
                self.put(key, 0).await;
            }
            70..85 => {
                let (from, to) = (self.key("w", 8), self.key("w", 8));
                self.delete(from, to).await;
            }
            _ => {
                // Several changes at one revision, which watches must tell together.
                let keys: Vec<Bytes> = (0..4).map(|i| format!("w/{i:02}").into()).collect();
                let then = keys.into_iter().map(|key| self.put_op(key, "")).collect();
                let txn = Txn {
                    compares: Vec::new(),
                    then,
                    otherwise: Vec::new(),
                };
                self.ask(Operation::Txn(txn)).await;
            }
        }
    }

    fn begin_watch(&mut self) {
        let (key, end) = match self.percent() {
            0..40 => prefix("w/"),
            40..60 => prefix("r/"),
            60..80 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            _ => (self.key("w", 8), Bytes::new()),
        };
        let past = i64::try_from(self.prng.below(80)).expect("small");
        let start = match self.percent() {
            0..50 => 0,
            50..95 => (self.seen - past).max(1),
            _ => self.seen + past,
        };
        let request = WatchRequest {
            key,
            end,
            start,
            prev_kv: self.prng.chance(1, 3),
            no_put: self.prng.chance(1, 20),
            no_delete: self.prng.chance(1, 20),
        };
        let lasts = Duration::from_millis(500 + self.prng.below(6_000));
        let (client, watches) = (self.client.clone(), Arc::clone(&self.watches));
        watches.fetch_add(1, Ordering::Relaxed);
        let until = client.now() + lasts;
        self.client.env().spawn("watch", async move {
            client.watch(request, until).await;
            watches.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn leased(&mut self) {
        let client = self.client.0.setup.number;
        let Some(lease) = self.lease else {
            return self.grant().await;
        };
        match self.percent() {
            0..60 => {
                let key = self.key("l", 10);
                self.put(key, lease).await;
            }
            60..75 => {
                let key = format!("l/{client:02}/{lease:x}");
                self.put(key.into(), lease).await;
            }
            75..85 => {
                self.ask(Operation::LeaseTimeToLive { id: lease }).await;
            }
            85..90 => {
                self.ask(Operation::LeaseRevoke { id: lease }).await;
                self.lease = None;
            }
            90..95 => self.lease = None,
            _ => {
                let (key, end) = prefix("l/");
                let range = Range {
                    key,
                    end,
                    ..Range::default()
                };
                self.read(range).await;
            }
        }
    }

    /// Gets a lease, and has it renewed for a while, or not at all; and perhaps once more by
    /// somebody who comes late, about when it ends.
    async fn grant(&mut self) {
        let client = self.client.0.setup.number;
        let id = i64::from(client + 1) << 32 | i64::from(self.number);
        let ttl_ms = 1_000 * (1 + self.prng.below(3));
        let held = Duration::from_millis(self.prng.below(3_000));
        let sent = self.client.env().clock();
        let Some(granted) = self.ask(Operation::LeaseGrant { id, ttl_ms }).await else {
            return;
        };
        self.lease = Some(id);
        if let Body::LeaseGrant { ttl_ms, .. } = granted.body {
            let (client, until) = (self.client.clone(), self.client.now() + held);
            let ttl = Duration::from_millis(ttl_ms);
            self.client.env().spawn("lease holder", async move {
                client.hold(id, ttl, sent, until, None).await;
            });
            if self.percent() < 50 {
                let late = self.prng.below(400);
                let (client, at) = (self.client.clone(), until + ttl * 9 / 10);
                let at = at + Duration::from_millis(late);
                self.client.env().spawn("late renewal", async move {
                    client.env().sleep_until(at).await;
                    client.perform(Operation::LeaseKeepAlive { id }).await;
                });
            }
        }
    }

    async fn locked(&mut self) {
        let number = self.prng.below(LOCKS);
        match self.percent() {
            0..10 => self.lock(number).await,
            10..40 => {
                let (key, end) = prefix("m/");
                let range = Range {
                    key,
                    end,
                    ..Range::default()
                };
                self.read(range).await;
            }
            _ => {
                let key = self.key("p", 3);
                self.put(key, 0).await;
            }
        }
    }

    /// Waits for a lock under a lease of its own, acts as its holder for a while, and lets go; or
    /// vanishes, so that only the end of the lease frees the lock.
    async fn lock(&mut self, number: u64) {
        let client = self.client.clone();
        let lease = i64::from(client.0.setup.number + 1) << 32 | i64::from(self.number);
        let ttl_ms = 1_000 * (1 + self.prng.below(2));
        let (acts_ms, vanishes) = (self.prng.below(120), self.prng.chance(1, 12));
        let name = Bytes::from(format!("m/{number:02}"));
        let key = Bytes::from(format!("m/{number:02}/{lease:x}"));
        let (sent, value) = (client.env().clock(), self.value(""));
        let granted = self.ask(Operation::LeaseGrant { id: lease, ttl_ms });
        let Some(Body::LeaseGrant { ttl_ms, .. }) = granted.await.map(|it| it.body) else {
            return;
        };
        let lock = Lock::new(number);
        let (ttl, until) = (Duration::from_millis(ttl_ms), client.now() + LOCK_WITHIN);
        let (holder, held) = (client.clone(), Arc::clone(&lock));
        client.env().spawn("lock holder", async move {
            holder.hold(lease, ttl, sent, until, Some(held)).await;
        });
        // What the member does for it: takes a place, and gives it up if this client has gone.
        let put = Put {
            key: key.clone(),
            value: value.clone(),
            lease,
            prev_kv: false,
        };
        let take = client.invoke(Operation::Txn(Txn {
            compares: vec![not_changed_since(&key, 0)],
            then: vec![TxnOp::Put(put)],
            otherwise: vec![TxnOp::Range(get(&key))],
        }));
        let give_up = DeleteRange {
            key: key.clone(),
            end: Bytes::new(),
            prev_kv: false,
        };
        let give_up = client.invoke(Operation::DeleteRange(give_up));
        let ask = Ask::Lock { name, lease, value };
        let (taken, given_up) = match client.call(Class::Write, &ask).await {
            synod_session::Outcome::Done(response) => {
                (Outcome::Done(response), Outcome::Refused(Refusal::NotDone))
            }
            synod_session::Outcome::Refused(synod_session::Refusal::Service(why)) => {
                (Outcome::Refused(why), Outcome::Refused(Refusal::NotDone))
            }
            synod_session::Outcome::Refused(synod_session::Refusal::Unavailable(_)) => (
                Outcome::Refused(Refusal::NotDone),
                Outcome::Refused(Refusal::NotDone),
            ),
            synod_session::Outcome::Unknown(_) => (Outcome::Unknown, Outcome::Unknown),
        };
        let token = match &taken {
            Outcome::Done(response) => Some(response.revision),
            Outcome::Refused(_) | Outcome::Unknown => None,
        };
        client.returned(take, taken);
        client.returned(give_up, given_up);
        let Some(token) = token else {
            return;
        };
        client.record().mark("lock held");
        self.seen = self.seen.max(token);
        lock.take(token);
        client.env().sleep(Duration::from_millis(acts_ms)).await;
        if !vanishes {
            lock.let_go();
            self.delete(key, Bytes::new()).await;
        }
    }

    async fn maintain(&mut self) {
        let (key, end) = prefix("r/");
        let count_only = true;
        let range = Range {
            key,
            end,
            count_only,
            ..Range::default()
        };
        self.read(range).await;
        match self.percent() {
            0..50 => {
                // Rarely the newest: what nobody has followed yet can then be looked up no more.
                let kept = match self.percent() {
                    0..5 => 0,
                    _ => 64 + i64::try_from(self.prng.below(200)).expect("small"),
                };
                let revision = (self.seen - kept).max(1);
                self.ask(Operation::Compact { revision }).await;
            }
            50..70 => {
                let taken = self.client.call(Class::Read, &Ask::Snapshot).await;
                if matches!(taken, synod_session::Outcome::Done(_)) {
                    self.client.record().mark("snapshot on request");
                }
            }
            70..80 => {
                // What the members have raised stays until somebody clears it.
                // A clearing that comes late could clear what was raised since: never again.
                drop(self.client.call(Class::Write, &Ask::ClearAlarms).await);
            }
            80..90 => {
                let limit = self.limit();
                let set = self.client.call(Class::Write, &limit).await;
                if matches!(set, synod_session::Outcome::Done(_)) {
                    self.client.record().mark("limit set on request");
                }
            }
            _ => {}
        }
    }

    /// A bound to set: never so low that clients could not go on.
    fn limit(&mut self) -> Ask {
        let (kind, value) = match self.percent() {
            0..40 => (LimitKind::HistoryMs, 1_000 + 10 * self.prng.below(1_000)),
            40..60 => (LimitKind::QuotaBytes, (1 << 20) << self.prng.below(8)),
            60..80 => (LimitKind::TxnOps, 16 + self.prng.below(200)),
            _ => (
                LimitKind::RequestBytes,
                (8 << 10) + self.prng.below(1 << 20),
            ),
        };
        Ask::SetLimit(kind, self.prng.chance(2, 3).then_some(value))
    }
}

/// The number that a value begins with.
fn balance(kv: &KeyValue) -> i64 {
    let text = String::from_utf8_lossy(&kv.value);
    let number = text
        .split('#')
        .next()
        .and_then(|number| number.parse().ok());
    number.expect("these keys are only written with a number in front")
}
