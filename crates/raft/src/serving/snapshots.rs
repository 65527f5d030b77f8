//! Another member's snapshot, part by part.
//!
//! One transfer at a time: a newer one of the same leader, or one of a later leader, takes the
//! place of an older one. A sender that falls silent is given up. Until [`Step::End`] nothing
//! that counts has changed here; then the machine makes the snapshot durable, which takes effect
//! at once or not at all, and openraft installs it. If power is lost in between, the member
//! starts on the snapshot, and its log is fitted to it at the start.

use super::Side;
use crate::machine::{Content, Snapshot};
use crate::runtime::Runtime;
use crate::turn::Turn;
use crate::types::{LeaderId, Position, Vote, seam_index_of};
use crate::wire::Received;
use bytes::Bytes;
use openraft::AsyncRuntime as _;
use openraft::errors::Fatal;
use openraft_rt::Select3;
use std::future::{pending, ready};
use std::time::Duration;
use synod_env::{Env, Instant, MemberId, queue, watch};
use synod_log::{Index, SnapshotReceiver};
use synod_protocols::Answer;

/// A sender that is silent for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A message about a snapshot.
pub(super) struct Message {
    pub(super) from: MemberId,
    pub(super) transfer: u64,
    pub(super) step: Step,
    pub(super) answer: Answer,
}

/// What is to be done next in a transfer.
pub(super) enum Step {
    Begin { vote: Vote, position: Bytes },
    Part { number: u32, part: Bytes },
    End { parts: u32 },
}

/// A transfer under way.
struct Transfer {
    from: MemberId,
    number: u64,
    vote: Vote,
    covers: Position,
    receiver: Box<dyn SnapshotReceiver>,
    /// The number of the part that is due.
    next: u32,
    give_up: Instant,
    _turn: Turn,
}

/// Who a transfer is of, and what became of it.
struct Done {
    from: MemberId,
    number: u64,
    answer: Received,
}

/// See the module.
pub(super) struct Snapshots {
    side: Side,
    queue: queue::Receiver<Message>,
    end: watch::Receiver<()>,
    transfer: Option<Transfer>,
    /// The last transfer that ended: its sender may not have heard.
    done: Option<Done>,
}

/// openraft has stopped.
struct Stopped;

impl Snapshots {
    pub(super) fn new(
        side: Side,
        queue: queue::Receiver<Message>,
        end: watch::Receiver<()>,
    ) -> Self {
        Self {
            side,
            queue,
            end,
            transfer: None,
            done: None,
        }
    }

    pub(super) async fn serve(mut self) {
        loop {
            let give_up = self.transfer.as_ref().map(|transfer| transfer.give_up);
            let silence = until(&self.side.env, give_up);
            match Runtime::select3(self.end.changed(), self.queue.receive(), silence).await {
                Select3::First(_) | Select3::Second(None) => return,
                Select3::Second(Some(message)) => {
                    let Message {
                        from,
                        transfer,
                        step,
                        answer,
                    } = message;
                    match self.step(from, transfer, step).await {
                        Ok(received) => answer.send(received.encode()),
                        Err(Stopped) => return,
                    }
                }
                Select3::Third(()) => {
                    let transfer = self.transfer.take();
                    let from = transfer.map(|transfer| transfer.from.0);
                    tracing::info!(
                        from,
                        "a snapshot's sender is silent; the transfer is given up"
                    );
                }
            }
        }
    }

    async fn step(&mut self, from: MemberId, number: u64, step: Step) -> Result<Received, Stopped> {
        if let Some(done) = &self.done
            && (done.from, done.number) == (from, number)
        {
            return Ok(done.answer.clone());
        }
        let silent_at = self.side.env.now() + SILENCE_MAX;
        let present = self.transfer.as_mut();
        let present = present.filter(|held| (held.from, held.number) == (from, number));
        match (step, present) {
            (Step::Begin { vote, position }, None) => {
                self.begin(from, number, vote, position).await
            }
            (Step::Begin { .. }, Some(transfer)) if transfer.next == 0 => Ok(Received::Ready),
            (Step::Part { number, part }, Some(transfer)) if number == transfer.next => {
                let taken = transfer.receiver.part(part).await;
                transfer.next += 1;
                transfer.give_up = silent_at;
                match taken {
                    Ok(()) => Ok(Received::Ready),
                    Err(error) => Ok(self.fail(&error)),
                }
            }
            // The answer to it was lost.
            (Step::Part { number, .. }, Some(transfer)) if number + 1 == transfer.next => {
                Ok(Received::Ready)
            }
            (Step::End { parts }, Some(transfer)) if parts == transfer.next => {
                let transfer = self.transfer.take().expect("it was just looked at");
                let answer = self.finish(transfer).await?;
                self.done = Some(Done {
                    from,
                    number,
                    answer: answer.clone(),
                });
                Ok(answer)
            }
            (Step::Begin { .. } | Step::Part { .. } | Step::End { .. }, Some(_))
            | (Step::Part { .. } | Step::End { .. }, None) => Ok(Received::Unknown),
        }
    }

