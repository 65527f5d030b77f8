//! Tests of the state as a whole.

mod anew;
mod audit;
mod limits;
mod model;
pub(crate) mod properties;
mod scenarios;
mod snapshots;

use crate::State;
use crate::command::{Batch, Command, Origin, Put};
use bytes::Bytes;
use synod_env::MemberId;

/// A batch of member 1 in reign 0, numbered by its log index.
pub(crate) fn batch(index: u64, commands: Vec<Command>) -> Batch {
    let origin = Origin {
        member: MemberId(1),
        incarnation: 1,
        sequence: index,
    };
    Batch {
        origin,
        reign: 0,
        time_ms: 10 * index,
        commands,
    }
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Command {
    Command::Put(Put {
        key: key.into(),
        value: value.into(),
        ..Put::default()
    })
}

/// A root that is held keeps showing what it showed, however much is written after it.
#[test]
fn a_root_held_through_many_puts_does_not_change() {
    let key = |i: u64| format!("key{:04}", i % 1_000);
    let mut state = State::new(1);
    let mut index = 0;
    let mut write = |state: &mut State, from: u64, count: u64| {
        for first in (from..from + count).step_by(100) {
            index += 1;
            let commands = (first..first + 100)
                .map(|i| put(key(i), i.to_string()))
                .collect();
            assert!(
                state
                    .apply(index, &batch(index, commands))
                    .dropped
                    .is_none()
            );
        }
    };
    write(&mut state, 0, 1_000);
    let held = state.root();
    let before = audit::everything(&held);
    write(&mut state, 1_000, 100_000);
    assert_eq!(audit::everything(&held), before);
    audit::check(&held);
    assert_eq!(held.revision(), 1_001);
    assert_eq!(state.root().revision(), 101_001);
    assert_eq!(state.root().version_count(), 101_000);
    audit::check(&state.root());
}

/// Service time comes from leaders whose clocks differ; the state's never goes back.
#[test]
fn service_time_never_goes_back() {
    let mut state = State::new(1);
    let times = [(5, 5), (3, 5), (5, 5), (8, 8), (0, 8)];
    for (index, (time_ms, expected)) in (1..).zip(times) {
        state.apply(
            index,
            &Batch {
                time_ms,
                ..batch(index, Vec::new())
            },
        );
        assert_eq!(state.root().time_ms(), expected);
    }
}

#[test]
#[should_panic(expected = "entry 4 comes after entry 4")]
fn an_entry_applied_twice_stops_the_member() {
    let mut state = State::new(1);
    state.apply(4, &batch(4, Vec::new()));
    state.apply(4, &batch(5, Vec::new()));
}
