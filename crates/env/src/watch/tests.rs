use super::{Closed, channel};
use crate::probe::{Probe, park_on};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

#[test]
fn a_change_wakes_every_observer_once() {
    let (sender, mut first) = channel(0);
    let mut second = sender.subscribe();
    let mut waits = [
        Probe::waiting(first.changed()),
        Probe::waiting(second.changed()),
    ];
    sender.send(1);
    sender.send(2);
    for wait in &mut waits {
        assert_eq!(wait.wakes(), 1);
        assert_eq!(wait.poll(), Poll::Ready(Ok(())));
    }
    drop(waits);
    assert_eq!((*first.borrow(), *second.borrow()), (2, 2));
}

#[test]
fn a_change_before_the_wait_ends_it_at_once() {
    let (sender, mut receiver) = channel(0);
    sender.send(1);
    assert_eq!(park_on(receiver.changed()), Ok(()));
    let wait = Probe::waiting(receiver.changed());
    assert_eq!(wait.wakes(), 0);
}

#[test]
fn looking_counts_as_seeing_only_where_it_says_so() {
    let (sender, mut receiver) = channel(0);
    sender.send(1);
    assert_eq!(*receiver.borrow(), 1);
    assert!(Probe::new(receiver.changed()).poll().is_ready());
    sender.send(2);
    assert_eq!(*receiver.borrow_seen(), 2);
    assert!(Probe::new(receiver.changed()).poll().is_pending());
}

#[test]
fn a_modification_that_changes_nothing_wakes_nobody() {
    let (sender, mut receiver) = channel(0);
    let mut wait = Probe::waiting(receiver.changed());
    assert!(!sender.send_if(|_| false));
    assert_eq!(wait.wakes(), 0);
    let raise = |value: &mut u32| {
        *value += 1;
        true
    };
    assert!(sender.send_if(raise));
    assert_eq!(wait.poll(), Poll::Ready(Ok(())));
    drop(wait);
    assert_eq!(*sender.borrow(), 1);
}

#[test]
fn a_clone_observes_from_where_its_original_is() {
    let (sender, receiver) = channel(0);
    sender.send(1);
    let mut clone = receiver.clone();
    assert!(Probe::new(clone.changed()).poll().is_ready());
    let mut fresh = sender.subscribe();
    assert!(Probe::new(fresh.changed()).poll().is_pending());
}

#[test]
fn the_last_value_is_seen_before_the_end() {
    let (sender, mut receiver) = channel(0);
    let other = sender.clone();
    drop(sender);
    let mut wait = Probe::waiting(receiver.changed());
    other.send(1);
    drop(other);
    assert_eq!(wait.poll(), Poll::Ready(Ok(())));
    drop(wait);
    assert_eq!(park_on(receiver.changed()), Err(Closed));
    assert_eq!(*receiver.borrow(), 1);
}

#[test]
fn the_end_wakes_who_waits() {
    let (sender, mut receiver) = channel(0);
    let mut wait = Probe::waiting(receiver.changed());
    drop(sender);
    assert_eq!(wait.wakes(), 1);
    assert_eq!(wait.poll(), Poll::Ready(Err(Closed)));
}

#[test]
fn a_sender_knows_whether_somebody_observes() {
    let (sender, receiver) = channel(0);
    let other = receiver.clone();
    drop(receiver);
    assert!(sender.is_observed());
    drop(other);
    assert!(!sender.is_observed());
    drop(sender.subscribe());
    assert!(!sender.is_observed());
}

/// Notes its number when it is woken.
struct Note(Arc<Mutex<Vec<u32>>>, u32);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(self.1);
    }
}

#[test]
fn observers_are_woken_in_the_order_in_which_they_began_to_wait() {
    let (sender, _) = channel(0);
    let woken = Arc::default();
    let mut observers: Vec<_> = (0..5).map(|_| sender.subscribe()).collect();
    let mut wait = |number: usize| {
        let mark = u32::try_from(number).unwrap();
        let waker = Waker::from(Arc::new(Note(Arc::clone(&woken), mark)));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(observers[number].poll_changed(&mut cx).is_pending());
    };
    for number in [3, 1, 4, 0, 2, 1, 3] {
        wait(number);
    }
    sender.send(1);
    assert_eq!(*woken.lock().unwrap(), [3, 1, 4, 0, 2]);
}

#[test]
fn an_observer_that_is_dropped_is_not_woken() {
    let (sender, mut receiver) = channel(0);
    let wait = Probe::waiting(receiver.changed());
    let wakes = wait.wakes();
    drop(wait);
    drop(receiver);
    sender.send(1);
    assert_eq!(wakes, 0);
    assert!(!sender.is_observed());
}

/// A value whose destructor looks at the watch that held it.
struct Nosy(Option<super::Receiver<Self>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            let Self(inner) = &*watch.borrow();
            assert!(inner.is_none());
        }
    }
}

#[test]
fn a_value_is_replaced_before_it_is_dropped() {
    let (sender, receiver) = channel(Nosy(None));
    sender.send(Nosy(Some(receiver)));
    sender.send(Nosy(None));
    assert!(!sender.is_observed());
}

#[test]
fn threads_see_the_last_value() {
    let (sender, receiver) = channel(0_u32);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut receiver = receiver.clone();
            scope.spawn(move || {
                let mut last = 0;
                while park_on(receiver.changed()).is_ok() {
                    let value = *receiver.borrow_seen();
                    assert!(value >= last, "{value} after {last}");
                    last = value;
                }
                assert_eq!(*receiver.borrow(), 10_000);
            });
        }
        for value in 1..=10_000 {
            sender.send(value);
        }
        drop(sender);
    });
}
