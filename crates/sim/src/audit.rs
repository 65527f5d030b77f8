//! What the log says was written, for the judges.
//!
//! A client that was told nothing does not know whether its write was made, and what nobody reads
//! stays unknown to all clients. etcd's own tests look it up in the log. Here the changes that a
//! member has applied are told as a watch of everything would tell them, so that the judges need
//! not guess, and so that they hold what clients were told against it.

use crate::observer::Sight;
use crate::record::Record;
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use synod_checker::{ClientId, Operation, Outcome, Revision, WatchEvent, WatchId, WatchRequest};
use synod_env::{BoxFuture, HistoryKeep, MemberId};
use synod_log::{Entry, Index, Machine, ReceivedSnapshot, SnapshotReader, SnapshotReceiver};
use synod_node::{Node, WatchEvent as Told};
use synod_state::Root;
use synod_state::command::{Batch, Command};

/// Not a client's number: of the one who follows the log.
const AUDITOR: ClientId = ClientId(u32::MAX);

/// Most revisions told at a time.
const REVISIONS_MAX: usize = 1_000;

/// Follows the log, whichever member applies it first; clones follow as one.
#[derive(Clone, Default)]
pub(crate) struct Audit(Arc<Mutex<Followed>>);

/// How far the log has been followed.
#[derive(Default)]
struct Followed {
    watch: Option<WatchId>,
    /// Everything up to this revision has been told.
    told: Revision,
    /// Members forget history by themselves, or did at some time.
    forgets: bool,
    /// The highest revision that they are known to have compacted to.
    forgotten: Revision,
}

impl Audit {
    /// Tells what is new in `root`, which a member has applied.
    pub(crate) fn follow(&self, root: &Root, record: &Record) {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followed.follow(root, record);
    }

    /// A member is about to apply a compaction to `revision`. If it may have proposed that by
    /// itself, the judges are told of it as of a client's request that had no answer: history may
    /// be gone up to there from now on.
    fn compacts(&self, node: &Node, revision: Revision, record: &Record) {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = node.root().history_keep();
        followed.forgets |= keep.unwrap_or(node.limits().history_keep) != HistoryKeep::Everything;
        if followed.forgets && revision > followed.forgotten {
            followed.forgotten = revision;
            let compaction = Operation::Compact { revision };
            let op = record.invoked(AUDITOR, compaction);
            record.returned(AUDITOR, op, Outcome::Unknown);
            record.mark("history forgotten");
        }
    }
}

/// A member's state, followed at each step: what a compaction takes away has been told by then.
pub(crate) struct Audited {
    machine: Box<dyn Machine>,
    /// The member around it, once it runs. What is applied before that was followed in an
    /// earlier life, or is found by the next look at its state.
    node: Arc<OnceLock<Node>>,
    audit: Audit,
    record: Record,
    member: MemberId,
}

impl Audited {
    pub(crate) fn new(
        member: MemberId,
        machine: Box<dyn Machine>,
        node: Arc<OnceLock<Node>>,
        audit: Audit,
        record: Record,
    ) -> Self {
        Self {
            member,
            machine,
            node,
            audit,
            record,
        }
    }

    fn before_compaction(&self, revision: Revision) {
        if let Some(node) = self.node.get() {
            self.audit.compacts(node, revision, &self.record);
        }
    }

    fn apply_and_follow(&mut self, entries: Vec<Entry>) {
        self.machine.apply(entries);
        if let Some(node) = self.node.get() {
            self.audit.follow(&node.root(), &self.record);
        }
    }
}

impl Machine for Audited {
    fn apply(&mut self, entries: Vec<Entry>) {
        if let [entry] = entries.as_slice() {
            if let Some(revision) = compacts(entry) {
                self.before_compaction(revision);
            }
            self.apply_and_follow(entries);
            return;
        }
        let mut together = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(revision) = compacts(&entry) {
                if !together.is_empty() {
                    self.apply_and_follow(std::mem::take(&mut together));
                }
                self.before_compaction(revision);
            }
            together.push(entry);
        }
        self.apply_and_follow(together);
    }

    fn snapshot(&mut self, at: Index, position: Bytes) -> BoxFuture<'static, io::Result<()>> {
        let (record, member) = (self.record.clone(), self.member);
        let written = self.machine.snapshot(at, position);
        Box::pin(async move {
            written.await?;
            record.tell(|| snapshot(member, at, false));
            Ok(())
        })
    }

    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>> {
        self.machine.outgoing()
    }

    fn incoming(&mut self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver> {
        self.machine.incoming(at, position)
    }

    fn install(&mut self, received: Box<dyn ReceivedSnapshot>) {
        let at = received.at();
        self.machine.install(received);
        self.record.tell(|| snapshot(self.member, at, true));
    }
}

fn snapshot(member: MemberId, at: Index, received: bool) -> Sight {
    Sight::Snapshot {
        member: u32::try_from(member.0).expect("members are few"),
        index: at.0,
        received,
    }
}

/// Up to where applying an entry can take history away, if it can.
fn compacts(entry: &Entry) -> Option<Revision> {
    let batch = Batch::decode(entry.batch.clone()).ok()?;
    let commands = batch.commands.iter();
    let revisions = commands.filter_map(|command| match command {
        Command::Compact { revision } => Some(*revision),
        Command::Reign { .. }
        | Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::SetQuota { .. }
        | Command::SetCompactionStep { .. }
        | Command::SetLevel { .. }
        | Command::SetAlarm { .. }
        | Command::SetLimit(_) => None,
    });
    revisions.max()
}

impl Followed {
    fn follow(&mut self, root: &Root, record: &Record) {
        while root.revision() > self.told.max(1) {
            let from = self.told.max(1) + 1;
            let watch = self.watch(from, record);
            let events = match root.events(from, REVISIONS_MAX) {
                Ok(events) => events,
                Err(compacted) => {
                    // What lies between nobody can look up any more.
                    let compact_revision = compacted.0;
                    record.watched(watch, WatchEvent::Compacted { compact_revision });
                    record.mark("log compacted before it was followed");
                    self.watch = None;
                    self.told = compact_revision - 1;
                    continue;
                }
            };
            let Some(last) = events.last() else {
                return;
            };
            self.told = last.kv.mod_revision;
            let events = events.into_iter().map(|event| {
                crate::translate::change(Told {
                    event,
                    prev_kv: None,
                })
            });
            let told = WatchEvent::Events {
                revision: self.told,
                events: events.collect(),
            };
            record.watched(watch, told);
        }
    }

    fn watch(&mut self, start: Revision, record: &Record) -> WatchId {
        *self.watch.get_or_insert_with(|| {
            let watch = record.watch_id();
            let created = WatchEvent::Created {
                client: AUDITOR,
                request: WatchRequest {
                    key: Bytes::from_static(b"\0"),
                    end: Bytes::from_static(b"\0"),
                    start,
                    ..WatchRequest::default()
                },
                revision: start - 1,
            };
            record.watched(watch, created);
            watch
        })
    }
}
