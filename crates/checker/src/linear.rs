//! Each key, taken alone, as a linearizable register: a judge that trusts no revision.
//!
//! Linearizability is local (Herlihy and Wing 1990): if the store is linearizable, then so is
//! each key with what operations do to it. Here only values count, so this judge is independent
//! of the replay. Two algorithms do the work:
//! - [`jit`] keeps every state in which the key can be, and looks at an operation when it returns
//!   (Lowe, "Testing for linearizability", 2017). It judges while the history grows and needs
//!   memory for what is open only, but the number of states doubles with each unknown outcome.
//! - [`wgl`] searches one order of all operations in depth and remembers where it has been (Wing
//!   and Gong 1993, with Lowe's memory). It takes over at the end where `jit` had too many states.
//!
//! A key is left out once something happens to it that says nothing about single keys: it hangs
//! on a lease, or a range of keys is deleted around it. Reads of more than one key are judged by
//! the replay only.

mod calls;
mod jit;
#[cfg(test)]
mod tests;
mod wgl;

use crate::history::{OpId, Operation, Outcome, TimeNs, TxnOp};
use crate::store::Keys;
use crate::text::word;
use crate::verdict::{Property, Verdict, Violation};
use bytes::Bytes;
use calls::{Call, Steps, Values};
use jit::{Frontier, Overflow};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How much the judge of single keys may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearSettings {
    /// States of one key at a time; beyond that it is searched at the end.
    pub states_max: usize,
    /// Steps of the search at the end, for each key, besides ten for each of its operations.
    pub steps_max: u64,
}

impl Default for LinearSettings {
    fn default() -> Self {
        Self {
            states_max: 512,
            steps_max: 200_000,
        }
    }
}

/// Judges each key as a register.
#[derive(Clone, Debug)]
pub(crate) struct LinearJudge {
    settings: LinearSettings,
    now: TimeNs,
    /// Counts events: orders invocations and returns.
    clock: u64,
    keys: BTreeMap<Bytes, Key>,
    open: BTreeMap<OpId, (Arc<Operation>, Vec<Bytes>)>,
    /// Ranges that were deleted: keys in them are left out.
    deleted: Vec<(Bytes, Bytes)>,
}

/// One key.
#[derive(Clone, Debug)]
enum Key {
    Judged(Box<Register>),
    LeftOut,
}

#[derive(Clone, Debug)]
struct Register {
    values: Values,
    /// All of them, in the order of their invocation.
    calls: Vec<Call>,
    /// Where the open ones among them are.
    open: BTreeMap<OpId, usize>,
    /// Invocations and returns that the frontier has not dealt with: it waits for outcomes.
    queue: VecDeque<Step>,
    frontier: Result<Frontier, Overflow>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Invoke(usize),
    Return(usize),
}

impl LinearJudge {
    pub(crate) fn new(settings: LinearSettings) -> Self {
        Self {
            settings,
            now: TimeNs(0),
            clock: 0,
            keys: BTreeMap::new(),
            open: BTreeMap::new(),
            deleted: Vec::new(),
        }
    }

    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    pub(crate) fn invoked(&mut self, op: OpId, operation: &Arc<Operation>) {
        let touched = self.touched(operation);
        if touched.is_empty() {
            return;
        }
        self.clock += 1;
        for key in &touched {
            if let Some(register) = self.register(key) {
                let number = register.calls.len();
                register.open.insert(op, number);
                register.queue.push_back(Step::Invoke(number));
            }
            let clock = self.clock;
            if let Some(Key::Judged(register)) = self.keys.get_mut(key) {
                register.calls.push(Call::begun(op, clock));
            }
        }
        self.open.insert(op, (Arc::clone(operation), touched));
    }

