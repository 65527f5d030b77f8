//! What a member keeps on its disk: who it is, its log, its snapshots.
//!
//! Three parts, each in its own corner of the data directory and none aware of the others:
//! - [`identity`]: the file `member`. Which cluster, which member, which start.
//! - [`log`]: the directory `log`. Votes and entries in one ordered stream of zero-filled,
//!   recycled segments, made durable by group commit.
//! - [`snapshot`]: the directory `snapshot`. Manifests of checksummed chunk files.
//!
//! Everything is written through [`synod_env::Disk`], so that the deterministic disk can crash
//! it between any two calls. One promise holds for all three: what was acknowledged is there
//! after a crash, or opening fails with an error that names the file and the place. Formats are
//! described byte by byte in `docs/internals/storage.md`.

pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod log;
pub mod snapshot;

mod group;
mod manifest;
mod record;
mod recovery;
mod segment;

pub use error::{Damage, StorageError};
pub use identity::{Founding, Identity};
pub use log::{Done, Flush, Health, Log, Options, Preparation, Priority, Recovered, Refused, Room};
pub use record::{Entry, EntryKind, Position, Vote};
pub use recovery::TornTail;
pub use snapshot::{Chunk, ChunkId, Meta, Snapshot, SnapshotStore, Writer};

#[cfg(test)]
mod tests;
