//! One member: takes requests, gets them into the log, applies them, answers.
//!
//! [`Node`] is the handle that servers hold. Behind it run, on the member's core, the proposer
//! ([`proposer`]) and the engine, which calls apply ([`machine`]). Requests come in through a
//! bounded queue and get their answers through one-shot channels; reads take a root of the state
//! ([`roots`]) and watchers are records in the hub ([`watch`]), so neither ever waits for a
//! writer.

mod failure;
mod inflight;
mod leases;
mod machine;
mod open;
mod proposer;
mod reads;
mod roots;
mod shared;
mod snapshots;
#[cfg(test)]
mod tests;
pub mod watch;

pub use failure::Failure;
pub use open::{HIGHEST_LEVEL, OpenError, Opened, open};
pub use reads::Consistency;
pub use snapshots::RestoreError;
pub use watch::{WatchCreate, WatchEvent, WatchMessage, WatchRequester, WatchStream};

use bytes::Bytes;
use inflight::{Answer, Proposal};
use leases::Renewal;
use proposer::{Leadership, Proposer};
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use synod_env::watch as latest;
use synod_env::{Env, Instant, Limits, MemberId, oneshot, queue};
use synod_log::{Engine, Index, Role, Status};
use synod_state::Root;
use synod_state::command::{Command, LeaseId};
use synod_state::reply::Reply;

/// Longest TTL that a lease may ask for, in seconds (etcd's bound).
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

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
    leadership: latest::Receiver<Leadership>,
}

/// A lease's times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// The TTL it was granted, in seconds.
    pub granted_s: i64,
    /// What is left of it, at least, in seconds.
    pub remaining_s: i64,
    /// Keys that hang on it, sorted; only if asked for.
    pub keys: Vec<Bytes>,
}

impl Prepared {
    /// Starts the member's tasks on an engine that drives its machine.
    #[must_use]
    pub fn start(self, engine: Arc<dyn Engine>) -> Node {
        let Self { shared, proposals } = self;
        let env = shared.env.clone();
        let status = engine.status();
        let first = Leadership::from(&*status.borrow());
        let (leads, leadership) = latest::channel(first);
        env.spawn("leadership", follow_leadership(status, leads));
        let proposer = Proposer::new(
            Arc::clone(&shared),
            Arc::clone(&engine),
            leadership.clone(),
            proposals,
        );
        env.spawn("proposer", proposer.run());
        env.spawn("watch progress", notify_progress(Arc::clone(&shared)));
        Node {
            shared,
            engine,
            leadership,
        }
    }
}

