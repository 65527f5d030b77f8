//! The replicated state under openraft: hands committed entries to a [`synod_log::Machine`].

use crate::lease::Lease;
use crate::types::{
    CommittedLeaderId, LogId, Position, SnapshotMeta, StoredMembership, Types, is_sole_voter,
    seam_index, seam_index_of,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use synod_env::{BoxFuture, Bug, planted, watch};
use synod_log::{Entry, Epoch, Index, Machine, ReceivedSnapshot, SnapshotReader, SnapshotReceiver};
use synod_storage::Log;

/// Entries given to the machine in one call.
const APPLY_MAX: usize = 1_024;

/// A snapshot as openraft passes it around.
pub(crate) type Snapshot = openraft::Snapshot<CommittedLeaderId, u64, (), Content>;

/// What of a snapshot passes through openraft's hands.
pub(crate) enum Content {
    /// This member's newest one. It stays with the machine, which is asked for it part by part.
    Held,
    /// One of another member, durable here and ready to be put in the place of the state.
    Received(Box<dyn ReceivedSnapshot>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "Held",
            Self::Received(_) => "Received",
        })
    }
}

/// See the module.
pub(crate) struct StateMachine {
    /// The mutex is never locked: it makes a machine that need not be `Sync` look it.
    machine: Mutex<Box<dyn Machine>>,
    member: u64,
    position: Position,
    /// The newest snapshot that is durable.
    snapshot: Option<SnapshotMeta>,
    log: Log,
    lease: Arc<Lease>,
    /// Dropped with the rest when openraft lets go of the machine.
    _ended: watch::Sender<()>,
}

impl StateMachine {
    /// Wraps a machine that is at `position`, loaded from a snapshot if `restored`. Observers of
    /// `ended` learn when nothing can be applied any more.
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        member: u64,
        restored: Option<Position>,
        log: Log,
        lease: Arc<Lease>,
        ended: watch::Sender<()>,
    ) -> Self {
        let snapshot = restored.as_ref().map(Position::describe);
        Self {
            machine: Mutex::new(machine),
            member,
            position: restored.unwrap_or_default(),
            snapshot,
            log,
            lease,
            _ended: ended,
        }
    }

    /// Begins a snapshot of the state as it is; its description, and its end. openraft learns of
    /// it with [`StateMachine::snapshot_done`], once it is durable: a snapshot that fails, for
    /// lack of disk space perhaps, is no reason to stop the engine.
    pub(crate) fn begin_snapshot(&mut self) -> (SnapshotMeta, BoxFuture<'static, io::Result<()>>) {
        if planted(Bug::SnapshotMissesLast)
            && let Some(applied) = &self.position.applied
        {
            let mut position = self.position.clone();
            position.applied = Some(LogId::new(applied.leader_id, applied.index + 1));
            let at = seam_index(applied.index + 1);
            let written = self.machine().snapshot(at, position.encode());
            return (position.describe(), written);
        }
        let at = seam_index_of(self.position.applied.as_ref());
        let position = self.position.encode();
        let written = self.machine().snapshot(at, position);
        (self.position.describe(), written)
    }

    /// The last entry that the machine has applied.
    pub(crate) fn applied(&self) -> Index {
        seam_index_of(self.position.applied.as_ref())
    }

    /// Begins to read the newest durable snapshot.
    pub(crate) fn outgoing(
        &mut self,
    ) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        self.machine().outgoing()
    }

    /// Begins to receive a snapshot.
    pub(crate) fn incoming(&mut self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver> {
        self.machine().incoming(at, position)
    }

    /// Takes note of a durable snapshot.
    pub(crate) fn snapshot_done(&mut self, snapshot: SnapshotMeta) {
        if self
            .snapshot
            .as_ref()
            .is_none_or(|held| held.last_log_id < snapshot.last_log_id)
        {
            self.snapshot = Some(snapshot);
        }
    }

    fn decides_alone(&self) -> bool {
        is_sole_voter(self.position.membership.membership(), self.member)
    }

    /// An entry is acknowledged once it is applied, so it must be durable by then: with a quorum
    /// of members, and if this one is the quorum, here.
    ///
    /// With several voters openraft sees to it: a leader commits what a majority of the matching
    /// indices in `Leader::progress` has reached. Its own is raised by `update_local_progress`,
    /// which follows the completion of the append ([`crate::storage`]); that of a follower by its
    /// answer, which follows its own completion (asserted in [`crate::serving`]).
    fn assert_durable(&self, last: Index) {
        if self.decides_alone() {
            let durable = self.log.durable().map_or(Index(0), Index);
            assert!(
                last <= durable,
                "applying {last} while the log is durable up to {durable}"
            );
        }
    }

    fn machine(&mut self) -> &mut dyn Machine {
        &mut **self
            .machine
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry's part in the position; what of it the machine sees.
    fn advance(&mut self, entry: crate::types::Entry) -> Entry {
        let crate::types::Entry { log_id, payload } = entry;
        let next = self.position.applied.map_or(0, |last| last.index + 1);
        assert!(
            log_id.index == next,
            "entry {log_id} where index {next} is due"
        );
        self.position.applied = Some(log_id);
        let batch = match payload {
            EntryPayload::Normal(batch) => batch.0,
            EntryPayload::Blank => Bytes::new(),
            EntryPayload::Membership(membership) => {
                self.position.membership = StoredMembership::new(Some(log_id), membership);
                Bytes::new()
            }
        };
        Entry {
            index: seam_index(log_id.index),
            epoch: Epoch(log_id.leader_id.term),
            batch,
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Content;
    type SnapshotBuilder = DurableSnapshot;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.position.applied, self.position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        // All that is there goes to the machine in one call, so that it publishes once.
        let mut chunks = entries.ready_chunks(APPLY_MAX);
        while let Some(chunk) = chunks.next().await {
            let mut batch = Vec::with_capacity(chunk.len());
            let mut responders = Vec::new();
            for item in chunk {
                let (entry, responder) = item?;
                batch.push(self.advance(entry));
                responders.extend(responder);
            }
            let Some(last) = batch.last() else { continue };
            let (index, epoch) = (last.index, last.epoch);
            self.assert_durable(index);
            self.lease.applying(index, epoch.0, || self.decides_alone());
            self.machine().apply(batch);
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<DurableSnapshot> {
        self.snapshot.clone().map(DurableSnapshot)
    }

    async fn get_snapshot_builder(&mut self) -> DurableSnapshot {
        unreachable!("openraft asks through try_create_snapshot_builder, which is implemented")
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, content: Content) -> io::Result<()> {
        let Content::Received(received) = content else {
            unreachable!("the machine is loaded from its own snapshot before openraft starts");
        };
        let at = seam_index_of(meta.last_log_id.as_ref());
        assert!(
            self.applied() < at,
            "installing a snapshot at {at} over a state at {}",
            self.applied()
        );
        self.position = Position {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        self.snapshot = Some(meta.clone());
        let epoch = meta.last_log_id.map_or(0, |last| last.leader_id.term);
        self.lease.applying(at, epoch, || self.decides_alone());
        self.machine().install(received);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshot.clone().map(|meta| Snapshot {
            meta,
            snapshot: Content::Held,
        }))
    }
}

/// Tells openraft about a snapshot that the machine has already made durable.
pub(crate) struct DurableSnapshot(SnapshotMeta);

impl RaftSnapshotBuilder<Types> for DurableSnapshot {
    type SnapshotData = Content;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        Ok(Snapshot {
            meta: self.0.clone(),
            snapshot: Content::Held,
        })
    }
}
