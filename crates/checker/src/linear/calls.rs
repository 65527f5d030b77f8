//! What an operation does to one key, as far as values go.

use crate::history::{
    Body, Compare, DeleteRange, Field, OpId, OpReply, Operation, Outcome, Range, Relation, Txn,
    TxnOp,
};
use crate::text::word;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A value of one key: 0 if the key is not there.
pub(super) type Value = u32;

/// The key is not there.
pub(super) const ABSENT: Value = 0;

/// Numbers for the values of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    numbers: BTreeMap<Bytes, Value>,
}

impl Values {
    fn number(&mut self, value: &Bytes) -> Value {
        let next = Value::try_from(self.numbers.len() + 1).expect("fewer than 2^32 values");
        *self.numbers.entry(value.clone()).or_insert(next)
    }

    /// What a call saw and wrote, for a person.
    pub(super) fn describe(&self, call: &Call) -> String {
        let name = |value: Value| {
            let found = self.numbers.iter().find(|(_, number)| **number == value);
            found.map_or_else(|| "nothing".to_owned(), |(value, _)| word(value))
        };
        let Some(steps) = &call.steps else {
            return "which is to come".into();
        };
        let describe = |step: &Step| {
            let saw = match step.expect {
                Expect::Any => "whatever was there".to_owned(),
                Expect::Is(value) => format!("saw {}", name(value)),
                Expect::IsNot(value) => format!("saw something other than {}", name(value)),
            };
            let wrote = step.write.map(|value| format!(" and left {}", name(value)));
            saw + &wrote.unwrap_or_default()
        };
        let steps: Vec<_> = steps.all().map(describe).collect();
        steps.join(", or ")
    }
}

/// What a key must be for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expect {
    Any,
    Is(Value),
    IsNot(Value),
}

impl Expect {
    /// Whether it is what is expected.
    pub(super) fn holds(self, value: Value) -> bool {
        match self {
            Self::Any => true,
            Self::Is(expected) => value == expected,
            Self::IsNot(excluded) => value != excluded,
        }
    }
}

/// One thing that an operation can have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) expect: Expect,
    pub(super) write: Option<Value>,
}

impl Step {
    /// The value after it, if it fits the one before.
    pub(super) fn take(self, value: Value) -> Option<Value> {
        let fits = self.expect.holds(value);
        fits.then_some(self.write.unwrap_or(value))
    }
}

/// What an operation can have done: one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    first: Step,
    /// Only a transaction with an unknown outcome has another.
    second: Option<Step>,
}

impl Steps {
    pub(super) const fn one(first: Step) -> Self {
        Self {
            first,
            second: None,
        }
    }

    pub(super) const fn either(first: Step, second: Step) -> Self {
        Self {
            first,
            second: Some(second),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Step> {
        std::iter::once(&self.first).chain(&self.second)
    }
}

/// An operation on one key.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) op: OpId,
    /// Orders it among all invocations and returns.
    pub(super) invoked: u64,
    /// None if it has not returned or nobody knows its outcome.
    pub(super) returned: Option<u64>,
    /// None until its outcome is there, even if that is unknown.
    pub(super) steps: Option<Steps>,
}

impl Call {
    pub(super) const fn begun(op: OpId, invoked: u64) -> Self {
        Self {
            op,
            invoked,
            returned: None,
            steps: None,
        }
    }
}

const NOTHING: Step = Step {
    expect: Expect::Any,
    write: None,
};

/// What an operation with this outcome did to a key, or can have done.
pub(super) fn steps(
    operation: &Operation,
    key: &Bytes,
    outcome: &Outcome,
    values: &mut Values,
) -> Steps {
    let body = match outcome {
        Outcome::Done(response) => Some(&response.body),
        Outcome::Unknown => None,
        Outcome::Refused(_) => return Steps::one(NOTHING),
    };
    let mut seen = Seen {
        key,
        values,
        step: NOTHING,
    };
    match operation {
        Operation::Put(put) => seen.put(&put.value, body),
        Operation::DeleteRange(delete) => seen.delete(delete, body),
        Operation::Range(range) => seen.range(range, body),
        Operation::Txn(txn) => return seen.txn(txn, body),
        Operation::Compact { .. }
        | Operation::LeaseGrant { .. }
        | Operation::LeaseRevoke { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => {}
    }
    Steps::one(seen.step)
}

struct Seen<'a> {
    key: &'a Bytes,
    values: &'a mut Values,
    step: Step,
}

impl Seen<'_> {
    /// What was there before the operation's own writes.
    fn expect(&mut self, expect: Expect) {
        if self.step.write.is_none() && self.step.expect == Expect::Any {
            self.step.expect = expect;
        }
    }

