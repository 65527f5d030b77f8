//! The one place where events meet watchers.

use super::index::{Address, GroupId, Index, Interest, Keys};
use super::{CancelReason, NO_WATCH, Told, WatchCreate, WatchEvent, WatchMessage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use synod_env::{Bug, Limits, planted};
use synod_state::Root;
use synod_state::command::Revision;
use synod_state::reply::Event;

/// All watchers of a member.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    limits: Limits,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// Everything up to here has been put into the outboxes of synced watchers.
    published: Revision,
    streams: BTreeMap<u64, Outlet>,
    next_stream: u64,
    index: Index,
    watchers: usize,
    /// Streams that wait for a progress report.
    reports_wanted: BTreeSet<u64>,
    stopped: bool,
}

/// One stream's side in the hub.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    outbox: VecDeque<Outgoing>,
    outbox_bytes: usize,
    pub(super) watchers: BTreeMap<i64, Watcher>,
    next_watch: i64,
    /// Watchers that replay history, the next one to be served first.
    pub(super) behind: VecDeque<i64>,
    progress_wanted: bool,
    pub(super) waker: Option<Waker>,
}

/// A message in an outbox.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: WatchMessage,
    /// It may be cut if it is large.
    pub(super) fragment: bool,
}

/// One watch.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) interest: Interest,
    /// The first revision that has not been told.
    pub(super) next: Revision,
    /// The revision it asked to begin with; no progress below it is told (etcd#20221).
    start: Revision,
    pub(super) fragment: bool,
    progress_notify: bool,
    synced: bool,
    /// Nothing was told since the last periodic progress report.
    quiet: bool,
}

impl Watcher {
    /// Everything up to `published` has been told, and it asked for some of that.
    fn has_reached(&self, published: Revision) -> bool {
        self.synced && published >= self.start
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        event.kv.mod_revision >= self.next
            && self.interest.admits(event.kind)
            && self.interest.keys.contains(&event.kv.key)
    }
}

/// The member holds as many streams as it may, or stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoStream;

impl Hub {
    /// A hub without watchers, at a store's `revision`.
    #[must_use]
    pub(crate) fn new(limits: Limits, revision: Revision) -> Self {
        Self {
            inner: Mutex::new(Inner {
                published: revision,
                streams: BTreeMap::new(),
                next_stream: 0,
                index: Index::default(),
                watchers: 0,
                reports_wanted: BTreeSet::new(),
                stopped: false,
            }),
            limits,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Watch streams and watchers held now.
    #[must_use]
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.streams.len(), inner.watchers)
    }

    /// Opens a stream.
    pub(super) fn open(&self) -> Result<u64, NoStream> {
        let mut inner = self.lock();
        if inner.stopped || inner.streams.len() >= self.limits.watch_streams_max {
            return Err(NoStream);
        }
        let stream = inner.next_stream;
        inner.next_stream += 1;
        inner.streams.insert(stream, Outlet::default());
        Ok(stream)
    }

    /// Closes a stream with all its watchers.
    pub(super) fn close(&self, stream: u64) {
        let mut inner = self.lock();
        if let Some(outlet) = inner.streams.remove(&stream) {
            inner.watchers -= outlet.watchers.len();
            for (watch, watcher) in outlet.watchers {
                if watcher.synced {
                    inner
                        .index
                        .remove(&watcher.interest, Address { stream, watch });
                }
            }
        }
    }

