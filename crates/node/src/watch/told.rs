//! What several watches are told alike.

use super::WatchEvent;
use bytes::Bytes;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use synod_state::command::Revision;

/// The events of one message, at least one, shared by all watches that are told the same. Cheap to
/// clone.
///
/// Whoever turns them into bytes leaves those beside them ([`Told::encoded`]), so that an event is
/// encoded once, however many watch it.
#[derive(Clone)]
pub struct Told(Arc<Content>);

struct Content {
    events: Vec<WatchEvent>,
    /// What the events hold in memory, roughly, in bytes.
    weight: usize,
    encoded: OnceLock<Bytes>,
    /// The same events in messages of a bounded size; made when first asked for.
    parts: OnceLock<Vec<Told>>,
}

impl Told {
    /// # Panics
    /// If there are no events.
    pub(super) fn new(events: Vec<WatchEvent>) -> Self {
        assert!(!events.is_empty(), "a message of events holds none");
        let weight = events.iter().map(WatchEvent::weight).sum();
        Self(Arc::new(Content {
            events,
            weight,
            encoded: OnceLock::new(),
            parts: OnceLock::new(),
        }))
    }

    /// The events as bytes: those that `encode` makes of them, when it is first asked. It must be
    /// the same function each time.
    pub fn encoded(&self, encode: impl FnOnce(&[WatchEvent]) -> Bytes) -> Bytes {
        self.0.encoded.get_or_init(|| encode(self)).clone()
    }

    /// The revision of the first event.
    #[must_use]
    pub fn first_revision(&self) -> Revision {
        self.revision(self.first())
    }

    /// The revision of the last event.
    #[must_use]
    pub fn last_revision(&self) -> Revision {
        self.revision(self.last())
    }

    fn revision(&self, event: Option<&WatchEvent>) -> Revision {
        let event = event.expect("a message of events holds one");
        event.event.kv.mod_revision
    }

    pub(super) fn weight(&self) -> usize {
        self.0.weight
    }

    /// Those of the events that lie at `from` or later, if there are any.
    pub(super) fn since(&self, from: Revision) -> Option<Self> {
        if self.first_revision() >= from {
            return Some(self.clone());
        }
        let is_later = |event: &&WatchEvent| event.event.kv.mod_revision >= from;
        let events: Vec<WatchEvent> = self.iter().filter(is_later).cloned().collect();
        (!events.is_empty()).then(|| Self::new(events))
    }

    /// The events in order, cut so that each part weighs at most `bytes_max` or is a single event.
    /// It must be the same bound each time.
    pub(super) fn parts(&self, bytes_max: usize) -> &[Self] {
        self.0.parts.get_or_init(|| {
            let mut parts = Vec::new();
            let mut part = Vec::new();
            let mut part_bytes = 0;
            for event in self.iter() {
                let weight = event.weight();
                if !part.is_empty() && part_bytes + weight > bytes_max {
                    parts.push(Self::new(std::mem::take(&mut part)));
                    part_bytes = 0;
                }
                part_bytes += weight;
                part.push(event.clone());
            }
            parts.push(Self::new(part));
            parts
        })
    }
}

impl Deref for Told {
    type Target = [WatchEvent];

    fn deref(&self) -> &[WatchEvent] {
        &self.0.events
    }
}

impl<'a> IntoIterator for &'a Told {
    type Item = &'a WatchEvent;
    type IntoIter = std::slice::Iter<'a, WatchEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.0.events == other.0.events
    }
}

impl Eq for Told {}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
