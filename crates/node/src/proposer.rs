//! The proposer: turns waiting commands into log entries, and time into proposals.
//!
//! One task per member. It batches whatever waits, so batches grow by themselves under load, and
//! proposes them during its own reign; during another member's it forwards them to that one, made
//! for the reign that this member has applied. A leader's own batches and those forwarded to it
//! ([`crate::intake`]) share the places in flight, turn by turn. Timers decide nothing here: an
//! expiry, a checkpoint, a step of compaction is a proposal like any other, and the state drops it
//! if the reign is over.

mod chores;
mod forwarding;

use self::forwarding::answer;
use crate::failure::Failure;
use crate::history::History;
use crate::inflight::{Answer, Proposal};
use crate::intake::{Forwarded, Intake, Turn};
use crate::messages::{Forwarding, Refused};
use crate::shared::Shared;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_env::{BoxFuture, Bug, Instant, Limits, MemberId, oneshot, planted, queue, watch};
use synod_log::{Engine, Epoch, Index, ProposeError, Role, Status};
use synod_protocols::peers::{self, AskError, Port};
use synod_state::command::{Batch, Command, LeaseId, Origin, Revision};
use synod_state::reply::Outcome;

/// How often deadlines, leases and housekeeping are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// A forwarded batch of which nothing is heard for so long has a fence sent after it.
const FENCE_AFTER: Duration = Duration::from_millis(500);

/// How long after a failed snapshot the next one begins at the earliest.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(10);

/// Proposals of the member's own that may be unsettled at a time.
const OWN_MAX: usize = 4;

/// What an encoded batch may have beside its commands, in bytes.
const BATCH_OVERHEAD_MAX: usize = 64;

type Settled = Result<Index, ProposeError>;

/// Until when somebody waits for a command, and where the answer goes.
type Waiter = (Instant, oneshot::Sender<Answer>);

/// A batch that another member forwarded, on its way to the proposer.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) from: MemberId,
    pub(crate) batch: bytes::Bytes,
    /// After that nobody waits for it any more.
    pub(crate) until: Instant,
    /// A fence wants no answer.
    pub(crate) answer: Option<peers::Answer>,
}

/// Proposals that this member makes by itself.
enum Own {
    Expire(Vec<LeaseId>),
    Checkpoint(Vec<LeaseId>),
    /// Up to this revision.
    Compact(Revision),
    /// What this member was started with.
    Quota,
}

struct OwnUnderWay {
    own: Own,
    /// In which reign.
    reign: u64,
    sequence: u64,
    answer: oneshot::Receiver<Answer>,
}

/// A batch that the engine has.
struct Proposed {
    whose: Whose,
    settled: BoxFuture<'static, Settled>,
}

enum Whose {
    /// This member's own, by its sequence.
    Own(u64),
    /// Another member's, for this reign.
    Other {
        from: MemberId,
        reign: u64,
        forwarded: Forwarded<Option<peers::Answer>>,
    },
}

/// A batch that the leader was sent.
struct Sent {
    sequence: u64,
    became: BoxFuture<'static, Result<bytes::Bytes, AskError>>,
}

/// What the proposer reacts to.
enum Input {
    Leadership,
    /// Something may be proposed that could not be before.
    Reign,
    Propose,
    Settled(Whose, Settled),
    Heard(u64, Result<bytes::Bytes, AskError>),
    Arrived(Arrival),
    /// What this member proposed by itself in this reign.
    Own(u64, Own, Option<Outcome>),
    Tick,
    Closed,
}

/// Where batches of this member go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Into the log: this member reigns.
    Here { reign: u64 },
    /// To the member that reigns.
    Leader { leader: MemberId, reign: u64 },
    /// Nobody leads whose reign is applied here.
    Nowhere,
}

pub(crate) struct Proposer {
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    port: Port,
    leadership: watch::Receiver<Leadership>,
    /// The reign in the state.
    reign: watch::Receiver<u64>,
    queue: queue::Receiver<Proposal>,
    arrivals: queue::Receiver<Arrival>,
    intake: Intake<Option<peers::Answer>>,
    /// Epoch in which this member leads, as the engine says.
    leads: Option<Epoch>,
    sequence: u64,
    proposed: Vec<Proposed>,
    sent: Vec<Sent>,
    fenced_at: Instant,
    own: Vec<OwnUnderWay>,
    tick: BoxFuture<'static, ()>,
    waiting: Vec<Proposal>,
    history: History,
    snapshotting: Option<BoxFuture<'static, std::io::Result<Index>>>,
    /// No snapshot begins before that: the last one failed.
    snapshot_not_before: Instant,
    /// There was no place for a batch, or nobody to take it: nothing is proposed until another
    /// batch settles, somebody else leads, or time passes.
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
    pub(crate) leader: Option<MemberId>,
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
            leader: status.leader,
            fatal: status.fatal.clone(),
        }
    }
}

