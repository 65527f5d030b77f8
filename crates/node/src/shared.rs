//! What the member's tasks and its callers share.

use crate::Config;
use crate::failure::Failure;
use crate::inflight::{Answer, Inflight, Proposal};
use crate::leases::LeaseClock;
use crate::roots::Roots;
use crate::watch::Hub;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::{Env, Histogram, Instant, MemberId, Reading, oneshot, queue, watch};
use synod_log::Epoch;
use synod_state::Root;
use synod_state::command::Command;
use synod_state::limit::LimitKind;
use synod_state::reply::Reply;
use synod_storage::identity::Identity;

/// One member's shared parts. Each lock is held for a moment, never across a wait. The batches in
/// flight may be locked while the reign is, never the other way round; no other two at a time.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) config: Config,
    pub(crate) member: MemberId,
    pub(crate) incarnation: u64,
    pub(crate) roots: Arc<Roots>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) proposals: queue::Sender<Proposal>,
    inflight: Mutex<Inflight>,
    reigning: Mutex<Option<Reigning>>,
    /// The reign in the latest root.
    reign: watch::Sender<u64>,
    /// The epoch of the last entry applied.
    applied_epoch: AtomicU64,
    pub(crate) times: Times,
    /// Proposals whose outcome is awaited.
    pub(crate) pending: AtomicUsize,
    /// Leaders that this member has seen come.
    pub(crate) leaders_seen: AtomicU64,
    /// Bounds on requests, as they were set for the cluster or for this member.
    request_bytes_max: AtomicUsize,
    txn_ops_max: AtomicUsize,
    log_bytes: AtomicU64,
    /// Of those, what the last snapshot that began is to cover.
    snapshot_covers: AtomicU64,
    stopping: AtomicBool,
    stop_reason: Mutex<Option<String>>,
}

/// How long what a member does for its clients took, for those who watch over it.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Making a group of log records durable, in vain or not.
    pub log_sync: Arc<Histogram>,
    /// Applying what was committed together, up to the answers.
    pub apply: Arc<Histogram>,
}

/// Counts a proposal while its outcome is awaited.
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// This member leads, and its reign is in the state.
#[derive(Debug)]
pub(crate) struct Reigning {
    /// Which reign.
    pub(crate) reign: u64,
    /// When it was applied.
    pub(crate) began: Reading,
    /// Service time in the state at that moment.
    pub(crate) time_ms: u64,
    pub(crate) leases: LeaseClock,
}

impl Reigning {
    /// Service time now: it goes on from where the state had it, by the least time that can have
    /// passed, and never back.
    pub(crate) fn service_time_ms(&self, now: Reading) -> u64 {
        let elapsed = u64::try_from(now.since(self.began).min.as_millis()).unwrap_or(u64::MAX);
        self.time_ms.saturating_add(elapsed)
    }
}

impl Shared {
    pub(crate) fn new(
        env: Env,
        config: Config,
        identity: &Identity,
        roots: Roots,
        hub: Hub,
        proposals: queue::Sender<Proposal>,
        times: Times,
    ) -> Self {
        let shared = Self {
            env,
            member: MemberId(identity.member_id),
            incarnation: identity.incarnation,
            config,
            hub: Arc::new(hub),
            proposals,
            inflight: Mutex::new(Inflight::default()),
            reigning: Mutex::new(None),
            reign: watch::channel(roots.latest().reign()).0,
            applied_epoch: AtomicU64::new(0),
            times,
            pending: AtomicUsize::new(0),
            leaders_seen: AtomicU64::new(0),
            request_bytes_max: AtomicUsize::new(0),
            txn_ops_max: AtomicUsize::new(0),
            log_bytes: AtomicU64::new(0),
            snapshot_covers: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop_reason: Mutex::new(None),
            roots: Arc::new(roots),
        };
        shared.limits_applied(&shared.roots.latest());
        shared
    }

