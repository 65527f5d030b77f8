//! A client's watch: the session joins streams, this reads them.

use super::{ARRIVALS_MAX, Arrival, Client, Endpoint};
use crate::translate;
use crate::wire::Request;
use std::collections::BTreeMap;
use std::time::Duration;
use synod_checker::{Change, WatchEvent, WatchId, WatchRequest};
use synod_env::{Instant, queue};
use synod_node::WatchMessage;
use synod_node::watch::CancelReason;
use synod_session::{
    Delivery, Message, Revision, StreamId, Watch, WatchConfig, WatchEnd, WatchStep,
};

/// How long a watch is quiet before its member is asked.
const QUIET_MAX: Duration = Duration::from_millis(500);

/// How long a message may be missing before the stream counts as broken.
const GAP_MAX: Duration = Duration::from_millis(300);

/// A watch while it runs.
struct Watching {
    client: Client,
    id: WatchId,
    request: WatchRequest,
    watch: Watch<Change>,
    stream: Option<Stream>,
}

/// The stream that a watch reads.
struct Stream {
    id: StreamId,
    number: u64,
    endpoint: Endpoint,
    arrivals: queue::Receiver<Arrival>,
    /// The next message in order.
    next: u64,
    /// Those that came before their turn.
    early: BTreeMap<u64, WatchMessage>,
    /// When the stream is given up, if a message is missing.
    gap_ends: Option<Instant>,
}

impl Client {
    /// Watches until `until`, or until the service ends the watch.
    pub(super) async fn watch(self, request: WatchRequest, until: Instant) {
        let start = u64::try_from(request.start).ok().filter(|start| *start > 0);
        let config = WatchConfig {
            quiet_max: QUIET_MAX,
        };
        let mut watching = Watching {
            id: self.record().watch_id(),
            client: self,
            request,
            watch: Watch::new(start.map(Revision), config),
            stream: None,
        };
        watching.run(until).await;
    }
}

impl Watching {
    async fn run(&mut self, until: Instant) {
        let mut announced = false;
        loop {
            let now = self.client.now();
            if now >= until {
                break;
            }
            let step = self.watch.step(now, &mut self.client.session());
            match step {
                WatchStep::Open {
                    stream,
                    endpoint,
                    start,
                } => self.open(stream, endpoint, start, announced),
                WatchStep::AskProgress(_) => {
                    if let Some(Stream {
                        number, endpoint, ..
                    }) = &self.stream
                    {
                        let request = Request::Progress { stream: *number };
                        self.client.send(*endpoint, request);
                    }
                }
                WatchStep::Wait(wake) => self.read(wake.min(until), &mut announced).await,
                WatchStep::End(_) => break,
            }
        }
        self.close();
        if announced {
            self.client.record().watched(self.id, WatchEvent::Closed);
        }
    }

    fn open(&mut self, id: StreamId, endpoint: Endpoint, start: Option<Revision>, announced: bool) {
        self.close();
        let start = start.map_or(0, |Revision(start)| signed(start));
        if announced {
            self.client.record().mark("watch resumed");
            let resumed = WatchEvent::Resumed { start };
            self.client.record().watched(self.id, resumed);
        }
        let number = self.client.number();
        let (sender, arrivals) = queue::bounded(ARRIVALS_MAX);
        self.client.streams().insert(number, sender);
        let request = Request::Watch {
            stream: number,
            request: WatchRequest {
                start,
                ..self.request.clone()
            },
        };
        self.client.send(endpoint, request);
        self.stream = Some(Stream {
            id,
            number,
            endpoint,
            arrivals,
            next: 0,
            early: BTreeMap::new(),
            gap_ends: None,
        });
    }

    fn close(&mut self) {
        if let Some(Stream {
            number, endpoint, ..
        }) = self.stream.take()
        {
            self.client.streams().remove(&number);
            self.client
                .send(endpoint, Request::Close { stream: number });
        }
    }

