//! What an operation's outcome says, and whether it can be so.

use super::replay::{FIRST_REVISION, same};
use super::{
    Candidate, Claim, Fate, Look, Maker, Open, Source, StoreJudge, can_change_keys, words,
};
use crate::history::{Body, OpId, Operation, Outcome, Range, Refusal, Response, Revision, TxnOp};
use crate::verdict::{Property, Violation};
use std::sync::Arc;

impl StoreJudge {
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
                let is_compaction = matches!(*open.operation, Operation::Compact { .. });
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
                let lags =
                    matches!(&*open.operation, Operation::Range(range) if range.serializable);
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
        match &*open.operation {
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
    pub(super) fn could_have_made(&self, op: OpId, revision: Revision) -> bool {
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
        if open.made.is_some() {
            return self.claimed(op, open, revision, body);
        }
        if self.could_have_made(op, revision) {
            self.fates.insert(op, Fate::Answered(revision));
            return Ok(());
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
        let Some(open) = self.open.get(&op) else {
            return Ok(());
        };
        self.in_real_time(op, open, response)?;
        let open = open.clone();
        self.in_session(op, &open, response)
    }

    /// No linearizable operation misses what had been seen when it was invoked.
    fn in_real_time(&self, op: OpId, open: &Open, response: &Response) -> Result<(), Violation> {
        let lags = match &*open.operation {
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
        let Operation::Range(range) = &*open.operation else {
            return Ok(());
        };
        if !self.settings.sessions {
            return Ok(());
        }
        let sessions = self.sessions.entry(response.member).or_default();
        if open.invoked < sessions.since {
            return Ok(());
        }
        let shown = sessions.shown.entry(open.client).or_default();
        let before = shown.partition_point(|(at, _)| *at < open.invoked);
        let floor = before.checked_sub(1).map_or(0, |last| shown[last].1);
        if shown
            .last()
            .is_none_or(|(_, last)| *last < response.revision)
        {
            shown.push((self.now, response.revision));
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
        operation: &Arc<Operation>,
        at: Revision,
        body: &Body,
    ) -> Result<(), Violation> {
        if at <= self.replay.revision() {
            return self.compare_look(op, operation, at, body);
        }
        let look = Look {
            op,
            operation: Arc::clone(operation),
            body: body.clone(),
        };
        self.pending.entry(at).or_default().looks.push(look);
        Ok(())
    }

    pub(super) fn compare_look(
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

    pub(super) fn compare_write(
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
