//! gRPC framing over HTTP/2.
//!
//! A unary call is one message each way, so it is read and written here, without the buffers and
//! boxes of a stream: the request is decoded in place from the frame it came in, and the response
//! is one buffer of the exact size. Streams go through tonic.

use crate::gateway::{Lines, Requests};
use crate::metrics::{Counter, Metrics};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use prost::Message;
use std::error::Error;
use std::future::{Ready, poll_fn, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::codec::{Codec, EncodeBody, EncodeBuf, Encoder, Streaming};
use tonic::server::{Grpc, StreamingService};
use tonic_prost::ProstCodec;

/// Before each message: whether it is compressed (one byte) and its length (four, big endian).
pub(crate) const PREFIX_BYTES: usize = 5;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The body of a response.
#[derive(Debug, Default)]
pub(crate) struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    /// Nothing, or nothing more.
    #[default]
    Empty,
    /// One framed message, then the trailers of a success.
    Message(Bytes),
    /// The trailers of a success.
    Trailers,
    /// Plain HTTP.
    Plain(Bytes),
    /// As many messages as there will be, and where they are counted.
    Stream(tonic::body::Body, Arc<Metrics>),
    /// The same as lines of JSON.
    Lines(Box<Lines>),
}

impl Body {
    /// The body of a plain HTTP response.
    pub(crate) fn plain(text: impl Into<Bytes>) -> Self {
        Self(Kind::Plain(text.into()))
    }

    /// The body of a stream of the gateway.
    pub(crate) fn lines(lines: Lines) -> Self {
        Self(Kind::Lines(Box::new(lines)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Kind::Stream(stream, metrics) = &mut self.0 {
            let frame = Pin::new(stream).poll_frame(cx);
            if let Poll::Ready(Some(Ok(frame))) = &frame {
                metrics.sent_bytes.add(length(frame));
            }
            return frame;
        }
        if let Kind::Lines(lines) = &mut self.0 {
            return lines
                .poll_next(cx)
                .map(|line| line.map(|line| Ok(Frame::data(line))));
        }
        Poll::Ready(match std::mem::take(&mut self.0) {
            Kind::Message(message) => {
                self.0 = Kind::Trailers;
                Some(Ok(Frame::data(message)))
            }
            Kind::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            Kind::Plain(text) => Some(Ok(Frame::data(text))),
            Kind::Empty | Kind::Stream(..) | Kind::Lines(_) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Message(_) | Kind::Trailers | Kind::Lines(_) => false,
            Kind::Plain(text) => text.is_empty(),
            Kind::Stream(stream, _) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            // An exact size would become a content-length, which gRPC does not have.
            Kind::Message(_) | Kind::Trailers | Kind::Lines(_) => SizeHint::new(),
            Kind::Plain(text) => {
                SizeHint::with_exact(u64::try_from(text.len()).expect("a length fits"))
            }
            Kind::Stream(stream, _) => stream.size_hint(),
        }
    }
}

/// The body of a request.
pub(crate) enum Inbound {
    /// As the client sent it.
    Wire(Incoming),
    /// The same, and where it is counted.
    Counted(Incoming, Arc<Metrics>),
    /// Made from JSON.
    Json(Box<Requests>),
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Wire(body) => Pin::new(body).poll_frame(cx).map_err(Self::Error::from),
            Self::Counted(body, metrics) => {
                let frame = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &frame {
                    metrics.received_bytes.add(length(frame));
                }
                frame.map_err(Self::Error::from)
            }
            Self::Json(requests) => requests.poll_frame(cx).map_err(Self::Error::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(body) | Self::Counted(body, _) => body.is_end_stream(),
            Self::Json(requests) => requests.is_end(),
        }
    }
}

/// One message with its prefix.
#[derive(Debug)]
pub(crate) struct Framed(Bytes);

/// Bytes of messages in a frame.
fn length(frame: &Frame<Bytes>) -> u64 {
    let length = frame.data_ref().map_or(0, Bytes::len);
    u64::try_from(length).expect("a length fits")
}

/// Reads the one message of a unary request, and counts its bytes.
///
/// # Errors
/// If it is larger than `message_bytes_max`, compressed, cut short, or not the message that the
/// method takes.
pub(crate) async fn receive<M: Message + Default>(
    mut body: Inbound,
    message_bytes_max: usize,
    received: &Counter,
) -> Result<M, Status> {
    // Nearly always the whole request is in the first frame.
    let mut framed = next_data(&mut body).await?.unwrap_or_default();
    let mut length = message_length(&framed, message_bytes_max)?;
    if !body.is_end_stream() {
        let mut joined = BytesMut::new();
        while let Some(data) = next_data(&mut body).await? {
            if data.is_empty() {
                continue;
            }
            if joined.is_empty() {
                joined.extend_from_slice(&framed);
            }
            joined.extend_from_slice(&data);
            length = message_length(&joined, message_bytes_max)?;
            if length.is_some_and(|length| joined.len() > PREFIX_BYTES + length) {
                break;
            }
        }
        if !joined.is_empty() {
            framed = joined.freeze();
        }
    }
    if length.map(|length| PREFIX_BYTES + length) != Some(framed.len()) {
        return Err(Status::internal(
            "a unary request must hold exactly one message",
        ));
    }
    received.add(u64::try_from(framed.len()).expect("a length fits"));
    let message = framed.split_off(PREFIX_BYTES);
    M::decode(message)
        .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

/// The next bytes of a body; `None` at its end.
async fn next_data(body: &mut Inbound) -> Result<Option<Bytes>, Status> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(Status::cancelled(format!("the request broke off: {error}")));
            }
        }
    }
}

