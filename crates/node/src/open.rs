//! A member's start: from its data directory to everything but an engine.

use crate::machine::Replica;
use crate::roots::Roots;
use crate::shared::{Shared, Times};
use crate::snapshots::{self, RestoreError, Restored, Snapshots};
use crate::watch::Hub;
use crate::{Config, Prepared};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use synod_env::{Env, queue};
use synod_log::Machine;
use synod_storage::identity::{Founding, Identity};
use synod_storage::snapshot::SnapshotStore;
use synod_storage::{Log, Options, Recovered, StorageError};

/// The highest replicated level that this build knows.
pub const HIGHEST_LEVEL: u32 = 1;

/// What the data directory holds, ready for an engine.
pub struct Opened {
    /// The member around the machine.
    pub prepared: Prepared,
    /// What the engine is to drive.
    pub machine: Box<dyn Machine>,
    /// Where the engine keeps its log.
    pub log: Log,
    /// What the log held.
    pub recovered: Recovered,
    /// The engine's own part of the snapshot, if there is one.
    pub position: Option<Bytes>,
    /// What the directory is, and which start this is.
    pub identity: Identity,
}

/// Why a member cannot start from its data directory. Nothing on disk is lost by trying.
#[derive(Debug)]
pub enum OpenError {
    /// The disk, or what is on it.
    Storage(StorageError),
    /// The snapshot cannot be loaded.
    Restore(RestoreError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("open the data directory")
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Restore(error) => Some(error),
        }
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Opens a member's data directory, or founds it. Awaits disk calls: call it where blocking on
/// the disk is allowed.
///
/// # Errors
/// [`OpenError`].
pub async fn open(env: &Env, config: Config, founding: &Founding) -> Result<Opened, OpenError> {
    let identity = Identity::start(env, founding).await?;
    let store = SnapshotStore::open(env).await?;
    let restored = snapshots::restore(env, &store, HIGHEST_LEVEL).await;
    let Restored {
        state,
        applied,
        position,
    } = restored.map_err(OpenError::Restore)?;
    let (log, recovered) = Log::open(env, Options::new(&config.limits)).await?;

    let root = state.root();
    let hub = Hub::new(config.limits.clone(), root.revision());
    let roots = Roots::new(root, applied);
    let (sender, proposals) = queue::bounded(config.limits.proposals_waiting_max);
    let snapshots = Snapshots::new(env.clone(), store, config.limits.snapshot_chunk_bytes);
    let times = Times {
        log_sync: log.sync_times(),
        ..Times::default()
    };
    let shared = Shared::new(env.clone(), config, &identity, roots, hub, sender, times);
    let shared = Arc::new(shared);
    let machine = Box::new(Replica::new(state, Arc::clone(&shared), snapshots));
    let prepared = Prepared { shared, proposals };
    Ok(Opened {
        prepared,
        machine,
        log,
        recovered,
        position,
        identity,
    })
}
