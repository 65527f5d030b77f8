//! What watches tell, against the replay: etcd's guarantees, each by its name.
//!
//! What can be judged of a message by itself is judged when it comes; what it leaves out, and
//! whether it is true, when the frontier has passed it. Until then it waits.

use crate::history::{Change, Revision, TimeNs, WatchEvent, WatchId, WatchRequest};
use crate::store::{Keys, Replay};
use crate::verdict::{Property, Violation};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Judges watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchJudge {
    now: TimeNs,
    watches: BTreeMap<WatchId, Watch>,
    /// Watches with something that waits for the frontier to reach a revision.
    waiting: BTreeSet<(Revision, WatchId)>,
}

#[derive(Clone, Debug)]
struct Watch {
    request: WatchRequest,
    /// The first revision of interest.
    start: Revision,
    /// All up to here has been told, or was of no interest; the message that says so may wait.
    told: Revision,
    /// A progress notification said so.
    bookmark: Revision,
    /// All up to here was compared with the replay.
    compared: Revision,
    queue: VecDeque<Told>,
    is_open: bool,
}

/// What waits for the frontier.
#[derive(Clone, Debug)]
enum Told {
    /// The changes of one revision.
    Changes(Revision, Vec<Change>),
    /// That nothing is left to tell up to this revision.
    Progress(Revision),
    /// Enough time to tell everything up to this revision.
    Settled(Revision),
}

impl Told {
    const fn revision(&self) -> Revision {
        match self {
            Self::Changes(revision, _) | Self::Progress(revision) | Self::Settled(revision) => {
                *revision
            }
        }
    }
}

/// What an event of a watch shows of the store.
#[derive(Debug, Default)]
pub(crate) struct Shown<'a> {
    /// This revision exists.
    pub(crate) revision: Revision,
    /// Revisions with their changes.
    pub(crate) changes: Vec<(Revision, &'a [Change])>,
    /// Those are all changes of any key.
    pub(crate) complete: bool,
}

impl WatchJudge {
    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    fn violation(&self, property: Property, watch: WatchId, witness: &str) -> Violation {
        Violation {
            property,
            at: self.now,
            witness: format!("watch w{} {witness}", watch.0),
        }
    }

