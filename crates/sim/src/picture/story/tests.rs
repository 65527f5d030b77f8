use super::{Bounds, Fate, Message, MessageKind, Operation, Outcome, Story, Violation};
use crate::Machine;
use std::time::Duration;

fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

/// A message and an operation every millisecond of ten seconds; something is wrong at 4 s.
fn long() -> Story {
    let mut story = Story {
        to: ms(10_000),
        violation: Some(Violation {
            at: ms(4_000),
            property: "linearizable".to_owned(),
            witness: String::new(),
        }),
        ..Story::default()
    };
    for at in 0..10_000 {
        story.messages.push(Message {
            from: Machine::Member(1),
            to: Machine::Member(2),
            sent: ms(at),
            arrived: Some(ms(at) + Duration::from_micros(300)),
            kind: MessageKind::Append,
            fate: Fate::Whole,
            what: String::new(),
            detail: String::new(),
        });
        story.operations.push(Operation {
            client: 0,
            from: ms(at),
            to: Some(ms(at) + Duration::from_micros(300)),
            outcome: Outcome::Done,
            witness: at == 20,
            what: String::new(),
            detail: String::new(),
        });
    }
    story
}

#[test]
fn a_story_within_its_bounds_is_left_alone() {
    let story = long();
    let bounds = Bounds {
        messages_max: 10_000,
        others_max: 10_000,
    };
    assert_eq!(story.clone().within(bounds), story);
}

#[test]
fn a_long_story_is_cut_to_what_came_before_the_violation() {
    let bounds = Bounds {
        messages_max: 600,
        others_max: 10_000,
    };
    let story = long().within(bounds);
    assert!(
        (550..=600).contains(&story.messages.len()),
        "{}",
        story.messages.len()
    );
    let before = story
        .messages
        .iter()
        .filter(|it| it.sent < ms(4_000))
        .count();
    assert!(before * 10 > story.messages.len() * 8, "{before} before");
    assert!(story.to > ms(4_000));
    assert!(
        story.left_out.contains("of 10000 messages"),
        "{}",
        story.left_out
    );
}

#[test]
fn what_belongs_to_the_violation_stays() {
    let bounds = Bounds {
        messages_max: 100,
        others_max: 100,
    };
    let story = long().within(bounds);
    let witness = story.operations.iter().find(|it| it.witness);
    assert_eq!(witness.map(|it| it.from), Some(ms(20)));
    assert_eq!(story.from, ms(20), "the window reaches back to it");
}