    async fn begin(
        &mut self,
        from: MemberId,
        number: u64,
        vote: Vote,
        position: Bytes,
    ) -> Result<Received, Stopped> {
        let covers = match Position::decode(&position) {
            Ok(covers) => covers,
            Err(error) => return Ok(Received::Failed(error.to_string())),
        };
        let at = seam_index_of(covers.applied.as_ref());
        if let Some(settled) = settled(&self.side, vote, at).await? {
            return Ok(settled);
        }
        let log = &self.side.log;
        if let (Some(last), Some(covers)) = (log.last(), covers.applied)
            && last.index < at.0
            && last.epoch > covers.leader_id.term
        {
            // The log would be empty after a position that sorts before its last one: openraft
            // compares positions by epoch first, and takes that for a log that went back.
            return Ok(Received::Outdated);
        }
        if let Some(present) = &self.transfer
            && present.from != from
            && present.vote.leader_id.term >= vote.leader_id.term
        {
            return Ok(Received::Busy);
        }
        self.transfer = None;
        let Some(turn) = self.side.turns.try_take() else {
            return Ok(Received::Busy);
        };
        let receiver = self
            .side
            .raft
            .with_state_machine(move |machine| Box::pin(ready(machine.incoming(at, position))))
            .await
            .map_err(|_fatal: Fatal<_>| Stopped)?;
        tracing::info!(%from, %at, "receiving a snapshot");
        self.transfer = Some(Transfer {
            from,
            number,
            vote,
            covers,
            receiver,
            next: 0,
            give_up: self.side.env.now() + SILENCE_MAX,
            _turn: turn,
        });
        Ok(Received::Ready)
    }

    fn fail(&mut self, error: &std::io::Error) -> Received {
        self.transfer = None;
        tracing::warn!(%error, "a snapshot could not be received");
        Received::Failed(error.to_string())
    }

    /// Makes the snapshot durable and the engine's own.
    async fn finish(&mut self, transfer: Transfer) -> Result<Received, Stopped> {
        let Transfer {
            vote,
            covers,
            receiver,
            _turn,
            ..
        } = transfer;
        let at = seam_index_of(covers.applied.as_ref());
        // Durable, it is the newest of this member: it must not be older than the one that is
        // there, for which the log may have been purged. None can be written meanwhile.
        if let Some(settled) = settled(&self.side, vote, at).await? {
            return Ok(settled);
        }
        let received = match receiver.finish().await {
            Ok(received) => received,
            Err(error) => return Ok(self.fail(&error)),
        };
        assert_eq!(received.at(), at, "a snapshot covers what was announced");
        let snapshot = Snapshot {
            meta: covers.describe(),
            snapshot: Content::Received(received),
        };
        let response = self.side.raft.install_full_snapshot(vote, snapshot).await;
        let response = response.map_err(|_fatal| Stopped)?;
        Ok(Received::Settled(response.vote))
    }
}

/// The answer if a snapshot that covers `at` is of no use here: it is of a leader that this
/// member follows no more, or all of it is applied already.
async fn settled(side: &Side, vote: Vote, at: Index) -> Result<Option<Received>, Stopped> {
    let mine = side.log.vote();
    let mine = mine.map(|vote| Vote {
        leader_id: LeaderId {
            term: vote.term,
            voted_for: vote.node,
        },
        committed: vote.committed,
    });
    if let Some(mine) = mine
        && mine.leader_id.term > vote.leader_id.term
    {
        return Ok(Some(Received::Settled(mine)));
    }
    let applied = side
        .raft
        .with_state_machine(|machine| Box::pin(ready(machine.applied())))
        .await
        .map_err(|_fatal: Fatal<_>| Stopped)?;
    if applied < at {
        return Ok(None);
    }
    // The sender takes the answer for a promise that all of it is durable here.
    let log = &side.log;
    let is_durable = log.durable().is_some_and(|durable| at.0 <= durable)
        || log.purged().is_some_and(|purged| at.0 <= purged.index);
    Ok(Some(if is_durable {
        Received::Settled(vote)
    } else {
        Received::Busy
    }))
}

async fn until(env: &Env, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => env.sleep_until(deadline).await,
        None => pending().await,
    }
}
