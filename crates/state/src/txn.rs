//! Transactions: all compares first, then all that could be refused, then the operations.

use crate::command::{Op, Txn};
use crate::record::Record;
use crate::reply::{OpBody, OpReply, Refusal, TxnReply};
use crate::root::Root;
use crate::state::{Change, State};

/// Which branch each transaction takes: the outer one, then those nested in its taken branch,
/// each followed by its own. Decided before anything is written, so that compares of a nested
/// transaction do not see what the outer one writes.
pub(crate) struct Path(Vec<bool>);

impl Path {
    /// Evaluates the compares of a transaction and of those nested in the branches it takes.
    pub(crate) fn decide(root: &Root, txn: &Txn) -> Self {
        fn walk(root: &Root, txn: &Txn, path: &mut Vec<bool>) {
            let succeeded = txn.compare.iter().all(|compare| root.holds(compare));
            path.push(succeeded);
            for op in branch(txn, succeeded) {
                if let Op::Txn(txn) = op {
                    walk(root, txn, path);
                }
            }
        }
        let mut path = Vec::new();
        walk(root, txn, &mut path);
        Self(path)
    }

    /// Looks for everything that refuses the transaction, in the state before it: after this,
    /// nothing can, so a refused transaction has no effect.
    pub(crate) fn check(&self, state: &State, txn: &Txn) -> Result<(), Refusal> {
        let mut ops = Vec::new();
        let mut path = self.0.iter().copied();
        collect(txn, &mut path, &mut ops);
        let mut added: Option<u64> = None;
        for op in &ops {
            if let Op::Put(put) = op {
                let value = state.check_ignored(put)?;
                let cost = Record::cost(&put.key, value);
                state.check_lease(put)?;
                added = Some(added.unwrap_or(0).saturating_add(cost));
            }
        }
        for op in &ops {
            if let Op::Range(range) = op {
                state.root.check_revision(range.revision)?;
            }
        }
        // A transaction that only deletes may always run: it is a way out of a full state.
        added.map_or(Ok(()), |added| state.check_quota(added))
    }

    /// Carries out the operations.
    pub(crate) fn run(&self, txn: &Txn, change: &mut Change<'_>) -> TxnReply {
        run(txn, &mut self.0.iter().copied(), change)
    }
}

/// The branch that a transaction takes.
fn branch(txn: &Txn, succeeded: bool) -> &[Op] {
    if succeeded {
        &txn.success
    } else {
        &txn.failure
    }
}

fn next_step(path: &mut impl Iterator<Item = bool>) -> bool {
    path.next()
        .expect("the path has a step for each transaction on it")
}

/// All operations that will be carried out, nested transactions replaced by theirs.
fn collect<'a>(txn: &'a Txn, path: &mut impl Iterator<Item = bool>, ops: &mut Vec<&'a Op>) {
    for op in branch(txn, next_step(path)) {
        match op {
            Op::Txn(txn) => collect(txn, path, ops),
            Op::Range(_) | Op::Put(_) | Op::DeleteRange(_) => ops.push(op),
        }
    }
}

fn run(txn: &Txn, path: &mut impl Iterator<Item = bool>, change: &mut Change<'_>) -> TxnReply {
    let succeeded = next_step(path);
    let mut replies = Vec::with_capacity(branch(txn, succeeded).len());
    for op in branch(txn, succeeded) {
        let body = match op {
            Op::Range(range) => OpBody::Range(change.root().read(range)),
            Op::Put(put) => OpBody::Put(change.put(put)),
            Op::DeleteRange(delete) => OpBody::DeleteRange(change.delete(delete)),
            Op::Txn(txn) => OpBody::Txn(run(txn, path, change)),
        };
        replies.push(OpReply {
            revision: change.revision(),
            body,
        });
    }
    TxnReply { succeeded, replies }
}
