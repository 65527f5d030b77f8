//! What becomes of a watch.

use super::{ClientId, KeyValue, Revision};
use bytes::Bytes;

/// What the application that watches was told, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The service has begun the watch.
    Created {
        /// Whose watch it is.
        client: ClientId,
        /// What was asked for.
        request: WatchRequest,
        /// The header's revision. A watch that names no start begins right after it.
        revision: Revision,
    },
    /// Changes, in order.
    Events {
        /// The header's revision.
        revision: Revision,
        /// Those of one revision stand together.
        events: Vec<Change>,
    },
    /// No changes, but the assurance that all up to this revision were delivered.
    Progress {
        /// The header's revision.
        revision: Revision,
    },
    /// The service cannot go on: history that the watch needs is gone.
    Compacted {
        /// The oldest revision that is left.
        compact_revision: Revision,
    },
    /// The client goes on with the same watch elsewhere.
    Resumed {
        /// The first revision that it asks for.
        start: Revision,
    },
    /// Nothing more will come of it.
    Closed,
}

/// What a watch is to deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    /// First key.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub end: Bytes,
    /// First revision of interest; 0 or less for what comes after the creation.
    pub start: Revision,
    /// With each change the pair before it.
    pub prev_kv: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
}

/// One change of one key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The pair after a put. A delete has key and `mod_revision` only, and version 0.
    pub kv: KeyValue,
    /// The pair before, if asked for, there, and not compacted away.
    pub prev_kv: Option<KeyValue>,
}

impl Change {
    /// Whether it is a delete: every put has a version of at least 1.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.kv.version == 0
    }
}
