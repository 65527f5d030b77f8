//! What is replicated: keys with their history, leases, reigns and origins.
//!
//! Pure: [`State::apply`] takes a batch and returns a value. It cannot fail, wait, look at a
//! clock, or iterate a hash map; a refusal is part of the replicated answer. Whoever reads takes
//! a [`Root`], which no later batch changes.
//!
//! Read in this order: `command.rs` and `reply.rs` (what can be asked and answered), `state.rs`
//! (how a batch changes the state), `root.rs` (how it is read), `tables.rs` and `record.rs` (what
//! it is made of), `tree.rs` (the copy-on-write tree under every table), `snapshot.rs`,
//! `archive.rs` and `codec.rs` (how it becomes bytes), `anew.rs` (how a new cluster begins with it).

mod alarm;
pub mod anew;
pub mod archive;
mod check;
mod codec;
pub mod command;
mod compaction;
mod digest;
mod history;
pub mod limit;
mod range;
mod record;
pub mod reply;
mod root;
mod snapshot;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
mod txn;

pub use archive::Archive;
pub use check::Invalid;
pub use codec::{Corrupt, TXN_DEPTH_MAX};
pub use history::HistoryHash;
pub use range::KeyRange;
pub use record::{RECORD_OVERHEAD_BYTES, Record};
pub use root::{Compacted, Root};
pub use snapshot::{Chunk, DecodedChunk, Identity, LoadError};
pub use state::{
    Applied, COMPACTION_STEP_DEFAULT, Dropped, LeaseChange, QUOTA_BYTES_DEFAULT, State,
};
pub use tables::Lease;
