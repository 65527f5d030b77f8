//! A mutex that is awaited, handed over in the order of asking.

use openraft_rt::OptionalSend;
use std::collections::VecDeque;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{self, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

/// See the module.
///
/// The value sits in a standard mutex that is never contended: whoever holds the turn, and only
/// it, locks it. It is moved into the guard, since a standard guard may not cross threads.
pub(crate) struct Mutex<T> {
    turns: sync::Mutex<Turns>,
    value: sync::Mutex<Option<Box<T>>>,
}

struct Turns {
    /// A guard exists, or the turn is given to a waiter that has not been polled since.
    taken: bool,
    /// The ticket that may take the value now, if it was handed over.
    given: Option<u64>,
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
}

impl<T> Mutex<T> {
    fn turns(&self) -> sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Guard<'_, T> {
        let mut slot = match self.value.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("two tasks hold the turn of one mutex"),
        };
        let value = slot.take();
        assert!(value.is_some(), "the value is out while the turn is free");
        Guard { mutex: self, value }
    }

    /// Gives the turn to the next in line, or frees it.
    fn pass_on(&self) {
        let waker = {
            let mut turns = self.turns();
            match turns.waiting.pop_front() {
                Some((ticket, waker)) => {
                    turns.given = Some(ticket);
                    Some(waker)
                }
                None => {
                    turns.taken = false;
                    turns.given = None;
                    None
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: OptionalSend + 'static> openraft_rt::Mutex<T> for Mutex<T> {
    type Guard<'a> = Guard<'a, T>;

    fn new(value: T) -> Self {
        Self {
            turns: sync::Mutex::new(Turns {
                taken: false,
                given: None,
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
            value: sync::Mutex::new(Some(Box::new(value))),
        }
    }

    fn lock(&self) -> impl Future<Output = Guard<'_, T>> + OptionalSend {
        Lock {
            mutex: self,
            ticket: None,
        }
    }
}

/// The value, until dropped.
pub(crate) struct Guard<'a, T> {
    mutex: &'a Mutex<T>,
    value: Option<Box<T>>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_deref()
            .expect("a guard holds the value until it is dropped")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_deref_mut()
            .expect("a guard holds the value until it is dropped")
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let mut slot = self
            .mutex
            .value
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = self.value.take();
        drop(slot);
        self.mutex.pass_on();
    }
}

/// A place in line; given up when dropped.
struct Lock<'a, T> {
    mutex: &'a Mutex<T>,
    ticket: Option<u64>,
}

impl<'a, T> Future for Lock<'a, T> {
    type Output = Guard<'a, T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut turns = self.mutex.turns();
        match self.ticket {
            None if turns.taken => {
                let ticket = turns.next_ticket;
                turns.next_ticket += 1;
                turns.waiting.push_back((ticket, cx.waker().clone()));
                drop(turns);
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
            None => turns.taken = true,
            Some(ticket) if turns.given == Some(ticket) => turns.given = None,
            Some(ticket) => {
                if let Some((_, waker)) = turns.waiting.iter_mut().find(|(held, _)| *held == ticket)
                {
                    waker.clone_from(cx.waker());
                }
                return Poll::Pending;
            }
        }
        drop(turns);
        self.ticket = None;
        Poll::Ready(self.mutex.take())
    }
}

impl<T> Drop for Lock<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let given = {
            let mut turns = self.mutex.turns();
            turns.waiting.retain(|(held, _)| *held != ticket);
            turns.given == Some(ticket)
        };
        if given {
            self.mutex.pass_on();
        }
    }
}
