//! What a member keeps on its disk: its log.
//!
//! [`log`] keeps votes and entries in one ordered stream of zero-filled, recycled segments in
//! the directory `log`, made durable by group commit. Everything is written through
//! [`synod_env::Disk`], so that the deterministic disk can crash it between any two calls. What
//! was acknowledged is there after a crash, or opening fails with an error that names the file
//! and the place.

pub mod error;
pub mod log;

mod group;
mod record;
mod recovery;
mod segment;

pub use error::{Damage, StorageError};
pub use log::{Done, Flush, Health, Log, Options, Preparation, Priority, Recovered, Refused, Room};
pub use record::{Entry, EntryKind, Position, Vote};
pub use recovery::TornTail;
