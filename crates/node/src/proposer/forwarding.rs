//! Batches on their way between members: this member's to the leader, others' to this one.

use super::{
    Arrival, FENCE_AFTER, Proposed, Proposer, Route, Sent, Settled, Waiter, Whose, not_now,
};
use crate::failure::Failure;
use crate::intake::Forwarded;
use crate::messages::{Ask, Forwarding, Refused};
use bytes::Bytes;
use synod_env::{Instant, Lane, MemberId};
use synod_log::ProposeError;
use synod_protocols::peers::{self, AskError};
use synod_state::command::{Batch, Command};

/// Answers whoever forwarded a batch.
pub(super) fn answer(answer: Option<peers::Answer>, became: Forwarding) {
    if let Some(answer) = answer {
        answer.send(became.encode());
    }
}

impl Proposer {
    /// Batches of other members are taken up during this member's reign only.
    pub(super) fn intake_follows(&mut self) {
        let reign = match self.route() {
            Route::Here { reign } if !self.shared.is_stopping() => Some(reign),
            Route::Here { .. } | Route::Leader { .. } | Route::Nowhere => None,
        };
        for address in self.intake.set_reign(reign) {
            answer(address, Forwarding::Refused(Refused::NotLeading));
        }
    }

    /// Proposes a batch of another member's, which was taken up for this member's reign.
    pub(super) fn propose_for(
        &mut self,
        from: MemberId,
        forwarded: Forwarded<Option<peers::Answer>>,
    ) {
        let (Route::Here { reign }, Some(time_ms)) = (self.route(), self.service_time_ms()) else {
            answer(forwarded.answer, Forwarding::Refused(Refused::NotLeading));
            return;
        };
        if forwarded.until <= self.shared.env.now() {
            answer(forwarded.answer, Forwarding::Refused(Refused::Overdue));
            return;
        }
        let stamped = Batch::stamp(&forwarded.batch, time_ms);
        let settled = if forwarded.vital {
            self.engine.propose_reserved(stamped)
        } else {
            self.engine.propose(stamped)
        };
        let whose = Whose::Other {
            from,
            reign,
            forwarded,
        };
        self.proposed.push(Proposed { whose, settled });
    }

    /// Sends a batch to the member that reigns, which puts the service time in.
    pub(super) fn forward(
        &mut self,
        leader: MemberId,
        reign: u64,
        commands: Vec<Command>,
        waiters: Vec<Waiter>,
    ) {
        let now = self.shared.env.now();
        let until = waiters.iter().map(|(deadline, _)| *deadline).max();
        let until = until.expect("a batch has a command, and each its waiter");
        let batch = self.batch(reign, 0, commands);
        let sequence = batch.origin.sequence;
        let ask = Ask::Forward {
            within: until.saturating_since(now),
            batch: batch.encode(),
        };
        self.shared
            .inflight()
            .insert(sequence, reign, batch.commands, waiters, Some(now));
        let became = self.port.ask(leader, Lane::Append, ask.encode(), until);
        self.sent.push(Sent { sequence, became });
    }

    /// Sends an empty batch after those of which nothing was heard for some time: once it is
    /// applied they are settled, whether they arrived or not. They themselves are never sent
    /// again, for they may arrive yet.
    pub(super) fn fence(&mut self, now: Instant) {
        let Route::Leader { leader, reign } = self.route() else {
            return;
        };
        let Some(unheard) = self.shared.inflight().unheard_since() else {
            return;
        };
        if now.saturating_since(unheard.max(self.fenced_at)) < FENCE_AFTER {
            return;
        }
        self.fenced_at = now;
        let fence = self.batch(reign, 0, Vec::new());
        let ask = Ask::Forward {
            within: self.limits().request_timeout,
            batch: fence.encode(),
        };
        // If it is not sent, another is due soon.
        let _unsent = self.port.tell(leader, Lane::Append, ask.encode());
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let Arrival {
            from,
            batch,
            until,
            answer: address,
        } = arrival;
        self.intake_follows();
        if let Err((address, Some(why))) = self.intake.take(from, batch, until, address) {
            answer(address, Forwarding::Refused(why));
        }
    }

    /// The engine is done with a batch of another member's.
    pub(super) fn settled_for(
        &mut self,
        from: MemberId,
        reign: u64,
        forwarded: Forwarded<Option<peers::Answer>>,
        result: Settled,
    ) {
        self.held = not_now(&result);
        let became = match result {
            Ok(at) => Forwarding::Proposed { at },
            Err(ProposeError::Busy) if self.route() == (Route::Here { reign }) => {
                self.intake.put_back(from, forwarded);
                return;
            }
            Err(ProposeError::Busy | ProposeError::NotLeader(_) | ProposeError::NoQuorum) => {
                Forwarding::Refused(Refused::NotLeading)
            }
            Err(ProposeError::NoSpace) => Forwarding::Refused(Refused::NoSpace),
            Err(ProposeError::Unknown | ProposeError::Stopped) => Forwarding::Unknown,
        };
        answer(forwarded.answer, became);
    }

    /// The leader says what became of a batch, or nobody does.
    pub(super) fn heard(&mut self, sequence: u64, became: Result<Bytes, AskError>) {
        let became = match became {
            Ok(answer) => Forwarding::decode(answer),
            Err(AskError::NotSent(_)) => Ok(Forwarding::Refused(Refused::NotLeading)),
            Err(AskError::NoAnswer) => Ok(Forwarding::Unknown),
        };
        match became.unwrap_or(Forwarding::Unknown) {
            Forwarding::Proposed { .. } => self.shared.inflight().heard_of(sequence),
            // Its fate shows in the log; if it is not there, behind a fence.
            Forwarding::Unknown => {}
            Forwarding::Refused(Refused::Late) => self.take_back(sequence),
            Forwarding::Refused(Refused::NotLeading | Refused::Busy | Refused::Overdue) => {
                self.held = true;
                self.take_back(sequence);
            }
            Forwarding::Refused(Refused::NoSpace) => {
                self.shared.inflight().refused(sequence, &Failure::NoSpace);
            }
            Forwarding::Refused(Refused::Unacceptable) => {
                self.shared.inflight().refused(sequence, &Failure::TooLarge);
            }
        }
    }

    /// Forgets the questions about batches that are settled, whose answers tell nothing new.
    pub(super) fn forget_settled(&mut self) {
        let inflight = self.shared.inflight();
        self.sent.retain(|sent| inflight.contains(sent.sequence));
    }
}
