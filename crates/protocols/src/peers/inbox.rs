//! What was received for a service and not yet taken.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use synod_env::{Lane, Limits, MemberId};

/// A message as it waits. It holds nothing of the links, which hold it.
pub(super) struct Received {
    pub(super) from: MemberId,
    pub(super) lane: Lane,
    pub(super) body: Bytes,
    /// The session and the number of a request.
    pub(super) request: Option<(u64, u64)>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Received>,
    bytes: usize,
}

#[derive(Default)]
struct Queues {
    lanes: [Queue; 3],
    wakers: Vec<Waker>,
}

/// One queue for each lane, so that bulk neither delays nor displaces control.
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    messages_max: usize,
    bytes_max: usize,
}

impl Inbox {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            queues: Mutex::new(Queues::default()),
            messages_max: limits.peer_messages_waiting_max,
            bytes_max: limits.peer_bytes_waiting_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message. False if its lane is full: then it is dropped.
    pub(super) fn put(&self, message: Received) -> bool {
        let wakers = {
            let mut queues = self.lock();
            let queue = &mut queues.lanes[message.lane as usize];
            let bytes = queue.bytes + message.body.len();
            let fits = queue.messages.len() < self.messages_max && bytes <= self.bytes_max;
            if !fits && !queue.messages.is_empty() {
                return false;
            }
            queue.bytes = bytes;
            queue.messages.push_back(message);
            std::mem::take(&mut queues.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
        true
    }

    /// The next message: of the first lane that has one.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Received> {
        let mut queues = self.lock();
        for queue in &mut queues.lanes {
            if let Some(message) = queue.messages.pop_front() {
                queue.bytes -= message.body.len();
                return Poll::Ready(message);
            }
        }
        let wakers = &mut queues.wakers;
        if !wakers.iter().any(|held| held.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
