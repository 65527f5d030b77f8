//! Ending streams when the server stops, so that clients go on elsewhere.

use crate::errors;
use crate::metrics::Handling;
use futures_util::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
use synod_env::{BoxFuture, watch};
use tonic::{Code, Status};

/// Ready once the server stops.
pub(crate) struct Stop(BoxFuture<'static, ()>);

impl Stop {
    /// `stopping` turns true once, or its sender goes.
    pub(crate) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(Box::pin(stopped(stopping)))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
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

/// Ends when the server stops.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow_seen() {
        if stopping.changed().await.is_err() {
            return;
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
