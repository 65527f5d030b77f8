//! openraft as a [`synod_log::Engine`].

use crate::config::Config;
use crate::lease::Lease;
use crate::machine::StateMachine;
use crate::network::Links;
use crate::proposals::Proposals;
use crate::rounds::Rounds;
use crate::runtime::Runtime;
use crate::serving::{Serving, Side};
use crate::status;
use crate::storage::{LogStore, Votes, position};
use crate::turn::Turns;
use crate::types::{Position, Types, is_sole_voter, raft_index, seam_index, seam_index_of};
use bytes::Bytes;
use openraft::errors::{Fatal, InitializeError, LinearizableReadError, RaftError};
use openraft::{AsyncRuntime as _, Raft, ReadPolicy};
use openraft_rt::WatchReceiver as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use synod_env::{BoxFuture, Bug, Env, MemberId, oneshot, planted, watch};
use synod_log::{BarrierError, Capabilities, Engine, Index, Machine, ProposeError, Status};
use synod_protocols::Port;
use synod_storage::{Health, Log, Priority, Recovered};

/// openraft's handle, as we use it.
pub(crate) type Handle = Raft<Types, StateMachine>;

/// A snapshot round's outcome; `io::Error` cannot be given to several callers.
pub(crate) type Snapshotted = Result<Index, (io::ErrorKind, Arc<str>)>;

