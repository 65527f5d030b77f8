use super::calls::{ABSENT, Call, Expect, Step, Steps};
use super::jit::Frontier;
use super::wgl::{self, Search};
use crate::history::OpId;
use synod_env::Prng;

/// Tries every order of every choice of calls with an unknown outcome.
fn brute_force(calls: &[Call]) -> bool {
    fn go(calls: &[Call], taken: u32, value: u32) -> bool {
        let waits = |number: usize| taken & 1 << number == 0;
        let left = calls
            .iter()
            .enumerate()
            .filter(|(number, _)| waits(*number));
        let first_return = left.clone().filter_map(|(_, call)| call.returned).min();
        let Some(first_return) = first_return else {
            return true;
        };
        left.filter(|(_, call)| call.invoked < first_return)
            .any(|(number, call)| {
                let steps = call.steps.as_ref().unwrap();
                let mut after = steps.all().filter_map(|step| step.take(value));
                after.any(|value| go(calls, taken | 1 << number, value))
            })
    }
    go(calls, 0, ABSENT)
}

/// The frontier's verdict; none if it had too many states.
fn just_in_time(calls: &[Call], states_max: usize) -> Option<bool> {
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        events.push((call.invoked, number, true));
        events.extend(call.returned.map(|at| (at, number, false)));
    }
    events.sort_unstable();
    let mut frontier = Frontier::default();
    for (_, number, begins) in events {
        let fits = if begins {
            frontier.invoke(number, &calls[number]).map(|()| true)
        } else {
            frontier.ret(number, calls, states_max)
        };
        match fits {
            Ok(true) => {}
            Ok(false) => return Some(false),
            Err(_) => return None,
        }
    }
    Some(true)
}

fn random_step(random: &mut Prng) -> Step {
    let mut value = || u32::try_from(random.below(3)).unwrap();
    let (expected, written) = (value(), value());
    let expect = match random.below(4) {
        0 | 1 => Expect::Any,
        2 => Expect::Is(expected),
        _ => Expect::IsNot(expected),
    };
    Step {
        expect,
        write: random.chance(2, 3).then_some(written),
    }
}

fn random_calls(random: &mut Prng) -> Vec<Call> {
    let count = 2 + random.below(7);
    let mut clock = 0;
    let mut calls: Vec<Call> = Vec::new();
    for number in 0..count {
        clock += 1 + random.below(3);
        let mut steps = Steps::one(random_step(random));
        let mut returned = None;
        if random.chance(1, 4) {
            if random.chance(1, 2) {
                steps = Steps::either(random_step(random), random_step(random));
            }
        } else {
            // Odd, so that no two events fall together.
            returned = Some(100 * (clock + random.below(8)) + 50 + number);
        }
        calls.push(Call {
            op: OpId(number),
            invoked: 100 * clock,
            returned,
            steps: Some(steps),
        });
    }
    calls
}

#[test]
fn just_in_time_search_and_brute_force_agree() {
    let mut random = Prng::new(3);
    let (mut accepted, mut rejected) = (0, 0);
    for round in 0..30_000 {
        let calls = random_calls(&mut random);
        let expected = brute_force(&calls);
        let search = match wgl::search(&calls, 100_000) {
            Search::Found => true,
            Search::Nothing { .. } => false,
            Search::Spent => panic!("round {round}: eight calls spend no budget: {calls:#?}"),
        };
        assert_eq!(search, expected, "search, round {round}: {calls:#?}");
        let frontier = just_in_time(&calls, 1_000_000);
        assert_eq!(
            frontier,
            Some(expected),
            "frontier, round {round}: {calls:#?}"
        );
        if expected {
            accepted += 1;
        } else {
            rejected += 1;
        }
    }
    assert!(
        accepted > 3_000 && rejected > 3_000,
        "{accepted} accepted and {rejected} rejected are no fair mixture"
    );
}

#[test]
fn a_spent_budget_is_no_verdict() {
    let calls: Vec<Call> = (0..20)
        .map(|number| Call {
            op: OpId(number),
            invoked: number,
            returned: Some(100 + number),
            steps: Some(Steps::one(Step {
                expect: if number == 19 {
                    Expect::Is(99)
                } else {
                    Expect::Any
                },
                write: Some(1 + u32::try_from(number).unwrap()),
            })),
        })
        .collect();
    assert_eq!(wgl::search(&calls, 1_000), Search::Spent);
    assert_eq!(just_in_time(&calls, 1_000), None);
}

#[test]
fn unknown_writes_that_nobody_waits_for_cost_the_search_nothing() {
    let write = |number: u32| Call {
        op: OpId(number.into()),
        invoked: number.into(),
        returned: None,
        steps: Some(Steps::one(Step {
            expect: Expect::Any,
            write: Some(1 + number),
        })),
    };
    let read = |at: u64, expect| Call {
        op: OpId(at),
        invoked: at,
        returned: Some(at + 1),
        steps: Some(Steps::one(Step {
            expect,
            write: None,
        })),
    };
    let mut calls: Vec<Call> = (0..40).map(write).collect();
    // Any of them may be what this one saw, and none is what the last one did.
    calls.push(read(100, Expect::IsNot(ABSENT)));
    calls.push(read(102, Expect::Is(7)));
    calls.push(read(104, Expect::IsNot(7)));
    assert_eq!(wgl::search(&calls, 1_000), Search::Found);
    calls.push(read(106, Expect::Is(99)));
    assert_eq!(wgl::search(&calls, 1_000), Search::Nothing { stuck: 43 });
}
