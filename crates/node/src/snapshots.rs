//! From roots to snapshots on disk, and back.
//!
//! A snapshot is written from a root, on a thread of its own, so apply goes on meanwhile. Subtrees
//! that are still the same nodes as in the snapshot before are carried over by name instead of
//! being written again: the cost follows the change. Loading reads and decodes on several threads.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::{BoxFuture, Env, oneshot, watch};
use synod_log::Index;
use synod_state::{Chunk, DecodedChunk, Identity, LoadError, Root, State};
use synod_storage::StorageError;
use synod_storage::snapshot::{ChunkId, Meta, Snapshot, SnapshotStore};

/// Threads that load a snapshot.
const LOADERS: usize = 4;

/// What a member begins with.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The state of the latest snapshot, or an empty one.
    pub(crate) state: State,
    /// The last log index that it has applied.
    pub(crate) applied: Index,
    /// The engine's own part of that snapshot.
    pub(crate) position: Option<Bytes>,
}

/// Why a snapshot cannot be loaded.
#[derive(Debug)]
pub enum RestoreError {
    /// The disk, or what is on it.
    Storage(StorageError),
    /// The files are whole, but do not make up a state.
    Load(LoadError),
    /// The member stopped meanwhile.
    Stopped,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storage(_) => "read the snapshot",
            Self::Load(_) => "load the snapshot",
            Self::Stopped => "load the snapshot: the member stopped meanwhile",
        })
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Load(error) => Some(error),
            Self::Stopped => None,
        }
    }
}

/// Loads the store's snapshot, or makes an empty state. `highest_level` is the highest replicated
/// level that this build knows.
///
/// # Errors
/// [`RestoreError`]; nothing on disk is changed.
pub(crate) async fn restore(
    env: &Env,
    store: &SnapshotStore,
    highest_level: u32,
) -> Result<Restored, RestoreError> {
    let Some(snapshot) = store.load() else {
        let state = State::new(highest_level);
        return Ok(Restored {
            state,
            applied: Index(0),
            position: None,
        });
    };
    let chunks = read_chunks(env, &snapshot).await?;
    let Meta {
        index,
        position,
        header,
    } = snapshot.meta().clone();
    let state = State::load(header, chunks, highest_level).map_err(RestoreError::Load)?;
    Ok(Restored {
        state,
        applied: Index(index),
        position: Some(position),
    })
}

/// Reads, decodes and joins all chunks, each loader a stretch of them.
async fn read_chunks(env: &Env, snapshot: &Snapshot) -> Result<Vec<DecodedChunk>, RestoreError> {
    let count = snapshot.chunks().len();
    let mut loaders = Vec::new();
    for loader in 0..LOADERS {
        let (done, loaded) = oneshot::channel();
        let snapshot = snapshot.clone();
        let share = count * loader / LOADERS..count * (loader + 1) / LOADERS;
        env.spawn_dedicated("synod-load", async move {
            let result = read_share(&snapshot, share).await;
            // Whoever no longer waits for the load does not want the error either.
            drop(done.send(result));
        });
        loaders.push(loaded);
    }
    let mut shares = Vec::new();
    for loaded in loaders {
        let share = loaded.await;
        shares.push(share.map_err(|oneshot::Dropped| RestoreError::Stopped)??);
    }
    Ok(shares)
}

async fn read_share(
    snapshot: &Snapshot,
    share: Range<usize>,
) -> Result<DecodedChunk, RestoreError> {
    let mut decoded_chunks = Vec::new();
    for chunk in &snapshot.chunks()[share] {
        let bytes = snapshot.read(chunk).await.map_err(RestoreError::Storage)?;
        let decoded = Chunk::decode(bytes).map_err(|corrupt| RestoreError::Load(corrupt.into()))?;
        decoded_chunks.push(decoded);
    }
    DecodedChunk::join(decoded_chunks).map_err(RestoreError::Load)
}

/// The chunks of the last snapshot that this process wrote, by what they hold in memory. The
/// identities keep that memory.
type Written = BTreeMap<Identity, ChunkId>;

