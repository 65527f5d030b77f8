//! Moving the frontier: finding out what the next revision was.

use super::{
    Candidate, Fact, Fate, Maker, Open, Pending, Source, StoreJudge, can_change_keys, words,
};
use crate::history::{Body, KeyValue, OpId, Operation, Revision};
use crate::store::replay::{Evaluation, Written};
use crate::verdict::{Property, Violation};

/// One way in which the next revision may have come about.
#[derive(Clone, Debug)]
pub(super) struct Explanation {
    pub(super) changes: Vec<Written>,
    /// Who would have made exactly these changes; at least one.
    pub(super) by: Vec<Candidate>,
}

impl StoreJudge {
    /// Replays as many revisions as are known without doubt.
    pub(super) fn advance(&mut self) -> Result<(), Violation> {
        loop {
            let next = self.replay.revision() + 1;
            if next > self.seen_max() {
                return Ok(());
            }
            let Some(pending) = self.pending.get_mut(&next) else {
                if !self.only_explanation(next)? {
                    return Ok(());
                }
                continue;
            };
            if let Some(claim) = pending.claim.take() {
                let evaluation = self.replay.evaluate(&claim.open.operation, next - 1);
                let Evaluation { changes, body } = evaluation;
                self.compare_write(claim.op, &claim.open.operation, next, &body, &claim.body)?;
                self.commit(next, &changes, Maker::Op(claim.op), &claim.open.operation)?;
            } else if let Some((kv, source)) = &pending.put {
                let (kv, source) = (kv.clone(), *source);
                let op = self.writer_of(&kv, next, source)?;
                self.attribute(op, next)?;
            } else if pending.complete && !pending.deletes.is_empty() {
                self.deleted(next)?;
            } else if !self.only_explanation(next)? {
                return Ok(());
            }
        }
    }

    /// Takes the next revision for this operation's work.
    fn attribute(&mut self, op: OpId, next: Revision) -> Result<(), Violation> {
        let open = &self.open[&op];
        let Evaluation { changes, body } = self.replay.evaluate(&open.operation, next - 1);
        if changes.is_empty() {
            let witness = format!(
                "revision {next} shows what #{} ({}) was to write, but it must have changed \
                 nothing then: {body}",
                op.0, open.operation
            );
            return Err(self.violation(Property::Replay, witness));
        }
        let operation = open.operation.clone();
        let open = self.open.get_mut(&op).expect("it was just there");
        open.made = Some((next, body));
        self.commit(next, &changes, Maker::Op(op), &operation)
    }

    /// Who wrote a pair that somebody saw.
    fn writer_of(&self, kv: &KeyValue, next: Revision, source: Source) -> Result<OpId, Violation> {
        let place = (kv.key.clone(), kv.value.clone());
        let writers = self.writers.get(&place).map_or(&[][..], Vec::as_slice);
        let may = |op: &&OpId| self.open.get(op).is_some_and(|open| may_make(open, next));
        if let Some(op) = writers.iter().find(may) {
            return Ok(*op);
        }
        let wrongly = |property, why: String| {
            let witness = format!("{source} shows {kv}, but {why}");
            Err(self.violation(property, witness))
        };
        let Some(op) = writers.last() else {
            let property = match source {
                Source::Op(_) => Property::ExactlyOnce,
                Source::Watch(_) => Property::WatchTrue,
            };
            return wrongly(property, "nobody wrote that value".into());
        };
        match (self.fates.get(op), self.open.get(op)) {
            (Some(Fate::Refused(refusal)), _) => wrongly(
                Property::ErrorHonesty,
                format!("#{}, which was to write it, was refused as {refusal}", op.0),
            ),
            (Some(Fate::Made(at) | Fate::NoEffect(at) | Fate::Answered(at)), _) => wrongly(
                Property::ExactlyOnce,
                format!(
                    "#{}, which was to write it, was answered at revision {at}",
                    op.0
                ),
            ),
            (None, Some(open)) => match &open.made {
                Some((revision, _)) => wrongly(
                    Property::ExactlyOnce,
                    format!(
                        "#{}, which was to write it, made revision {revision} already",
                        op.0
                    ),
                ),
                None => wrongly(
                    Property::RealTime,
                    format!(
                        "#{}, which was to write it, was invoked after revision {} had been seen",
                        op.0, open.floor
                    ),
                ),
            },
            (None, None) => unreachable!("a writer is open or its fate is known"),
        }
    }

