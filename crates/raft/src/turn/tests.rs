use super::Turns;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[test]
fn the_turn_is_given_to_one_at_a_time_and_comes_back() {
    let turns = Turns::new();
    let turn = turns.try_take().expect("it is free");
    assert!(turns.try_take().is_none());
    let mut waiting = pin!(turns.take());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(turn);
    let Poll::Ready(turn) = waiting.as_mut().poll(&mut cx) else {
        panic!("it was given back");
    };
    assert!(turns.clone().try_take().is_none());
    drop(turn);
    assert!(turns.try_take().is_some());
}
