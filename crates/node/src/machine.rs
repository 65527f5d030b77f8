//! Apply: the only writer of the state.
//!
//! The engine hands committed entries to [`Replica`] in order. In one step the state changes, the
//! root is published, watchers are told, the lease clock learns, and the waiters of this member's
//! own batches are answered: always in that order, so that whoever has an answer can read it.

use crate::inflight::Answer;
use crate::leases::LeaseClock;
use crate::shared::{Reigning, Shared};
use crate::snapshots::Snapshots;
use crate::transfer::Received;
use bytes::Bytes;
use std::any::Any;
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use synod_env::{BoxFuture, Bug, oneshot, planted};
use synod_log::{Entry, Index, Machine, ReceivedSnapshot, SnapshotReader, SnapshotReceiver};
use synod_state::command::{Batch, Command};
use synod_state::limit::LimitChange;
use synod_state::reply::Event;
use synod_state::{LeaseChange, State};

/// The replicated state on this member, as the engine drives it.
pub(crate) struct Replica {
    state: State,
    shared: Arc<Shared>,
    snapshots: Snapshots,
}

impl Replica {
    pub(crate) fn new(state: State, shared: Arc<Shared>, snapshots: Snapshots) -> Self {
        Self {
            state,
            shared,
            snapshots,
        }
    }

    /// Applies one batch; collects its events, and the answers to its waiters.
    fn apply_batch(
        &mut self,
        index: Index,
        batch: &Batch,
        events: &mut Vec<Event>,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
    ) {
        let former_reign = self.state.root().reign();
        let applied = self.state.apply(index.0, batch);
        let reign = self.state.root().reign();
        let own = batch.origin.member == self.shared.member
            && batch.origin.incarnation == self.shared.incarnation;
        if applied.dropped.is_some() {
            // Its waiters have been given back their commands, or will be with what made it void.
            return;
        }
        for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            if let (Command::SetLimit(change), Ok(_)) = (command, outcome) {
                self.limit_changed(change);
            }
        }
        events.extend(applied.events);
        self.lease_changes(&applied.leases);
        let mut inflight = self.shared.inflight();
        if reign != former_reign {
            inflight.reign_began(reign, answers);
            drop(inflight);
            self.reign_began(reign, own);
            inflight = self.shared.inflight();
        }
        if own {
            inflight.applied(batch.origin.sequence, applied.outcomes, answers);
        }
    }

    /// A bound was changed for the whole cluster: each member's log says so.
    fn limit_changed(&self, change: &LimitChange) {
        let LimitChange {
            kind,
            value,
            wall_ms,
            by,
        } = change;
        let by = by.escape_ascii();
        tracing::info!(target: "audit", ?kind, ?value, wall_ms, %by, "limit changed");
        self.shared.limits_applied(&self.state.root());
    }

    fn lease_changes(&self, changes: &[LeaseChange]) {
        if changes.is_empty() {
            return;
        }
        let now = self.shared.env.clock();
        let mut reigning = self.shared.reigning();
        let Some(Reigning { leases, .. }) = reigning.as_mut() else {
            return;
        };
        for change in changes {
            match *change {
                LeaseChange::Granted { lease, ttl_ms } => {
                    leases.granted(now, lease, Duration::from_millis(ttl_ms));
                }
                LeaseChange::Revoked { lease } | LeaseChange::Expired { lease } => {
                    leases.ended(lease);
                }
                LeaseChange::Checkpointed {
                    lease,
                    remaining_ms,
                } => {
                    leases.checkpoint_applied(lease, remaining_ms > 0);
                }
            }
        }
    }

    /// A reign is in the state. If it is this member's, everything timed begins here.
    fn reign_began(&mut self, reign: u64, own: bool) {
        if !own {
            if !planted(Bug::DeposedLeaderExpires) {
                *self.shared.reigning() = None;
            }
            return;
        }
        let now = self.shared.env.clock();
        let root = self.state.root();
        let leases = root.leases().map(|lease| {
            let recorded = lease.remaining_ms > 0;
            let remaining = recorded.then(|| Duration::from_millis(lease.remaining_ms));
            (lease.id, Duration::from_millis(lease.ttl_ms), remaining)
        });
        let leases = LeaseClock::begin(now, leases, self.shared.config.leader_lease_max);
        *self.shared.reigning() = Some(Reigning {
            reign,
            began: now,
            time_ms: root.time_ms(),
            leases,
        });
    }
}

impl Machine for Replica {
    fn apply(&mut self, entries: Vec<Entry>) {
        let Some((last, epoch)) = entries.last().map(|entry| (entry.index, entry.epoch)) else {
            return;
        };
        let began = self.shared.env.now();
        let mut events = Vec::new();
        let mut answers = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            bytes += entry.batch.len();
            if entry.batch.is_empty() {
                continue;
            }
            let index = entry.index;
            let batch = Batch::decode(entry.batch).unwrap_or_else(|corrupt| {
                panic!("log entry {index} is committed and is not a batch: {corrupt}")
            });
            self.apply_batch(index, &batch, &mut events, &mut answers);
        }
        let root = self.state.root();
        self.shared.applied_bytes(bytes);
        self.shared.epoch_applied(epoch);
        self.shared.roots.publish(root.clone(), last);
        self.shared.hub.publish(&root, &events);
        self.shared.reign_applied(root.reign());
        for (reply, answer) in answers {
            // Whoever gave up waiting learns nothing; the command is done all the same.
            drop(reply.send(answer));
        }
        let took = self.shared.env.now().saturating_since(began);
        self.shared.times.apply.record(took);
    }

    fn snapshot(&mut self, at: Index, position: Bytes) -> BoxFuture<'static, io::Result<()>> {
        self.shared.snapshot_began();
        self.snapshots.write(at, position, self.state.root())
    }

    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        let reader = self.snapshots.outgoing();
        Box::pin(ready(Ok(reader)))
    }

    fn incoming(&mut self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver> {
        self.snapshots.incoming(at, position)
    }

    fn install(&mut self, received: Box<dyn ReceivedSnapshot>) {
        let received: Box<dyn Any> = received;
        let Received { at, state } = *received
            .downcast::<Received>()
            .expect("only what this machine received is given to it");
        let member = self.shared.member;
        tracing::info!(%at, %member, "going on from another member's snapshot");
        let root = state.root();
        self.state = state;
        self.shared.limits_applied(&root);
        self.shared.snapshot_installed();
        // It follows, and so does its clock: whoever leads counts the leases.
        *self.shared.reigning() = None;
        let mut answers = Vec::new();
        let last = root.origin_sequence(member);
        let covered = last.and_then(|(incarnation, sequence)| {
            (incarnation == self.shared.incarnation).then_some(sequence)
        });
        self.shared
            .inflight()
            .installed(root.reign(), covered, &mut answers);
        self.shared.roots.publish(root.clone(), at);
        self.shared.hub.jump(&root);
        self.shared.reign_applied(root.reign());
        for (reply, answer) in answers {
            drop(reply.send(answer));
        }
    }
}
