//! The whole store against a replay of its writes in the order of revisions.
//!
//! etcd's revisions make this judge nearly linear in the history: every acknowledged write says
//! which place it has in the one order of all writes, and every read says after which write it
//! looked. What is left to find out is what writes did whose reply was lost, and deletions by
//! leases that ran out. Values are best unique: then whoever sees one knows who wrote it. Where
//! nobody saw anything, the revision is a *hole*; what follows waits behind it until something
//! shows what it was, until only one explanation is left, or until the end, when a bounded search
//! tries them all.
//!
//! The frontier is the last revision that has been replayed. What is asked about later ones waits
//! in [`Pending`].
//!
//! Real time needs no search either. When an operation is invoked, the highest revision that
//! anybody has seen so far becomes its *floor*: a linearizable answer is not below it, and a
//! write's revision is above it.

mod answers;
mod holes;
mod replay;
mod search;

pub(crate) use replay::{Keys, Replay};

use crate::history::{
    Body, Change, ClientId, KeyValue, LeaseId, OpId, Operation, Refusal, Revision, TimeNs, TxnOp,
    WatchId,
};
use crate::verdict::{Property, Violation};
use bytes::Bytes;
use replay::FIRST_REVISION;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use synod_env::MemberId;

/// A table that is only looked up, never walked, and hashes the same way in every process.
type Lookup<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// What is promised beyond what every etcd promises, and how much to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Serializable reads of one client from one incarnation of one member never go back.
    pub sessions: bool,
    /// How many explanations of holes to try at the end before giving up.
    pub tries_max: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            sessions: true,
            tries_max: 1_000,
        }
    }
}

/// Judges answers against the replay.
#[derive(Clone, Debug)]
pub(crate) struct StoreJudge {
    settings: StoreSettings,
    now: TimeNs,
    replay: Replay,
    /// Who made each revision, from the second on.
    makers: Vec<Maker>,
    /// Operations that may still take effect, or whose answer is to come.
    open: BTreeMap<OpId, Open>,
    /// Those of them whose outcome is to come, oldest first.
    in_flight: BTreeSet<(TimeNs, OpId)>,
    /// Those of them that can delete keys: their effect shows no value.
    deleters: BTreeSet<OpId>,
    /// Who wrote a value under a key, ever.
    writers: Lookup<(Bytes, Bytes), Vec<OpId>>,
    /// What became of writers that are not open any more.
    fates: Lookup<OpId, Fate>,
    pending: BTreeMap<Revision, Pending>,
    /// The highest revision that had been seen, and when: both grow.
    seen: Vec<(Revision, TimeNs)>,
    /// Compactions that may have happened or may yet, and to which revision.
    compactions: BTreeMap<OpId, Revision>,
    /// The highest revision that was certainly compacted to.
    compacted: Revision,
    sessions: BTreeMap<MemberId, Sessions>,
    /// What the replay has shown since it was last asked.
    facts: Vec<Fact>,
    /// The hole whose explanations have been counted in vain: until something new is learnt.
    puzzled: Option<Revision>,
    /// The replay rests on a guess: what it shows is possible, not certain.
    is_guess: bool,
}

/// Something that the replay shows and other judges want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A lease ended with this revision, which deleted its keys, and nobody can have asked for it.
    Expired {
        lease: LeaseId,
        revision: Revision,
        seen: TimeNs,
    },
    /// A write with this revision attached a key to a lease.
    Attached { lease: LeaseId, revision: Revision },
}

/// An operation that may still take effect, or whose answer is to come.
#[derive(Clone, Debug)]
struct Open {
    client: ClientId,
    operation: Arc<Operation>,
    invoked: TimeNs,
    floor: Revision,
    compact_floor: Revision,
    /// The revision it is known to have made, with what it must answer.
    made: Option<(Revision, Body)>,
    /// A revoke that was answered with this revision, which it may have made.
    answered: Option<Revision>,
}

/// What became of a writer that is not open any more.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Made(Revision),
    NoEffect(Revision),
    /// A revoke: it made this revision, or found nothing to delete right after it.
    Answered(Revision),
    Refused(Refusal),
}

/// Who made a revision.
#[derive(Clone, Debug)]
enum Maker {
    Op(OpId),
    /// It only deleted keys, and any one of these may have.
    OneOf(Vec<Candidate>),
}

