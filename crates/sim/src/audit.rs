//! What the log says was written, for the judges.
//!
//! A client that was told nothing does not know whether its write was made, and what nobody reads
//! stays unknown to all clients. etcd's own tests look it up in the log. Here the changes that a
//! member has applied are told as a watch of everything would tell them, so that the judges need
//! not guess, and so that they hold what clients were told against it.

use crate::record::Record;
use bytes::Bytes;
use synod_checker::{ClientId, Revision, WatchEvent, WatchId, WatchRequest};
use synod_node::WatchEvent as Told;
use synod_state::Root;

/// Not a client's number: of the one who follows the log.
const AUDITOR: ClientId = ClientId(u32::MAX);

/// Most revisions told at a time.
const REVISIONS_MAX: usize = 1_000;

/// How far the log has been followed.
#[derive(Default)]
pub(crate) struct Audit {
    watch: Option<WatchId>,
    /// Everything up to this revision has been told.
    told: Revision,
}

impl Audit {
    /// Tells what is new in `root`, which a member has applied.
    pub(crate) fn follow(&mut self, root: &Root, record: &Record) {
        while root.revision() > self.told.max(1) {
            let from = self.told.max(1) + 1;
            let watch = self.watch(from, record);
            let events = match root.events(from, REVISIONS_MAX) {
                Ok(events) => events,
                Err(compacted) => {
                    // What lies between nobody can look up any more.
                    let compact_revision = compacted.0;
                    record.watched(watch, WatchEvent::Compacted { compact_revision });
                    record.mark("log compacted before it was followed");
                    self.watch = None;
                    self.told = compact_revision - 1;
                    continue;
                }
            };
            let Some(last) = events.last() else {
                return;
            };
            self.told = last.kv.mod_revision;
            let events = events.into_iter().map(|event| {
                crate::translate::change(Told {
                    event,
                    prev_kv: None,
                })
            });
            let told = WatchEvent::Events {
                revision: self.told,
                events: events.collect(),
            };
            record.watched(watch, told);
        }
    }

    fn watch(&mut self, start: Revision, record: &Record) -> WatchId {
        *self.watch.get_or_insert_with(|| {
            let watch = record.watch_id();
            let created = WatchEvent::Created {
                client: AUDITOR,
                request: WatchRequest {
                    key: Bytes::from_static(b"\0"),
                    end: Bytes::from_static(b"\0"),
                    start,
                    ..WatchRequest::default()
                },
                revision: start - 1,
            };
            record.watched(watch, created);
            watch
        })
    }
}
