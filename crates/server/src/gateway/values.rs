//! JSON values from bytes as they come in, one after the other, and the messages they stand for.

use super::json;
use crate::grpc;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::Stream;
use http_body::Frame;
use prost_reflect::MessageDescriptor;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// Where the bytes come from. It ends when the client is done.
pub(crate) type Source = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// The client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenOff;

/// The client's JSON is longer than what any request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Why there is no next value, and will be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    TooLong,
    BrokenOff,
}

/// The JSON values that a client sends.
pub(crate) struct Values {
    source: Option<Source>,
    cutter: Cutter,
}

impl Values {
    /// Values of at most `bytes_max` bytes each.
    pub(crate) fn new(source: Source, bytes_max: usize) -> Self {
        Self {
            source: Some(source),
            cutter: Cutter::new(bytes_max),
        }
    }

    /// The next value; the last one may be cut short.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, NoValue>>> {
        loop {
            match self.cutter.cut() {
                Ok(None) => {}
                Ok(Some(value)) => return Poll::Ready(Some(Ok(value))),
                Err(TooLong) => return Poll::Ready(Some(Err(NoValue::TooLong))),
            }
            let Some(source) = &mut self.source else {
                return Poll::Ready(self.cutter.rest().map(Ok));
            };
            match ready!(source.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => self.cutter.push(&bytes),
                Some(Err(BrokenOff)) => return Poll::Ready(Some(Err(NoValue::BrokenOff))),
                None => self.source = None,
            }
        }
    }
}

/// Cuts bytes into JSON values without understanding them.
#[derive(Debug)]
pub(crate) struct Cutter {
    bytes_max: usize,
    buffer: BytesMut,
    /// So much of the buffer has been looked at and holds no end of a value.
    seen: usize,
    /// Objects and arrays that are open there.
    depth: usize,
    in_text: bool,
    after_backslash: bool,
}

impl Cutter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            buffer: BytesMut::new(),
            seen: 0,
            depth: 0,
            in_text: false,
            after_backslash: false,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next value that is whole: an object or an array with its last bracket, a text with its
    /// last quote, anything else with the space behind it.
    pub(crate) fn cut(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.seen == 0 {
            let space = self.buffer.iter().take_while(|byte| is_space(**byte));
            let space = space.count();
            self.buffer.advance(space);
        }
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            self.seen += 1;
            if self.ends_with(byte) {
                return Ok(Some(self.take(self.seen)));
            }
        }
        if self.buffer.len() > self.bytes_max {
            return Err(TooLong);
        }
        Ok(None)
    }

    /// Whether a value ends with this byte.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return !self.in_text && self.depth == 0;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            byte => return self.depth == 0 && is_space(byte),
        }
        false
    }

    /// What is left when no more comes.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        let length = self.buffer.len();
        (length > 0).then(|| self.take(length))
    }

    fn take(&mut self, length: usize) -> Bytes {
        let value = self.buffer.split_to(length).freeze();
        *self = Self {
            buffer: std::mem::take(&mut self.buffer),
            ..Self::new(self.bytes_max)
        };
        value
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The body of a gRPC request, made from JSON.
pub(crate) struct Requests {
    /// Framed.
    first: Option<Bytes>,
    rest: Option<Values>,
    descriptor: MessageDescriptor,
}

impl Requests {
    /// One message, and then as many as there will be.
    pub(crate) fn new(
        first: Option<Bytes>,
        rest: Option<Values>,
        descriptor: MessageDescriptor,
    ) -> Self {
        Self {
            first: first.map(|message| grpc::frame(&message)),
            rest,
            descriptor,
        }
    }

    /// # Errors
    /// When the client has gone in the midst of it: nobody waits for responses any more.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        // As in etcd, a value that is none ends the requests, and the responses go on.
        let message = match ready!(rest.poll_next(cx)) {
            Some(Ok(value)) => json::read(&self.descriptor, &value).ok(),
            Some(Err(NoValue::BrokenOff)) => {
                self.rest = None;
                // Not `cancelled`: tonic takes that for the end of the requests.
                return Poll::Ready(Some(Err(Status::aborted("the client is gone"))));
            }
            Some(Err(NoValue::TooLong)) | None => None,
        };
        Poll::Ready(match message {
            Some(message) => {
                let encoded = prost::Message::encode_to_vec(&message);
                Some(Ok(Frame::data(grpc::frame(&encoded))))
            }
            None => {
                self.rest = None;
                None
            }
        })
    }

    pub(crate) fn is_end(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }
}

#[cfg(test)]
mod tests;
