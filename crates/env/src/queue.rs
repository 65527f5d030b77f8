//! A bounded queue with many senders and one receiver, for any executor.
//!
//! It wakes in the order of arrival and draws no random number, so that a simulated run is the
//! same each time. The receiver takes everything that waits in one go ([`Receiver::drain`]):
//! that is how batches form by themselves under load.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct Shared<T> {
    items: VecDeque<T>,
    capacity: usize,
    receiver: Option<Waker>,
    blocked: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    senders: usize,
    receiver_gone: bool,
}

struct Core<T>(Mutex<Shared<T>>);

impl<T> Core<T> {
    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a value was not queued; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The queue holds as many values as it may.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

/// Why there is nothing to receive now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryReceiveError {
    /// Nothing waits.
    Empty,
    /// Nothing waits and every sender is gone.
    Closed,
}

/// A queue that holds at most `capacity` values.
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a queue without room delivers nothing");
    let core = Arc::new(Core(Mutex::new(Shared {
        items: VecDeque::new(),
        capacity,
        receiver: None,
        blocked: VecDeque::new(),
        next_ticket: 0,
        senders: 1,
        receiver_gone: false,
    })));
    (Sender(Arc::clone(&core)), Receiver(core))
}

/// The end that queues values; clones share it.
pub struct Sender<T>(Arc<Core<T>>);

/// A [`Sender`] that does not keep the queue open.
pub struct WeakSender<T>(Arc<Core<T>>);

/// The end that takes values.
pub struct Receiver<T>(Arc<Core<T>>);

impl<T> Sender<T> {
    /// Queues a value if there is room.
    ///
    /// # Errors
    /// [`SendError`] with the value.
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        let waker = {
            let mut shared = self.0.lock();
            if shared.receiver_gone {
                return Err(SendError::Closed(value));
            }
            if shared.items.len() >= shared.capacity {
                return Err(SendError::Full(value));
            }
            shared.items.push_back(value);
            shared.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Queues a value, waiting for room.
    ///
    /// # Errors
    /// [`SendError::Closed`] with the value.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(value);
        let mut place = Place {
            core: &self.0,
            ticket: None,
        };
        poll_fn(|cx| {
            let mut shared = self.0.lock();
            let Some(item) = value.take() else {
                return Poll::Ready(Ok(()));
            };
            if shared.receiver_gone {
                return Poll::Ready(Err(SendError::Closed(item)));
            }
            // Room is for those who waited first; they have been woken and will take it.
            let is_next = place.ticket.is_some() || shared.blocked.is_empty();
            if is_next && shared.items.len() < shared.capacity {
                shared.items.push_back(item);
                let waker = shared.receiver.take();
                drop(shared);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return Poll::Ready(Ok(()));
            }
            value = Some(item);
            place.wait(&mut shared, cx);
            Poll::Pending
        })
        .await
    }

    /// A handle that does not keep the queue open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender(Arc::clone(&self.0))
    }
}

/// A blocked sender's place; given up when its future is dropped, passing the wake-up on.
struct Place<'a, T> {
    core: &'a Core<T>,
    ticket: Option<u64>,
}

impl<T> Place<'_, T> {
    fn wait(&mut self, shared: &mut Shared<T>, cx: &Context<'_>) {
        let ticket = self.ticket.unwrap_or_else(|| {
            shared.next_ticket += 1;
            shared.next_ticket
        });
        self.ticket = Some(ticket);
        // Whoever was woken and found the room taken is in front again.
        let blocked = &mut shared.blocked;
        match blocked.binary_search_by_key(&ticket, |(held, _)| *held) {
            Ok(at) => blocked[at].1.clone_from(cx.waker()),
            Err(at) => blocked.insert(at, (ticket, cx.waker().clone())),
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let next = {
            let mut shared = self.core.lock();
            shared.blocked.retain(|(held, _)| *held != ticket);
            if shared.items.len() < shared.capacity {
                wake_one(&mut shared)
            } else {
                None
            }
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

fn wake_one<T>(shared: &mut Shared<T>) -> Option<Waker> {
    shared.blocked.pop_front().map(|(_, waker)| waker)
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut shared = self.0.lock();
            shared.senders -= 1;
            if shared.senders == 0 {
                shared.receiver.take()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> WeakSender<T> {
    /// A sender, unless every other sender is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Sender<T>> {
        let mut shared = self.0.lock();
        if shared.senders == 0 {
            return None;
        }
        shared.senders += 1;
        drop(shared);
        Some(Sender(Arc::clone(&self.0)))
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Receiver<T> {
    /// The next value, or `None` once every sender is gone and nothing waits.
    pub async fn receive(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The next value, as [`Receiver::receive`].
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let (value, waker) = {
            let mut shared = self.0.lock();
            match shared.items.pop_front() {
                Some(value) => (Some(value), wake_one(&mut shared)),
                None if shared.senders == 0 => (None, None),
                None => {
                    match &mut shared.receiver {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => shared.receiver = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(value)
    }

    /// The next value if one waits.
    ///
    /// # Errors
    /// [`TryReceiveError`].
    pub fn try_receive(&mut self) -> Result<T, TryReceiveError> {
        let (value, waker) = {
            let mut shared = self.0.lock();
            match shared.items.pop_front() {
                Some(value) => (value, wake_one(&mut shared)),
                None if shared.senders == 0 => return Err(TryReceiveError::Closed),
                None => return Err(TryReceiveError::Empty),
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(value)
    }

    /// Moves up to `most` waiting values to the end of `into`; returns how many.
    pub fn drain(&mut self, into: &mut Vec<T>, most: usize) -> usize {
        let (count, wakers) = {
            let mut shared = self.0.lock();
            let count = shared.items.len().min(most);
            into.extend(shared.items.drain(..count));
            let wakers: Vec<_> = (0..count).map_while(|_| wake_one(&mut shared)).collect();
            (count, wakers)
        };
        for waker in wakers {
            waker.wake();
        }
        count
    }

    /// How many values wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().items.len()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (items, wakers) = {
            let mut shared = self.0.lock();
            shared.receiver_gone = true;
            (
                std::mem::take(&mut shared.items),
                std::mem::take(&mut shared.blocked),
            )
        };
        drop(items);
        for (_, waker) in wakers {
            waker.wake();
        }
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
