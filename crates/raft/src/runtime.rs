//! openraft's runtime on [`synod_env`]: its tasks, timers, channels and randomness are the
//! member's own.
//!
//! openraft asks for the time and spawns tasks through static functions, so they find the
//! member in a thread-local ([`synod_env::current`]), which the world sets around every poll and
//! drop of a member's task. Outside of one they panic: a reading of some other member's clock
//! would be a silent error.

mod channels;
mod mutex;

use channels::{Mpsc, Oneshot, Watch};
use mutex::Mutex;
use openraft::AsyncRuntime;
use openraft_rt::{MpscReceiver as _, OptionalSend, TryRecvError};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_env::{BoxFuture, Env, oneshot};

/// A sleep shorter than this gives way to other tasks until it is over, instead of arming a timer.
///
/// openraft's flush forwarder sleeps one microsecond to collect completions; the timers of real
/// executors round that up to a millisecond, which would be ten times the cost of the disk.
///
/// It must not end early all the same: openraft's ticks compute the next deadline from the clock,
/// and would find the same one again and again. So where the clock does not move while tasks
/// run, which is so in the deterministic world, a timer is armed after giving way once.
const TIMER_RESOLUTION: Duration = Duration::from_micros(10);

/// The runtime that the type configuration names. It holds nothing: everything is in the world.
#[derive(Debug)]
pub(crate) struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = TimedOut;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Rng;
    type Mpsc = Mpsc;
    type Watch = Watch;
    type Oneshot = Oneshot;
    type Mutex<T: OptionalSend + 'static> = Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let mut end = TaskEnd(Some(sender));
        synod_env::current().spawn("raft", async move {
            let value = future.await;
            end.report(Ok(value));
        });
        JoinHandle(receiver)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Sleep::until(<Instant as openraft::Instant>::now() + duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Sleep::until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Self::timeout_at(<Instant as openraft::Instant>::now() + duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Timeout {
            future: Box::pin(future),
            sleep: Sleep::until(deadline),
        }
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        match join_error {
            JoinError::Panicked => true,
            JoinError::Dropped => false,
        }
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Rng
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    /// Never called by openraft; for its conformance suite there is a runtime in `tests`.
    ///
    /// # Panics
    /// Always: a member's tasks are run by its world.
    fn block_on<F, T>(&mut self, _future: F) -> T
    where
        F: Future<Output = T>,
    {
        panic!("a member's tasks are run by its world, never from inside a task");
    }

    async fn mpsc_recv_deadline<T: OptionalSend>(
        receiver: &mut channels::Receiver<T>,
        deadline: Self::Instant,
    ) -> Result<T, TryRecvError> {
        match receiver.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Disconnected) => Err(TryRecvError::Disconnected),
            Err(TryRecvError::Empty) if <Instant as openraft::Instant>::now() >= deadline => {
                Err(TryRecvError::Empty)
            }
            Err(TryRecvError::Empty) => match Self::timeout_at(deadline, receiver.recv()).await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(TryRecvError::Disconnected),
                Err(TimedOut) => Err(TryRecvError::Empty),
            },
        }
    }
}

/// A point on the member's timer clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(synod_env::Instant);

impl openraft::Instant for Instant {
    fn now() -> Self {
        Self(synod_env::with_current(Env::now))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0 + after)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, after: Duration) {
        *self = *self + after;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, before: Duration) -> Self {
        Self(self.0 - before)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, before: Duration) {
        *self = *self - before;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if `earlier` is not earlier.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_since(earlier.0)
    }
}

/// Ends at a point on the member's timer clock.
pub(crate) struct Sleep(Nap);

enum Nap {
    /// The timer is not armed before the first poll: many sleeps lose their race at once.
    Unpolled(Instant),
    Timer(BoxFuture<'static, ()>),
    /// Shorter than a timer can be: gives way to others.
    GivingWay {
        deadline: Instant,
        /// The clock at the last poll.
        seen: Instant,
    },
}

impl Nap {
    fn timer(deadline: Instant) -> Self {
        Self::Timer(synod_env::with_current(|env| env.sleep_until(deadline.0)))
    }
}

impl Sleep {
    const fn until(deadline: Instant) -> Self {
        Self(Nap::Unpolled(deadline))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Nap::Unpolled(deadline) = self.0 {
            let now = <Instant as openraft::Instant>::now();
            let left = deadline - now;
            if left.is_zero() {
                return Poll::Ready(());
            }
            if left < TIMER_RESOLUTION {
                let seen = now;
                self.0 = Nap::GivingWay { deadline, seen };
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.0 = Nap::timer(deadline);
        }
        if let Nap::GivingWay { deadline, seen } = self.0 {
            let now = <Instant as openraft::Instant>::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            if now > seen {
                let seen = now;
                self.0 = Nap::GivingWay { deadline, seen };
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.0 = Nap::timer(deadline);
        }
        match &mut self.0 {
            Nap::Timer(timer) => timer.as_mut().poll(cx),
            Nap::Unpolled(_) | Nap::GivingWay { .. } => {
                unreachable!("a sleep that goes on has a timer by now")
            }
        }
    }
}

/// A future with a deadline; one that is ready counts even at its deadline.
pub(crate) struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline passed")
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(cx).map(|()| Err(TimedOut))
    }
}

/// Awaits a task's end; dropping it lets the task go on.
pub(crate) struct JoinHandle<T>(oneshot::Receiver<Result<T, JoinError>>);

/// Why a task has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// It panicked.
    Panicked,
    /// It was dropped, as happens to all tasks when the member stops.
    Dropped,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "task panicked",
            Self::Dropped => "task dropped",
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|end| end.unwrap_or(Err(JoinError::Dropped)))
    }
}

/// Lives in a task and reports how it ended, whichever way that was.
struct TaskEnd<T>(Option<oneshot::Sender<Result<T, JoinError>>>);

impl<T> TaskEnd<T> {
    fn report(&mut self, end: Result<T, JoinError>) {
        if let Some(sender) = self.0.take() {
            // Nobody may be waiting: most tasks are never joined.
            drop(sender.send(end));
        }
    }
}

impl<T> Drop for TaskEnd<T> {
    fn drop(&mut self) {
        self.report(Err(if std::thread::panicking() {
            JoinError::Panicked
        } else {
            JoinError::Dropped
        }));
    }
}

/// Draws from the member's world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rng;

impl rand_core::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let [a, b, c, d, ..] = synod_env::with_current(Env::random).to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(synod_env::with_current(Env::random))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        for chunk in into.chunks_mut(8) {
            let bytes = synod_env::with_current(Env::random).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