impl Proposer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        engine: Arc<dyn Engine>,
        port: Port,
        leadership: watch::Receiver<Leadership>,
        queue: queue::Receiver<Proposal>,
        arrivals: queue::Receiver<Arrival>,
    ) -> Self {
        let tick = shared.env.sleep(TICK);
        let limits = &shared.config.limits;
        let bytes_max = limits.batch_bytes_max.max(limits.request_bytes_max) + BATCH_OVERHEAD_MAX;
        let intake = Intake::new(shared.member, limits.batches_inflight_max, bytes_max);
        Self {
            reign: shared.reign(),
            shared,
            engine,
            port,
            leadership,
            queue,
            arrivals,
            intake,
            leads: None,
            sequence: 0,
            proposed: Vec::new(),
            sent: Vec::new(),
            fenced_at: Instant::ZERO,
            own: Vec::new(),
            tick,
            waiting: Vec::new(),
            history: History::default(),
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
                        return self.end(fatal);
                    }
                    self.leadership_changed();
                }
                Input::Reign => self.held = false,
                Input::Propose => self.propose_next(),
                Input::Settled(Whose::Own(sequence), result) => self.settled(sequence, result),
                Input::Settled(
                    Whose::Other {
                        from,
                        reign,
                        forwarded,
                    },
                    result,
                ) => self.settled_for(from, reign, forwarded, result),
                Input::Heard(sequence, became) => self.heard(sequence, became),
                Input::Arrived(arrival) => self.arrived(arrival),
                Input::Own(reign, own, outcome) => self.own_settled(reign, own, outcome.as_ref()),
                Input::Tick => {
                    self.tick = self.shared.env.sleep(TICK);
                    self.housekeeping();
                }
                Input::Closed => return self.end(None),
            }
            self.intake_follows();
            self.compact_on();
        }
    }

    /// Nothing will be proposed any more. What waits was never proposed.
    fn end(&mut self, fatal: Option<String>) {
        self.shared.stopped(fatal);
        self.queue.drain(&mut self.waiting, usize::MAX);
        for proposal in self.waiting.drain(..) {
            proposal.answer(Answer::Failed(Failure::Stopped));
        }
        for address in self.intake.set_reign(None) {
            answer(address, Forwarding::Refused(Refused::NotLeading));
        }
    }

    async fn next(&mut self) -> Input {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        for place in 0..self.proposed.len() {
            if let Poll::Ready(result) = self.proposed[place].settled.as_mut().poll(cx) {
                let whose = self.proposed.swap_remove(place).whose;
                return Poll::Ready(Input::Settled(whose, result));
            }
        }
        for place in 0..self.sent.len() {
            if let Poll::Ready(became) = self.sent[place].became.as_mut().poll(cx) {
                let sequence = self.sent.swap_remove(place).sequence;
                return Poll::Ready(Input::Heard(sequence, became));
            }
        }
        for place in 0..self.own.len() {
            let answer = std::pin::Pin::new(&mut self.own[place].answer);
            if let Poll::Ready(answer) = answer.poll(cx) {
                let OwnUnderWay { own, reign, .. } = self.own.swap_remove(place);
                let outcome = match answer {
                    Ok(Answer::Applied(outcome)) => Some(outcome),
                    Ok(Answer::Again(_) | Answer::Failed(_)) | Err(oneshot::Dropped) => None,
                };
                return Poll::Ready(Input::Own(reign, own, outcome));
            }
        }
        match self.leadership.poll_changed(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Input::Leadership),
            Poll::Ready(Err(watch::Closed)) => return Poll::Ready(Input::Closed),
            Poll::Pending => {}
        }
        if self.reign.poll_changed(cx).is_ready() {
            return Poll::Ready(Input::Reign);
        }
        if let Poll::Ready(Some(arrival)) = self.arrivals.poll_receive(cx) {
            return Poll::Ready(Input::Arrived(arrival));
        }
        if let Some(snapshot) = &mut self.snapshotting
            && let Poll::Ready(result) = snapshot.as_mut().poll(cx)
        {
            self.snapshotting = None;
            self.snapshot_ended(result);
        }
        let route = self.route();
        if self.has_room(route) {
            if self.waiting.is_empty()
                && let Poll::Ready(proposal) = self.queue.poll_receive(cx)
            {
                let Some(proposal) = proposal else {
                    return Poll::Ready(Input::Closed);
                };
                self.waiting.push(proposal);
            }
            if !self.waiting.is_empty() || self.intake.has_waiting() {
                return Poll::Ready(Input::Propose);
            }
        }
        self.tick.as_mut().poll(cx).map(|()| Input::Tick)
    }

    fn limits(&self) -> &Limits {
        &self.shared.config.limits
    }

    fn route(&self) -> Route {
        if let Some(epoch) = self.leads {
            let reigning = self.shared.reigning();
            return match reigning.as_ref().filter(|r| Epoch(r.reign) == epoch) {
                Some(reigning) => Route::Here {
                    reign: reigning.reign,
                },
                None => Route::Nowhere,
            };
        }
        let leadership = self.leadership.borrow();
        let reign = *self.reign.borrow();
        match leadership.leader {
            Some(leader) if leader != self.shared.member && Epoch(reign) == leadership.epoch => {
                Route::Leader { leader, reign }
            }
            Some(_) | None => Route::Nowhere,
        }
    }

    /// True if one more batch may go that way.
    fn has_room(&self, route: Route) -> bool {
        let inflight = match route {
            Route::Here { .. } => self.proposed.len(),
            // Those of which nothing was heard keep their places, so that they stay few.
            Route::Leader { .. } => self.shared.inflight().len().max(self.sent.len()),
            Route::Nowhere => return false,
        };
        !self.held && inflight < self.limits().batches_inflight_max
    }

    /// A new leader's first entry is its reign; a former leader's timers stop.
    fn leadership_changed(&mut self) {
        self.held = false;
        let leadership = self.leadership.borrow_seen().clone();
        let leads = leadership.leads.then_some(leadership.epoch);
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        if !planted(Bug::DeposedLeaderExpires) {
            *self.shared.reigning() = None;
        }
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
        if let Some(bytes) = self.own_quota(&root) {
            commands.push(Command::SetQuota { bytes });
        }
        let events = u64::try_from(self.limits().compaction_batch_max).unwrap_or(u64::MAX);
        if root.compaction_step() != events {
            commands.push(Command::SetCompactionStep { events });
        }
        self.reign_flight = Some(self.propose(epoch.0, commands, Vec::new()));
    }

    /// Proposes one batch, or sends one to whoever reigns.
    fn propose_next(&mut self) {
        let route = self.route();
        let turn = match route {
            Route::Here { .. } => self.intake.next(!self.waiting.is_empty()),
            Route::Leader { .. } => Turn::Own,
            Route::Nowhere => return,
        };
        match turn {
            Turn::Nobody => {}
            Turn::Own => {
                let Some((commands, waiters)) = self.take_waiting() else {
                    return;
                };
                match route {
                    Route::Here { reign } => {
                        self.propose(reign, commands, waiters);
                    }
                    Route::Leader { leader, reign } => {
                        self.forward(leader, reign, commands, waiters);
                    }
                    Route::Nowhere => unreachable!("nothing is taken for no route"),
                }
            }
            Turn::Forwarded(from, forwarded) => self.propose_for(from, forwarded),
        }
    }

    /// The commands of one batch, with whoever waits for each; what does not fit waits on.
    fn take_waiting(&mut self) -> Option<(Vec<Command>, Vec<Waiter>)> {
        let (commands_max, bytes_max) = (
            self.limits().batch_commands_max,
            self.limits().batch_bytes_max,
        );
        let room = commands_max.saturating_sub(self.waiting.len());
        self.queue.drain(&mut self.waiting, room);
        let now = self.shared.env.now();
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
        (!commands.is_empty()).then_some((commands, waiters))
    }

    /// Service time now, if this member reigns.
    fn service_time_ms(&self) -> Option<u64> {
        let now = self.shared.env.clock();
        let reigning = self.shared.reigning();
        reigning.as_ref().map(|r| r.service_time_ms(now))
    }

    fn batch(&mut self, reign: u64, time_ms: u64, commands: Vec<Command>) -> Batch {
        self.sequence += 1;
        let origin = Origin {
            member: self.shared.member,
            incarnation: self.shared.incarnation,
            sequence: self.sequence,
        };
        Batch {
            origin,
            reign,
            time_ms,
            commands,
        }
    }

    /// Proposes a batch of this member's; its sequence.
    fn propose(&mut self, reign: u64, commands: Vec<Command>, mut waiters: Vec<Waiter>) -> u64 {
        // Before its reign is applied, time stands where the state has it.
        let time_ms = self
            .service_time_ms()
            .unwrap_or_else(|| self.shared.roots.latest().time_ms());
        let batch = self.batch(reign, time_ms, commands);
        let sequence = batch.origin.sequence;
        let encoded = batch.encode();
        let vital = leads_out_of_trouble(&batch.commands);
        // Commands of the member's own that nobody waits for have a waiter that is gone.
        while waiters.len() < batch.commands.len() {
            waiters.push((Instant::NEVER, oneshot::channel().0));
        }
        self.shared
            .inflight()
            .insert(sequence, reign, batch.commands, waiters, None);
        let settled = if vital {
            self.engine.propose_reserved(encoded)
        } else {
            self.engine.propose(encoded)
        };
        let whose = Whose::Own(sequence);
        self.proposed.push(Proposed { whose, settled });
        sequence
    }

    /// The engine is done with a batch of this member's.
    fn settled(&mut self, sequence: u64, result: Settled) {
        let began_reign = self.reign_flight == Some(sequence);
        if began_reign {
            self.reign_flight = None;
        }
        self.held = not_now(&result);
        self.compaction_held |= result.is_err();
        let failure = match result {
            // The machine has answered the waiters already, or found the batch void.
            Ok(_) => return,
            Err(ProposeError::Busy | ProposeError::NotLeader(_) | ProposeError::NoQuorum) => {
                // What time made this member propose is not proposed in a later reign.
                let is_own = began_reign || self.own.iter().any(|own| own.sequence == sequence);
                if !is_own {
                    self.take_back(sequence);
                    return;
                }
                Failure::TooManyRequests
            }
            Err(ProposeError::NoSpace) => Failure::NoSpace,
            // It may still be applied: the waiters learn it then, or at their deadline.
            Err(ProposeError::Unknown) => return,
            Err(ProposeError::Stopped) => Failure::Unknown,
        };
        self.shared.inflight().refused(sequence, &failure);
    }

    /// A batch was certainly not appended: its commands wait again, before all others.
    fn take_back(&mut self, sequence: u64) {
        let mut again = self.shared.inflight().take_back(sequence);
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// Everything that time brings: deadlines, fences, lease expiry, checkpoints, compaction,
    /// snapshots.
    fn housekeeping(&mut self) {
        let now = self.shared.env.now();
        self.shared.inflight().expire(now);
        self.forget_settled();
        self.refuse_overdue(now);
        (self.held, self.compaction_held) = (false, false);
        if let (Some(epoch), None) = (self.leads, self.reign_flight)
            && self.shared.reigning().is_none()
        {
            // It was refused, for example because the disk is full.
            self.propose_reign(epoch);
        }
        self.fence(now);
        self.tick_leases();
        self.forget_history();
        self.restore_quota();
        self.start_snapshot();
    }

    /// While nothing can be proposed, waiting commands end at their deadlines; when the member
    /// stops, at once. Up to as many as the queue holds wait here meanwhile.
    fn refuse_overdue(&mut self, now: Instant) {
        for address in self.intake.take_overdue(now) {
            answer(address, Forwarding::Refused(Refused::Overdue));
        }
        let stopping = self.shared.is_stopping();
        if self.has_room(self.route()) && !stopping {
            return;
        }
        let failure = if stopping {
            Failure::Stopped
        } else if self.leadership.borrow().leader.is_some() {
            Failure::TimedOut
        } else {
            Failure::NoLeader
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
}

/// The batch was not appended, and the next one would fare no better at once.
fn not_now(result: &Settled) -> bool {
    match result {
        Err(ProposeError::Busy | ProposeError::NotLeader(_) | ProposeError::NoQuorum) => true,
        Ok(_) | Err(ProposeError::NoSpace | ProposeError::Unknown | ProposeError::Stopped) => false,
    }
}

/// Small, and needed when the disk is full: it may use the space that is held back then.
pub(crate) fn leads_out_of_trouble(commands: &[Command]) -> bool {
    let vital = |command: &Command| match command {
        Command::Reign { .. }
        | Command::SetQuota { .. }
        | Command::SetCompactionStep { .. }
        | Command::SetLimit(_)
        | Command::Compact { .. } => true,
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::SetLevel { .. }
        | Command::SetAlarm { .. } => false,
    };
    !commands.is_empty() && commands.iter().all(vital)
}
