//! Histories of a service that makes no mistakes, for tests and measurements of the judges.
//!
//! A small store of its own, which shares no code with the replay, carries out each operation at
//! one moment; invocation and return are drawn around that moment, so operations overlap. Some
//! outcomes are lost, before the operation took effect or after it, or without any effect.

mod store;

use crate::history::{
    ClientId, Compare, DeleteRange, Event, Field, LeaseId, Mark, OpId, Operation, Outcome, Put,
    Range, Refusal, Relation, TimeNs, Txn, TxnOp, WatchEvent, WatchId, WatchRequest, What,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use store::Store;
use synod_env::{MemberId, Prng};

/// What a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The same plan gives the same history.
    pub seed: u64,
    /// How many operations.
    pub operations: u64,
    /// How many clients, each with one operation at a time.
    pub clients: u32,
    /// How many keys.
    pub keys: u64,
    /// Of a thousand operations, how many have an unknown outcome; about half of them happen.
    pub unknown_per_mille: u64,
    /// Of a thousand operations, how many are refused.
    pub refused_per_mille: u64,
    /// Besides puts and reads of one key: ranges, deletes, transactions, compactions.
    pub everything: bool,
    /// Leases, which run out while the history goes on.
    pub leases: bool,
    /// Watches: on everything, on a range, on a key.
    pub watches: bool,
}

impl Plan {
    /// Puts and reads by eight clients on a hundred keys.
    #[must_use]
    pub const fn registers(seed: u64, operations: u64) -> Self {
        Self {
            seed,
            operations,
            clients: 8,
            keys: 100,
            unknown_per_mille: 0,
            refused_per_mille: 0,
            everything: false,
            leases: false,
            watches: false,
        }
    }

    /// All there is, with lost replies and refusals.
    #[must_use]
    pub const fn everything(seed: u64, operations: u64) -> Self {
        Self {
            unknown_per_mille: 10,
            refused_per_mille: 10,
            everything: true,
            leases: true,
            watches: true,
            ..Self::registers(seed, operations)
        }
    }

    /// The history.
    #[must_use]
    pub fn history(self) -> Vec<Event> {
        Run::new(self).run()
    }
}

const MS: u64 = 1_000_000;

/// How many members answer. What a serializable read sees of each lags.
const MEMBERS: u64 = 3;

#[derive(Clone, Debug)]
enum Turn {
    /// A client begins an operation.
    Begin(ClientId),
    /// An operation takes effect.
    Effect(OpId),
    /// A client gets an outcome.
    Return(OpId, ClientId),
    /// A watch tells something.
    Tell(WatchId),
}

struct Run {
    plan: Plan,
    random: Prng,
    store: Store,
    history: Vec<Event>,
    now: u64,
    turns: BTreeMap<(u64, u64), Turn>,
    turns_made: u64,
    begun: u64,
    open: BTreeMap<OpId, Open>,
    watches: BTreeMap<WatchId, Watch>,
    /// What each member has applied: its own state.
    applied: BTreeMap<u64, i64>,
    leases: BTreeSet<LeaseId>,
}

struct Open {
    operation: Operation,
    /// The outcome that the client is told; unknown if the reply is lost.
    outcome: Outcome,
    is_lost: bool,
}

struct Watch {
    request: WatchRequest,
    next: i64,
}

impl Run {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            random: Prng::new(plan.seed),
            store: Store::default(),
            history: Vec::new(),
            now: 0,
            turns: BTreeMap::new(),
            turns_made: 0,
            begun: 0,
            open: BTreeMap::new(),
            watches: BTreeMap::new(),
            applied: BTreeMap::new(),
            leases: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Vec<Event> {
        for client in 0..self.plan.clients {
            self.after(MS, Turn::Begin(ClientId(client)));
        }
        if self.plan.watches {
            for (number, key, end) in [(1, "\0", "\0"), (2, "k1", "k2"), (3, "k1", "")] {
                self.watch(WatchId(number), key, end);
            }
        }
        while let Some(((at, _), turn)) = self.turns.pop_first() {
            self.now = at;
            self.store.expire(at);
            match turn {
                Turn::Begin(client) => self.begin(client),
                Turn::Effect(op) => self.effect(op),
                Turn::Return(op, client) => self.ret(op, client),
                Turn::Tell(watch) => self.tell(watch),
            }
        }
        if self.plan.watches {
            for number in 1..=3 {
                self.tell(WatchId(number));
            }
            self.record(What::Mark(Mark::Settled));
        }
        self.history
    }

