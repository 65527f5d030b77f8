//! Correct histories with one thing changed in them, so that they mean something else.

use super::{Settings, judge};
use crate::history::{Body, Change, Event, Operation, Outcome, Refusal, WatchEvent, What};
use crate::synthetic::Plan;
use crate::verdict::Verdict;
use bytes::Bytes;
use std::collections::BTreeMap;
use synod_env::Prng;

/// Changes one event if it can; says whether it did.
type Mutation = fn(&mut Event, &Operations) -> bool;

type Operations = BTreeMap<u64, Operation>;

const MUTATIONS: &[(&str, Mutation)] = &[
    ("a put claims the revision before", |event, operations| {
        put(event, operations, |revision, _| *revision -= 1)
    }),
    ("a put claims the revision after", |event, operations| {
        put(event, operations, |revision, _| *revision += 1)
    }),
    ("a put shows another pair before", |event, operations| {
        let mut changed = false;
        put(event, operations, |_, body| {
            if let Body::Put {
                prev_kv: Some(before),
            } = body
            {
                before.version += 1;
                changed = true;
            }
        }) && changed
    }),
    ("a put that happened is refused", |event, operations| {
        let is_put = put(event, operations, |_, _| {});
        if let (true, What::Returned { outcome, .. }) = (is_put, &mut event.what) {
            *outcome = Outcome::Refused(Refusal::NotDone);
        }
        is_put
    }),
    ("a read shows another value", |event, _| {
        read(event, |body| {
            if let Body::Range { kvs, .. } = body {
                kvs.first_mut().is_some_and(|kv| {
                    kv.value = Bytes::from_static(b"other");
                    true
                })
            } else {
                false
            }
        })
    }),
    ("a read shows another version", |event, _| {
        read(event, |body| {
            if let Body::Range { kvs, .. } = body {
                kvs.first_mut().is_some_and(|kv| {
                    kv.version += 1;
                    true
                })
            } else {
                false
            }
        })
    }),
    ("a read leaves a pair out", |event, _| {
        read(event, |body| {
            if let Body::Range { kvs, .. } = body {
                kvs.pop().is_some()
            } else {
                false
            }
        })
    }),
    ("a read counts one more", |event, _| {
        read(event, |body| {
            if let Body::Range { count, .. } = body {
                {
                    *count += 1;
                    true
                }
            } else {
                false
            }
        })
    }),
    ("a delete counts one more", |event, _| {
        read(event, |body| {
            if let Body::DeleteRange { deleted, .. } = body {
                {
                    *deleted += 1;
                    true
                }
            } else {
                false
            }
        })
    }),
    ("a transaction takes the other branch", |event, _| {
        read(event, |body| {
            if let Body::Txn { succeeded, .. } = body {
                {
                    *succeeded = !*succeeded;
                    true
                }
            } else {
                false
            }
        })
    }),
    ("a watch leaves its first change out", |event, _| {
        told(event, |events| {
            events.remove(0);
            true
        })
    }),
    ("a watch leaves its last change out", |event, _| {
        told(event, |events| {
            let last = events.pop();
            last.is_some() && !events.is_empty()
        })
    }),
    ("a watch tells a change twice", |event, _| {
        told(event, |events| {
            events.push(events[0].clone());
            true
        })
    }),
    ("a watch tells its changes backwards", |event, _| {
        told(event, |events| {
            let is_long = events
                .iter()
                .any(|change| change.kv.mod_revision != events[0].kv.mod_revision);
            events.reverse();
            is_long
        })
    }),
    ("a watch tells another value", |event, _| {
        told(event, |events| {
            let put = events.iter_mut().find(|change| !change.is_delete());
            put.is_some_and(|change| {
                change.kv.value = Bytes::from_static(b"other");
                true
            })
        })
    }),
    ("a watch tells another pair before", |event, _| {
        told(event, |events| {
            let mut before = events
                .iter_mut()
                .filter_map(|change| change.prev_kv.as_mut());
            before.next().is_some_and(|before| {
                before.version += 1;
                true
            })
        })
    }),
];

fn put(
    event: &mut Event,
    operations: &Operations,
    mutate: impl FnOnce(&mut i64, &mut Body),
) -> bool {
    let What::Returned {
        op,
        outcome: Outcome::Done(response),
    } = &mut event.what
    else {
        return false;
    };
    let is_put = matches!(operations[&op.0], Operation::Put(_));
    if is_put {
        mutate(&mut response.revision, &mut response.body);
    }
    is_put
}

fn read(event: &mut Event, mutate: impl FnOnce(&mut Body) -> bool) -> bool {
    let What::Returned {
        outcome: Outcome::Done(response),
        ..
    } = &mut event.what
    else {
        return false;
    };
    mutate(&mut response.body)
}

fn told(event: &mut Event, mutate: impl FnOnce(&mut Vec<Change>) -> bool) -> bool {
    let What::Watch {
        event: WatchEvent::Events { events, .. },
        ..
    } = &mut event.what
    else {
        return false;
    };
    mutate(events)
}

#[test]
fn a_history_with_one_thing_changed_is_rejected() {
    for (name, mutation) in MUTATIONS {
        let mut mutants = 0;
        for seed in 0..16 {
            let plan = Plan {
                keys: 12,
                ..Plan::everything(seed, 150)
            };
            let history = plan.history();
            let mut operations = Operations::new();
            for event in &history {
                if let What::Invoked { op, operation, .. } = &event.what {
                    operations.insert(op.0, operation.clone());
                }
            }
            let mut random = Prng::new(seed);
            for _ in 0..60 {
                let number = random.below(history.len() as u64);
                let number = usize::try_from(number).unwrap();
                let mut mutant = history.clone();
                if !mutation(&mut mutant[number], &operations) {
                    continue;
                }
                mutants += 1;
                let verdict = judge(Settings::default(), &mutant);
                assert!(
                    matches!(verdict, Verdict::Violation(_)),
                    "{name} in event {number} of {plan:?}: {verdict}\n{}",
                    crate::text::write_event(&mutant[number])
                );
            }
        }
        assert!(mutants >= 10, "{mutants} mutants are too few: {name}");
    }
}