    /// Bounds may have been changed in the state.
    pub(crate) fn limits_applied(&self, root: &Root) {
        let own = &self.config.limits;
        let set = |kind| Some(usize::try_from(root.limit(kind)?).unwrap_or(usize::MAX));
        // Queues and files have been given room for what the member was started with.
        let request_bytes = set(LimitKind::RequestBytes).unwrap_or(usize::MAX);
        let request_bytes = request_bytes.min(own.request_bytes_max);
        self.request_bytes_max
            .store(request_bytes, Ordering::Release);
        let txn_ops = set(LimitKind::TxnOps).unwrap_or(own.txn_ops_max);
        self.txn_ops_max.store(txn_ops, Ordering::Release);
    }

    /// Largest encoded request, in bytes.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.request_bytes_max.load(Ordering::Acquire)
    }

    /// Most operations in one branch of a transaction.
    pub(crate) fn txn_ops_max(&self) -> usize {
        self.txn_ops_max.load(Ordering::Acquire)
    }

    /// Puts a command that was checked into the log and answers with its outcome.
    pub(crate) async fn propose(
        &self,
        mut command: Command,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let _pending = Pending::begin(&self.pending);
        loop {
            if self.is_stopping() {
                return Err(Failure::Stopped);
            }
            let (reply, answer) = oneshot::channel();
            let proposal = Proposal {
                command,
                deadline,
                reply,
            };
            match self.proposals.try_send(proposal) {
                Ok(()) => {}
                Err(queue::SendError::Full(_)) => return Err(Failure::TooManyRequests),
                Err(queue::SendError::Closed(_)) => return Err(Failure::Stopped),
            }
            match answer.await {
                Ok(Answer::Applied(outcome)) => return outcome.map_err(Failure::from),
                Ok(Answer::Failed(failure)) => return Err(failure),
                Ok(Answer::Again(again)) => command = again,
                // The proposer went without a word; it may have proposed the command before.
                Err(oneshot::Dropped) => return Err(Failure::Unknown),
            }
        }
    }

    pub(crate) fn inflight(&self) -> MutexGuard<'_, Inflight> {
        self.inflight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reigning(&self) -> MutexGuard<'_, Option<Reigning>> {
        self.reigning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reign in the latest root, and each change of it.
    pub(crate) fn reign(&self) -> watch::Receiver<u64> {
        self.reign.subscribe()
    }

    /// The published root is of `reign`.
    pub(crate) fn reign_applied(&self, reign: u64) {
        self.reign.send_if(|held| {
            let changed = *held != reign;
            *held = reign;
            changed
        });
    }

    /// The epoch of the last entry applied. Whoever sees a root sees this for its last entry, or
    /// for a later one.
    pub(crate) fn applied_epoch(&self) -> Epoch {
        Epoch(self.applied_epoch.load(Ordering::Acquire))
    }

    /// To be called before the root is published.
    pub(crate) fn epoch_applied(&self, epoch: Epoch) {
        self.applied_epoch.store(epoch.0, Ordering::Release);
    }

    pub(crate) fn applied_bytes(&self, bytes: usize) {
        self.log_bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Log bytes applied since the last snapshot began.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot_began(&self) {
        let covered = self.log_bytes.swap(0, Ordering::Relaxed);
        self.snapshot_covers.store(covered, Ordering::Relaxed);
    }

    /// The snapshot that began came to nothing: what it was to cover counts again.
    pub(crate) fn snapshot_failed(&self) {
        let covered = self.snapshot_covers.swap(0, Ordering::Relaxed);
        self.log_bytes.fetch_add(covered, Ordering::Relaxed);
    }

    /// Another member's snapshot is in the place of the state: the log before it is covered.
    pub(crate) fn snapshot_installed(&self) {
        self.log_bytes.store(0, Ordering::Relaxed);
        self.snapshot_covers.store(0, Ordering::Relaxed);
    }

    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends every wait. Nothing will be applied any more.
    pub(crate) fn stopped(&self, reason: Option<String>) {
        self.begin_stop();
        if reason.is_some() {
            *self
                .stop_reason
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = reason;
        }
        *self.reigning() = None;
        self.inflight().stop();
        self.hub.stop();
        self.roots.stop();
    }

    pub(crate) fn stop_reason(&self) -> Option<String> {
        self.stop_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
