//! Watches that go on when a member does not.

use crate::link::Link;
use crate::outcome::{self, Why};
use crate::{Client, world};
use futures_util::{FutureExt as _, stream};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::watch_client::WatchClient;
use synod_api::etcdserverpb::watch_request::RequestUnion;
use synod_api::mvccpb::Event;
use synod_env::Instant;
use synod_session::{
    Delivery, Ended, Endpoint, Message, Revision, StreamId, Watch, WatchEnd, WatchStep,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// What a watch brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Watched {
    /// The watch stands: every change after the header's revision, or from the start that was
    /// asked for, will come. This comes once.
    Created(Option<pb::ResponseHeader>),
    /// Changes of whole revisions, in order.
    Changes(Option<pb::ResponseHeader>, Vec<Event>),
    /// Every change up to the header's revision has been brought.
    Progress(Option<pb::ResponseHeader>),
}

/// Why a watch has ended. It does not end when a member fails, unless none is found for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnded {
    /// Changes that had not come yet are lost to compaction. What is there can be read, and
    /// watched from this revision on.
    Compacted {
        /// The oldest revision that can be watched.
        revision: i64,
    },
    /// The service refuses it.
    Refused {
        /// In etcd's words.
        message: String,
    },
    /// No member has carried it for longer than [`Config::watch_outage_max`](crate::Config).
    Unreachable,
}

impl fmt::Display for WatchEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted { revision } => {
                write!(f, "history before revision {revision} is compacted")
            }
            Self::Refused { message } => write!(f, "refused: {message}"),
            Self::Unreachable => f.write_str("no member has carried the watch for too long"),
        }
    }
}

impl std::error::Error for WatchEnded {}

/// What opening a stream comes to: the stream, and where its further requests go.
type Opened = Result<(mpsc::Sender<pb::WatchRequest>, Streaming<pb::WatchResponse>), Broken>;

/// A stream broke, and why: for good if the service refuses the watch.
enum Broken {
    ForNow,
    ForGood(String),
}

/// A stream, being opened or open.
enum Stream {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open {
        requests: mpsc::Sender<pb::WatchRequest>,
        responses: Box<Streaming<pb::WatchResponse>>,
    },
}

/// What came next.
enum Arrived {
    Opened,
    Response(pb::WatchResponse),
    Broken(Broken),
}

/// A watch. It is carried on by whoever awaits [`Watcher::next`]; what nobody reads waits at the
/// member.
pub struct Watcher {
    client: Client,
    request: pb::WatchCreateRequest,
    watch: Watch<Event>,
    stream: Option<(StreamId, Stream)>,
    /// When the watch ends if no member has said anything on it by then. None while one carries
    /// it, or if it may be without for ever.
    outage_ends: Option<Instant>,
    /// The header of the response that came last.
    header: Option<pb::ResponseHeader>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("request", &self.request)
            .field("next", &self.watch.next())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Watches a range. Of the request, `watch_id` means nothing: each watch has a stream of its
    /// own.
    #[must_use]
    pub fn watch(&self, request: pb::WatchCreateRequest) -> Watcher {
        // A start before the beginning is refused by the service; it shall.
        let start = u64::try_from(request.start_revision).ok();
        let start = start.filter(|start| *start > 0).map(Revision);
        Watcher {
            client: self.clone(),
            watch: Watch::new(start, self.0.config.watches),
            request: pb::WatchCreateRequest {
                watch_id: 0,
                fragment: true,
                ..request
            },
            stream: None,
            outage_ends: None,
            header: None,
        }
    }
}

impl Watcher {
    /// Waits for what comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchEnded`], then always; but after [`WatchEnded::Unreachable`] one may wait again.
    pub async fn next(&mut self) -> Result<Watched, WatchEnded> {
        loop {
            // What has come already counts before the clock does: whoever reads seldom is not
            // told that the stream was silent.
            let arrived = match self.arrived().now_or_never() {
                Some(arrived) => arrived,
                None => {
                    let now = world::now();
                    let step = self.watch.step(now, &mut self.client.session());
                    let until = match step {
                        WatchStep::Open {
                            stream,
                            endpoint,
                            start,
                        } => {
                            let opening = Stream::Opening(Box::pin(self.open(endpoint, start)));
                            self.stream = Some((stream, opening));
                            self.outage_begins(now);
                            continue;
                        }
                        WatchStep::AskProgress(_) => {
                            self.ask_progress();
                            continue;
                        }
                        WatchStep::Wait(until) => until,
                        WatchStep::End(end) => return Err(ended(end)),
                    };
                    let ends = self.outage_ends.unwrap_or(Instant::NEVER);
                    if now >= ends {
                        self.outage_ends = None;
                        return Err(WatchEnded::Unreachable);
                    }
                    match world::until(until.min(ends), self.arrived()).await {
                        Some(arrived) => arrived,
                        None => continue,
                    }
                }
            };
            if let Some(delivery) = self.take(arrived) {
                return match delivery {
                    Delivery::Created(_) => Ok(Watched::Created(self.header)),
                    Delivery::Events(events) => {
                        let events = events.into_iter().map(|(_, event)| event).collect();
                        Ok(Watched::Changes(self.header, events))
                    }
                    Delivery::Progress(_) => Ok(Watched::Progress(self.header)),
                    Delivery::End(end) => Err(ended(end)),
                };
            }
        }
    }