    /// The keys on which an operation counts; what makes a key no register leaves it out.
    fn touched(&mut self, operation: &Operation) -> Vec<Bytes> {
        let mut touched = Vec::new();
        match operation {
            Operation::Put(put) if put.lease == 0 => touched.push(put.key.clone()),
            Operation::Put(put) => self.leave_out(&put.key),
            Operation::Range(range) => {
                if range.end.is_empty() && range.revision <= 0 && !range.serializable {
                    touched.push(range.key.clone());
                }
            }
            Operation::DeleteRange(delete) => {
                self.deletes(&delete.key, &delete.end, &mut touched);
            }
            Operation::Txn(txn) => {
                for op in txn.then.iter().chain(&txn.otherwise) {
                    match op {
                        TxnOp::Put(put) if put.lease == 0 => touched.push(put.key.clone()),
                        TxnOp::Put(put) => self.leave_out(&put.key),
                        TxnOp::DeleteRange(delete) => {
                            self.deletes(&delete.key, &delete.end, &mut touched);
                        }
                        TxnOp::Range(range) => {
                            if range.end.is_empty() && range.revision <= 0 {
                                touched.push(range.key.clone());
                            }
                        }
                    }
                }
                touched.sort_unstable();
                touched.dedup();
            }
            Operation::Compact { .. }
            | Operation::LeaseGrant { .. }
            | Operation::LeaseRevoke { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => {}
        }
        touched
    }

    fn deletes(&mut self, key: &Bytes, end: &Bytes, touched: &mut Vec<Bytes>) {
        if end.is_empty() {
            touched.push(key.clone());
            return;
        }
        let range = (key.clone(), end.clone());
        if self.deleted.contains(&range) {
            return;
        }
        let keys = Keys::new(key, end);
        for (known, state) in &mut self.keys {
            if keys.contain(known) {
                *state = Key::LeftOut;
            }
        }
        self.deleted.push(range);
    }

    fn leave_out(&mut self, key: &Bytes) {
        self.keys.insert(key.clone(), Key::LeftOut);
    }

    fn register(&mut self, key: &Bytes) -> Option<&mut Register> {
        if !self.keys.contains_key(key) {
            let mut deleted = self.deleted.iter();
            let state = if deleted.any(|(from, end)| Keys::new(from, end).contain(key)) {
                Key::LeftOut
            } else {
                Key::Judged(Box::new(Register {
                    values: Values::default(),
                    calls: Vec::new(),
                    open: BTreeMap::new(),
                    queue: VecDeque::new(),
                    frontier: Ok(Frontier::default()),
                }))
            };
            self.keys.insert(key.clone(), state);
        }
        match self.keys.get_mut(key) {
            Some(Key::Judged(register)) => Some(register),
            Some(Key::LeftOut) | None => None,
        }
    }

    pub(crate) fn returned(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let Some((operation, touched)) = self.open.remove(&op) else {
            return Ok(());
        };
        self.clock += 1;
        for key in touched {
            let Some(Key::Judged(register)) = self.keys.get_mut(&key) else {
                continue;
            };
            let Some(number) = register.open.remove(&op) else {
                continue;
            };
            let steps = calls::steps(&operation, &key, outcome, &mut register.values);
            let call = &mut register.calls[number];
            call.steps = Some(steps);
            if matches!(outcome, Outcome::Done(_)) {
                call.returned = Some(self.clock);
            }
            register.queue.push_back(Step::Return(number));
            if let Err(stuck) = register.advance(self.settings.states_max) {
                return Err(self.violation(&key, stuck));
            }
        }
        Ok(())
    }

    fn violation(&self, key: &Bytes, stuck: usize) -> Violation {
        let Some(Key::Judged(register)) = self.keys.get(key) else {
            unreachable!("only a key that is judged gets stuck");
        };
        let call = &register.calls[stuck];
        let overlap = register.calls.iter().filter(|other| {
            let began = call.returned.is_none_or(|at| other.invoked < at);
            other.op != call.op && began && other.returned.is_none_or(|at| at > call.invoked)
        });
        let overlap: Vec<_> = overlap.map(|other| format!("#{}", other.op.0)).collect();
        let witness = format!(
            "key {}: no order of the operations so far gives #{} its answer, {}; it ran together \
             with {}",
            word(key),
            call.op.0,
            register.values.describe(call),
            if overlap.is_empty() {
                "nobody".to_owned()
            } else {
                overlap.join(" ")
            }
        );
        Violation {
            property: Property::Linearizable,
            at: self.now,
            witness,
        }
    }

    /// The verdict at the end: what is open has an unknown outcome, and keys with too many states
    /// are searched.
    pub(crate) fn finish(mut self) -> Verdict {
        let open: Vec<OpId> = self.open.keys().copied().collect();
        for op in open {
            if let Err(violation) = self.returned(op, &Outcome::Unknown) {
                return Verdict::Violation(violation);
            }
        }
        let mut undecided = Vec::new();
        for (key, state) in &self.keys {
            let Key::Judged(register) = state else {
                continue;
            };
            if register.frontier.is_ok() {
                continue;
            }
            let calls = u64::try_from(register.calls.len()).expect("a length fits");
            let steps_max = self.settings.steps_max.saturating_add(10 * calls);
            match wgl::search(&register.calls, steps_max) {
                wgl::Search::Found => {}
                wgl::Search::Nothing { stuck } => {
                    return Verdict::Violation(self.violation(key, stuck));
                }
                wgl::Search::Spent => undecided.push(word(key)),
            }
        }
        if undecided.is_empty() {
            return Verdict::Ok;
        }
        Verdict::Unknown(format!(
            "{} steps are too few for the keys {}",
            self.settings.steps_max,
            undecided.join(" ")
        ))
    }
}

impl Register {
    /// Deals with what has an outcome. An error names the call that fits nowhere.
    fn advance(&mut self, states_max: usize) -> Result<(), usize> {
        while let Some(step) = self.queue.front().copied() {
            let Ok(frontier) = &mut self.frontier else {
                // It is searched at the end: nothing needs to wait.
                self.queue.clear();
                return Ok(());
            };
            let overflow = match step {
                Step::Invoke(number) => {
                    let call = &self.calls[number];
                    let Some(steps) = &call.steps else {
                        return Ok(());
                    };
                    // What cannot have had an effect need not be ordered.
                    if call.returned.is_none() && steps.is_without_effect() {
                        Ok(true)
                    } else {
                        frontier.invoke(number, call).map(|()| true)
                    }
                }
                Step::Return(number) => frontier.ret(number, &self.calls, states_max),
            };
            self.queue.pop_front();
            match (overflow, step) {
                (Ok(true), _) => {}
                (Ok(false), Step::Invoke(number) | Step::Return(number)) => return Err(number),
                (Err(overflow), _) => self.frontier = Err(overflow),
            }
        }
        Ok(())
    }
}

impl Steps {
    /// Whether taking it or not makes no difference.
    fn is_without_effect(&self) -> bool {
        self.all().all(|step| step.write.is_none())
    }
}