    /// The next revision deleted these keys and changed nothing else: who did may stay open.
    fn deleted(&mut self, next: Revision) -> Result<(), Violation> {
        let keys = &self.pending[&next].deletes;
        let explanations = self.explanations(next);
        let fits = |explanation: &&Explanation| {
            explanation.changes.len() == keys.len()
                && explanation
                    .changes
                    .iter()
                    .all(|written| written.version.is_deleted() && keys.contains(&written.key))
        };
        let Some(found) = explanations.iter().find(fits) else {
            let witness = format!(
                "revision {next} deletes {}, but nobody who could have done that had asked for it",
                words(keys)
            );
            return Err(self.violation(Property::ExactlyOnce, witness));
        };
        self.explain(next, found.clone())
    }

    /// Replays the next revision if only one thing can have happened. Says whether it did.
    fn only_explanation(&mut self, next: Revision) -> Result<bool, Violation> {
        // Whoever is still to answer may say that it was they.
        let seen = self.seen_at(next);
        if self
            .in_flight
            .first()
            .is_some_and(|(invoked, _)| *invoked <= seen)
            || self.puzzled == Some(next)
        {
            return Ok(false);
        }
        let explanations = self.explanations(next);
        match explanations.len() {
            0 => Err(self.unexplained(next)),
            1 => {
                let [only] = explanations.try_into().expect("there is one");
                self.explain(next, only)?;
                Ok(true)
            }
            _ => {
                self.puzzled = Some(next);
                Ok(false)
            }
        }
    }

    /// A revision that has been seen, or a later one, and that nobody can have made.
    pub(super) fn unexplained(&self, next: Revision) -> Violation {
        let witness = format!(
            "revision {} was seen at {}, but nobody can have made revision {next}",
            self.seen_max(),
            self.seen_at(next)
        );
        self.violation(Property::Revisions, witness)
    }

    /// Replays the next revision as explained.
    pub(super) fn explain(
        &mut self,
        next: Revision,
        explanation: Explanation,
    ) -> Result<(), Violation> {
        let Explanation { changes, by } = explanation;
        if let [Candidate::Op(op)] = by[..]
            && self.open[&op].answered.is_none()
        {
            return self.attribute(op, next);
        }
        if let [Candidate::Expiry(lease)] = by[..] {
            self.facts.push(Fact::Expired {
                lease,
                revision: next,
                seen: self.seen_at(next),
            });
        }
        // Who detaches a key by deleting it attaches none: the operation makes no difference.
        let nothing = Operation::Compact { revision: next };
        self.commit(next, &changes, Maker::OneOf(by), &nothing)
    }

    fn commit(
        &mut self,
        next: Revision,
        changes: &[Written],
        maker: Maker,
        operation: &Operation,
    ) -> Result<(), Violation> {
        self.replay.commit(changes);
        self.makers.push(maker);
        self.made_known(operation, next);
        let Some(pending) = self.pending.remove(&next) else {
            return Ok(());
        };
        let Pending {
            claim: _,
            put,
            deletes: _,
            complete: _,
            looks,
            revokes,
        } = pending;
        if let Some((kv, source)) = put {
            self.compare_shown(&kv, source)?;
        }
        for op in revokes {
            self.settle_revoke(op, next)?;
        }
        for look in looks {
            self.compare_look(look.op, &look.operation, next, &look.body)?;
        }
        Ok(())
    }

    /// A pair that somebody saw before its revision was known. Answers are compared in full by
    /// themselves, and what a watch tells by the judge of watches; here counts who wrote it.
    fn compare_shown(&self, kv: &KeyValue, source: Source) -> Result<(), Violation> {
        let made = self.replay.made(&kv.key, kv.mod_revision);
        if made.is_some_and(|version| version.value == kv.value) || matches!(source, Source::Op(_))
        {
            return Ok(());
        }
        let witness = format!(
            "{source} shows {kv}, but revision {} changed {}",
            kv.mod_revision,
            words(self.replay.changes(kv.mod_revision))
        );
        Err(self.violation(Property::WatchTrue, witness))
    }

