//! Two links against each other, without a world.

use super::*;

const EVERY: Duration = Duration::from_millis(100);
const NOW: Instant = Instant::ZERO;

fn hello(number: u64, disk_id: u128, incarnation: u64) -> Hello {
    Hello {
        cluster_id: 0xc1,
        member: MemberId(number),
        disk_id,
        incarnation,
    }
}

fn link(me: Hello, other: u64) -> Link {
    Link::new(me, MemberId(other), None, EVERY, NOW)
}

/// Hands a frame over, and its replies to and fro until there is none. Returns all frames.
fn exchange(first: Option<Bytes>, to: &mut Link, back: &mut Link) -> Vec<Bytes> {
    let (mut frames, mut next) = (Vec::new(), first);
    let mut turn = [to, back];
    while let Some(frame) = next {
        next = turn[0].receive(Lane::Control, &frame).reply;
        frames.push(frame);
        turn.reverse();
    }
    frames
}

fn connect(one: &mut Link, two: &mut Link) -> Vec<Bytes> {
    let first = one.say_hello(Instant::NEVER);
    exchange(first, two, one)
}

#[test]
fn four_hellos_make_a_session_whoever_begins() {
    let (mut one, mut two) = (link(hello(1, 11, 1), 2), link(hello(2, 22, 1), 1));
    assert_eq!(connect(&mut one, &mut two).len(), 4);
    assert!(one.is_linked() && two.is_linked());
    assert_eq!((one.hello_due(), two.hello_due()), (None, None));
    assert_eq!(one.disk_id(), Some(22));
}

#[test]
fn both_can_begin_at_once_and_every_frame_can_come_twice() {
    let (mut one, mut two) = (link(hello(1, 11, 1), 2), link(hello(2, 22, 1), 1));
    let (first, second) = (one.say_hello(NOW), two.say_hello(NOW));
    let mut frames = exchange(first, &mut two, &mut one);
    frames.extend(exchange(second, &mut one, &mut two));
    assert!(one.is_linked() && two.is_linked());
    let session = one.session();
    for frame in &frames {
        for link in [&mut one, &mut two] {
            let step = link.receive(Lane::Control, frame);
            assert!(step.ended.is_none() && !step.linked, "{step:?}");
        }
    }
    assert_eq!(one.session(), session);
}

#[test]
fn a_session_needs_the_last_hello_and_it_is_repeated_until_it_comes() {
    let (mut one, mut two) = (link(hello(1, 11, 1), 2), link(hello(2, 22, 1), 1));
    let first = one.say_hello(NOW).expect("due from the beginning");
    assert_eq!(one.say_hello(NOW), None);
    let second = two.receive(Lane::Control, &first).reply.expect("an echo");
    let third = one.receive(Lane::Control, &second).reply.expect("accepted");
    let fourth = two.receive(Lane::Control, &third);
    assert!(fourth.linked && two.is_linked());
    // The fourth is lost.
    assert!(!one.is_linked());
    assert_eq!(one.hello_due(), Some(NOW + EVERY));
    assert_eq!(connect(&mut one, &mut two).len(), 2);
    assert!(one.is_linked());
}

#[test]
fn a_hello_of_a_life_that_is_over_changes_nothing() {
    let mut one = link(hello(1, 11, 1), 2);
    let mut old = link(hello(2, 22, 1), 1);
    let old_frames = connect(&mut one, &mut old);
    let mut new = link(hello(2, 22, 2), 1);
    connect(&mut new, &mut one);
    let session = one.session();
    assert_eq!(session, Some(frame_session(&one, hello(2, 22, 2))));
    for frame in &old_frames {
        let step = one.receive(Lane::Control, frame);
        assert!(step.ended.is_none(), "{step:?}");
    }
    assert_eq!(one.session(), session);
    // And a life that has only just begun does not take one for its partner that is over.
    let mut reborn = link(hello(1, 11, 2), 2);
    for frame in &old_frames {
        let step = reborn.receive(Lane::Control, frame);
        assert!(!step.linked, "{step:?}");
    }
    assert_eq!(reborn.disk_id(), None);
}

fn frame_session(link: &Link, other: Hello) -> u64 {
    let me = (link.me.member, link.me.life());
    session(0xc1, me, (other.member, other.life()))
}

#[test]
fn a_disk_that_was_replaced_does_not_come_back() {
    let mut one = link(hello(1, 11, 1), 2);
    let (mut first, mut second) = (link(hello(2, 22, 7), 1), link(hello(2, 33, 1), 1));
    let frames = connect(&mut first, &mut one);
    connect(&mut second, &mut one);
    assert_eq!(one.disk_id(), Some(33));
    for frame in &frames {
        one.receive(Lane::Control, frame);
    }
    connect(&mut first, &mut one);
    assert_eq!(one.disk_id(), Some(33));
    assert!(one.is_linked());
}

#[test]
fn no_more_disks_than_a_bound_replace_each_other() {
    let mut one = link(hello(1, 11, 1), 2);
    for disk_id in 0..=16 {
        let mut other = link(hello(2, 100 + disk_id, 1), 1);
        connect(&mut other, &mut one);
        assert_eq!(one.disk_id(), Some(100 + disk_id));
    }
    let mut other = link(hello(2, 200, 1), 1);
    connect(&mut other, &mut one);
    assert!(!other.is_linked());
    assert_eq!(one.disk_id(), Some(116));
}

#[test]
fn a_disk_on_record_is_the_only_one() {
    let mut one = link(hello(1, 11, 1), 2);
    let mut first = link(hello(2, 22, 1), 1);
    connect(&mut first, &mut one);
    one.put_on_record();
    let mut second = link(hello(2, 33, 1), 1);
    let greeting = second.say_hello(NOW).expect("due from the beginning");
    let refusal = one.receive(Lane::Control, &greeting);
    assert!(matches!(
        refusal.outcome,
        Outcome::Dropped(Dropped::Refused)
    ));
    let told = second.receive(Lane::Control, &refusal.reply.expect("a refusal"));
    let on_record = Reason::OtherDisk { on_record: 22 };
    assert!(matches!(told.outcome, Outcome::RefusedBy(reason) if reason == on_record));
    assert!(one.is_linked(), "with the disk on record");
}

#[test]
fn a_refusal_of_another_life_means_nothing() {
    let mut second = link(hello(2, 33, 2), 1);
    let refused = HelloFrame {
        cluster_id: 0xc1,
        from: MemberId(2),
        to: MemberId(1),
        life: hello(2, 33, 1).life(),
        echo: None,
    };
    let refusal = refuse(&hello(1, 11, 1), &refused, Reason::NoMember);
    let step = second.receive(Lane::Control, &refusal);
    assert!(matches!(step.outcome, Outcome::Dropped(Dropped::Stale)));
}

#[test]
fn a_message_of_another_lane_than_it_was_numbered_in_is_dropped() {
    let (mut one, mut two) = (link(hello(1, 11, 1), 2), link(hello(2, 22, 1), 1));
    connect(&mut one, &mut two);
    let number = one.number(Lane::Append).expect("linked");
    let frame = encode(Kind::Tell, 0, Lane::Append, number, 0, Bytes::new());
    let step = two.receive(Lane::Bulk, &frame);
    assert!(matches!(step.outcome, Outcome::Dropped(Dropped::Stale)));
    let step = two.receive(Lane::Append, &frame);
    assert!(matches!(step.outcome, Outcome::Message(_)));
    let step = two.receive(Lane::Append, &frame);
    assert!(matches!(step.outcome, Outcome::Dropped(Dropped::Duplicate)));
}
