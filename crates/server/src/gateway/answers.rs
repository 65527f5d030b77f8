//! The response of a gRPC call as JSON: one message, or a line for each.

use super::json;
use super::status::error_line;
use crate::grpc::{Body, PREFIX_BYTES};
use bytes::{Buf as _, Bytes, BytesMut};
use http::Response;
use http_body::Body as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};

/// What a gRPC response says next.
pub(crate) enum Said {
    Message(Bytes),
    /// It is over, and well if there is no status.
    End(Option<Status>),
}

/// The messages of a gRPC response.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Body,
    /// The status, if it stands at the head: then there is no message.
    refused: Option<Status>,
    buffer: BytesMut,
}

impl Messages {
    pub(crate) fn new(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            body,
            refused: failure(&head.headers),
            buffer: BytesMut::new(),
        }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        if let Some(status) = self.refused.take() {
            return Poll::Ready(Said::End(Some(status)));
        }
        loop {
            if let Some(message) = self.cut() {
                return Poll::Ready(Said::Message(message));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(Said::End(Some(status))),
                None => return Poll::Ready(Said::End(None)),
            };
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(Said::End(failure(&trailers)));
                }
            }
        }
    }

    fn cut(&mut self) -> Option<Bytes> {
        let [_, length @ ..] = *self.buffer.first_chunk::<PREFIX_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(length)).expect("a length fits");
        if self.buffer.len() < PREFIX_BYTES + length {
            return None;
        }
        self.buffer.advance(PREFIX_BYTES);
        Some(self.buffer.split_to(length).freeze())
    }
}

/// The status that headers or trailers tell of, unless it is a success.
fn failure(headers: &http::HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

/// Messages as lines of JSON, one at a time: the next is made when this one has been taken.
#[derive(Debug)]
pub(crate) struct Lines {
    messages: Messages,
    descriptor: MessageDescriptor,
    next: Option<Bytes>,
    over: bool,
}

impl Lines {
    /// The lines, beginning with `first`, which has been taken from `messages`.
    pub(crate) fn new(first: &Bytes, messages: Messages, descriptor: MessageDescriptor) -> Self {
        Self {
            next: Some(line(&descriptor, first)),
            messages,
            descriptor,
            over: false,
        }
    }

    /// No message at all, and at the end what went wrong, if anything did.
    pub(crate) fn ended(end: Option<&Status>, descriptor: MessageDescriptor) -> Self {
        Self {
            messages: Messages::new(Response::new(Body::default())),
            descriptor,
            next: end.map(error_line),
            over: true,
        }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.messages.poll_next(cx)) {
            Said::Message(message) => Some(line(&self.descriptor, &message)),
            Said::End(status) => {
                self.over = true;
                status.map(|status| error_line(&status))
            }
        })
    }
}

fn line(descriptor: &MessageDescriptor, message: &Bytes) -> Bytes {
    let mut line = b"{\"result\":".to_vec();
    json::write(&decode(descriptor, message), &mut line);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// A message that this member has just made.
pub(crate) fn decode(descriptor: &MessageDescriptor, message: &Bytes) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), message.clone())
        .expect("a message that was encoded here can be decoded here")
}
