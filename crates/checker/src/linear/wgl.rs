//! One order of all operations, searched in depth.
//!
//! What keeps the search small, besides the memory of where it has been:
//! - A read that fits is taken at once.
//! - A call with an unknown outcome is taken only where somebody waits for what it leaves: taken
//!   anywhere else it could as well be taken later, or never.
//! - Of unknown calls that do the same, the earliest stands for all.
//! - Who has come to the same point with fewer unknown calls can do whatever others can.
//! - Values that nobody ever looks for are all alike.

use super::calls::{ABSENT, Call, Expect, Step, Value};
use std::collections::{BTreeMap, BTreeSet};

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

/// Stands for all values that no call looks for.
const UNSOUGHT: Value = Value::MAX;

/// How far an order has come, but for the unknown calls in it: what the key is, and which calls
/// with a known outcome have taken effect. These are mostly taken in the order of their
/// invocation, so a base and what is taken beyond it say which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    value: Value,
    base: usize,
    beyond: Vec<usize>,
}

/// A point, and which calls with an unknown outcome have been taken on the way.
#[derive(Clone, Debug)]
struct Config {
    point: Point,
    unknown: Vec<usize>,
}

/// A call with an unknown outcome.
struct Unknown {
    invoked: u64,
    steps: Vec<Step>,
    /// The one before it that does the same.
    twin: Option<usize>,
}

/// A call with a known outcome.
struct Known {
    number: usize,
    invoked: u64,
    returned: u64,
    steps: Vec<Step>,
}

impl Known {
    fn is_read(&self) -> bool {
        self.steps.iter().all(|step| step.write.is_none())
    }

    fn fits(&self, value: Value) -> bool {
        values_after(&self.steps, value).next().is_some()
    }
}

fn values_after(steps: &[Step], value: Value) -> impl Iterator<Item = Value> + '_ {
    steps.iter().filter_map(move |step| step.take(value))
}

/// Sorts calls by whether their outcome is known, and makes values alike that nobody looks for.
fn sort(calls: &[Call]) -> (Vec<Known>, Vec<Unknown>) {
    let steps = |call: &Call| {
        let steps = call.steps.as_ref();
        let steps = steps.expect("a history is searched at its end");
        steps.all().copied().collect::<Vec<Step>>()
    };
    let mut sought = BTreeSet::new();
    for step in calls.iter().flat_map(steps) {
        match step.expect {
            Expect::Any => {}
            Expect::Is(value) | Expect::IsNot(value) => {
                sought.insert(value);
            }
        }
    }
    let alike = |step: Step| Step {
        write: step.write.map(|value| {
            let is_sought = value == ABSENT || sought.contains(&value);
            if is_sought { value } else { UNSOUGHT }
        }),
        ..step
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::<Unknown>::new());
    for (number, call) in calls.iter().enumerate() {
        let steps: Vec<Step> = steps(call).into_iter().map(alike).collect();
        match call.returned {
            Some(returned) => known.push(Known {
                number,
                invoked: call.invoked,
                returned,
                steps,
            }),
            None => {
                let twin = unknown.iter().rposition(|other| other.steps == steps);
                unknown.push(Unknown {
                    invoked: call.invoked,
                    steps,
                    twin,
                });
            }
        }
    }
    (known, unknown)
}

