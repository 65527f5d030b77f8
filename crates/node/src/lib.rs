//! One member: takes requests, gets them into the log, applies them, answers.
//!
//! [`Node`] is the handle that servers hold. Behind it run, on the member's core, the proposer
//! ([`proposer`]) and the engine, which calls apply ([`machine`]). Requests come in through a
//! bounded queue and get their answers through one-shot channels; reads take a root of the state
//! ([`roots`]) and watchers are records in the hub ([`watch`]), so neither ever waits for a
//! writer.
//!
//! Any member takes any request. One that follows forwards batches to the leader, has it say what
//! a fresh read must have applied ([`barriers`]), and asks it about leases ([`lessor`]);
//! [`asked`] is the other side, [`messages`] the language.

mod asked;
mod barriers;
mod failure;
mod fill;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod inflight;
mod intake;
mod lease_requests;
mod leases;
mod lessor;
pub mod line;
mod link;
mod machine;
mod messages;
mod open;
mod proposer;
mod reads;
mod roots;
mod shared;
mod snapshots;
#[cfg(test)]
mod tests;
mod transfer;
pub mod watch;

pub use failure::Failure;
pub use fill::{Filling, fill};
pub use lease_requests::{LEASE_TTL_S_MAX, TimeToLive};
pub use link::LinkError;
pub use messages::describe;
pub use open::{HIGHEST_LEVEL, OpenError, Opened, open};
pub use reads::Consistency;
pub use shared::Times;
pub use snapshots::RestoreError;
pub use watch::{Told, WatchCreate, WatchEvent, WatchMessage, WatchRequester, WatchStream};

use barriers::Barriers;
use inflight::Proposal;
use proposer::{Leadership, Proposer};
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use synod_env::watch as latest;
use synod_env::{Env, Instant, Limits, MemberId, queue};
use synod_log::{Engine, Index, Role, Status};
use synod_protocols::peers::Port;
use synod_state::Root;
use synod_state::command::Command;
use synod_state::reply::Reply;

/// How a member behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// All bounds.
    pub limits: Limits,
    /// The longest that a leader's lease, and with it a promise to a client, may last after the
    /// leader has lost contact.
    pub leader_lease_max: Duration,
    /// Shortest TTL of a lease; shorter ones are lifted to it.
    pub lease_ttl_min: Duration,
    /// How often quiet watches that asked for it are told how far they are.
    pub watch_progress_interval: Duration,
}

/// A member that is not yet running: its state as restored from disk.
pub struct Prepared {
    shared: Arc<Shared>,
    proposals: queue::Receiver<Proposal>,
}

/// A handle to a running member; cheap to clone.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    port: Port,
    barriers: Barriers,
    leadership: latest::Receiver<Leadership>,
}

impl Prepared {
    /// Starts the member's tasks on an engine that drives its machine. `port` leads to the same
    /// service of the other members.
    #[must_use]
    pub fn start(self, engine: Arc<dyn Engine>, port: Port) -> Node {
        let Self { shared, proposals } = self;
        let env = shared.env.clone();
        let status = engine.status();
        let first = Leadership::from(&*status.borrow());
        let (leads, leadership) = latest::channel(first);
        env.spawn(
            "leadership",
            follow_leadership(status, leads, Arc::clone(&shared)),
        );
        let others = port.others().len();
        let inflight_max = shared.config.limits.batches_inflight_max.max(1);
        let (arriving, arrivals) = queue::bounded(others.max(1) * inflight_max);
        let proposer = Proposer::new(
            Arc::clone(&shared),
            Arc::clone(&engine),
            port.clone(),
            leadership.clone(),
            proposals,
            arrivals,
        );
        env.spawn("proposer", proposer.run());
        if others > 0 {
            let asked = asked::serve(
                Arc::clone(&shared),
                Arc::clone(&engine),
                port.clone(),
                leadership.clone(),
                arriving,
            );
            env.spawn("asked", asked);
        }
        let barriers = Barriers::serve(&env, Arc::clone(&engine), port.clone(), leadership.clone());
        env.spawn("watch progress", notify_progress(Arc::clone(&shared)));
        Node {
            shared,
            engine,
            port,
            barriers,
            leadership,
        }
    }
}

/// Passes on what changes of the status when leadership does.
async fn follow_leadership(
    mut status: latest::Receiver<Status>,
    leads: latest::Sender<Leadership>,
    shared: Arc<Shared>,
) {
    let mut leader = None;
    loop {
        let (now, leader_now) = {
            let status = status.borrow_seen();
            (Leadership::from(&*status), status.leader)
        };
        if leader_now.is_some() && leader_now != leader {
            shared.leaders_seen.fetch_add(1, Ordering::Relaxed);
            leader = leader_now;
        }
        leads.send_if(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        if status.changed().await.is_err() {
            return;
        }
    }
}

async fn notify_progress(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        shared
            .env
            .sleep(shared.config.watch_progress_interval)
            .await;
        shared.hub.progress_notify();
    }
}

impl Node {
    /// Most operations in one branch of a transaction now: as set for the cluster, or for this
    /// member.
    #[must_use]
    pub fn txn_ops_max(&self) -> usize {
        self.shared.txn_ops_max()
    }

