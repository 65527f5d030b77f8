//! One value from one task to another, for any executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct Shared<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
    receiver_gone: bool,
}

struct Core<T>(Mutex<Shared<T>>);

impl<T> Core<T> {
    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that gives the value; dropped without it, the receiver learns [`Dropped`].
pub struct Sender<T>(Arc<Core<T>>);

/// The end that awaits the value.
pub struct Receiver<T>(Arc<Core<T>>);

/// The sender went without giving a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

/// A connected pair.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(Core(Mutex::new(Shared {
        value: None,
        waker: None,
        sender_gone: false,
        receiver_gone: false,
    })));
    (Sender(Arc::clone(&core)), Receiver(core))
}

impl<T> Sender<T> {
    /// Gives the value.
    ///
    /// # Errors
    /// The value, if nobody awaits it any more.
    pub fn send(self, value: T) -> Result<(), T> {
        let waker = {
            let mut shared = self.0.lock();
            if shared.receiver_gone {
                return Err(value);
            }
            shared.value = Some(value);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// True once the receiver is gone, so that work for it can be saved.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.lock().receiver_gone
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut shared = self.0.lock();
            shared.sender_gone = true;
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The value, if it has come.
    pub fn try_receive(&mut self) -> Option<T> {
        self.0.lock().value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Dropped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.0.lock();
        if let Some(value) = shared.value.take() {
            return Poll::Ready(Ok(value));
        }
        if shared.sender_gone {
            return Poll::Ready(Err(Dropped));
        }
        shared.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let value = {
            let mut shared = self.0.lock();
            shared.receiver_gone = true;
            shared.value.take()
        };
        drop(value);
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests;
