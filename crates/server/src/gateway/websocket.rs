//! The gateway over a websocket, for pages in browsers, which cannot read an answer while they
//! still ask.
//!
//! As in etcd, any path of the gateway takes one: each message of the client is JSON as its body
//! would be, each line of the answer is a message. The connection is cut when the client leaves,
//! or is silent for as long as a connection of gRPC may be: it is asked for a sign of life as often.

use super::Answer;
use super::status::error_body;
use super::values::{Source, Values};
use crate::Server;
use crate::grpc::Body;
use crate::http::text_error;
use crate::methods::{Kind, Method};
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _, stream};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use synod_env::queue;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Messages of the client that wait to be read.
const MESSAGES_WAITING_MAX: usize = 1;

type Conversation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection goes on with when it is done with HTTP.
#[derive(Clone, Default)]
pub(crate) struct Afterwards(Arc<Mutex<Option<Conversation>>>);

impl Afterwards {
    fn set(&self, conversation: impl Future<Output = ()> + Send + 'static) {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(Box::pin(conversation));
    }

    /// Goes on, if there is anything to go on with.
    pub(crate) async fn go_on(self) {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(conversation) = next {
            conversation.await;
        }
    }
}

/// Whether a request asks for a websocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        let values = headers.get_all(name).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let mut words = texts.flat_map(|text| text.split(','));
        words.any(|found| found.trim().eq_ignore_ascii_case(word))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

impl Server {
    /// Agrees to a websocket, and leaves the conversation with `afterwards`.
    pub(super) fn upgrade(
        self: Arc<Self>,
        method: Method,
        mut request: Request<Incoming>,
        afterwards: &Afterwards,
    ) -> Response<Body> {
        let headers = request.headers();
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
            return text_error(StatusCode::BAD_REQUEST, "a websocket needs a key");
        };
        if version.is_none_or(|version| version != "13") {
            return text_error(
                StatusCode::BAD_REQUEST,
                "only version 13 of websockets is spoken",
            );
        }
        let accept = derive_accept_key(key.as_bytes());
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answers = response.headers_mut();
        answers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        answers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::try_from(accept).expect("base64 can stand in a header");
        answers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        // Pages have no other place for a token.
        let protocol = headers.get(SEC_WEBSOCKET_PROTOCOL);
        if protocol.is_some_and(|protocol| protocol.as_bytes().starts_with(b"Bearer")) {
            answers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("Bearer"));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        afterwards.set(self.converse(method, head.headers, upgrade));
        response
    }

    async fn converse(self: Arc<Self>, method: Method, headers: HeaderMap, upgrade: OnUpgrade) {
        let Ok(connection) = upgrade.await else {
            return;
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(self.value_bytes_max()))
            .max_frame_size(Some(self.value_bytes_max()))
            .write_buffer_size(0);
        let connection = TokioIo::new(connection);
        let socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        let (mut writer, reader) = socket.split();

        let (sender, mut receiver) = queue::bounded(MESSAGES_WAITING_MAX);
        let source: Source = Box::pin(stream::poll_fn(move |cx| {
            receiver.poll_receive(cx).map(|text| text.map(Ok))
        }));
        let values = Values::new(source, self.value_bytes_max());
        let lines = Arc::clone(&self).lines(method, headers, values);
        {
            let listening = pin!(self.listen(method.kind(), reader, sender));
            let speaking = pin!(self.speak(lines, &mut writer));
            if let Either::Right((Err(error), _)) = select(listening, speaking).await {
                tracing::debug!(%error, "a websocket broke off");
                return;
            }
        }
        let patience = self.node.now() + self.config.keep_alive_timeout;
        let closed = self.node.env().deadline(patience, writer.close()).await;
        if closed.is_err() {
            tracing::debug!("a websocket was not closed in time");
        }
    }

    /// Hands on what the client says, until it leaves or has been silent for too long.
    async fn listen(
        &self,
        kind: Kind,
        mut reader: impl Stream<Item = Result<Message, Error>> + Unpin,
        to: queue::Sender<Bytes>,
    ) {
        let silence_max = self.config.keep_alive_interval + self.config.keep_alive_timeout;
        loop {
            let silent_until = self.node.now() + silence_max;
            let message = self.node.env().deadline(silent_until, reader.next()).await;
            let mut text = match message {
                Ok(Some(Ok(Message::Text(text)))) => text.as_bytes().to_vec(),
                Ok(Some(Ok(Message::Binary(bytes)))) => bytes.to_vec(),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => continue,
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return,
            };
            // What stands in one message does not go on in the next.
            text.push(b'\n');
            match kind {
                Kind::BidiStream => {
                    if to.send(text.into()).await.is_err() {
                        return;
                    }
                }
                // Nobody listens after the first, but the client may leave.
                Kind::Unary | Kind::ServerStream => drop(to.try_send(text.into())),
            }
        }
    }

    /// Tells the client what there is to tell, and asks it for a sign of life now and then.
    async fn speak(
        &self,
        lines: impl Stream<Item = Bytes>,
        writer: &mut (impl Sink<Message, Error = Error> + Unpin),
    ) -> Result<(), Error> {
        let mut lines = pin!(lines);
        let interval = self.config.keep_alive_interval;
        let mut ask_at = self.node.now() + interval;
        loop {
            match self.node.env().deadline(ask_at, lines.next()).await {
                Ok(Some(line)) => {
                    let line = line.slice(..line.trim_ascii_end().len());
                    let text = Utf8Bytes::try_from(line).expect("JSON is text");
                    writer.send(Message::Text(text)).await?;
                }
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
            if self.node.now() >= ask_at {
                writer.send(Message::Ping(Bytes::new())).await?;
                ask_at = self.node.now() + interval;
            }
        }
    }

    /// The answer, line by line.
    fn lines(
        self: Arc<Self>,
        method: Method,
        headers: HeaderMap,
        values: Values,
    ) -> impl Stream<Item = Bytes> + Send {
        let answer = async move { self.ask(method, &headers, values).await };
        stream::once(answer).flat_map(|answer| {
            let (one, mut lines) = match answer {
                Answer::Message(json) => (Some(json), None),
                Answer::Refused(status) => (Some(error_body(&status)), None),
                Answer::Lines { lines, status: _ } => (None, Some(lines)),
            };
            let many = stream::poll_fn(move |cx| match &mut lines {
                Some(lines) => lines.poll_next(cx),
                None => std::task::Poll::Ready(None),
            });
            stream::iter(one).chain(many)
        })
    }
}