/// Who may have made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    Op(OpId),
    Expiry(LeaseId),
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(op) => write!(f, "#{}", op.0),
            Self::Expiry(lease) => write!(f, "the end of lease {lease}"),
        }
    }
}

/// What one incarnation of a member has shown.
#[derive(Clone, Debug, Default)]
struct Sessions {
    /// What was invoked before may have been answered by the incarnation before.
    since: TimeNs,
    /// To each client, the highest revision and when it was shown: both grow.
    shown: BTreeMap<ClientId, Vec<(TimeNs, Revision)>>,
}

/// Who showed something.
#[derive(Clone, Copy, Debug)]
enum Source {
    Op(OpId),
    Watch(WatchId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(op) => write!(f, "the answer of #{}", op.0),
            Self::Watch(watch) => write!(f, "watch w{}", watch.0),
        }
    }
}

/// What is known and asked about a revision beyond the frontier.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// The write that was acknowledged with this revision.
    claim: Option<Claim>,
    /// A pair that this revision wrote.
    put: Option<(KeyValue, Source)>,
    /// Keys that it deleted.
    deletes: BTreeSet<Bytes>,
    /// Those are all that it changed.
    complete: bool,
    /// Answers that looked at it.
    looks: Vec<Look>,
    /// Revokes that were answered with it.
    revokes: Vec<OpId>,
}

#[derive(Clone, Debug)]
struct Claim {
    op: OpId,
    open: Open,
    body: Body,
}

/// An answer that changed nothing and looked at a revision.
#[derive(Clone, Debug)]
struct Look {
    op: OpId,
    operation: Arc<Operation>,
    body: Body,
}

