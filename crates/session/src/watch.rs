//! How a watch goes on after a broken stream.

use crate::{Choice, Endpoint, Session};
use std::time::Duration;
use synod_env::Instant;

/// A revision of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The number of a stream within its watch, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What a stream brought. Messages of one stream are handed over in the order in which they were
/// sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<E> {
    /// The watch stands; this was the revision.
    Created(Revision),
    /// Changes in the order of their revisions.
    Events {
        /// Each with its revision.
        events: Vec<(Revision, E)>,
        /// More of the last revision follows in the next message.
        fragment: bool,
    },
    /// Everything up to this revision has been sent.
    Progress(Revision),
    /// History before this revision is gone, and what the watch needs with it.
    Compacted(Revision),
    /// The service ends the watch.
    Cancelled(String),
}

/// What the watcher gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery<E> {
    /// The watch stands: every change after this revision (or from the start that was asked for)
    /// will come. Delivered once, however many streams there will be.
    Created(Revision),
    /// Changes of whole revisions: all events of a revision are in one delivery.
    Events(Vec<(Revision, E)>),
    /// Everything up to this revision has been delivered.
    Progress(Revision),
    /// The watch has ended.
    End(WatchEnd),
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// Changes that were not delivered yet are lost to compaction. What is there can be read, and
    /// watched from this revision on.
    Compacted(Revision),
    /// The service ended it, for this reason.
    Cancelled(String),
}

/// What a driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchStep {
    /// Close the stream before, open a new one there, and create a watch on it.
    Open {
        /// What to call this stream in [`Watch::take`].
        stream: StreamId,
        /// Where to open it.
        endpoint: Endpoint,
        /// The first revision wanted; without one, the changes from now on.
        start: Option<Revision>,
    },
    /// Ask on this stream for a sign of progress: it has been silent for long.
    AskProgress(StreamId),
    /// Nothing before then, unless a message comes or the stream breaks.
    Wait(Instant),
    /// The watch has ended.
    End(WatchEnd),
}

/// Bounds on one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// After so much silence the member is asked for a sign of progress; after as much again, the
    /// stream counts as broken.
    pub quiet_max: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            quiet_max: Duration::from_secs(30),
        }
    }
}

/// One watch over as many streams as it takes: no change is left out, none comes twice, and the
/// changes of one revision come together.
#[derive(Clone, Debug)]
pub struct Watch<E> {
    config: WatchConfig,
    /// The first revision not delivered; unknown until a watch from now on stands.
    next: Option<Revision>,
    /// The watcher knows that the watch stands.
    announced: bool,
    /// Events of a revision of which more may come.
    partial: Vec<(Revision, E)>,
    streams: u64,
    stream: Option<Stream>,
    /// Events that the service sent although they were not behind what it was to send.
    repeated: u64,
    end: Option<WatchEnd>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: StreamId,
    endpoint: Endpoint,
    heard: Instant,
    created: bool,
    asked: bool,
}

impl<E> Watch<E> {
    /// A watch from `start` on; without one, of the changes from the moment it stands.
    #[must_use]
    pub fn new(start: Option<Revision>, config: WatchConfig) -> Self {
        Self {
            config,
            next: start,
            announced: false,
            partial: Vec::new(),
            streams: 0,
            stream: None,
            repeated: 0,
            end: None,
        }
    }

    /// The first revision that has not been delivered; none while it is not known from when on
    /// the watch counts.
    #[must_use]
    pub fn next(&self) -> Option<Revision> {
        self.next
    }

    /// How many events came and were dropped, because they were before the start that the service
    /// was given, or before those that it had sent. A service that keeps its promises sends none.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant, session: &mut Session) -> WatchStep {
        if let Some(end) = &self.end {
            return WatchStep::End(end.clone());
        }
        let quiet_max = self.config.quiet_max;
        if let Some(stream) = &mut self.stream {
            let limit = if stream.created {
                quiet_max.saturating_mul(2)
            } else {
                quiet_max
            };
            if now < stream.heard + limit {
                let ask = stream.heard + quiet_max;
                if stream.created && !stream.asked && now >= ask {
                    stream.asked = true;
                    return WatchStep::AskProgress(stream.id);
                }
                let asks = stream.created && !stream.asked;
                return WatchStep::Wait(if asks { ask } else { stream.heard + limit });
            }
            let silent = stream.id;
            self.broken(now, silent, session);
        }
        match session.endpoints.choose(now) {
            Choice::Ask(endpoint) => {
                self.streams += 1;
                let id = StreamId(self.streams);
                self.stream = Some(Stream {
                    id,
                    endpoint,
                    heard: now,
                    created: false,
                    asked: false,
                });
                WatchStep::Open {
                    stream: id,
                    endpoint,
                    start: self.next,
                }
            }
            Choice::Wait(until) => WatchStep::Wait(until),
        }
    }

    /// A stream broke, or could not be opened. Said of a stream before the present one it means
    /// nothing.
    pub fn broken(&mut self, now: Instant, stream: StreamId, session: &mut Session) {
        if let Some(present) = self.stream.take_if(|present| present.id == stream) {
            self.partial.clear();
            session.endpoints.failed(now, present.endpoint);
        }
    }

    /// A message came. Messages of a stream before the present one are late and dropped: the
    /// present one brings the same.
    pub fn take(
        &mut self,
        now: Instant,
        stream: StreamId,
        message: Message<E>,
        session: &mut Session,
    ) -> Option<Delivery<E>> {
        let present = self.stream.as_mut().filter(|open| open.id == stream)?;
        present.heard = now;
        present.asked = false;
        session.endpoints.worked(present.endpoint);
        match message {
            Message::Created(revision) => {
                present.created = true;
                self.next = self.next.or(Some(revision.next()));
                let first = !std::mem::replace(&mut self.announced, true);
                first.then_some(Delivery::Created(revision))
            }
            Message::Events { events, fragment } => self.events(events, fragment),
            Message::Progress(revision) => {
                let next = self.next.filter(|next| revision.next() >= *next)?;
                self.next = Some(next.max(revision.next()));
                Some(Delivery::Progress(revision))
            }
            Message::Compacted(revision) => self.ended(WatchEnd::Compacted(revision)),
            Message::Cancelled(reason) => self.ended(WatchEnd::Cancelled(reason)),
        }
    }

    fn events(&mut self, events: Vec<(Revision, E)>, fragment: bool) -> Option<Delivery<E>> {
        let next = self.next?;
        let mut whole = std::mem::take(&mut self.partial);
        for (revision, event) in events {
            if revision >= whole.last().map_or(next, |(last, _)| *last) {
                whole.push((revision, event));
            } else {
                self.repeated += 1;
            }
        }
        if fragment {
            // Of the last revision more may follow.
            let last = whole.last()?.0;
            let whole_until = whole.partition_point(|(revision, _)| *revision < last);
            self.partial = whole.split_off(whole_until);
        }
        self.next = Some(whole.last()?.0.next());
        Some(Delivery::Events(whole))
    }

    fn ended(&mut self, end: WatchEnd) -> Option<Delivery<E>> {
        self.stream = None;
        self.partial.clear();
        self.end = Some(end.clone());
        Some(Delivery::End(end))
    }
}