    fn record(&mut self, what: What) {
        self.history.push(Event {
            at: TimeNs(self.now),
            what,
        });
    }

    /// A turn at a time up to twice the mean from now on, which is the answer.
    fn after(&mut self, mean_ns: u64, turn: Turn) -> u64 {
        let at_ns = self.now + 1 + self.random.below(2 * mean_ns);
        self.at(at_ns, turn);
        at_ns
    }

    fn at(&mut self, at_ns: u64, turn: Turn) {
        self.turns_made += 1;
        self.turns.insert((at_ns, self.turns_made), turn);
    }

    fn begin(&mut self, client: ClientId) {
        if self.begun == self.plan.operations {
            return;
        }
        self.begun += 1;
        let op = OpId(self.begun);
        let operation = self.draw(op);
        self.record(What::Invoked {
            op,
            client,
            operation: operation.clone(),
        });
        let fate = self.random.below(1_000);
        let is_refused = fate < self.plan.refused_per_mille;
        let is_lost =
            !is_refused && fate < self.plan.refused_per_mille + self.plan.unknown_per_mille;
        let outcome = if is_refused {
            Outcome::Refused(Refusal::NotDone)
        } else {
            Outcome::Unknown
        };
        self.open.insert(
            op,
            Open {
                operation,
                outcome,
                is_lost,
            },
        );
        if is_lost {
            // The effect may come long after the client has given up, or never.
            if self.random.chance(1, 2) {
                self.after(3 * MS, Turn::Effect(op));
            }
            self.after(2 * MS, Turn::Return(op, client));
        } else if is_refused {
            self.after(MS, Turn::Return(op, client));
        } else {
            let effect_ns = self.after(MS, Turn::Effect(op));
            let rest_ns = 1 + self.random.below(2 * MS);
            self.at(effect_ns + rest_ns, Turn::Return(op, client));
        }
    }

    fn effect(&mut self, op: OpId) {
        let Some(open) = self.open.get_mut(&op) else {
            return;
        };
        let member = MemberId(1 + self.random.below(MEMBERS));
        let present = self.store.revision();
        let applied = self.applied.entry(member.0).or_insert(1);
        let is_serializable =
            matches!(&open.operation, Operation::Range(range) if range.serializable);
        let lag = u64::try_from(present - *applied).expect("no member is ahead");
        *applied += i64::try_from(self.random.below(lag + 1)).expect("it fits");
        let outcome = self
            .store
            .execute(&open.operation, member, self.now, *applied);
        if !is_serializable {
            // Who answers anything else has caught up.
            *applied = self.store.revision();
        }
        if open.is_lost {
            self.open.remove(&op);
        } else {
            open.outcome = outcome;
        }
    }

    fn ret(&mut self, op: OpId, client: ClientId) {
        let outcome = match self.open.get(&op) {
            // The effect of a lost one is still to come, if it comes at all.
            Some(open) if open.is_lost => Outcome::Unknown,
            Some(_) => self.open.remove(&op).expect("it is there").outcome,
            None => Outcome::Unknown,
        };
        self.record(What::Returned { op, outcome });
        self.after(MS, Turn::Begin(client));
    }

    fn key(&mut self) -> Bytes {
        format!("k{}", self.random.below(self.plan.keys)).into()
    }

    fn put(&mut self, op: OpId, part: u64) -> Put {
        let lease = if self.plan.leases && self.random.chance(1, 8) {
            self.lease().unwrap_or(0)
        } else {
            0
        };
        Put {
            key: self.key(),
            value: format!("v{}.{part}", op.0).into(),
            lease,
            prev_kv: self.random.chance(1, 4),
        }
    }

    fn range(&mut self) -> Range {
        let mut range = Range {
            key: self.key(),
            ..Range::default()
        };
        if self.plan.everything {
            if self.random.chance(1, 4) {
                range.end = self.key();
                range.limit = i64::try_from(self.random.below(4)).expect("it fits");
                range.keys_only = self.random.chance(1, 4);
                range.count_only = self.random.chance(1, 4);
            }
            if self.random.chance(1, 8) {
                let present = u64::try_from(self.store.revision()).expect("it is positive");
                let back = self.random.below(present.min(20));
                range.revision = i64::try_from(present - back).expect("it fits");
            }
            range.serializable = self.random.chance(1, 4);
        }
        range
    }

