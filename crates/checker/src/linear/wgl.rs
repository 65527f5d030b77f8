//! One order of all operations, searched in depth.

use super::calls::{ABSENT, Call, Expect, Value};
use std::collections::BTreeSet;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// There is an order.
    Found,
    /// There is none. Where the search got furthest, this call fitted nowhere.
    Nothing {
        /// Its number.
        stuck: usize,
    },
    /// The budget is spent.
    Spent,
}

/// What has taken effect, and what the key is then. Calls with a known outcome are mostly taken in
/// the order of their invocation, so a base and what is taken beyond it say which; calls with an
/// unknown outcome are taken seldom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Config {
    value: Value,
    base: usize,
    beyond: Vec<usize>,
    unknown: Vec<usize>,
}

/// Looks for an order of calls, which stand in the order of their invocation, in which each gives
/// its answer. Takes at most `steps_max` steps.
pub(super) fn search(calls: &[Call], steps_max: u64) -> Search {
    let is_known = |number: &usize| calls[*number].returned.is_some();
    let known: Vec<usize> = (0..calls.len()).filter(is_known).collect();
    let unknown: Vec<usize> = (0..calls.len())
        .filter(|number| !is_known(number))
        .collect();
    // What nobody ever needs need not have happened, if nobody knows that it did.
    let expectations = calls.iter().flat_map(|call| call.steps.iter());
    let expectations = expectations.flat_map(|steps| steps.all().map(|step| step.expect));
    let expected: BTreeSet<Expect> = expectations.collect();
    let is_picky = expected
        .iter()
        .any(|expect| matches!(expect, Expect::IsNot(_)));
    let wanted = |value| is_picky || expected.contains(&Expect::Is(value));
    let mut stack = vec![Config {
        value: ABSENT,
        base: 0,
        beyond: Vec::new(),
        unknown: Vec::new(),
    }];
    let mut visited = BTreeSet::new();
    let mut furthest = (0, known.first().copied().unwrap_or(0));
    let mut steps = 0;
    while let Some(config) = stack.pop() {
        if config.base == known.len() {
            return Search::Found;
        }
        if visited.contains(&config) {
            continue;
        }
        steps += 1;
        if steps > steps_max {
            return Search::Spent;
        }
        // Whoever returns first must take effect before anybody who begins after that.
        let waiting = |place: &usize| !config.beyond.contains(place);
        let first_return = (config.base..known.len())
            .take_while(|place| {
                let began = calls[known[*place]].invoked;
                *place == config.base || began < calls[known[config.base]].returned.unwrap_or(0)
            })
            .filter(waiting)
            .min_by_key(|place| calls[known[*place]].returned)
            .expect("the base itself waits");
        let deadline = calls[known[first_return]]
            .returned
            .expect("its outcome is known");
        let done = config.base + config.beyond.len();
        if done >= furthest.0 {
            furthest = (done, known[first_return]);
        }
        let began = |place: &usize| calls[known[*place]].invoked < deadline;
        let ready = (config.base..known.len()).take_while(began).filter(waiting);
        let mut ready: Vec<usize> = ready.collect();
        // A read that fits costs nothing: no other order is better than taking it now.
        let fits = |place: &&usize| {
            let call = &calls[known[**place]];
            is_read(call) && !values_after(call, config.value).is_empty()
        };
        if let Some(place) = ready.iter().find(fits) {
            let mut next = config.clone();
            next.take(*place);
            stack.push(next);
            visited.insert(config);
            continue;
        }
        for number in unknown.iter().rev() {
            let call = &calls[*number];
            if call.invoked < deadline && !config.unknown.contains(number) {
                for value in values_after(call, config.value) {
                    if value != config.value && wanted(value) {
                        let mut next = config.clone();
                        next.value = value;
                        next.unknown.push(*number);
                        next.unknown.sort_unstable();
                        stack.push(next);
                    }
                }
            }
        }
        // Whoever returns first is tried first.
        ready.sort_unstable_by_key(|place| std::cmp::Reverse(calls[known[*place]].returned));
        for place in ready {
            for value in values_after(&calls[known[place]], config.value) {
                let mut next = config.clone();
                next.value = value;
                next.take(place);
                stack.push(next);
            }
        }
        visited.insert(config);
    }
    Search::Nothing { stuck: furthest.1 }
}

fn is_read(call: &Call) -> bool {
    let steps = call
        .steps
        .as_ref()
        .expect("a history is searched at its end");
    steps.all().all(|step| step.write.is_none())
}

fn values_after(call: &Call, value: Value) -> Vec<Value> {
    let steps = call
        .steps
        .as_ref()
        .expect("a history is searched at its end");
    steps.all().filter_map(|step| step.take(value)).collect()
}

impl Config {
    fn take(&mut self, place: usize) {
        let at = self.beyond.partition_point(|other| *other < place);
        self.beyond.insert(at, place);
        let in_order = self
            .beyond
            .iter()
            .enumerate()
            .take_while(|(number, place)| **place == self.base + number)
            .count();
        self.beyond.drain(..in_order);
        self.base += in_order;
    }
}
