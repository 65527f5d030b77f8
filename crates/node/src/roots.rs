//! The published state: what readers see.
//!
//! Apply publishes one root per call. A reader takes the latest, which costs a few reference
//! counts, and from then on neither waits for apply nor delays it, however long it reads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use synod_env::oneshot;
use synod_log::Index;
use synod_state::Root;

/// Fewer waiting readers than this are never looked through.
const SWEEP_MIN: usize = 1_024;

/// The latest root, and who waits for a later one.
#[derive(Debug)]
pub(crate) struct Roots(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    latest: Root,
    applied: Index,
    waiting: BTreeMap<(Index, u64), oneshot::Sender<Root>>,
    tickets: u64,
    /// At so many waiting readers, those that gave up are removed.
    sweep_at: usize,
    stopped: bool,
}

impl Roots {
    /// Begins with `root`, which has applied everything up to `applied`.
    #[must_use]
    pub(crate) fn new(root: Root, applied: Index) -> Self {
        Self(Mutex::new(Inner {
            latest: root,
            applied,
            waiting: BTreeMap::new(),
            tickets: 0,
            sweep_at: SWEEP_MIN,
            stopped: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest root.
    #[must_use]
    pub(crate) fn latest(&self) -> Root {
        self.lock().latest.clone()
    }

    /// The last log index that the latest root has applied.
    #[must_use]
    pub(crate) fn applied(&self) -> Index {
        self.lock().applied
    }

    /// The latest root, and the last log index that it has applied.
    #[must_use]
    pub(crate) fn applied_root(&self) -> (Index, Root) {
        let inner = self.lock();
        (inner.applied, inner.latest.clone())
    }

    /// True unless the latest root has compacted history yet to be removed.
    #[must_use]
    pub(crate) fn compaction_finished(&self) -> bool {
        self.lock().latest.compaction_finished()
    }

    /// The latest root, if it has applied `index`; otherwise the first one that will have.
    /// A member that stops drops the waiter.
    pub(crate) fn at(&self, index: Index) -> Result<Root, oneshot::Receiver<Root>> {
        let mut inner = self.lock();
        if inner.applied >= index {
            return Ok(inner.latest.clone());
        }
        let (sender, receiver) = oneshot::channel();
        if !inner.stopped {
            if inner.waiting.len() >= inner.sweep_at {
                // Readers that gave up keep no place.
                inner.waiting.retain(|_, reader| !reader.is_abandoned());
                inner.sweep_at = SWEEP_MIN.max(2 * inner.waiting.len());
            }
            inner.tickets += 1;
            let ticket = inner.tickets;
            inner.waiting.insert((index, ticket), sender);
        }
        Err(receiver)
    }

    /// Shows `root`, which has applied everything up to `applied`, to all readers.
    pub(crate) fn publish(&self, root: Root, applied: Index) {
        let (ready, previous) = {
            let mut inner = self.lock();
            assert!(
                applied >= inner.applied,
                "applied index goes back from {} to {applied}",
                inner.applied
            );
            inner.applied = applied;
            let previous = std::mem::replace(&mut inner.latest, root);
            let later = inner
                .waiting
                .split_off(&(Index(applied.0.saturating_add(1)), 0));
            let ready = std::mem::replace(&mut inner.waiting, later);
            let ready: Vec<_> = ready
                .into_values()
                .map(|sender| (sender, inner.latest.clone()))
                .collect();
            (ready, previous)
        };
        for (sender, root) in ready {
            // A reader that gave up does not want the root any more.
            drop(sender.send(root));
        }
        drop(previous);
    }

    /// Lets all waiters go: nothing will be published any more.
    pub(crate) fn stop(&self) {
        let waiting = {
            let mut inner = self.lock();
            inner.stopped = true;
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
    }
}