    /// Reads the stream until `wake`, or until something has come of it.
    async fn read(&mut self, wake: Instant, announced: &mut bool) {
        let Some(stream) = &mut self.stream else {
            self.client.env().sleep_until(wake).await;
            return;
        };
        let wake = stream.gap_ends.map_or(wake, |ends| ends.min(wake));
        let arrived = self
            .client
            .env()
            .deadline(wake, stream.arrivals.receive())
            .await;
        let now = self.client.now();
        match arrived {
            Ok(Some(Arrival::Message { number, message })) => {
                if number >= stream.next {
                    stream.early.insert(number, message);
                }
            }
            Ok(Some(Arrival::Broken) | None) => return self.broken(),
            Err(_) => {
                if stream.gap_ends.is_some_and(|ends| now >= ends) {
                    self.broken();
                }
                return;
            }
        }
        while let Some(message) = stream.early.remove(&stream.next) {
            stream.next += 1;
            let id = stream.id;
            let taken = Request::Taken {
                stream: stream.number,
                next: stream.next,
            };
            self.client.send(stream.endpoint, taken);
            let Some(message) = heard(message) else {
                continue;
            };
            let delivery = self
                .watch
                .take(now, id, message, &mut self.client.session());
            if let Some(delivery) = delivery {
                deliver(&self.client, self.id, &self.request, delivery, announced);
            }
        }
        stream.gap_ends = match (stream.early.is_empty(), stream.gap_ends) {
            (true, _) => None,
            (false, Some(ends)) => Some(ends),
            (false, None) => Some(now + GAP_MAX),
        };
    }

    fn broken(&mut self) {
        if let Some(stream) = &self.stream {
            let now = self.client.now();
            self.watch
                .broken(now, stream.id, &mut self.client.session());
            self.close();
        }
    }
}

/// Writes down what the watcher gets to see.
fn deliver(
    client: &Client,
    id: WatchId,
    request: &WatchRequest,
    delivery: Delivery<Change>,
    announced: &mut bool,
) {
    let event = match delivery {
        Delivery::Created(Revision(revision)) => {
            *announced = true;
            WatchEvent::Created {
                client: client.id(),
                request: request.clone(),
                revision: signed(revision),
            }
        }
        Delivery::Events(events) => {
            let Some((Revision(revision), _)) = events.last() else {
                return;
            };
            WatchEvent::Events {
                revision: signed(*revision),
                events: events.into_iter().map(|(_, change)| change).collect(),
            }
        }
        Delivery::Progress(Revision(revision)) => WatchEvent::Progress {
            revision: signed(revision),
        },
        Delivery::End(WatchEnd::Compacted(Revision(compact_revision))) => WatchEvent::Compacted {
            compact_revision: signed(compact_revision),
        },
        // That the service has no room for a watch is no promise broken.
        Delivery::End(WatchEnd::Cancelled(_)) => return,
    };
    if *announced {
        client.record().watched(id, event);
    }
}

/// What a member's message means to a watch.
fn heard(message: WatchMessage) -> Option<Message<Change>> {
    Some(match message {
        WatchMessage::Created { revision, .. } => Message::Created(counted(revision)),
        WatchMessage::Events {
            events, fragment, ..
        } => Message::Events {
            events: events
                .iter()
                .map(|event| {
                    (
                        counted(event.event.kv.mod_revision),
                        translate::change(event.clone()),
                    )
                })
                .collect(),
            fragment,
        },
        WatchMessage::Progress { revision, .. } => Message::Progress(counted(revision)),
        WatchMessage::Canceled { reason, .. } => match reason {
            CancelReason::Compacted(revision) => Message::Compacted(counted(revision)),
            CancelReason::EmptyRange
            | CancelReason::DuplicateId
            | CancelReason::InvalidRevision
            | CancelReason::TooMany
            | CancelReason::ByClient => Message::Cancelled(format!("{reason:?}")),
        },
    })
}

fn counted(revision: i64) -> Revision {
    Revision(u64::try_from(revision).expect("revisions count from 1"))
}

fn signed(revision: u64) -> i64 {
    i64::try_from(revision).expect("a revision is a positive 64-bit number")
}
