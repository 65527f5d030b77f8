//! The latest value of something, for any number of observers, for any executor.
//!
//! Observers are woken in the order in which they began to wait.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

struct Core<T> {
    value: RwLock<(u64, T)>,
    wakers: Mutex<Wakers>,
}

struct Wakers {
    waiting: Vec<(u64, Waker)>,
    next_observer: u64,
    senders: usize,
    receivers: usize,
}

impl<T> Core<T> {
    fn read(&self) -> RwLockReadGuard<'_, (u64, T)> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.wakers().waiting);
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

/// Sets the value; clones set the same one.
pub struct Sender<T>(Arc<Core<T>>);

/// Observes the value; a clone observes on its own from where this one is.
pub struct Receiver<T> {
    core: Arc<Core<T>>,
    observer: u64,
    seen: u64,
}

/// A borrowed value. It holds a lock: keep it only for a moment, never across an await.
pub struct Ref<'a, T>(RwLockReadGuard<'a, (u64, T)>);

/// Every sender is gone: the value is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A value with its first observer.
#[must_use]
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(Core {
        value: RwLock::new((0, initial)),
        wakers: Mutex::new(Wakers {
            waiting: Vec::new(),
            next_observer: 1,
            senders: 1,
            receivers: 1,
        }),
    });
    (
        Sender(Arc::clone(&core)),
        Receiver {
            core,
            observer: 0,
            seen: 0,
        },
    )
}

impl<T> Sender<T> {
    /// Sets the value and wakes whoever waits.
    pub fn send(&self, value: T) {
        // What was there before is dropped without the lock: its destructor may look here.
        let mut value = value;
        self.send_if(|current| {
            std::mem::swap(current, &mut value);
            true
        });
    }

    /// Lets `modify` change the value; if it says that it did, wakes whoever waits.
    pub fn send_if(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = {
            let mut guard = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
            let changed = modify(&mut guard.1);
            if changed {
                guard.0 += 1;
            }
            changed
        };
        if changed {
            self.0.wake_all();
        }
        changed
    }

    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.read())
    }

    /// True while somebody observes.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.0.wakers().receivers > 0
    }

    /// A new observer that has seen the present value.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.read().0;
        observe(&self.0, seen)
    }
}

fn observe<T>(core: &Arc<Core<T>>, seen: u64) -> Receiver<T> {
    let mut wakers = core.wakers();
    let observer = wakers.next_observer;
    wakers.next_observer += 1;
    wakers.receivers += 1;
    drop(wakers);
    Receiver {
        core: Arc::clone(core),
        observer,
        seen,
    }
}

impl<T> Receiver<T> {
    /// The value now. It still counts as unseen.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.core.read())
    }

    /// The value now, which then counts as seen.
    pub fn borrow_seen(&mut self) -> Ref<'_, T> {
        let guard = self.core.read();
        self.seen = guard.0;
        Ref(guard)
    }

    /// Ends when the value differs from what was seen last, which then counts as seen.
    ///
    /// # Errors
    /// [`Closed`] when every sender is gone and there is nothing new.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// As [`Receiver::changed`].
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        // The waker is registered before the look, so that no change falls between the two.
        let closed = {
            let mut wakers = self.core.wakers();
            match wakers
                .waiting
                .iter_mut()
                .find(|(held, _)| *held == self.observer)
            {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None => wakers.waiting.push((self.observer, cx.waker().clone())),
            }
            wakers.senders == 0
        };
        let version = self.core.read().0;
        if version == self.seen && !closed {
            return Poll::Pending;
        }
        self.core
            .wakers()
            .waiting
            .retain(|(held, _)| *held != self.observer);
        if version == self.seen {
            return Poll::Ready(Err(Closed));
        }
        self.seen = version;
        Poll::Ready(Ok(()))
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.wakers().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let last = {
            let mut wakers = self.0.wakers();
            wakers.senders -= 1;
            wakers.senders == 0
        };
        if last {
            self.0.wake_all();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        observe(&self.core, self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut wakers = self.core.wakers();
        wakers.receivers -= 1;
        wakers.waiting.retain(|(held, _)| *held != self.observer);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests;
