//! The JSON gateway: the calls of gRPC over HTTP/1.1, under `/v3/`.
//!
//! A call that comes in JSON is put into the form of a gRPC request and goes the way of all the
//! others; its response is put into JSON. So there is no second way to do anything, and what is
//! counted of gRPC calls includes these. As in etcd:
//!
//! - a path takes one object, a path that streams takes as many as are sent, one after the other;
//! - a stream is answered with a line for each message, `{"result":…}`, and `{"error":…}` at the
//!   end if it does not end well;
//! - `Grpc-Timeout`, `Authorization` and headers that begin with `Grpc-Metadata-` become metadata.
//!
//! Any path can be had as a websocket too (`websocket`).
//!
//! What waits for a client that does not read is what gRPC would let wait, and one line.

mod answers;
pub(crate) mod json;
mod paths;
mod status;
pub(crate) mod values;
mod websocket;

pub(crate) use answers::Lines;
pub(crate) use paths::is_inside;
pub(crate) use values::Requests;
pub(crate) use websocket::Afterwards;

use crate::Server;
use crate::call::Call;
use crate::grpc::{Body, Inbound};
use crate::http::{JSON, respond, text_error};
use crate::methods::{Kind, Method};
use crate::schema;
use crate::stop::End;
use answers::{Messages, Said, decode};
use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use status::{error_body, http_status};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use synod_env::world::DeadlinePassed;
use synod_node::Failure;
use tonic::{Code, Status};
use values::{BrokenOff, NoValue, Source, Values};

/// Tells that gRPC is behind it, as etcd's gateway does.
const METADATA_CONTENT_TYPE: HeaderName = HeaderName::from_static("grpc-metadata-content-type");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Headers that begin with this become metadata.
const METADATA_PREFIX: &str = "grpc-metadata-";

/// JSON may be this much longer than the message it stands for.
const EXPANSION: usize = 2;

/// What a call in JSON is answered with.
enum Answer {
    /// One object.
    Message(Bytes),
    /// Nothing but that it failed.
    Refused(Status),
    /// A line for each message, under this status of HTTP.
    Lines { lines: Lines, status: StatusCode },
}

