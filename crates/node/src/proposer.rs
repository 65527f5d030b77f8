//! The proposer: turns waiting commands into log entries, and time into proposals.
//!
//! One task per member. It batches whatever waits, so batches grow by themselves under load, and
//! proposes only during its own reign. Timers decide nothing here: an expiry, a checkpoint, a
//! step of compaction is a proposal like any other, and the state drops it if the reign is over.

use crate::failure::Failure;
use crate::inflight::{Answer, Proposal};
use crate::shared::Shared;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use synod_env::{BoxFuture, Instant, Limits, oneshot, queue, watch};
use synod_log::{Engine, Epoch, Index, ProposeError, Role, Status};
use synod_state::command::{Batch, Command, LeaseId, Origin};
use synod_state::reply::Outcome;

/// How often deadlines, leases and housekeeping are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// How long after a failed snapshot the next one begins at the earliest.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(10);

/// Proposals of the member's own that may be unsettled at a time.
const OWN_MAX: usize = 4;

type Settled = Result<Index, ProposeError>;

/// Proposals that this member makes by itself.
enum Own {
    Expire(Vec<LeaseId>),
    Checkpoint(Vec<LeaseId>),
}

/// What the proposer reacts to.
enum Input {
    Leadership,
    Proposals,
    Settled(u64, Settled),
    Own(Own, Option<Outcome>),
    Tick,
    Closed,
}

pub(crate) struct Proposer {
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    leadership: watch::Receiver<Leadership>,
    queue: queue::Receiver<Proposal>,
    /// Epoch in which this member leads, as the engine says.
    leads: Option<Epoch>,
    sequence: u64,
    flights: Vec<(u64, BoxFuture<'static, Settled>)>,
    own: Vec<(Own, oneshot::Receiver<Answer>)>,
    tick: BoxFuture<'static, ()>,
    waiting: Vec<Proposal>,
    snapshotting: Option<BoxFuture<'static, std::io::Result<Index>>>,
    /// No snapshot begins before that: the last one failed.
    snapshot_not_before: Instant,
    /// The engine had no place for a batch: nothing is proposed until another batch settles or
    /// time passes.
    held: bool,
    /// A batch came to nothing: compaction waits for time to pass.
    compaction_held: bool,
    /// The batch that is to begin this member's reign, while it is under way.
    reign_flight: Option<u64>,
}

/// Who leads, without the figures that change with each entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) epoch: Epoch,
    pub(crate) leads: bool,
    pub(crate) fatal: Option<String>,
}

impl From<&Status> for Leadership {
    fn from(status: &Status) -> Self {
        let leads = match status.role {
            Role::Leader => true,
            Role::Follower | Role::Candidate | Role::Learner => false,
        };
        Self {
            epoch: status.epoch,
            leads,
            fatal: status.fatal.clone(),
        }
    }
}

