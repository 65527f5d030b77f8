//! The engine seam: what the layers above may ask of a consensus engine, and nothing more.
//!
//! An engine keeps one log in agreement among members. This crate names its operations without
//! saying which engine runs; `synod-raft` puts openraft behind it. No type of an engine appears
//! here, in a file, on the wire or in the API.

use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::io;
use std::time::Duration;
use synod_env::{BoxFuture, MemberId, watch};

/// Which leader's time it is. At most one leader per epoch (a Raft term).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A position in the log. The first entry has index 1; 0 is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A committed log entry, as the machine gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: Index,
    /// The epoch in which it was appended.
    pub epoch: Epoch,
    /// What was proposed; empty for the engine's own entries (blank, membership).
    pub batch: Bytes,
}

/// Why a proposal did not get into the log, or why nobody can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// Not appended: another member leads, or none that is known.
    NotLeader(Option<MemberId>),
    /// Not appended: the engine's queue is full, or no log space is prepared.
    Busy,
    /// Not appended: no room on the disk.
    NoSpace,
    /// Not appended: this leader has had no contact with a quorum for its lease time.
    NoQuorum,
    /// It may be appended and may yet be applied.
    Unknown,
    /// The engine has stopped. Whether it was appended is unknown.
    Stopped,
}

/// Why no read barrier could be had. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierError {
    /// Another member leads, or none that is known.
    NotLeader(Option<MemberId>),
    /// No quorum answered.
    NoQuorum,
    /// The engine has stopped.
    Stopped,
}

/// What a member is in its cluster now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It proposes.
    Leader,
    /// It follows.
    #[default]
    Follower,
    /// It asks for votes.
    Candidate,
    /// It follows without a vote.
    Learner,
}

/// How far another member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which member.
    pub member: MemberId,
    /// It votes.
    pub voter: bool,
    /// The last index known to be in its log; known to the leader only.
    pub matched: Option<Index>,
}

/// The engine's state as far as others may care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The present epoch.
    pub epoch: Epoch,
    /// Who leads it, as far as this member knows.
    pub leader: Option<MemberId>,
    /// What this member is.
    pub role: Role,
    /// The last index in this member's log.
    pub last: Index,
    /// The last index known to be committed.
    pub committed: Index,
    /// The last index applied here.
    pub applied: Index,
    /// The last index covered by a snapshot.
    pub snapshot: Index,
    /// The members with what is known of them, this one included.
    pub members: Vec<Progress>,
    /// Time since a quorum was last heard; known to the leader only.
    pub quorum_contact: Option<Duration>,
    /// Why the engine has stopped for good, if it has.
    pub fatal: Option<String>,
}

/// What a particular engine can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Engine::read_lease`] may answer.
    pub lease_reads: bool,
    /// Heartbeat and time-outs can change at run time.
    pub runtime_timing: bool,
    /// Leadership can be handed over.
    pub transfer: bool,
}

/// A consensus engine, as its users see it.
pub trait Engine: Send + Sync + 'static {
    /// Asks for a batch to be appended. Batches are appended in the order of calls, each as one
    /// entry. Ends with `Ok` once the entry is applied here, or with what became of it. The
    /// machine sees the entry before this ends.
    fn propose(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>>;

    /// As [`Engine::propose`], in the same order, but may use the log space that is held back
    /// when the disk is full. For what leads out of trouble and is small: the first batch of a
    /// reign, compaction. An engine without such a reserve proposes as always.
    fn propose_reserved(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        self.propose(batch)
    }

    /// An index such that a state which has applied it is fresh for every read that asked before
    /// this call. One quorum round serves all callers that wait when it begins.
    fn read_barrier(&self) -> BoxFuture<'static, Result<Index, BarrierError>>;

    /// As [`Engine::read_barrier`] but at once, if this member can prove at this moment that no
    /// other member leads: a valid lease, or a cluster of which it is the only voter.
    fn read_lease(&self) -> Option<Index>;

    /// The engine's state, and each change of it.
    fn status(&self) -> watch::Receiver<Status>;

    /// Writes a snapshot now and drops the log that it makes unnecessary, less what is kept
    /// behind it. Ends with the index that the snapshot covers.
    fn snapshot_now(&self) -> BoxFuture<'static, io::Result<Index>>;

    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// Stops: nothing is appended or applied once this ends, and the log is closed.
    fn stop(&self) -> BoxFuture<'static, ()>;
}

/// What an engine calls: the replicated state on this member.
pub trait Machine: Send + 'static {
    /// Applies committed entries, in order, without gap. Cannot fail and does not wait.
    fn apply(&mut self, entries: Vec<Entry>);

    /// Begins a snapshot of the state as it is now, which has applied `at`. `position` is the
    /// engine's own part (its place in the log and its membership), kept beside the state and
    /// given back at the next start. Ends when the snapshot is durable.
    fn snapshot(&mut self, at: Index, position: Bytes) -> BoxFuture<'static, io::Result<()>>;

    /// The newest durable snapshot, to be sent to a member that lags behind the log. What it
    /// holds stays readable while the reader is kept, whatever newer snapshots are written.
    /// `None` if there is no snapshot.
    fn outgoing(&mut self) -> BoxFuture<'static, io::Result<Option<Box<dyn SnapshotReader>>>>;

    /// Begins to receive another member's snapshot, aside: the state in use does not change, and
    /// nothing that is durable is replaced before [`SnapshotReceiver::finish`].
    fn incoming(&mut self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver>;

    /// Puts a received snapshot in the place of the state, in one step. What this member had
    /// under way and the snapshot may cover has an unknown outcome from then on.
    fn install(&mut self, received: Box<dyn ReceivedSnapshot>);
}

/// Reads a durable snapshot part by part, so that the sender's pace is the receiver's.
pub trait SnapshotReader: Send + 'static {
    /// The last entry that the snapshot covers.
    fn at(&self) -> Index;

    /// The engine's own part, as [`Machine::snapshot`] got it.
    fn position(&self) -> Bytes;

    /// The next part, in order; `None` after the last. A part is opaque to the engine and at
    /// most a few megabytes long.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>>;
}

/// Takes a snapshot part by part. Dropped before its end, it leaves nothing behind.
pub trait SnapshotReceiver: Send + 'static {
    /// Takes the next part. Ends when the receiver is ready for another.
    ///
    /// # Errors
    /// `InvalidData` for a part that no sender would send; what the disk says.
    fn part(&mut self, part: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// Checks that nothing is missing, makes the snapshot durable as this member's newest, and
    /// loads it.
    ///
    /// # Errors
    /// As [`SnapshotReceiver::part`].
    fn finish(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn ReceivedSnapshot>>>;
}

/// A state that was received and is not yet in use. Its content is the machine's business.
pub trait ReceivedSnapshot: Any + Send + 'static {
    /// The last entry it covers.
    fn at(&self) -> Index;
}
