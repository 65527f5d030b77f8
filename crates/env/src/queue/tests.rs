use super::{SendError, TryReceiveError, bounded};
use crate::probe::{Probe, park_on};
use crate::{MemberId, sim::Sim};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

#[test]
fn values_come_out_in_the_order_they_went_in() {
    let (sender, mut receiver) = bounded(3);
    for value in 1..=3 {
        sender.try_send(value).unwrap();
    }
    assert_eq!(sender.try_send(4), Err(SendError::Full(4)));
    assert_eq!(receiver.waiting(), 3);
    assert_eq!(receiver.try_receive(), Ok(1));
    let mut rest = vec![0];
    assert_eq!(receiver.drain(&mut rest, 9), 2);
    assert_eq!(rest, [0, 2, 3]);
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
}

#[test]
fn a_drain_takes_no_more_than_asked() {
    let (sender, mut receiver) = bounded(3);
    for value in 1..=3 {
        sender.try_send(value).unwrap();
    }
    let mut some = Vec::new();
    assert_eq!(receiver.drain(&mut some, 2), 2);
    assert_eq!(some, [1, 2]);
    assert_eq!(receiver.waiting(), 1);
}

#[test]
#[should_panic(expected = "a queue without room")]
fn a_queue_without_room_is_refused() {
    let _queue = bounded::<()>(0);
}

#[test]
fn a_value_wakes_the_receiver_once() {
    let (sender, mut receiver) = bounded(3);
    let mut receive = Probe::waiting(receiver.receive());
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(receive.wakes(), 1);
    assert_eq!(receive.poll(), Poll::Ready(Some(1)));
}

#[test]
fn the_receiver_learns_that_all_senders_are_gone_after_the_last_value() {
    let (sender, mut receiver) = bounded(1);
    let other = sender.clone();
    sender.try_send(1).unwrap();
    drop(sender);
    assert_eq!(park_on(receiver.receive()), Some(1));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
    let mut receive = Probe::waiting(receiver.receive());
    drop(other);
    assert_eq!(receive.wakes(), 1);
    assert_eq!(receive.poll(), Poll::Ready(None));
    drop(receive);
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
}

#[test]
fn a_weak_sender_does_not_keep_the_queue_open() {
    let (sender, mut receiver) = bounded(1);
    let weak = sender.downgrade();
    weak.upgrade().unwrap().try_send(1).unwrap();
    drop(sender);
    assert!(weak.upgrade().is_none());
    assert_eq!(receiver.try_receive(), Ok(1));
    assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
}

#[test]
fn senders_learn_that_the_receiver_is_gone() {
    let (sender, receiver) = bounded(1);
    sender.try_send(1).unwrap();
    let mut blocked = Probe::waiting(sender.send(2));
    drop(receiver);
    assert_eq!(blocked.wakes(), 1);
    assert_eq!(blocked.poll(), Poll::Ready(Err(SendError::Closed(2))));
    assert_eq!(sender.try_send(3), Err(SendError::Closed(3)));
    assert_eq!(park_on(sender.send(4)), Err(SendError::Closed(4)));
}

#[test]
fn blocked_senders_get_room_in_the_order_in_which_they_came() {
    let (sender, mut receiver) = bounded(1);
    sender.try_send(0).unwrap();
    let mut first = Probe::waiting(sender.send(1));
    let mut second = Probe::waiting(sender.send(2));
    assert_eq!(receiver.try_receive(), Ok(0));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    // A newcomer does not overtake who has waited.
    let mut third = Probe::waiting(sender.send(3));
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_receive(), Ok(1));
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_receive(), Ok(2));
    assert_eq!(third.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_sender_whose_room_was_taken_stays_in_front() {
    let (sender, mut receiver) = bounded(1);
    sender.try_send(0).unwrap();
    let mut first = Probe::waiting(sender.send(1));
    let mut second = Probe::waiting(sender.send(2));
    assert_eq!(receiver.try_receive(), Ok(0));
    sender.try_send(9).unwrap();
    assert!(first.poll().is_pending());
    assert_eq!(receiver.try_receive(), Ok(9));
    assert_eq!((first.wakes(), second.wakes()), (2, 0));
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert!(second.poll().is_pending());
}

#[test]
fn a_sender_that_is_cancelled_passes_its_wake_up_on() {
    let (sender, mut receiver) = bounded(1);
    sender.try_send(0).unwrap();
    let first = Probe::waiting(sender.send(1));
    let mut second = Probe::waiting(sender.send(2));
    assert_eq!(receiver.try_receive(), Ok(0));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_receive(), Ok(2));
}

#[test]
fn a_sender_that_is_cancelled_before_its_turn_is_forgotten() {
    let (sender, mut receiver) = bounded(1);
    sender.try_send(0).unwrap();
    let first = Probe::waiting(sender.send(1));
    let second = Probe::waiting(sender.send(2));
    drop(first);
    assert_eq!(second.wakes(), 0);
    assert_eq!(receiver.try_receive(), Ok(0));
    assert_eq!(second.wakes(), 1);
}

#[test]
fn a_drain_wakes_as_many_senders_as_it_made_room() {
    let (sender, mut receiver) = bounded(2);
    sender.try_send(0).unwrap();
    sender.try_send(1).unwrap();
    let blocked: Vec<_> = (2..5).map(|it| Probe::waiting(sender.send(it))).collect();
    receiver.drain(&mut Vec::new(), 2);
    let wakes: Vec<_> = blocked.iter().map(Probe::wakes).collect();
    assert_eq!(wakes, [1, 1, 0]);
}

#[test]
fn whatever_the_schedule_and_cancellations_every_value_sent_arrives_in_order() {
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let env = sim.member(MemberId(1));
        let capacity = usize::try_from(seed % 3).unwrap() + 1;
        let (sender, mut receiver) = bounded(capacity);
        let sent = Arc::new(Mutex::new(BTreeSet::new()));
        for producer in 0..4_u64 {
            let (env, sender, sent) = (env.clone(), sender.clone(), Arc::clone(&sent));
            env.clone().spawn("producer", async move {
                for number in 0..30 {
                    let patience = Duration::from_micros(env.random() % 40);
                    let value = (producer, number);
                    let wait = env.deadline(env.now() + patience, sender.send(value));
                    if let Ok(outcome) = wait.await {
                        outcome.unwrap();
                        sent.lock().unwrap().insert(value);
                    }
                }
            });
        }
        drop(sender);
        let received = sim.block_on(async {
            let mut received = Vec::new();
            while let Some(value) = receiver.receive().await {
                received.push(value);
                env.sleep(Duration::from_micros(env.random() % 15)).await;
            }
            received
        });
        let received = received.unwrap();
        for producer in 0..4 {
            let of_one = received.iter().filter(|value| value.0 == producer);
            assert!(of_one.is_sorted(), "seed {seed}: {received:?}");
        }
        let received: BTreeSet<_> = received.into_iter().collect();
        assert_eq!(received, *sent.lock().unwrap(), "seed {seed}");
    }
}

#[test]
fn threads_lose_no_value_and_no_wake_up() {
    let (sender, mut receiver) = bounded(2);
    std::thread::scope(|scope| {
        for producer in 0..4_u64 {
            let sender = sender.clone();
            scope.spawn(move || {
                for number in 0..5_000_u64 {
                    park_on(sender.send(producer * 5_000 + number)).unwrap();
                }
            });
        }
        drop(sender);
        let mut sum = 0;
        while let Some(value) = park_on(receiver.receive()) {
            sum += value;
        }
        assert_eq!(sum, 20_000 * 19_999 / 2);
    });
}