    /// Judges an event by itself, and gives what it shows. `compacted_at_most` is the highest
    /// revision that history may have been compacted to.
    pub(crate) fn observe<'a>(
        &mut self,
        id: WatchId,
        event: &'a WatchEvent,
        compacted_at_most: Revision,
    ) -> Result<Shown<'a>, Violation> {
        if let WatchEvent::Created {
            request, revision, ..
        } = event
        {
            let start = if request.start > 0 {
                request.start
            } else {
                revision + 1
            };
            let watch = Watch {
                request: request.clone(),
                start,
                told: start - 1,
                bookmark: 0,
                compared: start - 1,
                queue: VecDeque::new(),
                is_open: true,
            };
            let before = self.watches.insert(id, watch);
            assert!(before.is_none(), "watch w{} is created twice", id.0);
            return Ok(Shown {
                revision: *revision,
                ..Shown::default()
            });
        }
        let watch = self
            .watches
            .get_mut(&id)
            .unwrap_or_else(|| panic!("watch w{} was not created", id.0));
        match event {
            WatchEvent::Created { .. } => unreachable!("it was dealt with above"),
            WatchEvent::Events { revision, events } => self.told(id, *revision, events),
            WatchEvent::Progress { revision } => {
                let (told, revision) = (watch.told, *revision);
                if revision >= told {
                    watch.told = revision;
                    watch.bookmark = revision;
                    self.wait(id, Told::Progress(revision));
                }
                Ok(Shown {
                    revision,
                    ..Shown::default()
                })
            }
            WatchEvent::Compacted { compact_revision } => {
                watch.is_open = false;
                let next = watch.told + 1;
                if *compact_revision <= compacted_at_most && next < *compact_revision {
                    return Ok(Shown::default());
                }
                let witness = format!(
                    "was ended for a compaction to {compact_revision}, but it had told all before \
                     revision {next}, and history was compacted to {compacted_at_most} at most"
                );
                Err(self.violation(Property::WatchResumable, id, &witness))
            }
            WatchEvent::Resumed { start } => {
                let next = watch.told + 1;
                if *start <= next {
                    return Ok(Shown::default());
                }
                let witness = format!("goes on from revision {start}, but {next} is the next");
                Err(self.violation(Property::WatchResumable, id, &witness))
            }
            WatchEvent::Closed => {
                watch.is_open = false;
                Ok(Shown::default())
            }
        }
    }

    fn told<'a>(
        &mut self,
        id: WatchId,
        header: Revision,
        events: &'a [Change],
    ) -> Result<Shown<'a>, Violation> {
        let watch = &self.watches[&id];
        let request = &watch.request;
        let keys = Keys::new(&request.key, &request.end);
        let mut shown = Shown {
            revision: header,
            changes: Vec::new(),
            complete: keys.are_all() && !request.no_put && !request.no_delete,
        };
        let mut told = watch.told;
        for changes in events.chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision) {
            let revision = changes[0].kv.mod_revision;
            self.is_new(id, revision, told, changes)?;
            if revision > header {
                let witness = format!("tells revision {revision} under header revision {header}");
                return Err(self.violation(Property::WatchBookmarkable, id, &witness));
            }
            for change in changes {
                let is_filtered = if change.is_delete() {
                    request.no_delete
                } else {
                    request.no_put
                };
                if is_filtered || !keys.contain(&change.kv.key) {
                    let witness = format!("tells {change}, which was not asked for");
                    return Err(self.violation(Property::WatchFilter, id, &witness));
                }
                if change.prev_kv.is_some() && !request.prev_kv {
                    let witness =
                        format!("tells {change} with a pair before that was not asked for");
                    return Err(self.violation(Property::WatchPrevKv, id, &witness));
                }
            }
            told = revision;
            shown.changes.push((revision, changes));
        }
        self.watches.get_mut(&id).expect("it was just there").told = told;
        for (revision, changes) in &shown.changes {
            self.wait(id, Told::Changes(*revision, changes.to_vec()));
        }
        Ok(shown)
    }

    /// Whether a watch that has told all up to a revision may tell this one.
    fn is_new(
        &self,
        id: WatchId,
        revision: Revision,
        told: Revision,
        changes: &[Change],
    ) -> Result<(), Violation> {
        if revision > told {
            return Ok(());
        }
        let watch = &self.watches[&id];
        let first = &changes[0];
        let before = watch.queue.iter().find_map(|other| match other {
            Told::Changes(other, changes) if *other == revision => Some(changes),
            Told::Changes(..) | Told::Progress(_) | Told::Settled(_) => None,
        });
        let is_repeated = match before {
            Some(before) => before.iter().any(|change| change.kv.key == first.kv.key),
            // What was compared is gone from the queue, and was complete.
            None => revision <= watch.compared && revision >= watch.start,
        };
        let (property, why) = if revision < watch.start {
            (Property::WatchFilter, "before its start".to_owned())
        } else if is_repeated {
            (Property::WatchUnique, "a second time".to_owned())
        } else if revision <= watch.bookmark {
            let why = format!("after progress to {}", watch.bookmark);
            (Property::WatchBookmarkable, why)
        } else if revision == told {
            let why = "apart from the rest of its revision".to_owned();
            (Property::WatchAtomic, why)
        } else {
            (Property::WatchOrdered, format!("after revision {told}"))
        };
        Err(self.violation(property, id, &format!("tells {first} {why}")))
    }

    fn wait(&mut self, id: WatchId, told: Told) {
        let watch = self.watches.get_mut(&id).expect("only a watch waits");
        if watch.queue.is_empty() {
            self.waiting.insert((told.revision(), id));
        }
        watch.queue.push_back(told);
    }

    /// Time enough has passed for every open watch to tell all up to this revision.
    pub(crate) fn settled(&mut self, seen: Revision) {
        let open = self.watches.iter().filter(|(_, watch)| watch.is_open);
        for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.wait(id, Told::Settled(seen));
        }
    }

    /// Compares what waits with the replay, as far as that goes.
    pub(crate) fn compare(
        &mut self,
        replay: &Replay,
        compacted_at_most: Revision,
    ) -> Result<(), Violation> {
        while let Some((revision, id)) = self.waiting.first().copied() {
            if revision > replay.revision() {
                return Ok(());
            }
            self.waiting.remove(&(revision, id));
            let watch = self.watches.get_mut(&id).expect("only a watch waits");
            let told = watch.queue.pop_front().expect("the first of them waits");
            if let Some(next) = watch.queue.front() {
                self.waiting.insert((next.revision(), id));
            }
            self.compare_told(id, &told, replay, compacted_at_most)?;
            let watch = self.watches.get_mut(&id).expect("only a watch waits");
            watch.compared = watch.compared.max(revision);
        }
        Ok(())
    }

    fn compare_told(
        &self,
        id: WatchId,
        told: &Told,
        replay: &Replay,
        compacted_at_most: Revision,
    ) -> Result<(), Violation> {
        let watch = &self.watches[&id];
        let request = &watch.request;
        let keys = Keys::new(&request.key, &request.end);
        let mut happened = replay.changes_within(keys, watch.compared, told.revision());
        happened.retain(|(revision, key)| {
            let made = replay
                .made(key, *revision)
                .expect("the revision changed it");
            !if made.is_deleted() {
                request.no_delete
            } else {
                request.no_put
            }
        });
        let (revision, changes) = match told {
            Told::Changes(revision, changes) => (*revision, &changes[..]),
            Told::Progress(revision) | Told::Settled(revision) => (revision + 1, &[][..]),
        };
        let earlier = happened.partition_point(|(earlier, _)| *earlier < revision);
        if let Some((missed, key)) = happened[..earlier].first() {
            let what = format!(
                "revision {missed}, which changed {}",
                crate::text::word(key)
            );
            let (property, witness) = match told {
                Told::Changes(revision, _) => (
                    Property::WatchReliable,
                    format!("tells revision {revision}, but has left out {what}"),
                ),
                Told::Progress(revision) => (
                    Property::WatchBookmarkable,
                    format!("claims progress to {revision}, but has left out {what}"),
                ),
                Told::Settled(_) => (
                    Property::WatchReliable,
                    format!("had time enough, but has left out {what}"),
                ),
            };
            return Err(self.violation(property, id, &witness));
        }
        let happened: Vec<&Bytes> = happened[earlier..].iter().map(|(_, key)| key).collect();
        self.compare_revision(id, revision, changes, &happened, replay, compacted_at_most)
    }

    fn compare_revision(
        &self,
        id: WatchId,
        revision: Revision,
        changes: &[Change],
        happened: &[&Bytes],
        replay: &Replay,
        compacted_at_most: Revision,
    ) -> Result<(), Violation> {
        for change in changes {
            let key = &change.kv.key;
            let made = replay.made(key, revision);
            let is_true = made.is_some_and(|made| made.pair(key) == change.kv);
            if !is_true {
                let really = made.map_or_else(
                    || "did not change that key".to_owned(),
                    |made| format!("made it {}", made.pair(key)),
                );
                let witness = format!("tells {change}, but revision {revision} {really}");
                return Err(self.violation(Property::WatchTrue, id, &witness));
            }
            self.compare_before(id, revision, change, replay, compacted_at_most)?;
        }
        let told: BTreeSet<&Bytes> = changes.iter().map(|change| &change.kv.key).collect();
        if let Some(missed) = happened.iter().find(|key| !told.contains(**key)) {
            let witness = format!(
                "tells revision {revision} without its change of {}",
                crate::text::word(missed)
            );
            return Err(self.violation(Property::WatchAtomic, id, &witness));
        }
        if told.len() < changes.len() {
            let witness = format!("tells a change of revision {revision} twice");
            return Err(self.violation(Property::WatchUnique, id, &witness));
        }
        // Who deleted keys may be open, and with it their order.
        let is_in_order = changes.iter().all(Change::is_delete)
            || changes
                .iter()
                .map(|change| &change.kv.key)
                .eq(happened.iter().copied());
        if is_in_order {
            return Ok(());
        }
        let witness = format!("tells the changes of revision {revision} in another order");
        Err(self.violation(Property::WatchOrdered, id, &witness))
    }

    fn compare_before(
        &self,
        id: WatchId,
        revision: Revision,
        change: &Change,
        replay: &Replay,
        compacted_at_most: Revision,
    ) -> Result<(), Violation> {
        if !self.watches[&id].request.prev_kv {
            return Ok(());
        }
        let key = &change.kv.key;
        let before = replay.get(key, revision - 1);
        let before = before.map(|version| version.pair(key));
        let is_compacted = change.prev_kv.is_none() && revision - 1 < compacted_at_most;
        if before == change.prev_kv || is_compacted {
            return Ok(());
        }
        let expected = before.map_or_else(|| "was not there".to_owned(), |kv| format!("was {kv}"));
        let witness = format!("tells {change}, but the key {expected} before");
        Err(self.violation(Property::WatchPrevKv, id, &witness))
    }
}