    /// Ends every stream; their readers learn it at once.
    pub(crate) fn stop(&self) {
        let wakers: Vec<Waker> = {
            let mut inner = self.lock();
            inner.stopped = true;
            inner
                .streams
                .values_mut()
                .filter_map(|outlet| outlet.waker.take())
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells the synced watchers of new events, in order, complete up to `root`'s revision.
    ///
    /// `root` must have been published to readers before.
    pub(crate) fn publish(&self, root: &Root, events: &[Event]) {
        let wakers = {
            let mut inner = self.lock();
            assert!(
                root.revision() >= inner.published,
                "revision goes back from {} to {}",
                inner.published,
                root.revision()
            );
            inner.published = root.revision();
            let mut wakers = Vec::new();
            for (address, told) in inner.deliveries(root, events) {
                let bytes_max = self.limits.watch_stream_bytes_max;
                inner.tell(address, &told, bytes_max, &mut wakers);
            }
            inner.report_progress(&mut wakers);
            wakers
        };
        // Whoever is woken looks into the hub at once, and should not find it locked.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Goes on at `root`, which comes from another member's snapshot: what happened up to there
    /// was not seen here. Synced watchers that want some of it replay it, or learn that it is
    /// compacted.
    ///
    /// `root` must have been published to readers before.
    pub(crate) fn jump(&self, root: &Root) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let revision = root.revision();
        assert!(
            revision >= inner.published,
            "revision goes back from {} to {revision}",
            inner.published
        );
        let unseen = inner.published + 1;
        inner.published = revision;
        let mut wakers = Vec::new();
        for (stream, outlet) in &mut inner.streams {
            for (watch, watcher) in &mut outlet.watchers {
                if !watcher.synced || watcher.next.max(unseen) > revision {
                    continue;
                }
                // A watcher's own number moves only when it is told something.
                watcher.next = watcher.next.max(unseen);
                watcher.synced = false;
                watcher.quiet = false;
                outlet.behind.push_back(*watch);
                let (stream, watch) = (*stream, *watch);
                inner
                    .index
                    .remove(&watcher.interest, Address { stream, watch });
            }
            if !outlet.behind.is_empty() {
                wakers.extend(outlet.waker.take());
            }
        }
        inner.report_progress(&mut wakers);
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Reports the progress of quiet watches that asked for it. To be called periodically.
    pub(crate) fn progress_notify(&self) {
        let mut inner = self.lock();
        let published = inner.published;
        let mut wakers = Vec::new();
        for outlet in inner.streams.values_mut() {
            if !outlet.outbox.is_empty() {
                // Whoever does not read is not told that there is nothing to read.
                continue;
            }
            let mut reports = Vec::new();
            for (watch_id, watcher) in &mut outlet.watchers {
                let due = watcher.progress_notify && watcher.has_reached(published);
                if due && std::mem::replace(&mut watcher.quiet, true) {
                    let watch_id = *watch_id;
                    let message = WatchMessage::Progress {
                        watch_id,
                        revision: published,
                    };
                    reports.push(message);
                    wakers.extend(outlet.waker.take());
                }
            }
            for report in reports {
                outlet.push(report);
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn is_open(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(super) fn outlet(&mut self, stream: u64) -> &mut Outlet {
        self.streams
            .get_mut(&stream)
            .expect("a stream is in the hub until it is dropped")
    }

    /// Who is to be told what of new events, by address: once each.
    fn deliveries(&self, root: &Root, events: &[Event]) -> Vec<(Address, Told)> {
        if self.index.is_empty() {
            return Vec::new();
        }
        let mut told: BTreeMap<GroupId, Vec<WatchEvent>> = BTreeMap::new();
        for event in events {
            let mut prev_kv = None;
            self.index.matching(&event.kv.key, |group, interest| {
                if !interest.admits(event.kind) {
                    return;
                }
                let prev_kv = if interest.prev_kv {
                    prev_kv.get_or_insert_with(|| root.previous(event)).clone()
                } else {
                    None
                };
                let event = event.clone();
                let told = told.entry(group).or_default();
                told.push(WatchEvent { event, prev_kv });
            });
        }
        let mut deliveries = Vec::new();
        for (group, events) in told {
            let told = Told::new(events);
            let watchers = &self.index.group(group).watchers;
            deliveries.extend(watchers.iter().map(|address| (*address, told.clone())));
        }
        deliveries.sort_by_key(|(address, _)| *address);
        deliveries
    }

    /// Puts events into a synced watcher's outbox, but for those before it begins; if the outbox is
    /// full the watcher falls behind instead and will replay them.
    fn tell(&mut self, address: Address, events: &Told, bytes_max: usize, wakers: &mut Vec<Waker>) {
        let Address { stream, watch } = address;
        let outlet = self.streams.get_mut(&stream).expect("told watchers exist");
        let watcher = outlet
            .watchers
            .get_mut(&watch)
            .expect("told watchers exist");
        let Some(events) = events.since(watcher.next) else {
            return;
        };
        let (first, last) = (events.first_revision(), events.last_revision());
        let message = WatchMessage::Events {
            watch_id: watch,
            revision: last,
            events,
            fragment: false,
        };
        let weight = message.weight();
        watcher.quiet = false;
        if outlet.outbox.is_empty() || outlet.outbox_bytes + weight <= bytes_max {
            watcher.next = last + 1;
            let fragment = watcher.fragment;
            outlet.outbox_bytes += weight;
            outlet.outbox.push_back(Outgoing { message, fragment });
        } else {
            watcher.next = first;
            watcher.synced = false;
            outlet.behind.push_back(watch);
            self.index.remove(&watcher.interest, address);
        }
        wakers.extend(outlet.waker.take());
    }

    /// Answers asked-for progress on every stream whose watchers are all synced.
    fn report_progress(&mut self, wakers: &mut Vec<Waker>) {
        let published = self.published;
        for stream in std::mem::take(&mut self.reports_wanted) {
            let Some(outlet) = self.streams.get_mut(&stream) else {
                continue;
            };
            if outlet.report_progress(published) {
                wakers.extend(outlet.waker.take());
            } else if outlet.progress_wanted {
                self.reports_wanted.insert(stream);
            }
        }
    }

    /// Makes a watcher. Its first message is already in the outbox when this returns.
    pub(super) fn create(&mut self, stream: u64, request: &WatchCreate, limits: &Limits) {
        let published = self.published;
        let full = self.watchers >= limits.watchers_max;
        let outlet = self.outlet(stream);
        let keys = Keys::new(&request.key, &request.range_end);
        // In etcd's order: of several faults, the client is told of the same one.
        let refusal = if request.start_revision < 0 {
            Some(CancelReason::InvalidRevision)
        } else if keys.is_none() {
            Some(CancelReason::EmptyRange)
        } else if request.watch_id != 0 && outlet.watchers.contains_key(&request.watch_id) {
            Some(CancelReason::DuplicateId)
        } else if full {
            Some(CancelReason::TooMany)
        } else {
            None
        };
        let Some((keys, None)) = keys.map(|keys| (keys, refusal)) else {
            let reason = refusal.expect("a request without keys is refused");
            outlet.push(WatchMessage::Canceled {
                watch_id: NO_WATCH,
                reason,
                revision: published,
            });
            return;
        };
        let watch_id = if request.watch_id == 0 {
            outlet.free_id()
        } else {
            request.watch_id
        };
        let next = if request.start_revision == 0 {
            published + 1
        } else {
            let skips = planted(Bug::ResumeSkipsEvent) && request.start_revision <= published;
            request.start_revision + i64::from(skips)
        };
        let synced = next > published;
        let interest = Interest {
            keys,
            prev_kv: request.prev_kv,
            no_put: request.no_put,
            no_delete: request.no_delete,
        };
        let watcher = Watcher {
            interest: interest.clone(),
            next,
            start: request.start_revision,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            synced,
            quiet: true,
        };
        outlet.watchers.insert(watch_id, watcher);
        outlet.push(WatchMessage::Created {
            watch_id,
            revision: published,
        });
        if !synced {
            outlet.behind.push_back(watch_id);
        }
        self.watchers += 1;
        if synced {
            self.index.insert(
                &interest,
                Address {
                    stream,
                    watch: watch_id,
                },
            );
        }
    }

    /// Ends a watcher; nothing happens if there is none.
    pub(super) fn cancel(&mut self, stream: u64, watch_id: i64, reason: CancelReason) {
        let revision = self.published;
        let outlet = self.outlet(stream);
        let Some(watcher) = outlet.watchers.remove(&watch_id) else {
            return;
        };
        outlet.behind.retain(|held| *held != watch_id);
        outlet.push(WatchMessage::Canceled {
            watch_id,
            reason,
            revision,
        });
        outlet.report_progress(revision);
        self.watchers -= 1;
        if watcher.synced {
            self.index.remove(
                &watcher.interest,
                Address {
                    stream,
                    watch: watch_id,
                },
            );
        }
    }

    /// Asks for a progress report of a whole stream: given now, or once all are synced.
    pub(super) fn want_progress(&mut self, stream: u64) {
        let published = self.published;
        let outlet = self.outlet(stream);
        outlet.progress_wanted = true;
        if !outlet.report_progress(published) {
            self.reports_wanted.insert(stream);
        }
    }

    /// Records that a replaying watcher has been told everything before `next`, from a root of
    /// `seen`. If nothing was published beyond it, the watcher is synced from here on.
    pub(super) fn caught_up_to(
        &mut self,
        stream: u64,
        watch_id: i64,
        next: Revision,
        seen: Revision,
    ) {
        let published = self.published;
        let outlet = self.outlet(stream);
        let Some(watcher) = outlet.watchers.get_mut(&watch_id) else {
            return;
        };
        watcher.next = next;
        if next <= seen || seen < published {
            outlet.behind.push_back(watch_id);
            return;
        }
        watcher.synced = true;
        watcher.quiet = false;
        let interest = watcher.interest.clone();
        outlet.report_progress(published);
        self.index.insert(
            &interest,
            Address {
                stream,
                watch: watch_id,
            },
        );
    }
}

impl Outlet {
    pub(super) fn push(&mut self, message: WatchMessage) {
        self.outbox_bytes += message.weight();
        self.outbox.push_back(Outgoing {
            message,
            fragment: false,
        });
    }

    /// Puts all that waits into `into`, which must be empty. True if there was anything.
    pub(super) fn take(&mut self, into: &mut VecDeque<Outgoing>) -> bool {
        assert!(into.is_empty(), "{} messages are not read yet", into.len());
        std::mem::swap(&mut self.outbox, into);
        self.outbox_bytes = 0;
        !into.is_empty()
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_watch) {
            self.next_watch += 1;
        }
        let id = self.next_watch;
        self.next_watch += 1;
        id
    }

    /// Puts the asked-for report into the outbox if every watcher is synced and has begun.
    fn report_progress(&mut self, published: Revision) -> bool {
        let ready = self.progress_wanted
            && self.behind.is_empty()
            && self
                .watchers
                .values()
                .all(|watcher| watcher.has_reached(published));
        if ready {
            self.progress_wanted = false;
            self.push(WatchMessage::Progress {
                watch_id: NO_WATCH,
                revision: published,
            });
        }
        ready
    }
}
