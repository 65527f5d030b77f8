use super::Bell;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_thousand_streams_are_woken_by_one_ring() {
    let bell = Arc::new(Bell::default());
    let streams: Vec<Arc<Woken>> = (0..1_000).map(|_| Arc::default()).collect();
    let ropes: Vec<Waker> = streams
        .iter()
        .map(|stream| bell.rope(&Waker::from(Arc::clone(stream))))
        .collect();
    let ringer = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&ringer));
    let mut cx = Context::from_waker(&waker);
    let mut answering = pin!(Arc::clone(&bell).answer());
    assert_eq!(answering.as_mut().poll(&mut cx), Poll::Pending);

    for round in 1..=2 {
        ropes.iter().for_each(Waker::wake_by_ref);
        assert_eq!(ringer.times(), round, "the bell is rung once");
        assert_eq!(answering.as_mut().poll(&mut cx), Poll::Pending);
        assert!(streams.iter().all(|stream| stream.times() == round));
    }
}

#[test]
fn who_rings_before_the_first_answer_is_not_forgotten() {
    let bell = Arc::new(Bell::default());
    let stream = Arc::new(Woken::default());
    bell.rope(&Waker::from(Arc::clone(&stream))).wake();
    let mut answering = pin!(Arc::clone(&bell).answer());
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(answering.as_mut().poll(&mut cx), Poll::Pending);
    assert_eq!(stream.times(), 1);
}
