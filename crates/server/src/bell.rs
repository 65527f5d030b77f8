//! Waking many streams of one thread for the price of one.
//!
//! A change wakes every stream that watches it, from the member's thread. Waking a task of another
//! thread's runtime costs a system call, so a thousand streams would cost a thousand. Instead each
//! thread that serves clients has a *bell*: whoever wakes a stream leaves its waker there and rings,
//! once, and a task of that thread wakes the streams, which is cheap from there.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};

/// One thread's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Wakes the task that wakes the others; `None` before its first turn.
    ringer: Option<Waker>,
    /// Whom to wake. A stream is here at most once: it leaves its waker again only after a turn.
    due: Vec<Waker>,
}

impl Bell {
    /// A waker that wakes `task` by the bell. It must be a task of the bell's thread.
    pub(crate) fn rope(self: &Arc<Self>, task: &Waker) -> Waker {
        let bell = Arc::clone(self);
        let task = task.clone();
        Waker::from(Arc::new(Rope { bell, task }))
    }

    /// Wakes whom the bell rings for, for ever. To be run on the bell's thread, once.
    pub(crate) async fn answer(self: Arc<Self>) {
        let mut due = Vec::new();
        poll_fn(|cx| {
            {
                let mut waiting = self.lock();
                std::mem::swap(&mut waiting.due, &mut due);
                waiting.ringer = Some(cx.waker().clone());
            }
            due.drain(..).for_each(Waker::wake);
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pulled, it leaves its task's waker at the bell.
struct Rope {
    bell: Arc<Bell>,
    task: Waker,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let ringer = {
            let mut waiting = self.bell.lock();
            waiting.due.push(self.task.clone());
            // Who comes second finds the bell rung.
            (waiting.due.len() == 1)
                .then(|| waiting.ringer.clone())
                .flatten()
        };
        if let Some(ringer) = ringer {
            ringer.wake();
        }
    }
}

#[cfg(test)]
mod tests;