    fn put(&mut self, value: &Bytes, body: Option<&Body>) {
        if let Some(Body::Put {
            prev_kv: Some(before),
        }) = body
        {
            let before = self.values.number(&before.value);
            self.expect(Expect::Is(before));
        }
        self.step.write = Some(self.values.number(value));
    }

    fn delete(&mut self, delete: &DeleteRange, body: Option<&Body>) {
        if delete.end.is_empty() && delete.key == *self.key {
            if let Some(Body::DeleteRange { deleted, .. }) = body {
                self.expect(if *deleted == 0 {
                    Expect::Is(ABSENT)
                } else {
                    Expect::IsNot(ABSENT)
                });
            }
            self.step.write = Some(ABSENT);
        }
    }

    fn range(&mut self, range: &Range, body: Option<&Body>) {
        let Some(Body::Range { kvs, count, .. }) = body else {
            return;
        };
        if !range.end.is_empty() || range.key != *self.key || range.revision > 0 {
            return;
        }
        let expect = match kvs.first() {
            Some(kv) if !range.keys_only => Expect::Is(self.values.number(&kv.value)),
            Some(_) => Expect::IsNot(ABSENT),
            None if *count == 0 => Expect::Is(ABSENT),
            None => Expect::IsNot(ABSENT),
        };
        self.expect(expect);
    }

    fn txn(mut self, txn: &Txn, body: Option<&Body>) -> Steps {
        let Some(Body::Txn { succeeded, replies }) = body else {
            // Nobody knows which branch it took, unless a condition on this key decides.
            self.conditions(txn, true);
            self.branch(&txn.then, &[]);
            let then = std::mem::replace(&mut self.step, NOTHING);
            self.conditions(txn, false);
            self.branch(&txn.otherwise, &[]);
            return Steps::either(then, self.step);
        };
        self.conditions(txn, *succeeded);
        let branch = if *succeeded {
            &txn.then
        } else {
            &txn.otherwise
        };
        self.branch(branch, replies);
        Steps::one(self.step)
    }

    fn branch(&mut self, branch: &[TxnOp], replies: &[OpReply]) {
        for (number, op) in branch.iter().enumerate() {
            let body = replies.get(number).map(|reply| &reply.body);
            match op {
                TxnOp::Put(put) if put.key == *self.key => self.put(&put.value, body),
                TxnOp::Put(_) => {}
                TxnOp::DeleteRange(delete) => self.delete(delete, body),
                TxnOp::Range(range) => self.range(range, body),
            }
        }
    }

    /// What it says of this key that the conditions held, or did not.
    fn conditions(&mut self, txn: &Txn, held: bool) {
        // If several did not all hold, any one may be the culprit.
        if !held && txn.compares.len() != 1 {
            return;
        }
        for compare in &txn.compares {
            if let Some(expect) = self.condition(compare, held) {
                self.expect(expect);
            }
        }
    }

    fn condition(&mut self, compare: &Compare, held: bool) -> Option<Expect> {
        if compare.key != *self.key || !compare.end.is_empty() {
            return None;
        }
        let is_equal = match compare.relation {
            Relation::Equal => held,
            Relation::NotEqual => !held,
            Relation::Greater | Relation::Less => return None,
        };
        let value = match &compare.field {
            // Unequal does not hold of a missing key either: what did not hold says nothing then.
            Field::Value(_) if compare.relation == Relation::NotEqual && !held => return None,
            Field::Value(value) => self.values.number(value),
            Field::Version(0) | Field::Create(0) | Field::Mod(0) => ABSENT,
            Field::Version(_) | Field::Create(_) | Field::Mod(_) | Field::Lease(_) => return None,
        };
        Some(if is_equal {
            Expect::Is(value)
        } else {
            Expect::IsNot(value)
        })
    }
}
