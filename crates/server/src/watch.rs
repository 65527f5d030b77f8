//! The service `etcdserverpb.Watch`: one stream of requests, one of responses, no task.
//!
//! The response stream does everything when it is polled: it takes a request, if one is there,
//! then the next message of the member's watch stream. It takes at most one request for each
//! response, so a client that does not read is not listened to either, and what waits for it stays
//! bounded.
//!
//! What many watchers are told alike is turned into bytes once, by the first stream that comes to
//! it ([`Told::encoded`](synod_node::Told::encoded)); for each of them only what differs is written before it.

use crate::bell::Bell;
use crate::errors;
use crate::grpc::Written;
use crate::metrics::Handling;
use crate::stop::End;
use crate::{Server, translate};
use bytes::{BufMut, Bytes};
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::watch_request::RequestUnion;
use synod_node::watch::{CancelReason, NO_WATCH};
use synod_node::{WatchEvent, WatchMessage, WatchStream};
use synod_state::command::Revision;
use tonic::codec::{EncodeBuf, Streaming};
use tonic::{Code, Status};

/// Requests taken in one poll that nothing is to be answered to, before others get their turn.
const REQUESTS_PER_POLL: usize = 64;

/// The responses to one stream of requests.
pub(crate) struct Responses {
    server: Arc<Server>,
    /// `None` once the client has closed its side. What it watches goes on.
    requests: Option<Streaming<pb::WatchRequest>>,
    stream: WatchStream,
    end: End,
    handling: Handling,
    over: bool,
    /// Wakes the task that polls, and that task's own waker.
    rope: Option<(Waker, Waker)>,
    bell: Option<Arc<Bell>>,
}

impl Responses {
    pub(crate) fn new(
        server: Arc<Server>,
        requests: Streaming<pb::WatchRequest>,
        stream: WatchStream,
        end: End,
        handling: Handling,
        bell: Option<Arc<Bell>>,
    ) -> Self {
        Self {
            server,
            requests: Some(requests),
            stream,
            end,
            handling,
            over: false,
            rope: None,
            bell,
        }
    }

    /// Takes the next request, if one is there. True if one was.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        let Some(requests) = &mut self.requests else {
            return Ok(false);
        };
        let request = match requests.poll_next_unpin(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Some(request)) => request?,
            Poll::Ready(None) => {
                self.requests = None;
                return Ok(false);
            }
        };
        let requester = self.stream.requester();
        let pb::WatchRequest { request_union } = request;
        match request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                requester.create(&translate::watch_create(create));
            }
            Some(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })) => {
                requester.cancel(watch_id);
            }
            Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})) => {
                requester.progress();
            }
            // As in etcd, a request without content, or of a kind to come, is passed over.
            None => {}
        }
        Ok(true)
    }

    /// The waker by which the member wakes the task that polls.
    fn rope(&mut self, cx: &Context<'_>) -> Waker {
        let Some(bell) = &self.bell else {
            return cx.waker().clone();
        };
        match &self.rope {
            Some((rope, task)) if task.will_wake(cx.waker()) => rope.clone(),
            Some(_) | None => {
                let rope = bell.rope(cx.waker());
                self.rope = Some((rope.clone(), cx.waker().clone()));
                rope
            }
        }
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchResponse, Status>>> {
        // What came together goes together: requests have their turn before the next lot.
        if let Some(message) = self.stream.pop() {
            return Poll::Ready(Some(Ok(response(&self.server, message))));
        }
        let rope = self.rope(cx);
        for _ in 0..REQUESTS_PER_POLL {
            let requested = match self.poll_request(cx) {
                Ok(requested) => requested,
                Err(status) => return Poll::Ready(Some(Err(status))),
            };
            match self.stream.poll_next(&mut Context::from_waker(&rope)) {
                Poll::Ready(Some(message)) => {
                    return Poll::Ready(Some(Ok(response(&self.server, message))));
                }
                // The member stops.
                Poll::Ready(None) => return Poll::Ready(Some(Err(errors::STOPPED.into()))),
                Poll::Pending => {}
            }
            if !requested {
                return self.end.poll(cx).map(|error| Some(Err(error.into())));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for Responses {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.poll_response(cx));
        match &next {
            Some(Ok(_)) => {}
            Some(Err(status)) => {
                self.over = true;
                self.handling.end(status.code());
            }
            None => {
                self.over = true;
                self.handling.end(Code::Ok);
            }
        }
        Poll::Ready(next)
    }
}

/// A response, with its events as bytes.
#[derive(Debug)]
pub(crate) struct WatchResponse {
    /// All but the events.
    envelope: pb::WatchResponse,
    /// The events as a message without anything else has them.
    events: Bytes,
}

impl Written for WatchResponse {
    fn write(self, buffer: &mut EncodeBuf<'_>) {
        // The events are the last field, so one after the other is the message that holds both.
        self.envelope.write(buffer);
        buffer.put_slice(&self.events);
    }
}

fn response(server: &Server, message: WatchMessage) -> WatchResponse {
    let told = |watch_id: i64, revision: Revision| pb::WatchResponse {
        header: Some(server.header(revision)),
        watch_id,
        ..pb::WatchResponse::default()
    };
    let (envelope, events) = match message {
        WatchMessage::Created { watch_id, revision } => {
            let created = pb::WatchResponse {
                created: true,
                ..told(watch_id, revision)
            };
            (created, Bytes::new())
        }
        WatchMessage::Canceled {
            watch_id,
            reason,
            revision,
        } => {
            let (compact_revision, cancel_reason) = cancellation(reason);
            // As in etcd, who is sent away because of a compaction is not told how far the store is.
            let revision = if compact_revision == 0 { revision } else { 0 };
            let canceled = pb::WatchResponse {
                // A creation that was refused is answered as created and canceled in one.
                created: watch_id == NO_WATCH,
                canceled: true,
                compact_revision,
                cancel_reason: cancel_reason.to_owned(),
                ..told(watch_id, revision)
            };
            (canceled, Bytes::new())
        }
        WatchMessage::Events {
            watch_id,
            revision,
            events,
            fragment,
        } => {
            let envelope = pb::WatchResponse {
                fragment,
                ..told(watch_id, revision)
            };
            (envelope, events.encoded(encode))
        }
        WatchMessage::Progress { watch_id, revision } => (told(watch_id, revision), Bytes::new()),
    };
    WatchResponse { envelope, events }
}

/// Events as a message without anything else has them.
fn encode(events: &[WatchEvent]) -> Bytes {
    let message = pb::WatchResponse {
        events: events.iter().cloned().map(translate::watch_event).collect(),
        ..pb::WatchResponse::default()
    };
    message.encode_to_vec().into()
}

/// The compact revision and the reason that a client is told.
fn cancellation(reason: CancelReason) -> (Revision, &'static str) {
    match reason {
        CancelReason::EmptyRange => (0, errors::watch::EMPTY_RANGE),
        CancelReason::DuplicateId => (0, errors::watch::DUPLICATE_ID),
        // Clients know this one by the number and expect no words.
        CancelReason::Compacted(revision) => (revision, ""),
        CancelReason::InvalidRevision => (0, errors::watch::NEGATIVE_REVISION),
        CancelReason::TooMany => (0, errors::watch::TOO_MANY),
        CancelReason::ByClient => (0, ""),
    }
}