    /// The frontier has reached the revision with which a revoke was answered.
    fn settle_revoke(&mut self, op: OpId, revision: Revision) -> Result<(), Violation> {
        self.deleters.remove(&op);
        let open = self.open.remove(&op).expect("it waits for this revision");
        if self.could_have_made(op, revision) {
            // Another may claim the revision yet: then this one found nothing left to delete.
            self.fates.insert(op, Fate::Answered(revision));
            return Ok(());
        }
        self.compare_look(op, &open.operation, revision, &Body::LeaseRevoke)
    }

    /// Says which leases a revision's operation attached keys to.
    pub(super) fn made_known(&mut self, operation: &Operation, revision: Revision) {
        let mut attached = |lease| {
            if lease != 0 {
                self.facts.push(Fact::Attached { lease, revision });
            }
        };
        match operation {
            Operation::Put(put) => attached(put.lease),
            Operation::Txn(_) => {
                for key in self.replay.changes(revision) {
                    attached(self.replay.made(key, revision).map_or(0, |made| made.lease));
                }
            }
            Operation::DeleteRange(_)
            | Operation::Range(_)
            | Operation::Compact { .. }
            | Operation::LeaseGrant { .. }
            | Operation::LeaseRevoke { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => {}
        }
    }

    /// Every way in which the next revision may have come about, as far as it fits what was seen
    /// of it. If something of it is known, so that only those who do that come into question,
    /// nobody else is asked.
    pub(super) fn explanations(&self, next: Revision) -> Vec<Explanation> {
        let mut found: Vec<Explanation> = Vec::new();
        let mut add = |changes: Vec<Written>, by| {
            if changes.is_empty() || !self.fits(next, &changes) {
                return;
            }
            match found.iter_mut().find(|other| other.changes == changes) {
                Some(other) => other.by.push(by),
                None => found.push(Explanation {
                    changes,
                    by: vec![by],
                }),
            }
        };
        let only_deletes = self
            .pending
            .get(&next)
            .is_some_and(|pending| !pending.deletes.is_empty());
        let mut ask = |op: &OpId, open: &Open| {
            if may_make(open, next) {
                let evaluation = self.replay.evaluate(&open.operation, next - 1);
                add(evaluation.changes, Candidate::Op(*op));
            }
        };
        if only_deletes {
            for op in &self.deleters {
                if let Some(open) = self.open.get(op) {
                    ask(op, open);
                }
            }
        } else {
            for (op, open) in &self.open {
                ask(op, open);
            }
        }
        for lease in self.replay.attached_leases() {
            let keys = self.replay.attached(lease, next - 1);
            let changes = self.replay.deletes(&keys, next - 1);
            add(changes, Candidate::Expiry(lease));
        }
        found
    }

    /// Whether changes are not other than what was seen of a revision.
    fn fits(&self, next: Revision, changes: &[Written]) -> bool {
        let Some(pending) = self.pending.get(&next) else {
            return true;
        };
        let put = pending.put.as_ref().is_none_or(|(kv, _)| {
            let mut written = changes.iter();
            written.any(|change| change.key == kv.key && change.version.value == kv.value)
        });
        let deletes = pending.deletes.iter().all(|key| {
            let mut written = changes.iter();
            written.any(|change| change.key == *key && change.version.is_deleted())
        });
        put && deletes && (!pending.complete || changes.len() == pending.deletes.len())
    }
}

/// Whether an open operation may have made a revision that nobody claims.
fn may_make(open: &Open, revision: Revision) -> bool {
    can_change_keys(&open.operation)
        && open.made.is_none()
        && open.floor < revision
        && open.answered.is_none_or(|answered| answered == revision)
}

impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Op(op) => write!(f, "#{}", op.0),
            Self::OneOf(candidates) => {
                let names: Vec<_> = candidates.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(" or "))
            }
        }
    }
}