/// Why an engine did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The settings contradict each other.
    Config(String),
    /// The engine's part of the snapshot cannot be read.
    Snapshot(String),
    /// The log begins after the snapshot ends (or after the beginning, without a snapshot).
    Gap {
        /// The last entry in the snapshot.
        snapshot: Index,
        /// The last entry that the log no longer has.
        purged: Index,
    },
    /// openraft did not start; its words.
    Engine(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => write!(f, "engine settings: {what}"),
            Self::Snapshot(what) => write!(f, "engine position in the snapshot: {what}"),
            Self::Gap { snapshot, purged } => write!(
                f,
                "log begins after index {purged} but the newest snapshot ends at {snapshot}"
            ),
            Self::Engine(what) => write!(f, "engine: {what}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Starts the engine of this member on its `log`.
///
/// `recovered` is what the log held when it was opened. `restored` is the engine's part of the
/// snapshot that `machine` was loaded from, as [`Machine::snapshot`] got it; `None` if the
/// machine is empty. Entries known to be committed after it are applied before this ends.
///
/// A log without any entry, with an empty machine, becomes one of a cluster of
/// [`Config::members`], whom `port` connects. The engine asks for leadership at once when its
/// member decides alone; whether it leads is in [`Engine::status`].
///
/// # Errors
/// [`StartError`]; nothing runs then, and nothing but a first entry was written.
pub async fn start(
    env: Env,
    config: Config,
    log: Log,
    recovered: Recovered,
    restored: Option<Bytes>,
    machine: Box<dyn Machine>,
    port: Port,
) -> Result<Arc<dyn Engine>, StartError> {
    let within = env.clone();
    let engine = within
        .within(async move {
            OpenRaft::start(env, config, log, recovered, restored, machine, port).await
        })
        .await?;
    Ok(Arc::new(engine))
}

struct OpenRaft {
    env: Env,
    raft: Arc<Handle>,
    log: Log,
    lease: Arc<Lease>,
    proposals: Proposals,
    barriers: Rounds<Result<Index, BarrierError>>,
    snapshots: Rounds<Snapshotted>,
    status: watch::Receiver<Status>,
    /// Until the engine is stopped.
    serving: Mutex<Option<Serving>>,
    /// Closes when openraft has let go of the machine.
    machine_ended: watch::Receiver<()>,
    /// Closes when openraft has let go of the log.
    log_ended: watch::Receiver<()>,
}

impl OpenRaft {
    async fn start(
        env: Env,
        config: Config,
        log: Log,
        recovered: Recovered,
        restored: Option<Bytes>,
        machine: Box<dyn Machine>,
        port: Port,
    ) -> Result<Self, StartError> {
        let settings = config.for_openraft().map_err(StartError::Config)?;
        let mut restored = restored
            .map(|bytes| Position::decode(&bytes))
            .transpose()
            .map_err(|error| StartError::Snapshot(error.to_string()))?;
        if planted(Bug::ApplyTwiceAfterRestart)
            && let Some(applied) = restored.as_mut().and_then(|at| at.applied.as_mut())
            && recovered.purged.is_none_or(|at| at.index < applied.index)
        {
            applied.index = applied.index.saturating_sub(1);
        }
        let snapshot = restored
            .as_ref()
            .map_or(Index(0), |at| seam_index_of(at.applied.as_ref()));
        let purged = recovered.purged.map_or(Index(0), |at| Index(at.index));
        if purged > snapshot {
            return Err(StartError::Gap { snapshot, purged });
        }
        fit_log(&log, restored.as_ref())
            .await
            .map_err(|error| StartError::Engine(error.to_string()))?;
        let last = log.last().map_or(Index(0), |at| Index(at.index));
        let pristine = last == Index(0) && restored.is_none() && recovered.vote.is_none();

        let member = config.member.0;
        if config.member != port.member() || !config.members.contains(&config.member) {
            return Err(StartError::Config(format!(
                "member {} of {:?} has the links of {}",
                config.member,
                config.members,
                port.member()
            )));
        }
        let lease = Arc::new(Lease::new(last.max(snapshot)));
        let (machine_end, machine_ended) = watch::channel(());
        let (log_end, log_ended) = watch::channel(());
        let machine = StateMachine::new(
            machine,
            member,
            restored,
            log.clone(),
            Arc::clone(&lease),
            machine_end,
        );
        let votes = Arc::new(Votes::new(recovered.vote));
        let store = LogStore::new(
            log.clone(),
            &recovered,
            member,
            Arc::clone(&lease),
            Arc::clone(&votes),
            log_end,
        );
        let links = Links::new(env.clone(), port.clone(), log.clone(), config.election_min);
        let raft = Box::pin(Handle::new(
            member,
            Arc::new(settings),
            links.clone(),
            store,
            machine,
        ))
        .await
        .map_err(|error| StartError::Engine(error.to_string()))?;
        let raft = Arc::new(raft);
        if pristine {
            found(&raft, &config.members).await?;
        } else {
            // A member that decides alone need not wait to see whether somebody else leads.
            let effective = Arc::clone(&raft.server_metrics().borrow_watched().membership_config);
            if is_sole_voter(effective.membership(), member) {
                raft.trigger()
                    .elect(false)
                    .await
                    .map_err(|error| StartError::Engine(error.to_string()))?;
            }
        }

        let barriers = Rounds::serve(&env, "raft-barriers", {
            let raft = Arc::clone(&raft);
            move || barrier(Arc::clone(&raft))
        });
        let turns = Turns::new();
        let snapshots = Rounds::serve(&env, "raft-snapshots", {
            let (raft, log, turns) = (Arc::clone(&raft), log.clone(), turns.clone());
            let keep_bytes = config.log_keep_bytes;
            move || snapshot_and_purge(Arc::clone(&raft), log.clone(), turns.clone(), keep_bytes)
        });
        links.serve(&raft, &snapshots);
        // Only now that the log has begun: a vote before would be taken for a beginning.
        let side = Side {
            env: env.clone(),
            raft: Arc::clone(&raft),
            log: log.clone(),
            votes,
            turns,
        };
        let serving = Serving::begin(&side, port);
        drop(side);
        let proposals = Proposals::new(
            &env,
            Arc::clone(&raft),
            log.clone(),
            config.proposals_max,
            config.proposals_bytes_max,
        );
        let status = status::feed(&env, &raft, log.health(), config.heartbeat);
        env.spawn(
            "raft-log-health",
            stop_with_log(Arc::downgrade(&raft), log.health()),
        );
        Ok(Self {
            env,
            raft,
            log,
            lease,
            proposals,
            barriers,
            snapshots,
            status,
            serving: Mutex::new(Some(serving)),
            machine_ended,
            log_ended,
        })
    }
}

impl Engine for OpenRaft {
    fn propose(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        self.proposals.submit(batch, Priority::Ordinary)
    }

    fn propose_reserved(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        self.proposals.submit(batch, Priority::Reserve)
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<Index, BarrierError>> {
        let barriers = self.barriers.clone();
        Box::pin(async move { barriers.ask().await.unwrap_or(Err(BarrierError::Stopped)) })
    }

    fn read_lease(&self) -> Option<Index> {
        self.lease.read()
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    fn snapshot_now(&self) -> BoxFuture<'static, io::Result<Index>> {
        let snapshots = self.snapshots.clone();
        Box::pin(async move {
            match snapshots.ask().await {
                Some(Ok(index)) => Ok(index),
                Some(Err((kind, what))) => Err(io::Error::new(kind, what.to_string())),
                None => Err(io::Error::other(STOPPED)),
            }
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            lease_reads: true,
            runtime_timing: false,
            transfer: false,
        }
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        let serving = self
            .serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(serving);
        let (raft, log) = (Arc::clone(&self.raft), self.log.clone());
        let ends = [self.machine_ended.clone(), self.log_ended.clone()];
        let (sender, stopped) = oneshot::channel::<()>();
        // On a task of its own: openraft does not allow the call to be abandoned.
        self.env.spawn("raft-stop", async move {
            if let Err(error) = raft.shutdown().await {
                tracing::error!(%error, "engine ended badly");
            }
            // openraft ends its core first; what it has handed to the machine still runs.
            for mut end in ends {
                while end.changed().await.is_ok() {}
            }
            log.close().await;
            drop(sender);
        });
        Box::pin(async move {
            // Nothing is ever sent: the end of the task is the message.
            let (Ok(()) | Err(oneshot::Dropped)) = stopped.await;
        })
    }
}

/// Stops openraft when the log has failed. The log may fail over something that openraft did not
/// ask for and does not wait for, a marker perhaps: then it would go on leading, and followers
/// would go on following a leader that can append nothing.
async fn stop_with_log(raft: Weak<Handle>, mut health: watch::Receiver<Health>) {
    while health.borrow_seen().fatal.is_none() {
        if health.changed().await.is_err() {
            return;
        }
    }
    if let Some(raft) = raft.upgrade()
        && let Err(error) = raft.shutdown().await
    {
        tracing::error!(%error, "engine ended badly");
    }
}

/// Makes the log fit the snapshot that the machine was loaded from.
///
/// A snapshot of another member is durable before the log is purged to it. If power is lost in
/// between, the log ends before the snapshot does, or goes on from other entries than those that
/// the snapshot covers: entries of a leader that lost, which nobody ever counted. Both are made
/// good here, before openraft compares the two. Entries after the snapshot's last one, if the log
/// has that one, are kept.
async fn fit_log(log: &Log, restored: Option<&Position>) -> io::Result<()> {
    let Some(covered) = restored.and_then(|restored| restored.applied) else {
        return Ok(());
    };
    let covered = position(&covered);
    let purged = log.purged();
    let fits = log.position(covered.index) == Some(covered)
        || purged.is_some_and(|purged| purged.index >= covered.index);
    if fits {
        return Ok(());
    }
    tracing::info!(?covered, last = ?log.last(), "the log is made to fit the snapshot");
    log.truncate_after(purged).await?;
    log.purge(covered).await
}

/// Begins the log of one of the founding `members`. The first entry is the same for each of them,
/// so it does not matter who else has begun already.
async fn found(raft: &Handle, members: &BTreeSet<MemberId>) -> Result<(), StartError> {
    let members: BTreeMap<u64, ()> = members.iter().map(|member| (member.0, ())).collect();
    match raft.initialize(members).await {
        Ok(()) => Ok(()),
        Err(RaftError::APIError(
            error @ (InitializeError::NotAllowed(_) | InitializeError::NotInMembers(_)),
        )) => unreachable!("an empty log was refused as the beginning of a cluster: {error}"),
        Err(RaftError::Fatal(error)) => Err(StartError::Engine(error.to_string())),
    }
}

/// One barrier round: asks a quorum whether this member still leads, unless it is the quorum.
async fn barrier(raft: Arc<Handle>) -> Result<Index, BarrierError> {
    match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => Ok(seam_index(linearizer.read_log_id().index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Err(BarrierError::NotLeader(forward.leader_id.map(MemberId)))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Err(BarrierError::NoQuorum)
        }
        Err(RaftError::Fatal(_)) => Err(BarrierError::Stopped),
    }
}

/// How long a snapshot round waits for openraft to take note of what is durable already.
const TELL_MAX: Duration = Duration::from_secs(5);

const STOPPED: &str = "the engine has stopped";

/// One snapshot round: a durable snapshot, then as much of the log dropped as it allows.
async fn snapshot_and_purge(
    raft: Arc<Handle>,
    log: Log,
    turns: Turns,
    keep_bytes: u64,
) -> Snapshotted {
    let turn = turns.take().await;
    let stopped = |_fatal: Fatal<Types>| (io::ErrorKind::Other, Arc::from(STOPPED));
    let (meta, written) = raft
        .with_state_machine(|machine| Box::pin(ready(machine.begin_snapshot())))
        .await
        .map_err(stopped)?;
    let index = seam_index_of(meta.last_log_id.as_ref());
    written
        .await
        .map_err(|error| (error.kind(), Arc::from(error.to_string().as_str())))?;

    // Durable: now openraft may know of it, which it asks the machine about.
    raft.with_state_machine(move |machine| {
        machine.snapshot_done(meta);
        Box::pin(ready(()))
    })
    .await
    .map_err(stopped)?;
    raft.trigger().snapshot().await.map_err(stopped)?;
    let mut data = raft.data_metrics();
    let gone = |_closed| (io::ErrorKind::Other, Arc::from(STOPPED));
    let told = data.wait_until(|data| seam_index_of(data.snapshot.as_ref()) >= index);
    if let Ok(told) = Runtime::timeout(TELL_MAX, told).await {
        told.map_err(gone)?;
    }
    // What is purged from here on is covered by a snapshot that is older than any which this
    // member would still take from another.
    drop(turn);

    let behind = log
        .position_with_bytes_after(keep_bytes)
        .map_or(Index(0), |at| Index(at.index));
    let purgeable = behind.min(index);
    if let Some(upto) = raft_index(purgeable) {
        raft.trigger().purge_log(upto).await.map_err(stopped)?;
        // It waits for members to whom these entries are being sent, and while it waits the
        // leader may change: then the next purge makes up for it.
        let purged = data.wait_until(|data| seam_index_of(data.purged.as_ref()) >= purgeable);
        if let Ok(purged) = Runtime::timeout(TELL_MAX, purged).await {
            purged.map_err(gone)?;
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests;