/// The length that a message's prefix states; `None` if the prefix is not complete.
pub(crate) fn message_length(framed: &[u8], bytes_max: usize) -> Result<Option<usize>, Status> {
    let Some((prefix, _)) = framed.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Status::unimplemented(
            "compressed requests are not understood",
        ));
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(Status::resource_exhausted(format!(
            "grpc: received message larger than max ({length} vs. {bytes_max})"
        )));
    }
    Ok(Some(length))
}

/// A message that is encoded already, as it stands on the wire.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a request is bounded far below 4 GiB");
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put(message);
    framed.freeze()
}

/// A message as it stands in the body of a response.
///
/// # Errors
/// If it is larger than gRPC can carry.
pub(crate) fn framed<M: Message>(message: &M) -> Result<Framed, Status> {
    let length = message.encoded_len();
    let Ok(length_on_wire) = u32::try_from(length) else {
        return Err(Status::resource_exhausted(format!(
            "the response has {length} bytes, which is more than gRPC can carry"
        )));
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_u32(length_on_wire);
    message
        .encode(&mut framed)
        .expect("the buffer has the message's length");
    Ok(Framed(framed.freeze()))
}

/// The response of a unary call that succeeded; its bytes are counted.
pub(crate) fn reply(Framed(message): Framed, sent: &Counter) -> Response<Body> {
    sent.add(u64::try_from(message.len()).expect("a length fits"));
    let mut response = Response::new(Body(Kind::Message(message)));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The response of a call that failed before it answered anything.
pub(crate) fn refuse(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    if let Err(unprintable) = status.add_header(headers) {
        headers.insert(Status::GRPC_STATUS, i32::from(unprintable.code()).into());
    }
    response
}

/// A response that can be written into a frame.
pub(crate) trait Written: Send + 'static {
    /// Writes it.
    fn write(self, buffer: &mut EncodeBuf<'_>);
}

impl<M: Message + 'static> Written for M {
    fn write(self, buffer: &mut EncodeBuf<'_>) {
        self.encode(buffer).expect("the buffer grows as it must");
    }
}

/// Reads messages `Q` and writes responses `R`.
struct Framing<Q, R>(PhantomData<fn(Q) -> R>);

/// Writes responses `R`.
struct Writing<R>(PhantomData<fn(R)>);

impl<Q, R> Codec for Framing<Q, R>
where
    Q: Message + Default + Send + 'static,
    R: Written,
{
    type Encode = R;
    type Decode = Q;
    type Encoder = Writing<R>;
    type Decoder = <ProstCodec<Q, Q> as Codec>::Decoder;

    fn encoder(&mut self) -> Writing<R> {
        Writing(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Q, Q>::default().decoder()
    }
}

impl<R: Written> Encoder for Writing<R> {
    type Item = R;
    type Error = Status;

    fn encode(&mut self, response: R, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        response.write(buffer);
        Ok(())
    }
}

/// Answers a stream of requests with the stream that `open` makes of it.
pub(crate) async fn stream<Q, R, S>(
    request: Request<Inbound>,
    message_bytes_max: usize,
    metrics: &Arc<Metrics>,
    open: impl FnOnce(Streaming<Q>) -> S + Send,
) -> Response<Body>
where
    Q: Message + Default + Send + 'static,
    R: Written,
    S: futures_util::Stream<Item = Result<R, Status>> + Send + 'static,
{
    let request = request.map(|body| match body {
        Inbound::Wire(body) => Inbound::Counted(body, Arc::clone(metrics)),
        counted @ (Inbound::Counted(..) | Inbound::Json(_)) => counted,
    });
    Grpc::new(Framing(PhantomData))
        .max_decoding_message_size(message_bytes_max)
        .streaming(Opening(Some(open)), request)
        .await
        .map(|body| Body(Kind::Stream(body, Arc::clone(metrics))))
}

/// Answers one request with a stream.
pub(crate) fn respond_stream<R, S>(responses: S, metrics: Arc<Metrics>) -> Response<Body>
where
    R: Message + Default + Send + 'static,
    S: futures_util::Stream<Item = Result<R, Status>> + Send + 'static,
{
    let encoder = ProstCodec::<R, R>::default().encoder();
    let body = EncodeBody::new_server(encoder, responses, None, Default::default(), None);
    let mut response = Response::new(Body(Kind::Stream(tonic::body::Body::new(body), metrics)));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// Makes the stream of responses, once.
struct Opening<F>(Option<F>);

impl<Q, R, S, F> StreamingService<Q> for Opening<F>
where
    F: FnOnce(Streaming<Q>) -> S,
    S: futures_util::Stream<Item = Result<R, Status>>,
{
    type Response = R;
    type ResponseStream = S;
    type Future = Ready<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Q>>) -> Self::Future {
        let open = self.0.take().expect("a request is answered once");
        ready(Ok(tonic::Response::new(open(request.into_inner()))))
    }
}

/// How long the client says that it waits (`grpc-timeout`): at most eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
