//! Batches that are proposed and not yet settled, and who waits for their commands.
//!
//! The origin answers its waiters from its own apply. Seen there means done or refused. A later
//! reign, or a later own sequence, applied without it means certainly not done: the command goes
//! back to its waiter to be proposed again. Only a crash, the deadline, or an installed snapshot
//! leaves *unknown*.
//!
//! A batch that was forwarded and of which nothing is heard is not sent again: it may arrive yet.
//! Instead its origin sends a *fence*, an empty batch with a later sequence. When that is applied,
//! everything before it is settled by the rule above.

use crate::failure::Failure;
use std::collections::BTreeMap;
use synod_env::{Instant, oneshot};
use synod_state::command::{Command, LeaseId};
use synod_state::reply::Outcome;

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was applied, with this outcome.
    Applied(Outcome),
    /// It certainly was not applied and never will be: it may be proposed again.
    Again(Command),
    /// It will not be answered otherwise.
    Failed(Failure),
}

/// A command with whoever waits for it.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Answer>,
}

impl Proposal {
    pub(crate) fn answer(self, answer: Answer) {
        // Whoever gave up waiting learns nothing; the command is done or not all the same.
        drop(self.reply.send(answer));
    }
}

/// A batch's proposals in the order of its commands, with what is needed to settle them.
#[derive(Debug)]
struct Flight {
    reign: u64,
    commands: Vec<Command>,
    waiters: Vec<Option<Waiter>>,
    /// The earliest deadline among the waiters left.
    deadline: Instant,
    /// When it was forwarded, until the leader says what became of it; `None` also for a batch
    /// that this member proposes itself.
    unheard_since: Option<Instant>,
    /// Another member was asked to propose it.
    forwarded: bool,
}

#[derive(Debug)]
struct Waiter {
    deadline: Instant,
    reply: oneshot::Sender<Answer>,
}

/// All unsettled batches of this member by sequence.
#[derive(Debug, Default)]
pub(crate) struct Inflight(BTreeMap<u64, Flight>);

impl Inflight {
    /// Registers a batch just before it is proposed, or forwarded at the given moment.
    pub(crate) fn insert(
        &mut self,
        sequence: u64,
        reign: u64,
        commands: Vec<Command>,
        waiters: Vec<(Instant, oneshot::Sender<Answer>)>,
        forwarded: Option<Instant>,
    ) {
        assert_eq!(commands.len(), waiters.len(), "each command has its waiter");
        let deadline = waiters
            .iter()
            .map(|(at, _)| *at)
            .min()
            .unwrap_or(Instant::NEVER);
        let waiters = waiters
            .into_iter()
            .map(|(deadline, reply)| Some(Waiter { deadline, reply }))
            .collect();
        self.0.insert(
            sequence,
            Flight {
                reign,
                commands,
                waiters,
                deadline,
                unheard_since: forwarded,
                forwarded: forwarded.is_some(),
            },
        );
    }

    /// The leader has the batch in its log: it will be settled from there.
    pub(crate) fn heard_of(&mut self, sequence: u64) {
        if let Some(flight) = self.0.get_mut(&sequence) {
            flight.unheard_since = None;
        }
    }

    /// Since when nothing is heard of a forwarded batch for which somebody waits: the longest.
    pub(crate) fn unheard_since(&self) -> Option<Instant> {
        self.0
            .values()
            .filter_map(|flight| flight.unheard_since)
            .min()
    }

    /// The batch `sequence` was applied with these outcomes, so no earlier one ever will be.
    pub(crate) fn applied(
        &mut self,
        sequence: u64,
        outcomes: Vec<Outcome>,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
    ) {
        while let Some(entry) = self.0.first_entry()
            && *entry.key() < sequence
        {
            give_back(entry.remove(), answers);
        }
        let Some(flight) = self.0.remove(&sequence) else {
            return;
        };
        assert_eq!(
            outcomes.len(),
            flight.waiters.len(),
            "each command has its outcome"
        );
        for (waiter, outcome) in flight.waiters.into_iter().zip(outcomes) {
            if let Some(waiter) = waiter {
                answers.push((waiter.reply, Answer::Applied(outcome)));
            }
        }
    }

