//! openraft's own conformance suite, on the deterministic world.

use super::{Instant, JoinError, JoinHandle, Rng, Runtime, Sleep, TimedOut, Timeout};
use openraft::AsyncRuntime;
use openraft_rt::OptionalSend;
use openraft_rt::testing::Suite;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use synod_env::sim::Sim;
use synod_env::{Env, MemberId};

/// [`Runtime`] with a world around it: members get theirs from outside.
struct Conformance {
    sim: Sim,
    env: Env,
}

impl std::fmt::Debug for Conformance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conformance")
    }
}

impl AsyncRuntime for Conformance {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = TimedOut;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Rng;
    type Mpsc = <Runtime as AsyncRuntime>::Mpsc;
    type Watch = <Runtime as AsyncRuntime>::Watch;
    type Oneshot = <Runtime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Runtime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Runtime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Runtime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Runtime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Runtime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Runtime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Runtime::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Runtime::thread_rng()
    }

    fn new(_threads: usize) -> Self {
        let sim = Sim::new(1);
        let env = sim.member(MemberId(1));
        Self { sim, env }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        let env = self.env.clone();
        let mut future = pin!(future);
        let within = poll_fn(|cx| env.enter(|| future.as_mut().poll(cx)));
        self.sim.block_on(within).expect("the suite ends")
    }
}

#[test]
fn the_runtime_passes_the_conformance_suite() {
    Suite::<Conformance>::test_all();
}

#[test]
fn a_sleep_never_ends_early() {
    let mut world = Conformance::new(1);
    for nanos in (0..40).chain([999, 1_000, 1_001, 9_999, 10_000, 10_001, 1_000_000]) {
        let start = world.sim.now();
        let mut polls = 0;
        world.block_on(async {
            let mut sleep = pin!(Runtime::sleep(Duration::from_nanos(nanos)));
            poll_fn(|cx| {
                polls += 1;
                sleep.as_mut().poll(cx)
            })
            .await;
        });
        let took = world.sim.now() - start;
        assert_eq!(took, Duration::from_nanos(nanos));
        // At first, after giving way once, and when the timer has rung.
        assert!(polls <= 3, "{polls} polls for {nanos} ns");
    }
}

#[test]
fn a_mutex_serves_in_the_order_of_asking_and_skips_who_left() {
    use openraft_rt::Mutex as _;
    let mutex = <Runtime as AsyncRuntime>::Mutex::<u32>::new(0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut first = Box::pin(mutex.lock());
    let Poll::Ready(guard) = first.as_mut().poll(&mut cx) else {
        panic!("a free mutex is given at once");
    };
    let mut second = Box::pin(mutex.lock());
    let mut third = Box::pin(mutex.lock());
    let mut fourth = Box::pin(mutex.lock());
    for waiter in [&mut second, &mut third, &mut fourth] {
        assert!(waiter.as_mut().poll(&mut cx).is_pending());
    }
    drop(guard);
    // The turn is the second's; it leaves without taking it.
    assert!(third.as_mut().poll(&mut cx).is_pending());
    drop(second);
    assert!(fourth.as_mut().poll(&mut cx).is_pending());
    let Poll::Ready(mut guard) = third.as_mut().poll(&mut cx) else {
        panic!("the third is next");
    };
    *guard += 1;
    drop(guard);
    let Poll::Ready(guard) = fourth.as_mut().poll(&mut cx) else {
        panic!("the fourth is next");
    };
    assert_eq!(*guard, 1);
}

#[test]
fn a_task_of_a_member_that_stops_is_reported_as_dropped() {
    let world = Conformance::new(1);
    let (sender, receiver) = synod_env::oneshot::channel::<()>();
    let handle = world.env.enter(|| {
        Runtime::spawn(async move {
            // Never answered: the member stops first.
            let _ended = receiver.await;
        })
    });
    world
        .sim
        .run_for(Duration::from_millis(1))
        .expect("nothing spins");
    world.sim.nemesis().crash(MemberId(1));
    assert_eq!(world.sim.block_on(handle), Ok(Err(JoinError::Dropped)));
    drop(sender);
}