impl StoreJudge {
    pub(crate) fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            now: TimeNs(0),
            replay: Replay::default(),
            makers: Vec::new(),
            open: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            deleters: BTreeSet::new(),
            writers: Lookup::default(),
            fates: Lookup::default(),
            pending: BTreeMap::new(),
            seen: vec![(FIRST_REVISION, TimeNs(0))],
            compactions: BTreeMap::new(),
            compacted: 0,
            sessions: BTreeMap::new(),
            facts: Vec::new(),
            puzzled: None,
            is_guess: false,
        }
    }

    pub(crate) const fn is_guess(&self) -> bool {
        self.is_guess
    }

    pub(crate) const fn replay(&self) -> &Replay {
        &self.replay
    }

    pub(crate) fn take_facts(&mut self) -> Vec<Fact> {
        let facts = std::mem::take(&mut self.facts);
        if self.is_guess { Vec::new() } else { facts }
    }

    /// The highest revision that history may have been compacted to.
    pub(crate) fn compacted_at_most(&self) -> Revision {
        let open = self.compactions.values().copied().max();
        open.map_or(self.compacted, |revision| revision.max(self.compacted))
    }

    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    /// Something showed that this revision exists.
    pub(crate) fn shown_revision(&mut self, revision: Revision) {
        self.saw(revision);
    }

    /// The highest revision that anybody has seen.
    pub(crate) fn seen_max(&self) -> Revision {
        self.seen.last().expect("the first revision is there").0
    }

    fn saw(&mut self, revision: Revision) {
        if revision > self.seen_max() {
            self.seen.push((revision, self.now));
        }
    }

    /// When a revision was first known to be there.
    fn seen_at(&self, revision: Revision) -> TimeNs {
        let place = self.seen.partition_point(|(seen, _)| *seen < revision);
        self.seen.get(place).map_or(self.now, |(_, at)| *at)
    }

    fn violation(&self, property: Property, witness: String) -> Violation {
        Violation {
            property,
            at: self.now,
            witness,
        }
    }

    /// The member lost what it had in memory: what it shows may be older than before.
    pub(crate) fn member_started(&mut self, member: MemberId) {
        let session = Sessions {
            since: self.now,
            shown: BTreeMap::new(),
        };
        self.sessions.insert(member, session);
    }

    pub(crate) fn invoked(&mut self, op: OpId, client: ClientId, operation: &Arc<Operation>) {
        match &**operation {
            Operation::Put(put) => self.writes(op, &put.key, &put.value),
            Operation::DeleteRange(_) | Operation::LeaseRevoke { .. } => {
                self.deleters.insert(op);
            }
            Operation::Txn(txn) => {
                for part in txn.then.iter().chain(&txn.otherwise) {
                    match part {
                        TxnOp::Put(put) => self.writes(op, &put.key, &put.value),
                        TxnOp::DeleteRange(_) => {
                            self.deleters.insert(op);
                        }
                        TxnOp::Range(_) => {}
                    }
                }
            }
            Operation::Compact { revision } => {
                self.compactions.insert(op, *revision);
            }
            Operation::Range(_)
            | Operation::LeaseGrant { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => {}
        }
        self.in_flight.insert((self.now, op));
        let open = Open {
            client,
            operation: Arc::clone(operation),
            invoked: self.now,
            floor: self.seen_max(),
            compact_floor: self.compacted,
            made: None,
            answered: None,
        };
        let before = self.open.insert(op, open);
        assert!(before.is_none(), "operation #{} is invoked twice", op.0);
    }

    fn writes(&mut self, op: OpId, key: &Bytes, value: &Bytes) {
        let writers = self
            .writers
            .entry((key.clone(), value.clone()))
            .or_default();
        if writers.last() != Some(&op) {
            writers.push(op);
        }
    }

    /// Something was learnt of a revision: if it is the hole, its explanations count anew.
    fn reconsider(&mut self, revision: Revision) {
        if self.puzzled == Some(revision) {
            self.puzzled = None;
        }
    }

    /// Takes note of what an answer shows of revisions that are yet unknown.
    fn shown_by(&mut self, body: &Body, source: Source) {
        match body {
            Body::Put { prev_kv } => prev_kv.iter().for_each(|kv| self.shown(kv, source)),
            Body::DeleteRange { prev_kvs: kvs, .. } | Body::Range { kvs, .. } => {
                kvs.iter().for_each(|kv| self.shown(kv, source));
            }
            // A transaction shows its own work too, but that has a claim.
            Body::Txn { replies, .. } => {
                for reply in replies {
                    self.shown_by(&reply.body, source);
                }
            }
            Body::Compact
            | Body::LeaseGrant { .. }
            | Body::LeaseRevoke
            | Body::LeaseKeepAlive { .. }
            | Body::LeaseTimeToLive { .. } => {}
        }
    }

    fn shown(&mut self, kv: &KeyValue, source: Source) {
        if kv.mod_revision > self.replay.revision() && !kv.value.is_empty() {
            self.saw(kv.mod_revision);
            let pending = self.pending.entry(kv.mod_revision).or_default();
            pending.put.get_or_insert_with(|| (kv.clone(), source));
        }
    }

    /// A watch delivered the changes of one revision; `complete` if it would have shown every
    /// change of any key.
    pub(crate) fn watched(
        &mut self,
        watch: WatchId,
        revision: Revision,
        changes: &[Change],
        complete: bool,
    ) -> Result<(), Violation> {
        self.saw(revision);
        if revision <= self.replay.revision() {
            return Ok(());
        }
        for change in changes {
            if change.is_delete() {
                let pending = self.pending.entry(revision).or_default();
                pending.deletes.insert(change.kv.key.clone());
            } else {
                self.shown(&change.kv, Source::Watch(watch));
            }
        }
        // An empty value says nothing: what was put may be more than what is noted.
        let is_all = complete && changes.iter().all(Change::is_delete);
        self.pending.entry(revision).or_default().complete |= is_all;
        self.reconsider(revision);
        self.advance()
    }
}

/// Whether an operation could change keys at all.
fn can_change_keys(operation: &Operation) -> bool {
    match operation {
        Operation::Put(_) | Operation::DeleteRange(_) | Operation::LeaseRevoke { .. } => true,
        Operation::Txn(txn) => txn
            .then
            .iter()
            .chain(&txn.otherwise)
            .any(|op| !matches!(op, TxnOp::Range(_))),
        Operation::Range(_)
        | Operation::Compact { .. }
        | Operation::LeaseGrant { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => false,
    }
}

/// Keys as a person reads them.
fn words<'a>(keys: impl IntoIterator<Item = &'a Bytes>) -> String {
    let words = keys.into_iter().map(|key| crate::text::word(key));
    words.collect::<Vec<_>>().join(" ")
}
