//! The frontier: every state in which a key can be, given what has returned.

use super::calls::{ABSENT, Call, Expect, Value};
use std::collections::BTreeSet;

/// How many calls can be open at a time.
const SLOTS: usize = 64;

/// There are more states, or more open calls, than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// A value the key may have, with the open calls that would have taken effect by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Config {
    value: Value,
    taken: u64,
}

#[derive(Debug, Default)]
struct Wanted {
    all: bool,
    values: Vec<Value>,
}

impl Wanted {
    fn contains(&self, value: Value) -> bool {
        self.all || self.values.contains(&value)
    }
}

/// Every state in which a key can be.
#[derive(Clone, Debug)]
pub(super) struct Frontier {
    configs: Vec<Config>,
    /// Which call has which slot.
    slots: Vec<Option<usize>>,
    /// Slots of calls that never return.
    unknown: u64,
    /// Slots of calls that write nothing: they are taken wherever they fit, which costs nothing.
    reads: u64,
}

impl Default for Frontier {
    fn default() -> Self {
        Self {
            configs: vec![Config {
                value: ABSENT,
                taken: 0,
            }],
            slots: Vec::new(),
            unknown: 0,
            reads: 0,
        }
    }
}

impl Frontier {
    /// A call begins; its outcome is known already, even if only as unknown.
    pub(super) fn invoke(&mut self, number: usize, call: &Call) -> Result<(), Overflow> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        if slot >= SLOTS {
            return Err(Overflow);
        }
        if free.is_none() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(number);
        let bit = 1 << slot;
        if call.returned.is_none() {
            self.unknown |= bit;
        }
        let steps = call.steps.as_ref().expect("its outcome is known");
        if steps.all().all(|step| step.write.is_none()) {
            self.reads |= bit;
            for config in &mut self.configs {
                if steps.all().any(|step| step.take(config.value).is_some()) {
                    config.taken |= bit;
                }
            }
        }
        Ok(())
    }

    /// A call returns: it has taken effect by now. False if it cannot have.
    pub(super) fn ret(
        &mut self,
        number: usize,
        calls: &[Call],
        states_max: usize,
    ) -> Result<bool, Overflow> {
        // It never began here if it had no effect, and never ends if its outcome is unknown.
        let Some(slot) = self.slots.iter().position(|call| *call == Some(number)) else {
            return Ok(true);
        };
        if calls[number].returned.is_none() {
            return Ok(true);
        }
        let bit = 1 << slot;
        let wanted = self.wanted(calls);
        let mut done = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut stack = std::mem::take(&mut self.configs);
        while let Some(config) = stack.pop() {
            if config.taken & bit != 0 {
                done.insert(Config {
                    taken: config.taken & !bit,
                    ..config
                });
                continue;
            }
            if !visited.insert(config) {
                continue;
            }
            if visited.len() + done.len() > states_max {
                return Err(Overflow);
            }
            for (other, call) in self.slots.iter().enumerate() {
                let Some(call) = call else { continue };
                let other_bit = 1 << other;
                if (config.taken | self.reads) & other_bit != 0 {
                    continue;
                }
                let steps = calls[*call].steps.as_ref().expect("its outcome is known");
                for value in steps.all().filter_map(|step| step.take(config.value)) {
                    if self.unknown & other_bit != 0 && !wanted.contains(value) {
                        continue;
                    }
                    let taken = config.taken | other_bit | self.fitting(value, calls);
                    stack.push(Config { value, taken });
                }
            }
        }
        self.slots[slot] = None;
        self.reads &= !bit;
        self.configs = done.into_iter().collect();
        self.prune();
        Ok(!self.configs.is_empty())
    }

    /// The values that some open call needs. A call with an unknown outcome that leaves another
    /// value can as well take effect later, when somebody needs that: it never has to return.
    fn wanted(&self, calls: &[Call]) -> Wanted {
        let mut wanted = Wanted::default();
        for number in self.slots.iter().flatten() {
            let steps = calls[*number].steps.as_ref().expect("its outcome is known");
            for step in steps.all() {
                match step.expect {
                    Expect::Any => {}
                    Expect::Is(value) => wanted.values.push(value),
                    Expect::IsNot(_) => wanted.all = true,
                }
            }
        }
        wanted
    }

    /// The open reads that see this value.
    fn fitting(&self, value: Value, calls: &[Call]) -> u64 {
        let mut fitting = 0;
        let mut reads = self.reads;
        while reads != 0 {
            let slot = reads.trailing_zeros();
            reads &= reads - 1;
            let number = self.slots[slot as usize].expect("a read has its slot");
            let steps = calls[number].steps.as_ref().expect("its outcome is known");
            if steps.all().any(|step| step.take(value).is_some()) {
                fitting |= 1 << slot;
            }
        }
        fitting
    }

    /// Of two states that differ only in which unknown calls are used up, the one that has used
    /// fewer can do whatever the other can.
    fn prune(&mut self) {
        if self.unknown == 0 || self.configs.len() < 2 {
            return;
        }
        let unknown = self.unknown;
        let known = |config: &Config| (config.value, config.taken & !unknown);
        self.configs
            .sort_unstable_by_key(|config| (known(config), (config.taken & unknown).count_ones()));
        let mut kept: Vec<Config> = Vec::with_capacity(self.configs.len());
        for config in &self.configs {
            let dominates = |other: &&Config| {
                known(other) == known(config) && other.taken & unknown & !config.taken == 0
            };
            let mut alike = kept
                .iter()
                .rev()
                .take_while(|other| known(other) == known(config));
            if !alike.any(|other| dominates(&other)) {
                kept.push(*config);
            }
        }
        self.configs = kept;
    }
}