    /// Largest encoded request now, in bytes: as set for the cluster, but not more than this
    /// member was started with.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        self.shared.request_bytes_max()
    }

    /// The bounds that the member was started with. Some may have been changed since for the whole
    /// cluster, see [`synod_state::limit`].
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.config.limits
    }

    /// The member's world.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// The member's timer clock, for deadlines.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.env.now()
    }

    /// The latest state that this member has applied.
    #[must_use]
    pub fn root(&self) -> Root {
        self.shared.roots.latest()
    }

    /// The last log entry that this member has applied, with the state right after it.
    #[must_use]
    pub fn applied(&self) -> (Index, Root) {
        self.shared.roots.applied_root()
    }

    /// The engine's status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.engine.status().borrow().clone()
    }

    /// This member's number.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.shared.member
    }

    /// The epoch in which this member is, and whether it leads it.
    #[must_use]
    pub fn epoch(&self) -> (synod_log::Epoch, bool) {
        let leadership = self.leadership.borrow();
        (leadership.epoch, leadership.leads)
    }

    /// Watch streams and watchers held now.
    #[must_use]
    pub fn watch_counts(&self) -> (usize, usize) {
        self.shared.hub.counts()
    }

    /// How long what this member does for its clients took.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.shared.times
    }

    /// Proposals of this member's clients whose outcome is awaited now.
    #[must_use]
    pub fn proposals_pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// How often this member has seen a leader come, itself included.
    #[must_use]
    pub fn leaders_seen(&self) -> u64 {
        self.shared.leaders_seen.load(Ordering::Relaxed)
    }

    /// Ends when the member cannot go on, with the reason.
    pub async fn failed(&self) -> String {
        let mut leadership = self.leadership.clone();
        loop {
            if let Some(reason) = leadership.borrow_seen().fatal.clone() {
                return reason;
            }
            if leadership.changed().await.is_err() {
                return self
                    .shared
                    .stop_reason()
                    .unwrap_or_else(|| "the engine ended".into());
            }
        }
    }

    /// Puts a command into the log and answers with its outcome: done, refused, or unknown.
    ///
    /// # Errors
    /// See [`Failure`]; only [`Failure::Unknown`] leaves open whether the command is done.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Reply, Failure> {
        command
            .check(self.txn_ops_max())
            .map_err(Failure::Invalid)?;
        if command.encoded_len() > self.request_bytes_max() {
            return Err(Failure::TooLarge);
        }
        self.shared.propose(command, deadline).await
    }

    /// A root that is fresh enough for a read that begins now.
    ///
    /// # Errors
    /// `NoLeader`, `TimedOut`, `TooManyRequests`, `Stopped`; a read changes nothing.
    pub async fn read(&self, consistency: Consistency, deadline: Instant) -> Result<Root, Failure> {
        match consistency {
            Consistency::Serializable => return Ok(self.root()),
            Consistency::Linearizable => {}
        }
        let leads = self.leadership.borrow().leads;
        let index = reads::barrier(
            &self.shared.env,
            &*self.engine,
            &self.barriers,
            leads,
            deadline,
        );
        let index = match index.await {
            Ok(index) => index,
            Err(Failure::TimedOut) if self.leadership.borrow().leader.is_none() => {
                return Err(Failure::NoLeader);
            }
            Err(failure) => return Err(failure),
        };
        reads::applied(&self.shared.env, &self.shared.roots, index, deadline).await
    }

    /// Ends once everything that applied compactions make unnecessary has been removed.
    ///
    /// # Errors
    /// `Unknown` at the deadline or when the member stops: what was compacted stays so, and the
    /// removal goes on, here or after the next start.
    pub async fn compact_finished(&self, deadline: Instant) -> Result<(), Failure> {
        loop {
            let next = Index(self.shared.roots.applied().0 + 1);
            if self.shared.roots.compaction_finished() {
                return Ok(());
            }
            reads::applied(&self.shared.env, &self.shared.roots, next, deadline)
                .await
                .map_err(|_| Failure::Unknown)?;
        }
    }

    /// Opens a watch stream.
    ///
    /// # Errors
    /// `TooManyRequests` if there are too many streams; `Stopped`.
    pub fn watch(&self) -> Result<WatchStream, Failure> {
        let (hub, roots) = (Arc::clone(&self.shared.hub), Arc::clone(&self.shared.roots));
        WatchStream::open(hub, roots).map_err(|_| {
            if self.shared.is_stopping() {
                Failure::Stopped
            } else {
                Failure::TooManyRequests
            }
        })
    }

    /// Writes a snapshot now. Ends with the log index it covers.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn snapshot_now(&self) -> std::io::Result<Index> {
        self.engine.snapshot_now().await
    }

    /// Stops the member: new requests are refused, those in the log are answered, then
    /// everything ends, at `deadline` at the latest.
    pub async fn stop(&self, deadline: Instant) {
        self.shared.begin_stop();
        while self.shared.inflight().is_awaited() && self.now() < deadline {
            self.shared.env.sleep(Duration::from_millis(5)).await;
        }
        let stopped = self.shared.env.deadline(deadline, self.engine.stop()).await;
        if stopped.is_err() {
            tracing::warn!("the engine did not stop in time");
        }
        self.shared.stopped(None);
    }

    /// True if this member leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        match self.status().role {
            Role::Leader => true,
            Role::Follower | Role::Candidate | Role::Learner => false,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("member", &self.shared.member)
            .finish_non_exhaustive()
    }
}