/// A member's snapshots: written from roots, sent to others, received from them. Clones are the
/// same.
#[derive(Clone)]
pub(crate) struct Snapshots {
    pub(crate) env: Env,
    pub(crate) store: SnapshotStore,
    chunk_bytes: usize,
    turn: Arc<Turn>,
}

/// Who writes into the store: one at a time.
struct Turn {
    /// What the next writer may carry over; `None` while somebody writes.
    free: Mutex<Option<Written>>,
    /// Changes when a writer is done.
    freed: watch::Sender<()>,
}

/// The right to write into the store, until dropped.
pub(crate) struct Held {
    turn: Arc<Turn>,
    written: Written,
}

impl Held {
    /// The snapshot that counts from here on was not written from this process's memory: nothing
    /// can be carried over from it, and what was written before need not be remembered, nor the
    /// memory kept that identifies it.
    pub(crate) fn forget(&mut self) {
        self.written = Written::new();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.turn.lock() = Some(std::mem::take(&mut self.written));
        self.turn.freed.send(());
    }
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, Option<Written>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshots {
    /// Snapshots in `store`, written in chunks of about `chunk_bytes`.
    #[must_use]
    pub(crate) fn new(env: Env, store: SnapshotStore, chunk_bytes: usize) -> Self {
        let turn = Turn {
            free: Mutex::new(Some(Written::new())),
            freed: watch::channel(()).0,
        };
        Self {
            env,
            store,
            chunk_bytes,
            turn: Arc::new(turn),
        }
    }

    fn try_hold(&self) -> Option<Held> {
        let written = self.turn.lock().take()?;
        let turn = Arc::clone(&self.turn);
        Some(Held { turn, written })
    }

    /// Waits until nobody else writes.
    pub(crate) async fn hold(&self) -> Held {
        let mut freed = self.turn.freed.subscribe();
        loop {
            if let Some(held) = self.try_hold() {
                return held;
            }
            // The sender is part of this.
            let (Ok(()) | Err(watch::Closed)) = freed.changed().await;
        }
    }

    /// Writes a snapshot of `root`, which has applied everything up to `at`, with the engine's own
    /// part beside it. The future ends when it is durable.
    pub(crate) fn write(
        &self,
        at: Index,
        position: Bytes,
        root: Root,
    ) -> BoxFuture<'static, io::Result<()>> {
        let (done, result) = oneshot::channel();
        let snapshots = self.clone();
        self.env.spawn_dedicated("synod-snapshot", async move {
            // Whoever no longer waits finds the snapshot at the next start.
            drop(done.send(snapshots.write_in_turn(at, position, root).await));
        });
        Box::pin(async move {
            result.await.unwrap_or_else(|oneshot::Dropped| {
                Err(io::Error::other(
                    "the member stopped while it wrote a snapshot",
                ))
            })
        })
    }

    async fn write_in_turn(&self, at: Index, position: Bytes, root: Root) -> io::Result<()> {
        let busy = |why: &str| Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        let Some(mut held) = self.try_hold() else {
            return busy("a snapshot is being written or received");
        };
        if self.newest().is_some_and(|newest| newest > at) {
            return busy("a later snapshot was received and is about to be installed");
        }
        let Self {
            store, chunk_bytes, ..
        } = self;
        let result = write(store, &held.written, at, position, &root, *chunk_bytes).await;
        held.written = result.map_err(io::Error::other)?;
        Ok(())
    }

    /// The last entry that the newest durable snapshot covers.
    pub(crate) fn newest(&self) -> Option<Index> {
        let snapshot = self.store.load()?;
        Some(Index(snapshot.meta().index))
    }
}

async fn write(
    store: &SnapshotStore,
    before: &Written,
    at: Index,
    position: Bytes,
    root: &Root,
    chunk_bytes: usize,
) -> Result<Written, StorageError> {
    let mut writer = store.begin(Meta {
        index: at.0,
        position,
        header: root.header(),
    });
    let mut now = Written::new();
    for chunk in root.chunks(chunk_bytes) {
        let identity = chunk.identity();
        let id = match before.get(&identity) {
            Some(id) => {
                writer.carry(*id);
                *id
            }
            None => writer.add(chunk.encode()).await?,
        };
        now.insert(identity, id);
    }
    writer.finish().await?;
    Ok(now)
}
