//! From roots to snapshots on disk, and back.
//!
//! A snapshot is written from a root, on a thread of its own, so apply goes on meanwhile. Subtrees
//! that are still the same nodes as in the snapshot before are carried over by name instead of
//! being written again: the cost follows the change. Loading reads and decodes on several threads.

use crate::machine::SnapshotWriter;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use synod_env::{Env, oneshot};
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

/// Reads and decodes all chunks, each loader every [`LOADERS`]th.
async fn read_chunks(env: &Env, snapshot: &Snapshot) -> Result<Vec<DecodedChunk>, RestoreError> {
    let count = snapshot.chunks().len();
    let mut loaders = Vec::new();
    for first in 0..LOADERS.min(count) {
        let (done, loaded) = oneshot::channel();
        let snapshot = snapshot.clone();
        env.spawn_dedicated("synod-load", async move {
            let result = read_share(&snapshot, first).await;
            // Whoever no longer waits for the load does not want the error either.
            drop(done.send(result));
        });
        loaders.push(loaded);
    }
    let mut shares = Vec::new();
    for loaded in loaders {
        let share = loaded
            .await
            .map_err(|oneshot::Dropped| RestoreError::Stopped)??;
        shares.push(share.into_iter());
    }
    Ok((0..count)
        .filter_map(|place| shares[place % LOADERS].next())
        .collect())
}

async fn read_share(snapshot: &Snapshot, first: usize) -> Result<Vec<DecodedChunk>, RestoreError> {
    let mut share = Vec::new();
    for chunk in snapshot.chunks().iter().skip(first).step_by(LOADERS) {
        let bytes = snapshot.read(chunk).await.map_err(RestoreError::Storage)?;
        let decoded = Chunk::decode(bytes).map_err(|corrupt| RestoreError::Load(corrupt.into()))?;
        share.push(decoded);
    }
    Ok(share)
}

/// The chunks of the last snapshot that this process wrote, by what they hold in memory. The
/// identities keep that memory.
type Written = BTreeMap<Identity, ChunkId>;

/// Writes a member's snapshots into `store`, in chunks of about `chunk_bytes`.
#[must_use]
pub(crate) fn writer(env: Env, store: SnapshotStore, chunk_bytes: usize) -> SnapshotWriter {
    let written: Arc<Mutex<Option<Written>>> = Arc::new(Mutex::new(Some(Written::new())));
    Box::new(move |at, position, root| {
        let (done, result) = oneshot::channel();
        let (store, written) = (store.clone(), Arc::clone(&written));
        env.spawn_dedicated("synod-snapshot", async move {
            let outcome = write_exclusively(&store, &written, at, position, root, chunk_bytes);
            // Whoever no longer waits finds the snapshot at the next start.
            drop(done.send(outcome.await));
        });
        Box::pin(async move {
            result.await.unwrap_or_else(|oneshot::Dropped| {
                Err(io::Error::other(
                    "the member stopped while it wrote a snapshot",
                ))
            })
        })
    })
}

async fn write_exclusively(
    store: &SnapshotStore,
    written: &Mutex<Option<Written>>,
    at: Index,
    position: Bytes,
    root: Root,
    chunk_bytes: usize,
) -> io::Result<()> {
    let lock = || written.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(before) = lock().take() else {
        return Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "a snapshot is being written",
        ));
    };
    let result = write(store, &before, at, position, &root, chunk_bytes).await;
    let (now, result) = match result {
        Ok(now) => (now, Ok(())),
        Err(error) => (before, Err(io::Error::other(error))),
    };
    *lock() = Some(now);
    result
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