    fn delete(&mut self) -> DeleteRange {
        let end = if self.random.chance(1, 4) {
            self.key()
        } else {
            Bytes::new()
        };
        DeleteRange {
            key: self.key(),
            end,
            prev_kv: self.random.chance(1, 2),
        }
    }

    fn draw(&mut self, op: OpId) -> Operation {
        let kinds = if self.plan.everything { 100 } else { 80 };
        match self.random.below(kinds) {
            0..40 => Operation::Put(self.put(op, 0)),
            40..80 => Operation::Range(self.range()),
            80..84 => Operation::DeleteRange(self.delete()),
            84..95 => Operation::Txn(self.txn(op)),
            95 => Operation::Compact {
                revision: self.store.revision() - 5,
            },
            _ if self.plan.leases => self.lease_operation(op),
            _ => Operation::Range(self.range()),
        }
    }

    /// One of the leases granted lately.
    fn lease(&mut self) -> Option<LeaseId> {
        let recent = self.leases.iter().rev().take(4).copied();
        let recent: Vec<_> = recent.collect();
        let count = u64::try_from(recent.len()).expect("there are four at most");
        let number = self.random.below(count.max(1));
        recent
            .get(usize::try_from(number).expect("it is below four"))
            .copied()
    }

    fn lease_operation(&mut self, op: OpId) -> Operation {
        match (self.random.below(8), self.lease()) {
            (0..3, _) | (_, None) => {
                let id = LeaseId::try_from(op.0).expect("it fits");
                self.leases.insert(id);
                Operation::LeaseGrant {
                    id,
                    ttl_ms: 20 + self.random.below(200),
                }
            }
            (3..6, Some(id)) => Operation::LeaseKeepAlive { id },
            (6, Some(id)) => Operation::LeaseTimeToLive { id },
            (_, Some(id)) => Operation::LeaseRevoke { id },
        }
    }

    fn txn(&mut self, op: OpId) -> Txn {
        let put = self.put(op, 1);
        let key = put.key.clone();
        let field = match self.random.below(3) {
            0 => Field::Version(i64::try_from(self.random.below(3)).expect("it fits")),
            1 => Field::Value(self.store.value(&key).unwrap_or_default()),
            _ => Field::Mod(self.store.mod_revision(&key)),
        };
        let compare = Compare {
            key: key.clone(),
            end: Bytes::new(),
            relation: Relation::Equal,
            field,
        };
        let read = Range {
            key: key.clone(),
            ..Range::default()
        };
        let mut then = vec![TxnOp::Put(put), TxnOp::Range(read.clone())];
        let other = self.put(op, 2);
        if other.key != key {
            then.push(TxnOp::Put(other));
        }
        let mut otherwise = vec![TxnOp::Range(read)];
        if self.random.chance(1, 4) {
            otherwise.push(TxnOp::DeleteRange(DeleteRange {
                key,
                ..DeleteRange::default()
            }));
        }
        Txn {
            compares: vec![compare],
            then,
            otherwise,
        }
    }

    fn watch(&mut self, id: WatchId, key: &'static str, end: &'static str) {
        let request = WatchRequest {
            key: Bytes::from_static(key.as_bytes()),
            end: Bytes::from_static(end.as_bytes()),
            prev_kv: true,
            ..WatchRequest::default()
        };
        let revision = self.store.revision();
        let next = revision + 1;
        self.watches.insert(
            id,
            Watch {
                request: request.clone(),
                next,
            },
        );
        self.record(What::Watch {
            watch: id,
            event: WatchEvent::Created {
                client: ClientId(1_000),
                request,
                revision,
            },
        });
        self.after(2 * MS, Turn::Tell(id));
    }

    fn tell(&mut self, id: WatchId) {
        let watch = self.watches.get_mut(&id).expect("it is there");
        let present = self.store.revision();
        let events = self.store.changes(&watch.request, watch.next, present);
        watch.next = present + 1;
        let event = if events.is_empty() {
            WatchEvent::Progress { revision: present }
        } else {
            WatchEvent::Events {
                revision: present,
                events,
            }
        };
        self.record(What::Watch { watch: id, event });
        if self.begun < self.plan.operations {
            self.after(2 * MS, Turn::Tell(id));
        }
    }
}
