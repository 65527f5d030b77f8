//! Watches: who wants to hear of which keys, and what has not been told yet.
//!
//! A watcher is a record in the `hub.rs`, not a task and not a channel. Apply hands each batch of
//! events to the hub, which puts them into the outboxes of the streams that have a *synced*
//! watcher for them. A watcher that wants the past, or whose stream reads too slowly, is *behind*:
//! its stream replays history from a root of the state, in the task that reads the stream, so
//! that a slow reader costs only itself.
//!
//! Synced watchers that want the same share what they are told ([`Told`]), so that the work and the
//! memory of an event do not grow with those who watch it; only the delivery does.

mod hub;
mod index;
mod stream;
#[cfg(test)]
mod tests;
mod told;

pub(crate) use hub::Hub;
pub use stream::{WatchRequester, WatchStream};
pub use told::Told;

use bytes::Bytes;
use synod_state::command::Revision;
use synod_state::reply::{Event, KeyValue};

/// What a client asks when it begins to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchCreate {
    /// The number it wants, or 0 to get one.
    pub watch_id: i64,
    /// First key; empty means the first of all.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub range_end: Bytes,
    /// From which revision; 0 for "from now on".
    pub start_revision: Revision,
    /// Tell also the pair before each change.
    pub prev_kv: bool,
    /// Tell from time to time how far the watch is when nothing happens.
    pub progress_notify: bool,
    /// Leave writes out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
    /// Large messages may be cut.
    pub fragment: bool,
}

/// A change, with what was there before if that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What happened.
    pub event: Event,
    /// The pair before; `None` if the key was created then, or if compaction took it.
    pub prev_kv: Option<KeyValue>,
}

/// Why a watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// No key can be in the range.
    EmptyRange,
    /// The number is taken on this stream.
    DuplicateId,
    /// What it asks for is compacted; carries the compact revision.
    Compacted(Revision),
    /// The start revision is negative.
    InvalidRevision,
    /// The member holds as many watchers as it may.
    TooMany,
    /// The client asked for it.
    ByClient,
}

/// The number that stands for "no watch": a refused creation, a progress report of all.
pub const NO_WATCH: i64 = -1;

/// What a watch stream tells, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchMessage {
    /// The watch exists from here on.
    Created {
        /// Its number.
        watch_id: i64,
        /// The store's revision now.
        revision: Revision,
    },
    /// The watch is over, or (with [`NO_WATCH`]) was never made.
    Canceled {
        /// Its number.
        watch_id: i64,
        /// Why.
        reason: CancelReason,
        /// The store's revision now.
        revision: Revision,
    },
    /// Changes, all of each revision together unless `fragment`.
    Events {
        /// The watch's number.
        watch_id: i64,
        /// Everything up to this revision has been told.
        revision: Revision,
        /// The changes in order.
        events: Told,
        /// More of the same message follows.
        fragment: bool,
    },
    /// Nothing up to this revision is left to tell.
    Progress {
        /// The watch's number, or [`NO_WATCH`] for all watches of the stream.
        watch_id: i64,
        /// Up to where.
        revision: Revision,
    },
}

impl WatchMessage {
    /// What it holds in memory until it is read, roughly, in bytes.
    fn weight(&self) -> usize {
        const ENVELOPE: usize = 64;
        match self {
            Self::Created { .. } | Self::Canceled { .. } | Self::Progress { .. } => ENVELOPE,
            Self::Events { events, .. } => ENVELOPE + events.weight(),
        }
    }
}

impl WatchEvent {
    fn weight(&self) -> usize {
        const PAIR: usize = 48;
        let pair = |kv: &KeyValue| PAIR + kv.key.len() + kv.value.len();
        pair(&self.event.kv) + self.prev_kv.as_ref().map_or(0, pair)
    }
}