impl Server {
    /// Answers a request whose path lies in the gateway.
    pub(crate) async fn gateway(
        self: Arc<Self>,
        request: Request<Incoming>,
        afterwards: &Afterwards,
    ) -> Response<Body> {
        let Some(method) = paths::method(request.uri().path()) else {
            return text_error(StatusCode::NOT_FOUND, "Not Found");
        };
        if websocket::is_wanted(request.headers()) {
            return self.upgrade(method, request, afterwards);
        }
        if request.method() != http::Method::POST {
            return text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        let (head, body) = request.into_parts();
        let values = Values::new(source(body), self.value_bytes_max());
        let mut response = match self.ask(method, &head.headers, values).await {
            Answer::Message(json) => respond(StatusCode::OK, JSON, json),
            Answer::Lines { lines, status } => {
                let mut response = Response::new(Body::lines(lines));
                *response.status_mut() = status;
                response
            }
            Answer::Refused(status) => return refuse(&status),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(METADATA_CONTENT_TYPE, GRPC);
        response
    }

    /// Calls a method with what the client says in JSON, and awaits the beginning of the answer.
    async fn ask(self: Arc<Self>, method: Method, headers: &HeaderMap, values: Values) -> Answer {
        let (_, output) = schema::messages(method);
        let mut messages = match self.exchange(method, headers, values).await {
            Ok(response) => Messages::new(response),
            Err(status) => return Answer::Refused(status),
        };
        let first = poll_fn(|cx| messages.poll_next(cx)).await;
        match (method.kind(), first) {
            (Kind::Unary, Said::Message(message)) => {
                let mut json = Vec::new();
                json::write(&decode(&output, &message), &mut json);
                Answer::Message(json.into())
            }
            (Kind::Unary, Said::End(status)) => {
                Answer::Refused(status.expect("a call that succeeds has a message"))
            }
            (Kind::ServerStream | Kind::BidiStream, Said::Message(message)) => Answer::Lines {
                lines: Lines::new(&message, messages, output),
                status: StatusCode::OK,
            },
            (Kind::ServerStream | Kind::BidiStream, Said::End(end)) => Answer::Lines {
                lines: Lines::ended(end.as_ref(), output),
                status: http_status(end.map_or(Code::Ok, |status| status.code())),
            },
        }
    }

    /// Makes the gRPC call of what the client says in JSON.
    ///
    /// # Errors
    /// When what it says first is not what the method takes, or it says nothing until the server
    /// stops.
    async fn exchange(
        self: Arc<Self>,
        method: Method,
        headers: &HeaderMap,
        mut values: Values,
    ) -> Result<Response<Body>, Status> {
        let (input, _) = schema::messages(method);
        let headers = metadata(headers);
        let call = Call::new(self.node.now(), &headers, self.timeout_max());
        let first = poll_fn(|cx| values.poll_next(cx));
        let requests = match method.kind() {
            Kind::Unary | Kind::ServerStream => {
                let read = self.node.env().deadline(call.deadline, first).await;
                let value = read.map_err(|DeadlinePassed| call.status(&Failure::TimedOut))?;
                let message = self.message(value, &input, Code::InvalidArgument)?;
                // Nothing at all is a message too, of which every field is zero.
                let message = message.unwrap_or_else(|| DynamicMessage::new(input.clone()));
                Requests::new(Some(message.encode_to_vec().into()), None, input)
            }
            // A stream may be as quiet as its client likes, in gRPC too.
            Kind::BidiStream => {
                let value = End::new(&self, &call).or(first).await?;
                let message = self.message(value, &input, Code::Unknown)?;
                let message = message.map(|message| Bytes::from(message.encode_to_vec()));
                Requests::new(message, Some(values), input)
            }
        };
        let mut request = Request::new(Inbound::Json(Box::new(requests)));
        *request.headers_mut() = headers;
        Ok(self.call(method, request, None).await)
    }

    /// The message that a value stands for.
    fn message(
        &self,
        value: Option<Result<Bytes, NoValue>>,
        input: &MessageDescriptor,
        misread: Code,
    ) -> Result<Option<DynamicMessage>, Status> {
        match value {
            None => Ok(None),
            Some(Ok(value)) => {
                let message = json::read(input, &value);
                message.map(Some).map_err(|why| Status::new(misread, why))
            }
            Some(Err(NoValue::BrokenOff)) => Err(Status::cancelled("the request broke off")),
            Some(Err(NoValue::TooLong)) => Err(Status::resource_exhausted(format!(
                "the request has more than {} bytes of JSON",
                self.value_bytes_max()
            ))),
        }
    }

    /// The longest JSON that is read at all.
    fn value_bytes_max(&self) -> usize {
        EXPANSION * self.message_bytes_max()
    }
}

/// The bytes of a request's body.
fn source(body: Incoming) -> Source {
    Box::pin(stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await?;
            let Ok(frame) = frame else {
                return Some((Err(BrokenOff), None));
            };
            if let Ok(data) = frame.into_data() {
                return Some((Ok(data), Some(body)));
            }
        }
    }))
}

/// The headers of the gRPC request.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        let stripped = name.as_str().strip_prefix(METADATA_PREFIX);
        let stripped = stripped.and_then(|name| name.parse::<HeaderName>().ok());
        if let Some(name) = stripped {
            metadata.append(name, value.clone());
        } else if *name == AUTHORIZATION || name == "grpc-timeout" {
            metadata.insert(name, value.clone());
        }
    }
    metadata
}

/// The response to a call that failed before it said anything.
fn refuse(status: &Status) -> Response<Body> {
    let mut response = respond(http_status(status.code()), JSON, error_body(status));
    if let Some(outcome) = status.metadata().get(crate::OUTCOME) {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{}", crate::OUTCOME));
        let name = name.expect("the prefix and the name are those of headers");
        let outcome = HeaderValue::from_bytes(outcome.as_bytes());
        let outcome = outcome.expect("what one header says, another can");
        response.headers_mut().insert(name, outcome);
    }
    response
}
