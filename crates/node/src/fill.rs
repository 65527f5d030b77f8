//! A data directory that begins with a state: restored from a backup, or taken over.

use crate::open::{HIGHEST_LEVEL, OpenError};
use crate::snapshots;
use bytes::Bytes;
use synod_env::Env;
use synod_log::Index;
use synod_state::{Chunk, Root};
use synod_storage::snapshot::{Meta, SnapshotStore};
use synod_storage::{Founding, Identity};

/// What a directory is filled with.
#[derive(Clone, Debug)]
pub struct Filling {
    /// The state. Its reign must be over: a new cluster's reigns come after all of it.
    pub root: Root,
    /// The log entry that the state counts as having applied.
    pub at: Index,
    /// The engine's own part of it.
    pub position: Bytes,
    /// About the length of one file, in bytes.
    pub chunk_bytes: usize,
}

/// Fills an empty data directory with a state, so that a member's first start goes on from it.
/// `progress` hears how many bytes of how many are durable. What was written is read again and
/// checked before the directory counts as filled; until then no member starts on it, whenever this
/// is interrupted, and it can be filled anew. Awaits disk calls: call it where blocking on the disk
/// is allowed.
///
/// # Errors
/// [`OpenError`]; `Occupied` if the directory is not empty.
pub async fn fill(
    env: &Env,
    founding: &Founding,
    filling: &Filling,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<(), OpenError> {
    let Filling {
        root,
        at,
        position,
        chunk_bytes,
    } = filling;
    let identity = Identity::fill(env, founding).await?;
    let store = SnapshotStore::open(env).await?;
    let mut writer = store.begin(Meta {
        index: at.0,
        position: position.clone(),
        header: root.header(),
    });
    let chunks = root.chunks(*chunk_bytes);
    let total = chunks.iter().map(Chunk::encoded_len).sum();
    let mut written = 0;
    progress(written, total);
    for chunk in chunks {
        writer.add(chunk.encode()).await?;
        written += chunk.encoded_len();
        progress(written, total);
    }
    writer.finish().await?;
    let read = snapshots::restore(env, &store, HIGHEST_LEVEL).await;
    let read = read.map_err(OpenError::Restore)?.state.root();
    let (read, meant) = (read.hash(), root.hash());
    assert!(
        read == meant,
        "hash {read:x} was read where {meant:x} was written"
    );
    identity.filled(env).await?;
    Ok(())
}
