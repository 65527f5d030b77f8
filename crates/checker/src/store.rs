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

mod holes;
mod replay;
mod search;

pub(crate) use replay::{Keys, Replay};

use crate::history::{
    Body, Change, ClientId, KeyValue, LeaseId, OpId, Operation, Outcome, Range, Refusal, Response,
    Revision, TimeNs, TxnOp, WatchId,
};
use crate::verdict::{Property, Violation};
use bytes::Bytes;
use replay::{FIRST_REVISION, same};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::BuildHasherDefault;
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
    sessions: BTreeMap<MemberId, BTreeMap<ClientId, Vec<(TimeNs, Revision)>>>,
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
    operation: Operation,
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
    operation: Operation,
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
        self.sessions.remove(&member);
    }

    pub(crate) fn invoked(&mut self, op: OpId, client: ClientId, operation: &Operation) {
        match operation {
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
            operation: operation.clone(),
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

    pub(crate) fn returned(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let open = self
            .open
            .remove(&op)
            .unwrap_or_else(|| panic!("operation #{} returns without having been invoked", op.0));
        self.in_flight.remove(&(open.invoked, op));
        if self.puzzled.is_some_and(|hole| open.floor < hole) {
            // One explanation less, perhaps.
            self.puzzled = None;
        }
        match outcome {
            Outcome::Unknown => {
                if can_change_keys(&open.operation) {
                    self.open.insert(op, open);
                }
                self.advance()
            }
            Outcome::Refused(refusal) => self.refused(op, &open, *refusal),
            Outcome::Done(response) => {
                self.deleters.remove(&op);
                self.answered(op, open, response)
            }
        }
    }

    fn refused(&mut self, op: OpId, open: &Open, refusal: Refusal) -> Result<(), Violation> {
        self.deleters.remove(&op);
        self.compactions.remove(&op);
        if let Some((revision, _)) = &open.made {
            let witness = format!(
                "#{} ({}) was refused as {refusal}, but revision {revision} is its work",
                op.0, open.operation
            );
            return Err(self.violation(Property::ErrorHonesty, witness));
        }
        self.fates.insert(op, Fate::Refused(refusal));
        self.refusal_has_reason(op, open, refusal)?;
        self.advance()
    }

    /// Whether what a refusal says of revisions can have been so.
    fn refusal_has_reason(&self, op: OpId, open: &Open, refusal: Refusal) -> Result<(), Violation> {
        let asked = asked_revisions(&open.operation);
        let (property, has_reason, why_not) = match refusal {
            Refusal::LeaseNotFound | Refusal::LeaseExists | Refusal::NotDone => return Ok(()),
            Refusal::Compacted => {
                let compacted = self.compacted_at_most();
                let is_compaction = matches!(open.operation, Operation::Compact { .. });
                let gone = |revision: &Revision| {
                    *revision < compacted || is_compaction && *revision == compacted
                };
                (
                    Property::Compaction,
                    asked.iter().any(gone),
                    format!("history is there from revision {compacted} on"),
                )
            }
            Refusal::FutureRevision => {
                let lags = matches!(&open.operation, Operation::Range(range) if range.serializable);
                let to_come = |revision: &Revision| *revision > open.floor || lags;
                (
                    Property::RealTime,
                    asked.iter().any(to_come),
                    format!("revision {} had been seen before", open.floor),
                )
            }
        };
        if has_reason {
            return Ok(());
        }
        let witness = format!(
            "#{} ({}) was refused as {refusal}, but {why_not}",
            op.0, open.operation
        );
        Err(self.violation(property, witness))
    }

    fn answered(&mut self, op: OpId, open: Open, response: &Response) -> Result<(), Violation> {
        let revision = response.revision;
        self.saw(revision);
        self.shown_by(&response.body, Source::Op(op));
        match &open.operation {
            Operation::Compact { revision: to } => self.compacted_to(op, &open, *to, revision)?,
            Operation::LeaseGrant { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => {}
            Operation::Range(range) => self.look(op, &open, range, response)?,
            Operation::Put(_) => self.claimed(op, open, revision, &response.body)?,
            Operation::DeleteRange(_) | Operation::Txn(_) => {
                if changes_keys(&open.operation, &response.body) {
                    self.claimed(op, open, revision, &response.body)?;
                } else {
                    self.changed_nothing(op, &open, response)?;
                }
            }
            Operation::LeaseRevoke { .. } => self.revoked(op, open, revision, &response.body)?,
        }
        self.advance()
    }

    /// Whether a revision that only deleted keys may have been this operation's work.
    fn could_have_made(&self, op: OpId, revision: Revision) -> bool {
        match self.maker(revision) {
            Some(Maker::OneOf(candidates)) => candidates.contains(&Candidate::Op(op)),
            Some(Maker::Op(_)) | None => false,
        }
    }

    /// The answer to a revoke does not say whether it deleted keys. If it did, it made this
    /// revision; otherwise somebody else did, and the lease had no keys then.
    fn revoked(
        &mut self,
        op: OpId,
        open: Open,
        revision: Revision,
        body: &Body,
    ) -> Result<(), Violation> {
        if open.made.is_some() || self.could_have_made(op, revision) {
            return self.claimed(op, open, revision, body);
        }
        if revision <= self.replay.revision() {
            return self.look_at(op, &open.operation, revision, body);
        }
        // Which of the two it was is found out when the frontier gets there.
        self.deleters.insert(op);
        let answered = Some(revision);
        self.open.insert(op, Open { answered, ..open });
        self.pending.entry(revision).or_default().revokes.push(op);
        Ok(())
    }

    fn maker(&self, revision: Revision) -> Option<&Maker> {
        let number = usize::try_from(revision - FIRST_REVISION - 1).ok()?;
        self.makers.get(number)
    }

    /// Whether an answer comes from late enough a revision, before anything else is said of it.
    pub(crate) fn in_time(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let Outcome::Done(response) = outcome else {
            return Ok(());
        };
        let Some(open) = self.open.remove(&op) else {
            return Ok(());
        };
        let judged = self.in_real_time(op, &open, response);
        let judged = judged.and_then(|()| self.in_session(op, &open, response));
        self.open.insert(op, open);
        judged
    }

    /// No linearizable operation misses what had been seen when it was invoked.
    fn in_real_time(&self, op: OpId, open: &Open, response: &Response) -> Result<(), Violation> {
        let lags = match &open.operation {
            Operation::Range(range) => range.serializable,
            // Their headers are filled in by a member that need not have caught up.
            Operation::LeaseKeepAlive { .. } | Operation::LeaseTimeToLive { .. } => true,
            Operation::Put(_)
            | Operation::DeleteRange(_)
            | Operation::Txn(_)
            | Operation::Compact { .. }
            | Operation::LeaseGrant { .. }
            | Operation::LeaseRevoke { .. } => false,
        };
        let (floor, revision) = (open.floor, response.revision);
        if revision < FIRST_REVISION || !lags && revision < floor {
            let witness = format!(
                "#{} ({}) answers with revision {revision}, but revision {floor} had been seen \
                 before it was invoked at {}",
                op.0, open.operation, open.invoked
            );
            return Err(self.violation(Property::RealTime, witness));
        }
        Ok(())
    }

    /// No read of a member's state shows less than what that member had shown this client.
    fn in_session(&mut self, op: OpId, open: &Open, response: &Response) -> Result<(), Violation> {
        let Operation::Range(range) = &open.operation else {
            return Ok(());
        };
        if !self.settings.sessions {
            return Ok(());
        }
        let clients = self.sessions.entry(response.member).or_default();
        let session = clients.entry(open.client).or_default();
        let before = session.partition_point(|(at, _)| *at < open.invoked);
        let floor = before.checked_sub(1).map_or(0, |last| session[last].1);
        if session
            .last()
            .is_none_or(|(_, last)| *last < response.revision)
        {
            session.push((self.now, response.revision));
        }
        if range.serializable && response.revision < floor {
            let witness = format!(
                "#{} ({}) shows revision {}, but member {} had shown client {} revision {floor} \
                 before it was invoked at {}",
                op.0,
                open.operation,
                response.revision,
                response.member.0,
                open.client.0,
                open.invoked
            );
            return Err(self.violation(Property::Session, witness));
        }
        Ok(())
    }

    fn compacted_to(
        &mut self,
        op: OpId,
        open: &Open,
        to: Revision,
        revision: Revision,
    ) -> Result<(), Violation> {
        self.compactions.remove(&op);
        if to <= open.compact_floor || to > revision {
            let witness = format!(
                "#{} ({}) was carried out at revision {revision} after a compaction to {}",
                op.0, open.operation, open.compact_floor
            );
            return Err(self.violation(Property::Compaction, witness));
        }
        self.compacted = self.compacted.max(to);
        Ok(())
    }

    fn look(
        &mut self,
        op: OpId,
        open: &Open,
        range: &Range,
        response: &Response,
    ) -> Result<(), Violation> {
        let mut at = response.revision;
        if range.revision > 0 {
            let is_gone = range.revision < open.compact_floor && !range.serializable;
            if is_gone || range.revision > at {
                let witness = format!(
                    "#{} ({}) was answered at revision {at}, after a compaction to revision {}",
                    op.0, open.operation, open.compact_floor
                );
                return Err(self.violation(Property::Compaction, witness));
            }
            at = range.revision;
        }
        self.look_at(op, &open.operation, at, &response.body)
    }

    fn changed_nothing(
        &mut self,
        op: OpId,
        open: &Open,
        response: &Response,
    ) -> Result<(), Violation> {
        if let Some((made, _)) = &open.made {
            let witness = format!(
                "#{} ({}) says that it changed nothing, but revision {made} is its work",
                op.0, open.operation
            );
            return Err(self.violation(Property::Replay, witness));
        }
        self.fates.insert(op, Fate::NoEffect(response.revision));
        self.look_at(op, &open.operation, response.revision, &response.body)
    }

    /// Compares an answer that changed nothing, now or when the frontier gets there.
    fn look_at(
        &mut self,
        op: OpId,
        operation: &Operation,
        at: Revision,
        body: &Body,
    ) -> Result<(), Violation> {
        if at <= self.replay.revision() {
            return self.compare_look(op, operation, at, body);
        }
        let look = Look {
            op,
            operation: operation.clone(),
            body: body.clone(),
        };
        self.pending.entry(at).or_default().looks.push(look);
        Ok(())
    }

    fn compare_look(
        &self,
        op: OpId,
        operation: &Operation,
        at: Revision,
        body: &Body,
    ) -> Result<(), Violation> {
        let expected = self.replay.evaluate(operation, at);
        if expected.changes.is_empty() && same(operation, &expected.body, body) {
            return Ok(());
        }
        let mut witness = format!(
            "#{} ({operation}) at revision {at}\n  must answer  {}\n  but answered {body}",
            op.0, expected.body
        );
        if !expected.changes.is_empty() {
            let keys = words(expected.changes.iter().map(|change| &change.key));
            let made = self.maker(at).map_or_else(String::new, |maker| {
                format!(", and revision {at} is the work of {maker}")
            });
            witness = format!("{witness}\n  after it changed {keys}{made}");
        }
        Err(self.violation(Property::Replay, witness))
    }

    /// A write was acknowledged with the revision that it made.
    fn claimed(
        &mut self,
        op: OpId,
        open: Open,
        revision: Revision,
        body: &Body,
    ) -> Result<(), Violation> {
        if revision <= open.floor {
            let witness = format!(
                "#{} ({}) says that it made revision {revision}, but revision {} had been seen \
                 before it was invoked at {}",
                op.0, open.operation, open.floor, open.invoked
            );
            return Err(self.violation(Property::RealTime, witness));
        }
        self.fates.insert(op, Fate::Made(revision));
        if let Some((made, expected)) = &open.made {
            if *made != revision {
                let witness = format!(
                    "#{} ({}) says that it made revision {revision}, but revision {made} is its \
                     work",
                    op.0, open.operation
                );
                return Err(self.violation(Property::ExactlyOnce, witness));
            }
            return self.compare_write(op, &open.operation, revision, expected, body);
        }
        if revision > self.replay.revision() {
            let claim = Claim {
                op,
                open,
                body: body.clone(),
            };
            let pending = self.pending.entry(revision).or_default();
            if let Some(other) = pending.claim.replace(claim) {
                return Err(self.made_twice(revision, other.op, op));
            }
            return Ok(());
        }
        let candidates = match self.maker(revision) {
            Some(Maker::Op(other)) => return Err(self.made_twice(revision, *other, op)),
            Some(Maker::OneOf(candidates)) => candidates,
            None => unreachable!("every revision up to the frontier has a maker"),
        };
        if !candidates.contains(&Candidate::Op(op)) {
            let witness = format!(
                "#{} ({}) says that it made revision {revision}, which was not its work: it \
                 deleted {}",
                op.0,
                open.operation,
                words(self.replay.changes(revision))
            );
            return Err(self.violation(Property::Revisions, witness));
        }
        let number = usize::try_from(revision - FIRST_REVISION - 1).expect("it has a maker");
        self.makers[number] = Maker::Op(op);
        let expected = self.replay.evaluate(&open.operation, revision - 1);
        self.compare_write(op, &open.operation, revision, &expected.body, body)
    }

    fn made_twice(&self, revision: Revision, one: OpId, other: OpId) -> Violation {
        let witness = format!(
            "revision {revision} was acknowledged to both #{} and #{}",
            one.0, other.0
        );
        self.violation(Property::Revisions, witness)
    }

    fn compare_write(
        &self,
        op: OpId,
        operation: &Operation,
        revision: Revision,
        expected: &Body,
        body: &Body,
    ) -> Result<(), Violation> {
        if same(operation, expected, body) {
            return Ok(());
        }
        let witness = format!(
            "#{} ({operation}) made revision {revision}\n  must answer  {expected}\n  but answered \
             {body}",
            op.0
        );
        Err(self.violation(Property::Replay, witness))
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

/// Whether a delete or a transaction says that it changed a key.
fn changes_keys(operation: &Operation, body: &Body) -> bool {
    match (operation, body) {
        (Operation::Txn(txn), Body::Txn { succeeded, replies }) => {
            let branch = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            branch.iter().any(|op| matches!(op, TxnOp::Put(_)))
                || replies.iter().any(
                    |reply| matches!(reply.body, Body::DeleteRange { deleted, .. } if deleted > 0),
                )
        }
        (_, Body::DeleteRange { deleted, .. }) => *deleted > 0,
        _ => false,
    }
}

/// The revisions that an operation names.
fn asked_revisions(operation: &Operation) -> Vec<Revision> {
    match operation {
        Operation::Range(range) => vec![range.revision],
        Operation::Compact { revision } => vec![*revision],
        Operation::Txn(txn) => {
            let ops = txn.then.iter().chain(&txn.otherwise);
            ops.filter_map(|op| match op {
                TxnOp::Range(range) => Some(range.revision),
                TxnOp::Put(_) | TxnOp::DeleteRange(_) => None,
            })
            .filter(|revision| *revision > 0)
            .collect()
        }
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::LeaseGrant { .. }
        | Operation::LeaseRevoke { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => Vec::new(),
    }
}

/// Keys as a person reads them.
fn words<'a>(keys: impl IntoIterator<Item = &'a Bytes>) -> String {
    let words = keys.into_iter().map(|key| crate::text::word(key));
    words.collect::<Vec<_>>().join(" ")
}
