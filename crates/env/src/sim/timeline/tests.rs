use super::{Due, Timeline};
use crate::Prng;
use std::collections::BTreeMap;
use std::task::Waker;

fn ring(member: usize) -> Due {
    let waker = Waker::noop().clone();
    Due::Ring { member, waker }
}

fn member(due: &Due) -> usize {
    match due {
        Due::Ring { member, .. } => *member,
        Due::Arrive(_) => panic!("no messages here"),
    }
}

/// Against an ordered map, with insertions, cancellations and changes of clocks at random.
#[test]
fn events_come_in_order_of_time_whatever_is_cancelled() {
    for seed in 0..50 {
        let mut random = Prng::new(seed);
        let (mut timeline, mut model) = (Timeline::default(), BTreeMap::new());
        let mut gone = Vec::new();
        for step in 0..2_000_u64 {
            match random.below(10) {
                0..5 => {
                    let place = (random.below(500), step);
                    let of = usize::try_from(random.below(40)).unwrap();
                    let key = timeline.insert(place.0, place.1, ring(of));
                    model.insert(place, (key, of));
                }
                5..7 if !model.is_empty() => {
                    let nth = usize::try_from(random.below(model.len() as u64)).unwrap();
                    let place = *model.keys().nth(nth).unwrap();
                    let (key, of) = model.remove(&place).unwrap();
                    let due = timeline.remove(key).expect("it has not happened");
                    assert_eq!(member(&due), of);
                    gone.push(key);
                }
                7 if random.chance(1, 20) => {
                    let of = usize::try_from(random.below(40)).unwrap();
                    let before = model.len();
                    model.retain(|_, (_, held)| *held != of);
                    assert_eq!(timeline.take_timers(of).len(), before - model.len());
                }
                _ => {
                    assert_eq!(timeline.next_ns(), model.keys().next().map(|(at, _)| *at));
                    let expected = model.pop_first().map(|(_, (key, of))| (key, of));
                    let popped = timeline.pop().map(|due| member(&due));
                    assert_eq!(popped, expected.map(|(_, of)| of), "seed {seed}");
                    gone.extend(expected.map(|(key, _)| key));
                }
            }
            if let Some(key) = gone.last() {
                assert!(
                    timeline.remove(*key).is_none(),
                    "it has happened, or was cancelled"
                );
            }
        }
    }
}
