//! The client's door to the world: clocks, randomness, tasks.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use synod_env::{Instant, Prng, Reading};
use synod_host::machine;
use tokio::task::JoinHandle;

/// Sees to it that the clocks can be read later without looking for errors.
pub(crate) fn check() -> std::io::Result<()> {
    machine::check()
}

/// The timer clock.
pub(crate) fn now() -> Instant {
    machine::now()
}

/// The decision clock.
pub(crate) fn clock() -> Reading {
    machine::clock()
}

/// A generator that no other client has.
pub(crate) fn prng() -> Prng {
    Prng::new(machine::random())
}

/// What `wait` ends with, or `None` if that has not happened at `until`. What is there already
/// counts before the clock does.
pub(crate) async fn until<T>(until: Instant, wait: impl Future<Output = T>) -> Option<T> {
    let mut wait = pin!(wait);
    let mut sleep = pin!(machine::sleep_until(until));
    std::future::poll_fn(|cx| match wait.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A task on the current tokio runtime.
#[expect(clippy::disallowed_methods, reason = "the client's door for tasks")]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(task)
}
