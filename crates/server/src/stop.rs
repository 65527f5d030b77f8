//! Ending connections and streams when the server stops, so that clients go on elsewhere.

use crate::errors;
use crate::metrics::Handling;
use futures_util::Stream;
use std::collections::BTreeMap;
use std::pin::Pin;
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

    /// The items of `stream` until the server stops, and then an error that has the client go on
    /// elsewhere.
    pub(crate) fn or<S>(self, stream: S, handling: Handling) -> Until<S> {
        Until {
            stream: Box::pin(stream),
            stop: self,
            handling,
            over: false,
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

/// See [`Stop::or`].
pub(crate) struct Until<S> {
    stream: Pin<Box<S>>,
    stop: Stop,
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
            Poll::Pending => match this.stop.poll(cx) {
                Poll::Ready(()) => Some(Err(errors::STOPPED.into())),
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