    /// `reign` was applied, so no batch made for an earlier one ever will be.
    pub(crate) fn reign_began(
        &mut self,
        reign: u64,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
    ) {
        let over: Vec<u64> = self
            .0
            .iter()
            .filter(|(_, flight)| flight.reign < reign)
            .map(|(key, _)| *key)
            .collect();
        for sequence in over {
            if let Some(flight) = self.0.remove(&sequence) {
                give_back(flight, answers);
            }
        }
    }

    /// A state was installed that is of `reign` and has taken this member's batches into account
    /// up to the sequence `covered`. What became of those cannot be seen any more; later ones of
    /// an earlier reign are void, and the others remain.
    pub(crate) fn installed(
        &mut self,
        reign: u64,
        covered: Option<u64>,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
    ) {
        while let Some(entry) = self.0.first_entry()
            && covered.is_some_and(|covered| *entry.key() <= covered)
        {
            for waiter in entry.remove().waiters.into_iter().flatten() {
                answers.push((waiter.reply, Answer::Failed(Failure::Unknown)));
            }
        }
        self.reign_began(reign, answers);
    }

    /// The engine says that the batch was not appended, but may be if it is proposed again.
    pub(crate) fn take_back(&mut self, sequence: u64) -> Vec<Proposal> {
        let Some(flight) = self.0.remove(&sequence) else {
            return Vec::new();
        };
        let waiters = flight.waiters.into_iter();
        waiters
            .zip(flight.commands)
            .filter_map(|(waiter, command)| {
                let Waiter { deadline, reply } = waiter?;
                Some(Proposal {
                    command,
                    deadline,
                    reply,
                })
            })
            .collect()
    }

    /// True if a batch that is not settled makes this lease.
    pub(crate) fn grants(&self, id: LeaseId) -> bool {
        let mut commands = self.0.values().flat_map(|flight| &flight.commands);
        commands.any(|command| matches!(command, Command::LeaseGrant { lease, .. } if *lease == id))
    }

    /// The engine will not append the batch, or will not say: its waiters learn `failure`.
    pub(crate) fn refused(&mut self, sequence: u64, failure: &Failure) {
        let Some(flight) = self.0.remove(&sequence) else {
            return;
        };
        for waiter in flight.waiters.into_iter().flatten() {
            drop(waiter.reply.send(Answer::Failed(failure.clone())));
        }
    }

    /// Tells the waiters whose deadline has passed that nobody knows. A forwarded batch for which
    /// nobody waits any more is forgotten; one of this member's own keeps its place until the
    /// engine is done with it.
    pub(crate) fn expire(&mut self, now: Instant) {
        for flight in self.0.values_mut() {
            if flight.deadline > now {
                continue;
            }
            flight.deadline = Instant::NEVER;
            for slot in &mut flight.waiters {
                let Some(waiter) = slot else { continue };
                if waiter.deadline > now {
                    flight.deadline = flight.deadline.min(waiter.deadline);
                } else if let Some(waiter) = slot.take() {
                    drop(waiter.reply.send(Answer::Failed(Failure::Unknown)));
                }
            }
        }
        self.0
            .retain(|_, flight| !flight.forwarded || flight.waiters.iter().any(Option::is_some));
    }

    /// Nothing will be applied any more: all that is left is unknown.
    pub(crate) fn stop(&mut self) {
        for flight in std::mem::take(&mut self.0).into_values() {
            for waiter in flight.waiters.into_iter().flatten() {
                drop(waiter.reply.send(Answer::Failed(Failure::Unknown)));
            }
        }
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.0.contains_key(&sequence)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True if somebody waits for a batch.
    pub(crate) fn is_awaited(&self) -> bool {
        let mut waiters = self
            .0
            .values()
            .flat_map(|flight| flight.waiters.iter().flatten());
        waiters.any(|waiter| !waiter.reply.is_abandoned())
    }
}

fn give_back(flight: Flight, answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>) {
    for (waiter, command) in flight.waiters.into_iter().zip(flight.commands) {
        if let Some(waiter) = waiter {
            answers.push((waiter.reply, Answer::Again(command)));
        }
    }
}