/// Looks for an order of calls, which stand in the order of their invocation, in which each gives
/// its answer. Takes at most `steps_max` steps.
pub(super) fn search(calls: &[Call], steps_max: u64) -> Search {
    let (known, unknown) = sort(calls);
    let mut stack = vec![Config {
        point: Point {
            value: ABSENT,
            base: 0,
            beyond: Vec::new(),
        },
        unknown: Vec::new(),
    }];
    let mut visited = Visited::default();
    let mut furthest = (0, known.first().map_or(0, |call| call.number));
    let mut steps = 0;
    while let Some(config) = stack.pop() {
        let point = &config.point;
        if point.base == known.len() {
            return Search::Found;
        }
        if !visited.is_new(&config) {
            continue;
        }
        steps += 1;
        if steps > steps_max {
            return Search::Spent;
        }
        // Whoever returns first must take effect before anybody who begins after that.
        let waiting = |place: &usize| !point.beyond.contains(place);
        let first_return = (point.base..known.len())
            .take_while(|place| known[*place].invoked <= known[point.base].returned)
            .filter(waiting)
            .min_by_key(|place| known[*place].returned)
            .expect("the base itself waits");
        let deadline = known[first_return].returned;
        let done = point.base + point.beyond.len();
        if done >= furthest.0 {
            furthest = (done, known[first_return].number);
        }
        let began = |place: &usize| known[*place].invoked < deadline;
        let ready = (point.base..known.len()).take_while(began).filter(waiting);
        let mut ready: Vec<usize> = ready.collect();
        // A read that fits costs nothing: no other order is better than taking it now.
        let fits = |place: &&usize| known[**place].is_read() && known[**place].fits(point.value);
        if let Some(place) = ready.iter().find(fits) {
            stack.push(config.take(*place, point.value));
            continue;
        }
        let mut possible: Vec<usize> = Vec::new();
        for (number, call) in unknown.iter().enumerate() {
            let is_taken = |number: usize| config.unknown.contains(&number);
            let has_turn = call.twin.is_none_or(is_taken);
            if call.invoked < deadline && has_turn && !is_taken(number) {
                possible.push(number);
            }
        }
        // What must be there for a step that cannot be taken now.
        let steps_ready = ready.iter().flat_map(|place| &known[*place].steps);
        let steps_possible = possible.iter().flat_map(|number| &unknown[*number].steps);
        let awaited: BTreeSet<Expect> = steps_ready
            .chain(steps_possible)
            .filter(|step| step.take(point.value).is_none())
            .map(|step| step.expect)
            .collect();
        for number in possible.iter().rev() {
            for value in values_after(&unknown[*number].steps, point.value) {
                if awaited.iter().any(|expect| expect.holds(value)) {
                    stack.push(config.take_unknown(*number, value));
                }
            }
        }
        // Whoever returns first is tried first.
        ready.sort_unstable_by_key(|place| std::cmp::Reverse(known[*place].returned));
        for place in ready {
            for value in values_after(&known[place].steps, point.value) {
                stack.push(config.take(place, value));
            }
        }
    }
    Search::Nothing { stuck: furthest.1 }
}

/// Where a search has been.
#[derive(Default)]
struct Visited {
    /// With which unknown calls it came to a point: none of these contains another.
    ways: BTreeMap<Point, Vec<Vec<usize>>>,
}

impl Visited {
    /// Notes a configuration. False if the search has been at its point with no other unknown
    /// calls than it has taken.
    fn is_new(&mut self, config: &Config) -> bool {
        let ways = self.ways.entry(config.point.clone()).or_default();
        let contains = |more: &[usize], fewer: &[usize]| {
            fewer
                .iter()
                .all(|number| more.binary_search(number).is_ok())
        };
        if ways.iter().any(|way| contains(&config.unknown, way)) {
            return false;
        }
        ways.retain(|way| !contains(way, &config.unknown));
        ways.push(config.unknown.clone());
        true
    }
}

impl Config {
    /// After a call with a known outcome, which left this value.
    fn take(&self, place: usize, value: Value) -> Self {
        let mut next = self.clone();
        let point = &mut next.point;
        point.value = value;
        let at = point.beyond.partition_point(|other| *other < place);
        point.beyond.insert(at, place);
        let in_order = point
            .beyond
            .iter()
            .enumerate()
            .take_while(|(number, place)| **place == point.base + number)
            .count();
        point.beyond.drain(..in_order);
        point.base += in_order;
        next
    }

    /// After a call with an unknown outcome, which left this value.
    fn take_unknown(&self, number: usize, value: Value) -> Self {
        let mut next = self.clone();
        next.point.value = value;
        let at = next.unknown.partition_point(|other| *other < number);
        next.unknown.insert(at, number);
        next
    }
}
