//! Ending connections, streams and waits from the server's side: when it stops, so that clients go
//! on elsewhere, and when it knows no leader and the client insists on one.

use crate::Server;
use crate::call::Call;
use crate::errors::{self, Error};
use crate::metrics::Handling;
use futures_util::Stream;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tonic::{Code, Status};

/// Tells everyone at once that the server stops. Connections and streams ask each time they are
/// polled, so asking costs no lock.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    begun: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tickets: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Stopping {
    /// The server stops from here on.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        let wakers = std::mem::take(&mut self.lock().wakers);
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ready once the server stops.
#[derive(Debug)]
pub(crate) struct Stop {
    stopping: Arc<Stopping>,
    /// The place among those that wait, and the waker left there.
    waits: Option<(u64, Waker)>,
}

impl Stop {
    pub(crate) fn new(stopping: &Arc<Stopping>) -> Self {
        Self {
            stopping: Arc::clone(stopping),
            waits: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let known = self
            .waits
            .as_ref()
            .is_some_and(|(_, waker)| waker.will_wake(cx.waker()));
        if !known {
            let mut waiting = self.stopping.lock();
            let ticket = match &self.waits {
                Some((ticket, _)) => *ticket,
                None => {
                    waiting.tickets += 1;
                    waiting.tickets
                }
            };
            waiting.wakers.insert(ticket, cx.waker().clone());
            self.waits = Some((ticket, cx.waker().clone()));
        }
        // After the waker is left, so that no stop falls between the two.
        if self.stopping.begun.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some((ticket, _)) = self.waits {
            self.stopping.lock().wakers.remove(&ticket);
        }
    }
}

/// Tells those who insist on a leader, each time that none has been known for too long. Whoever
/// comes later waits for the next time.
#[derive(Debug, Default)]
pub(crate) struct Leaderless(Mutex<Arc<Stopping>>);

impl Leaderless {
    fn next(&self) -> Stop {
        Stop::new(&self.lock())
    }

    fn tell(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        waiting.begin();
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Stopping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Looks after the leader for ever. Beyond [`crate::Config::leaderless_max`] without one, it
    /// tells those who insist on one, again and again: some may have come in between.
    pub(crate) async fn watch_leader(&self) -> Infallible {
        let leaderless_max = self.config.leaderless_max;
        let mut seen = self.node.now();
        loop {
            self.node.env().sleep(leaderless_max / LOOKS).await;
            let now = self.node.now();
            if self.node.status().leader.is_some() {
                seen = now;
            } else if now.saturating_since(seen) >= leaderless_max {
                self.leaderless.tell();
            }
        }
    }
}

/// So many looks after the leader within the longest time without one.
const LOOKS: u32 = 10;

/// What ends a stream or a wait from the server's side.
#[derive(Debug)]
pub(crate) struct End {
    stop: Stop,
    /// Only if the client insists on a leader.
    leaderless: Option<Stop>,
}

impl End {
    pub(crate) fn new(server: &Server, call: &Call) -> Self {
        Self {
            stop: Stop::new(&server.stopping),
            leaderless: call.require_leader.then(|| server.leaderless.next()),
        }
    }

    /// Ready, with what the client is told, once it has to go on elsewhere.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.stop.poll(cx).is_ready() {
            return Poll::Ready(errors::STOPPED);
        }
        match &mut self.leaderless {
            Some(leaderless) => leaderless.poll(cx).map(|()| errors::NO_LEADER),
            None => Poll::Pending,
        }
    }

    /// What `wait` comes to, unless it has to end before.
    pub(crate) async fn or<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Error> {
        let mut wait = pin!(wait);
        poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }

    /// The items of `stream` until it has to end, and then the error that says why.
    pub(crate) fn after<S>(self, stream: S, handling: Handling) -> Until<S> {
        Until {
            stream: Box::pin(stream),
            end: self,
            handling,
            over: false,
        }
    }
}

/// See [`End::after`].
pub(crate) struct Until<S> {
    stream: Pin<Box<S>>,
    end: End,
    handling: Handling,
    over: bool,
}

impl<T, S: Stream<Item = Result<T, Status>>> Stream for Until<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let next = match this.stream.as_mut().poll_next(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => match this.end.poll(cx) {
                Poll::Ready(error) => Some(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            },
        };
        match &next {
            Some(Ok(_)) => {}
            Some(Err(status)) => {
                this.over = true;
                this.handling.end(status.code());
            }
            None => {
                this.over = true;
                this.handling.end(Code::Ok);
            }
        }
        Poll::Ready(next)
    }
}
