use super::{Dropped, channel};
use crate::probe::{Probe, park_on};
use std::sync::Arc;
use std::task::Poll;

#[test]
fn a_value_wakes_who_awaits_it() {
    let (sender, receiver) = channel();
    let mut wait = Probe::waiting(receiver);
    assert_eq!(sender.send(5), Ok(()));
    assert_eq!(wait.wakes(), 1);
    assert_eq!(wait.poll(), Poll::Ready(Ok(5)));
}

#[test]
fn a_value_that_came_first_waits() {
    let (sender, mut receiver) = channel();
    assert_eq!(receiver.try_receive(), None);
    assert_eq!(sender.send(5), Ok(()));
    assert_eq!(receiver.try_receive(), Some(5));
}

#[test]
fn a_sender_that_goes_without_a_value_is_noticed() {
    let (sender, receiver) = channel::<()>();
    let mut wait = Probe::waiting(receiver);
    drop(sender);
    assert_eq!(wait.wakes(), 1);
    assert_eq!(wait.poll(), Poll::Ready(Err(Dropped)));
}

#[test]
fn a_value_nobody_awaits_comes_back() {
    let (sender, receiver) = channel();
    assert!(!sender.is_abandoned());
    drop(receiver);
    assert!(sender.is_abandoned());
    assert_eq!(sender.send(5), Err(5));
}

#[test]
fn a_value_nobody_took_is_dropped_with_the_receiver() {
    let value = Arc::new(());
    let (sender, receiver) = channel();
    sender.send(Arc::clone(&value)).unwrap();
    assert_eq!(Arc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_receiver_that_moves_to_another_task_is_woken_there() {
    let (sender, mut receiver) = channel();
    let first = Probe::waiting(&mut receiver);
    let abandoned = first.wakes();
    drop(first);
    let second = Probe::waiting(&mut receiver);
    sender.send(5).unwrap();
    assert_eq!((abandoned, second.wakes()), (0, 1));
}

#[test]
fn values_cross_threads() {
    std::thread::scope(|scope| {
        for value in 0..2_000 {
            let (sender, receiver) = channel();
            let wait = scope.spawn(move || park_on(receiver));
            sender.send(value).unwrap();
            assert_eq!(wait.join().unwrap(), Ok(value));
        }
    });
}