/// Passes on what changes of the status when leadership does.
async fn follow_leadership(
    mut status: latest::Receiver<Status>,
    leads: latest::Sender<Leadership>,
) {
    loop {
        let now = Leadership::from(&*status.borrow_seen());
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
    /// The member's bounds.
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
            .check(self.limits().txn_ops_max)
            .map_err(Failure::Invalid)?;
        if command.encoded_len() > self.limits().request_bytes_max {
            return Err(Failure::TooLarge);
        }
        let mut command = command;
        loop {
            if self.shared.is_stopping() {
                return Err(Failure::Stopped);
            }
            let (reply, answer) = oneshot::channel();
            let proposal = Proposal {
                command,
                deadline,
                reply,
            };
            match self.shared.proposals.try_send(proposal) {
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

    /// A root that is fresh enough for a read that begins now.
    ///
    /// # Errors
    /// `NoLeader`, `TimedOut`, `TooManyRequests`, `Stopped`; a read changes nothing.
    pub async fn read(&self, consistency: Consistency, deadline: Instant) -> Result<Root, Failure> {
        match consistency {
            Consistency::Serializable => return Ok(self.root()),
            Consistency::Linearizable => {}
        }
        reads::linearizable(
            &self.shared.env,
            &*self.engine,
            &self.shared.roots,
            deadline,
        )
        .await
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

    /// Makes a lease; `lease` 0 has one chosen. Answers with the TTL granted, in seconds.
    ///
    /// # Errors
    /// As [`Node::propose`], and `TtlTooLarge`.
    pub async fn lease_grant(
        &self,
        lease: LeaseId,
        ttl_s: i64,
        deadline: Instant,
    ) -> Result<(Reply, i64), Failure> {
        if ttl_s > LEASE_TTL_S_MAX {
            return Err(Failure::TtlTooLarge);
        }
        let asked = Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0));
        let ttl = asked.max(self.shared.config.lease_ttl_min);
        let ttl_ms = u64::try_from(ttl.as_millis()).expect("a bounded TTL fits");
        let lease = if lease == 0 {
            self.choose_lease()
        } else {
            lease
        };
        let reply = self
            .propose(Command::LeaseGrant { lease, ttl_ms }, deadline)
            .await?;
        Ok((reply, whole_seconds(ttl)))
    }

    /// A positive number that no lease has, as far as this member knows.
    fn choose_lease(&self) -> LeaseId {
        let root = self.root();
        loop {
            let lease = (self.shared.env.random() >> 1).cast_signed();
            if lease > 0 && root.lease(lease).is_none() {
                return lease;
            }
        }
    }

    /// Renews a lease; answers with its TTL in seconds, or `None` if there is no such lease.
    ///
    /// # Errors
    /// `NoLeader`, `TimedOut`, `TooManyRequests`, `Stopped`, `Unknown`.
    pub async fn lease_keep_alive(
        &self,
        lease: LeaseId,
        deadline: Instant,
    ) -> Result<Option<i64>, Failure> {
        // From here on the lease does not expire until the renewal has its answer.
        let mut arrived = Arrived::at(&self.shared, lease);
        loop {
            self.read(Consistency::Linearizable, deadline).await?;
            let now = self.shared.env.clock();
            let renewal = self
                .shared
                .reigning()
                .as_mut()
                .map(|reigning| reigning.leases.renew(now, lease));
            match renewal {
                None => self.await_reign(deadline).await?,
                Some(Renewal::Unknown) => return Ok(None),
                Some(Renewal::Renewed(ttl)) => return Ok(Some(whole_seconds(ttl))),
                Some(Renewal::ClearCheckpoint) => {
                    let command = Command::LeaseCheckpoint {
                        remaining: vec![(lease, 0)],
                    };
                    self.propose(command, deadline).await?;
                }
                Some(Renewal::Wait(outcome)) => {
                    let ended = self.shared.env.deadline(deadline, outcome).await;
                    if ended == Err(synod_env::world::DeadlinePassed) {
                        return Err(Failure::TimedOut);
                    }
                }
            }
            // The new one counts before the old one is gone.
            drop(std::mem::replace(
                &mut arrived,
                Arrived::at(&self.shared, lease),
            ));
        }
    }

    /// Gives a new leader a moment to have its reign applied.
    async fn await_reign(&self, deadline: Instant) -> Result<(), Failure> {
        let now = self.now();
        if now >= deadline {
            return Err(Failure::NoLeader);
        }
        let next = deadline.min(now + reads::ASK_AGAIN);
        self.shared.env.sleep_until(next).await;
        Ok(())
    }

    /// A lease's times, and with `keys` what hangs on it; `None` if there is no such lease.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub async fn lease_time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
        deadline: Instant,
    ) -> Result<Option<TimeToLive>, Failure> {
        let (root, times) = loop {
            let root = self.read(Consistency::Linearizable, deadline).await?;
            let now = self.shared.env.clock();
            let times = self
                .shared
                .reigning()
                .as_ref()
                .map(|reigning| reigning.leases.remaining(now, lease));
            match times {
                Some(times) => break (root, times),
                None => self.await_reign(deadline).await?,
            }
        };
        let Some((ttl, left)) = times else {
            return Ok(None);
        };
        let keys = if keys {
            root.lease_keys(lease).collect()
        } else {
            Vec::new()
        };
        Ok(Some(TimeToLive {
            granted_s: whole_seconds(ttl),
            remaining_s: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            keys,
        }))
    }

    /// All leases, sorted.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub async fn leases(&self, deadline: Instant) -> Result<Vec<LeaseId>, Failure> {
        let root = self.read(Consistency::Linearizable, deadline).await?;
        Ok(root.leases().map(|lease| lease.id).collect())
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
        while self.shared.inflight().len() > 0 && self.now() < deadline {
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

/// A renewal between its arrival and the end of its quorum round.
struct Arrived<'a> {
    shared: &'a Shared,
    lease: LeaseId,
    /// The reign whose lease clock counts it.
    reign: Option<u64>,
}

impl<'a> Arrived<'a> {
    fn at(shared: &'a Shared, lease: LeaseId) -> Self {
        let reign = shared
            .reigning()
            .as_mut()
            .and_then(|r| r.leases.renewal_arrived(lease).then_some(r.reign));
        Self {
            shared,
            lease,
            reign,
        }
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        if let Some(reigning) = self.shared.reigning().as_mut()
            && Some(reigning.reign) == self.reign
        {
            reigning.leases.renewal_gone(self.lease);
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
