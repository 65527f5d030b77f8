//! The log under openraft: a [`synod_storage::Log`].

use crate::lease::Lease;
use crate::types::{
    Batch, Entry, LeaderId, LogId, Payload, Types, Vote, decode_membership, encode_membership,
    invalid, log_id, seam_index,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::watch;
use synod_log::Index;
use synod_storage::{EntryKind, Log, Priority, Recovered, StorageError};

/// Bytes of entries read for another member at a time.
const READ_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(crate) struct LogStore {
    reader: LogReader,
    member: u64,
    lease: Arc<Lease>,
    votes: Arc<Votes>,
    committed: Option<LogId>,
    /// Dropped with the rest when openraft lets go of the log.
    _ended: watch::Sender<()>,
}

impl LogStore {
    /// Puts `log`, which held `recovered` when it was opened, under openraft. Observers of
    /// `ended` learn when nothing can be appended any more.
    pub(crate) fn new(
        log: Log,
        recovered: &Recovered,
        member: u64,
        lease: Arc<Lease>,
        votes: Arc<Votes>,
        ended: watch::Sender<()>,
    ) -> Self {
        Self {
            reader: LogReader(log),
            member,
            lease,
            votes,
            committed: recovered.committed.and_then(from_position),
            _ended: ended,
        }
    }
}

/// The last vote that is durable, for those who answer votes.
#[derive(Debug)]
pub(crate) struct Votes(Mutex<Option<synod_storage::Vote>>);

impl Votes {
    /// `recovered` was found when the log was opened.
    pub(crate) fn new(recovered: Option<synod_storage::Vote>) -> Self {
        Self(Mutex::new(recovered))
    }

    fn lock(&self) -> MutexGuard<'_, Option<synod_storage::Vote>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn durable(&self) -> Option<synod_storage::Vote> {
        *self.lock()
    }

    fn saved(&self, vote: synod_storage::Vote) {
        *self.lock() = Some(vote);
    }
}

/// Reads what [`LogStore`] wrote, also while it writes more.
#[derive(Clone)]
pub(crate) struct LogReader(Log);

impl LogReader {
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let range = seam_index(range.start).0..range.end.saturating_add(1);
        let entries = self.0.read(range, bytes_max).await?;
        entries.into_iter().map(from_stored).collect()
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(half_open(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let range = seam_index(start).0..end.saturating_add(1);
        match self.0.read(range, READ_BYTES_MAX).await {
            Ok(entries) => entries.into_iter().map(from_stored).collect(),
            // Asked for by a stream to another member that openraft has just given up: it purges
            // nothing that it still means to send. Nothing is a good answer to it, and an error
            // would end the engine.
            Err(StorageError::Purged { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (entries, error) = match self.read(half_open(&range), usize::MAX).await {
            Ok(entries) => (entries, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        stream::iter(entries.into_iter().map(Ok).chain(error))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.vote().map(|vote| Vote {
            leader_id: LeaderId {
                term: vote.term,
                voted_for: vote.node,
            },
            committed: vote.committed,
        }))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = &self.reader.0;
        Ok(LogState {
            last_purged_log_id: log.purged().and_then(from_position),
            last_log_id: log.last().and_then(from_position),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let Vote {
            leader_id: LeaderId { term, voted_for },
            committed,
        } = *vote;
        // Before anybody can learn of the vote: see the module of the lease.
        self.lease
            .vote((committed && voted_for == self.member).then_some(term));
        let stored = synod_storage::Vote {
            term,
            node: voted_for,
            committed,
        };
        self.reader.0.save_vote(stored).await?;
        self.votes.saved(stored);
        Ok(())
    }

    /// Costs no disk write of its own; rides with the next.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.committed = committed;
        if let Some(committed) = committed {
            self.reader.0.save_committed(position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let stored: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                if matches!(entry.payload, EntryPayload::Membership(_)) {
                    // Before anybody can learn of the entry: see the module of the lease.
                    self.lease
                        .membership_appended(seam_index(entry.log_id.index));
                }
                to_stored(entry)
            })
            .collect();
        // There is room: proposals were admitted before, and openraft's own entries may use the
        // reserve. A refusal all the same stops the engine.
        let done = Box::new(move |outcome| flushed.io_completed(outcome));
        Ok(self.reader.0.append(stored, Priority::Reserve, done)?)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // Later writes are durable only after this one: nobody need wait for it.
        drop(self.reader.0.truncate_after(last.as_ref().map(position)));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        drop(self.reader.0.purge(position(&upto)));
        Ok(())
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// Raft does not record who led an epoch: `node` stays 0.
pub(crate) fn position(id: &LogId) -> synod_storage::Position {
    synod_storage::Position {
        epoch: id.leader_id.term,
        node: 0,
        index: seam_index(id.index).0,
    }
}

fn from_position(position: synod_storage::Position) -> Option<LogId> {
    log_id(position.epoch, Index(position.index))
}

fn to_stored(entry: Entry) -> synod_storage::Entry {
    let (kind, payload) = to_stored_payload(&entry.payload);
    synod_storage::Entry {
        position: position(&entry.log_id),
        kind,
        payload,
    }
}

/// The kind and the bytes of what an entry carries, in the log and between members.
pub(crate) fn to_stored_payload(payload: &Payload) -> (EntryKind, Bytes) {
    match payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(batch) => (EntryKind::Batch, batch.0.clone()),
        EntryPayload::Membership(membership) => {
            (EntryKind::Membership, encode_membership(membership))
        }
    }
}

fn from_stored(entry: synod_storage::Entry) -> io::Result<Entry> {
    let log_id = from_position(entry.position)
        .ok_or_else(|| invalid("log entry with index 0, which is before the first"))?;
    let payload = from_stored_payload(entry.kind, entry.payload)?;
    Ok(Entry { log_id, payload })
}

/// What [`to_stored_payload`] made bytes of.
///
/// # Errors
/// `InvalidData` if the bytes are not what the kind says.
pub(crate) fn from_stored_payload(kind: EntryKind, payload: Bytes) -> io::Result<Payload> {
    Ok(match kind {
        EntryKind::Blank if payload.is_empty() => Payload::Blank,
        EntryKind::Blank => return Err(invalid("an entry that should be blank carries something")),
        EntryKind::Batch => Payload::Normal(Batch(payload)),
        EntryKind::Membership => Payload::Membership(decode_membership(&payload)?),
    })
}