    /// The next thing the stream brings; nothing ever without one. Can be dropped and called
    /// again.
    async fn arrived(&mut self) -> Arrived {
        let Some((_, stream)) = &mut self.stream else {
            return std::future::pending().await;
        };
        match stream {
            Stream::Opening(opening) => match opening.await {
                Ok((requests, responses)) => {
                    *stream = Stream::Open {
                        requests,
                        responses: Box::new(responses),
                    };
                    Arrived::Opened
                }
                Err(broken) => Arrived::Broken(broken),
            },
            Stream::Open { responses, .. } => match responses.message().await {
                Ok(Some(response)) => Arrived::Response(response),
                Ok(None) => Arrived::Broken(Broken::ForNow),
                Err(status) => Arrived::Broken(broken(status)),
            },
        }
    }

    /// Hands over what came.
    fn take(&mut self, arrived: Arrived) -> Option<Delivery<Event>> {
        let id = self.stream.as_ref()?.0;
        let now = world::now();
        let message = match arrived {
            Arrived::Opened => return None,
            Arrived::Broken(Broken::ForNow) => {
                self.stream = None;
                self.outage_begins(now);
                self.watch.broken(now, id, &mut self.client.session());
                return None;
            }
            Arrived::Broken(Broken::ForGood(message)) => Message::Cancelled(message),
            Arrived::Response(response) => {
                self.outage_ends = None;
                self.header = response.header;
                message(response)
            }
        };
        let delivery = self
            .watch
            .take(now, id, message, &mut self.client.session());
        if let Some(Delivery::End(_)) = delivery {
            self.stream = None;
        }
        delivery
    }

    /// Opens a stream and creates the watch on it.
    fn open(
        &self,
        endpoint: Endpoint,
        start: Option<Revision>,
    ) -> impl Future<Output = Opened> + Send + use<> {
        let client = self.client.clone();
        let mut create = self.request.clone();
        if let Some(start) = start {
            create.start_revision = i64::try_from(start.0).unwrap_or(i64::MAX);
        }
        let until = world::now() + self.client.0.config.calls.attempt_patience;
        async move {
            let link = client.link(endpoint, until).await;
            let link = link.map_err(|_| Broken::ForNow)?;
            // One request creates the watch; at most one more waits, and asks for progress.
            let (requests, mut outgoing) = mpsc::channel(2);
            let create = request(RequestUnion::CreateRequest(create));
            requests.try_send(create).expect("a fresh channel has room");
            let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
            let opened = watches(link).watch(outgoing).await;
            let responses = opened.map_err(broken)?.into_inner();
            Ok((requests, responses))
        }
    }

    /// No member carries the watch from now on, if one did.
    fn outage_begins(&mut self, now: Instant) {
        let outage_max = self.client.0.config.watch_outage_max;
        self.outage_ends = self.outage_ends.or(outage_max.map(|max| now + max));
    }

    fn ask_progress(&self) {
        if let Some((_, Stream::Open { requests, .. })) = &self.stream {
            let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
            // If there is no room, an earlier request has not left yet: the stream hangs, and
            // the watch will find that out.
            drop(requests.try_send(request(progress)));
        }
    }
}

fn watches(link: Link) -> WatchClient<Link> {
    let origin = link.origin.clone();
    WatchClient::with_origin(link, origin).max_decoding_message_size(usize::MAX)
}

fn request(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(union),
    }
}

/// Whether a stream that ended like this can be opened again.
fn broken(status: Status) -> Broken {
    match outcome::judge::<()>(Err(status)) {
        Ended::Refused(Why::Status(_, message) | Why::Unreached(message)) => {
            Broken::ForGood(message)
        }
        Ended::Answered(()) | Ended::NotDone(_) | Ended::Lost(_) => Broken::ForNow,
    }
}

fn message(response: pb::WatchResponse) -> Message<Event> {
    let revision = |revision: i64| Revision(u64::try_from(revision).unwrap_or(0));
    let at = revision(response.header.map_or(0, |header| header.revision));
    if response.canceled {
        if response.compact_revision > 0 {
            return Message::Compacted(revision(response.compact_revision));
        }
        return Message::Cancelled(response.cancel_reason);
    }
    if response.created {
        return Message::Created(at);
    }
    if response.events.is_empty() {
        return Message::Progress(at);
    }
    let events = response.events.into_iter().map(|event| {
        let changed = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        (revision(changed), event)
    });
    Message::Events {
        events: events.collect(),
        fragment: response.fragment,
    }
}

fn ended(end: WatchEnd) -> WatchEnded {
    match end {
        WatchEnd::Compacted(Revision(revision)) => WatchEnded::Compacted {
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
        },
        WatchEnd::Cancelled(message) => WatchEnded::Refused { message },
    }
}