impl Proposer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        engine: Arc<dyn Engine>,
        leadership: watch::Receiver<Leadership>,
        queue: queue::Receiver<Proposal>,
    ) -> Self {
        let tick = shared.env.sleep(TICK);
        Self {
            shared,
            engine,
            leadership,
            queue,
            leads: None,
            sequence: 0,
            flights: Vec::new(),
            own: Vec::new(),
            tick,
            waiting: Vec::new(),
            snapshotting: None,
            snapshot_not_before: Instant::ZERO,
            held: false,
            compaction_held: false,
            reign_flight: None,
        }
    }

    /// Runs until the engine has failed or ended.
    pub(crate) async fn run(mut self) {
        self.leadership_changed();
        loop {
            match self.next().await {
                Input::Leadership => {
                    let fatal = self.leadership.borrow_seen().fatal.clone();
                    if fatal.is_some() {
                        self.shared.stopped(fatal);
                        return;
                    }
                    self.leadership_changed();
                }
                Input::Proposals => self.propose_waiting(),
                Input::Settled(sequence, result) => self.settled(sequence, result),
                Input::Own(own, outcome) => self.own_settled(own, outcome.as_ref()),
                Input::Tick => {
                    self.tick = self.shared.env.sleep(TICK);
                    self.housekeeping();
                }
                Input::Closed => {
                    self.shared.stopped(None);
                    return;
                }
            }
            self.compact_on();
        }
    }

    async fn next(&mut self) -> Input {
        poll_fn(|cx| {
            for place in 0..self.flights.len() {
                let (sequence, flight) = &mut self.flights[place];
                if let Poll::Ready(result) = flight.as_mut().poll(cx) {
                    let sequence = *sequence;
                    drop(self.flights.swap_remove(place));
                    return Poll::Ready(Input::Settled(sequence, result));
                }
            }
            for place in 0..self.own.len() {
                if let Poll::Ready(answer) = std::pin::Pin::new(&mut self.own[place].1).poll(cx) {
                    let (own, _) = self.own.swap_remove(place);
                    let outcome = match answer {
                        Ok(Answer::Applied(outcome)) => Some(outcome),
                        Ok(Answer::Again(_) | Answer::Failed(_)) | Err(oneshot::Dropped) => None,
                    };
                    return Poll::Ready(Input::Own(own, outcome));
                }
            }
            match self.leadership.poll_changed(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Input::Leadership),
                Poll::Ready(Err(watch::Closed)) => return Poll::Ready(Input::Closed),
                Poll::Pending => {}
            }
            if let Some(snapshot) = &mut self.snapshotting
                && let Poll::Ready(result) = snapshot.as_mut().poll(cx)
            {
                self.snapshotting = None;
                match result {
                    Ok(index) => tracing::info!(%index, "snapshot written"),
                    Err(error) => {
                        tracing::warn!(%error, "failed to write a snapshot; it is tried again");
                        self.shared.snapshot_failed();
                        self.snapshot_not_before = self.shared.env.now() + SNAPSHOT_AGAIN;
                    }
                }
            }
            if self.may_propose() {
                if !self.waiting.is_empty() {
                    return Poll::Ready(Input::Proposals);
                }
                if let Poll::Ready(proposal) = self.queue.poll_receive(cx) {
                    let Some(proposal) = proposal else {
                        return Poll::Ready(Input::Closed);
                    };
                    self.waiting.push(proposal);
                    return Poll::Ready(Input::Proposals);
                }
            }
            self.tick.as_mut().poll(cx).map(|()| Input::Tick)
        })
        .await
    }

    fn may_propose(&self) -> bool {
        !self.held
            && self.leads.is_some()
            && self.flights.len() < self.limits().batches_inflight_max
            && self
                .shared
                .reigning()
                .as_ref()
                .is_some_and(|r| Some(Epoch(r.reign)) == self.leads)
    }

    fn limits(&self) -> &Limits {
        &self.shared.config.limits
    }

    /// A new leader's first entry is its reign; a former leader's timers stop.
    fn leadership_changed(&mut self) {
        let leadership = self.leadership.borrow_seen().clone();
        let leads = leadership.leads.then_some(leadership.epoch);
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        *self.shared.reigning() = None;
        if let Some(epoch) = leads {
            tracing::info!(%epoch, "leading");
            self.propose_reign(epoch);
        }
    }

    /// Proposes this member's reign, and with it whatever of the configuration the state is to
    /// know.
    fn propose_reign(&mut self, epoch: Epoch) {
        let root = self.shared.roots.latest();
        let mut commands = vec![Command::Reign { reign: epoch.0 }];
        let bytes = self.limits().state_bytes_max;
        if root.quota_bytes() != bytes {
            commands.push(Command::SetQuota { bytes });
        }
        let events = u64::try_from(self.limits().compaction_batch_max).unwrap_or(u64::MAX);
        if root.compaction_step() != events {
            commands.push(Command::SetCompactionStep { events });
        }
        self.propose(epoch.0, root.time_ms(), commands, Vec::new());
        self.reign_flight = Some(self.sequence);
    }

    /// Proposes what waits, as one batch; what does not fit waits on.
    fn propose_waiting(&mut self) {
        let (commands_max, bytes_max) = (
            self.limits().batch_commands_max,
            self.limits().batch_bytes_max,
        );
        let room = commands_max.saturating_sub(self.waiting.len());
        self.queue.drain(&mut self.waiting, room);
        let now = self.shared.env.now();
        let Some((reign, time_ms)) = self.reign() else {
            return;
        };
        let mut commands = Vec::with_capacity(self.waiting.len());
        let mut waiters = Vec::with_capacity(self.waiting.len());
        let mut bytes = 0;
        let mut vital = false;
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        for proposal in waiting.by_ref() {
            if proposal.deadline <= now {
                proposal.answer(Answer::Failed(Failure::TimedOut));
                continue;
            }
            if proposal.reply.is_abandoned() {
                continue;
            }
            let size = proposal.command.encoded_len();
            // What leads out of trouble goes alone: others must not take its reserve from it.
            let also_vital = leads_out_of_trouble(std::slice::from_ref(&proposal.command));
            let is_full = bytes + size > bytes_max || commands.len() == commands_max;
            if !commands.is_empty() && (is_full || vital != also_vital) {
                self.waiting.push(proposal);
                break;
            }
            bytes += size;
            vital = also_vital;
            commands.push(proposal.command);
            waiters.push((proposal.deadline, proposal.reply));
        }
        self.waiting.extend(waiting);
        if !commands.is_empty() {
            self.propose(reign, time_ms, commands, waiters);
        }
    }

    /// This member's reign and the service time now, if it reigns.
    fn reign(&self) -> Option<(u64, u64)> {
        let now = self.shared.env.clock();
        self.shared
            .reigning()
            .as_ref()
            .map(|r| (r.reign, r.service_time_ms(now)))
    }

    fn propose(
        &mut self,
        reign: u64,
        time_ms: u64,
        commands: Vec<Command>,
        mut waiters: Vec<(Instant, oneshot::Sender<Answer>)>,
    ) {
        self.sequence += 1;
        let sequence = self.sequence;
        let (member, incarnation) = (self.shared.member, self.shared.incarnation);
        let origin = Origin {
            member,
            incarnation,
            sequence,
        };
        let batch = Batch {
            origin,
            reign,
            time_ms,
            commands,
        };
        let encoded = batch.encode();
        let vital = leads_out_of_trouble(&batch.commands);
        // Commands of the member's own that nobody waits for have a waiter that is gone.
        while waiters.len() < batch.commands.len() {
            waiters.push((Instant::NEVER, oneshot::channel().0));
        }
        self.shared
            .inflight()
            .insert(sequence, reign, batch.commands, waiters);
        let proposed = if vital {
            self.engine.propose_reserved(encoded)
        } else {
            self.engine.propose(encoded)
        };
        self.flights.push((sequence, proposed));
    }

    /// Proposes a command of the member's own and awaits its answer beside the others.
    fn propose_own(&mut self, own: Own, command: Command) {
        let Some((reign, time_ms)) = self.reign() else {
            return;
        };
        let (sender, receiver) = oneshot::channel();
        self.propose(
            reign,
            time_ms,
            vec![command],
            vec![(Instant::NEVER, sender)],
        );
        self.own.push((own, receiver));
    }

    fn settled(&mut self, sequence: u64, result: Settled) {
        let began_reign = self.reign_flight == Some(sequence);
        if began_reign {
            self.reign_flight = None;
        }
        self.held = result == Err(ProposeError::Busy);
        self.compaction_held |= result.is_err();
        let failure = match result {
            // The machine has answered the waiters already, or found the batch void.
            Ok(_) => return,
            Err(ProposeError::Busy) if !began_reign => {
                let mut again = self.shared.inflight().take_back(sequence);
                again.append(&mut self.waiting);
                self.waiting = again;
                return;
            }
            Err(ProposeError::Busy) => Failure::TooManyRequests,
            Err(ProposeError::NotLeader(_) | ProposeError::NoQuorum) => Failure::NoLeader,
            Err(ProposeError::NoSpace) => Failure::NoSpace,
            // It may still be applied: the waiters learn it then, or at their deadline.
            Err(ProposeError::Unknown) => return,
            Err(ProposeError::Stopped) => Failure::Unknown,
        };
        self.shared.inflight().refused(sequence, &failure);
    }

    fn own_settled(&mut self, own: Own, outcome: Option<&Outcome>) {
        match own {
            Own::Expire(leases) => {
                if outcome.is_none() {
                    let now = self.shared.env.clock();
                    if let Some(reigning) = self.shared.reigning().as_mut() {
                        reigning.leases.expiry_failed(now, &leases);
                    }
                }
            }
            Own::Checkpoint(leases) => {
                if outcome.is_none()
                    && let Some(reigning) = self.shared.reigning().as_mut()
                {
                    reigning.leases.checkpoint_failed(&leases);
                }
            }
        }
    }

    /// Everything that time brings: deadlines, lease expiry, checkpoints, snapshots.
    fn housekeeping(&mut self) {
        let now = self.shared.env.now();
        self.shared.inflight().expire(now);
        self.refuse_overdue(now);
        (self.held, self.compaction_held) = (false, false);
        if let (Some(epoch), None) = (self.leads, self.reign_flight)
            && self.shared.reigning().is_none()
        {
            // It was refused, for example because the disk is full.
            self.propose_reign(epoch);
        }
        self.tick_leases();
        self.start_snapshot();
    }

    /// While nothing can be proposed, waiting commands end at their deadlines; when the member
    /// stops, at once. Up to as many as the queue holds wait here meanwhile.
    fn refuse_overdue(&mut self, now: Instant) {
        let stopping = self.shared.is_stopping();
        if self.may_propose() && !stopping {
            return;
        }
        let failure = match (stopping, self.leads) {
            (true, _) => Failure::Stopped,
            (false, Some(_)) => Failure::TimedOut,
            (false, None) => Failure::NoLeader,
        };
        let room = self
            .limits()
            .proposals_waiting_max
            .saturating_sub(self.waiting.len());
        self.queue.drain(&mut self.waiting, room);
        for proposal in std::mem::take(&mut self.waiting) {
            if stopping || proposal.deadline <= now {
                proposal.answer(Answer::Failed(failure.clone()));
            } else {
                self.waiting.push(proposal);
            }
        }
    }

    fn tick_leases(&mut self) {
        let now = self.shared.env.clock();
        let most = self.limits().lease_expire_batch_max;
        let (expired, checkpoints) = {
            let mut reigning = self.shared.reigning();
            let Some(reigning) = reigning.as_mut() else {
                return;
            };
            if let Some(gap) = reigning.leases.tick(now) {
                let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(gap_ms, "the member stalled: all leases live longer by that");
            }
            if self.own.len() >= OWN_MAX {
                // The log stalls. What is due stays due.
                return;
            }
            // A lease that is granted anew by a batch under way is not the one that is due.
            let inflight = self.shared.inflight();
            (
                reigning
                    .leases
                    .take_due(now, most, |id| inflight.grants(id)),
                reigning
                    .leases
                    .take_checkpoints(now, most, |id| inflight.grants(id)),
            )
        };
        if !expired.is_empty() {
            let command = Command::LeaseExpire {
                leases: expired.clone(),
            };
            self.propose_own(Own::Expire(expired), command);
        }
        if !checkpoints.is_empty() {
            let leases = checkpoints.iter().map(|(id, _)| *id).collect();
            let remaining = checkpoints
                .into_iter()
                .map(|(id, left)| {
                    (
                        id,
                        u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
                    )
                })
                .collect();
            let command = Command::LeaseCheckpoint { remaining };
            self.propose_own(Own::Checkpoint(leases), command);
        }
    }

    /// A compaction goes on with each batch; when none comes, with an empty one.
    fn compact_on(&mut self) {
        let idle = self.flights.is_empty() && self.may_propose() && !self.shared.is_stopping();
        if !idle || self.compaction_held || self.shared.roots.compaction_finished() {
            return;
        }
        if let Some((reign, time_ms)) = self.reign() {
            self.propose(reign, time_ms, Vec::new(), Vec::new());
        }
    }

    /// Begins a snapshot when the log since the last one outweighs the state.
    fn start_snapshot(&mut self) {
        if self.snapshotting.is_some() || self.shared.env.now() < self.snapshot_not_before {
            return;
        }
        let state_bytes = self.shared.roots.latest().bytes();
        let log_bytes = self.shared.log_bytes();
        if log_bytes >= self.limits().log_keep_bytes.max(state_bytes / 2) {
            self.snapshotting = Some(self.engine.snapshot_now());
        }
    }
}

/// Small, and needed when the disk is full: it may use the space that is held back then.
fn leads_out_of_trouble(commands: &[Command]) -> bool {
    let vital = |command: &Command| match command {
        Command::Reign { .. }
        | Command::SetQuota { .. }
        | Command::SetCompactionStep { .. }
        | Command::Compact { .. } => true,
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::SetLevel { .. } => false,
    };
    !commands.is_empty() && commands.iter().all(vital)
}
