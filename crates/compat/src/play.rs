//! One case against one endpoint.
//!
//! A request is a method with its fields, `Put key=a value=1`; the answer is its message, or the
//! gRPC code and text. Words that begin with `@` are metadata (`@hasleader=true`), words that begin
//! with `%` say how the answer is shown: `%unordered=keys` where the server may choose the order,
//! `%only=leader,errors` where the rest differs from run to run. Beside these:
//!
//! - `times N …`: the request N times, with its number for each `#`; the last answer counts;
//! - `open S Watch`: opens a stream under the name S; `watch S …` does so too, if it is not open;
//! - `send S …`: sends a message on it; `watch S …`, `cancel S …` and `progress S` send the three
//!   requests of a watch;
//! - `receive S`, `receive S N`: waits for the next messages, or for the end; `unordered` sorts
//!   them;
//! - `close S`: closes our side;
//! - `raw PATH HEX`: calls a path with any bytes;
//! - `http METHOD PATH … BODY`: asks over HTTP/1.1. Before the body, which is the rest of the line,
//!   `@` and `%only=` mean the same as above, and `%lines=2` hangs up after two lines. `$1` in the
//!   body stands for the lease of this name.

use crate::answer::{Manner, Names};
use crate::file::Case;
use crate::schema::{Schema, path_of};
use crate::{Outcome, http, json, request, tokens};
use ::http::uri::PathAndQuery;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage as _};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// An answer that has not come by then does not come: etcd itself gives up after seven seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Messages of one stream that wait to be received.
const MESSAGES_MAX: usize = 4096;

/// Plays a case and returns the answer to each of its steps.
///
/// # Errors
/// When a step cannot be understood, or nothing answers in time.
pub async fn play(schema: &Schema, endpoint: &str, case: &Case) -> Outcome<Vec<Vec<String>>> {
    let uri = Endpoint::from_shared(format!("http://{endpoint}"));
    let channel = uri.map_err(|error| error.to_string())?.connect_lazy();
    let mut stage = Stage {
        schema,
        endpoint,
        channel,
        names: Names::default(),
        streams: BTreeMap::new(),
    };
    let mut answers = Vec::new();
    for step in case.steps() {
        let answer = stage.step(&step.request).await;
        answers.push(answer.map_err(|why| format!("line {}: {why}", step.line))?);
    }
    Ok(answers)
}

struct Stage<'a> {
    schema: &'a Schema,
    endpoint: &'a str,
    channel: Channel,
    names: Names,
    streams: BTreeMap<String, Conversation>,
}

/// A stream in both directions.
struct Conversation {
    method: MethodDescriptor,
    manner: Manner,
    /// `None` once our side is closed.
    requests: Option<mpsc::Sender<Bytes>>,
    responses: mpsc::Receiver<Result<Bytes, Status>>,
}

/// The words of a request by what they are for.
struct Words<'a> {
    fields: Vec<&'a str>,
    metadata: Vec<(&'a str, &'a str)>,
    manner: Manner,
}

impl Stage<'_> {
    async fn step(&mut self, line: &str) -> Outcome<Vec<String>> {
        if let Some(line) = line.strip_prefix("http ") {
            return self.ask_http(line).await;
        }
        let words = tokens::split(line)?;
        let (verb, rest) = words.split_first().ok_or("a step says something")?;
        match (*verb, rest) {
            ("times", [count, _, ..]) => {
                let count: usize = count.parse().map_err(|_| "times wants a number")?;
                let width = count.to_string().len();
                let repeated = line.splitn(3, ' ').nth(2).unwrap_or_default();
                let mut last = Vec::new();
                for number in 1..=count {
                    let line = repeated.replace('#', &format!("{number:0width$}"));
                    last = Box::pin(self.step(&line)).await?;
                }
                Ok(last)
            }
            ("raw", [path, body]) => {
                let body = hex(body)?;
                let (messages, status) = self.call(path, body, &[]).await?;
                let mut lines = vec![format!("{} messages", messages.len())];
                if let Some(status) = status {
                    lines = vec![said(&status)];
                }
                Ok(lines)
            }
            ("open", [name, method, words @ ..]) => {
                self.open(name, method, words)?;
                Ok(Vec::new())
            }
            ("watch", [name, words @ ..]) => {
                if !self.streams.contains_key(*name) {
                    let is_metadata = |word: &&str| word.starts_with(['@', '%']);
                    let head: Vec<&str> = words.iter().copied().filter(is_metadata).collect();
                    self.open(name, "Watch/Watch", &head)?;
                }
                self.send_union(name, "create_request", words).await
            }
            ("cancel", [name, words @ ..]) => self.send_union(name, "cancel_request", words).await,
            ("progress", [name]) => self.send_union(name, "progress_request", &[]).await,
            ("send", [name, words @ ..]) => self.send(name, words).await,
            ("receive", [name, words @ ..]) => self.receive(name, words).await,
            ("close", [name]) => {
                self.stream(name)?.requests = None;
                Ok(Vec::new())
            }
            (method, words) => self.ask(method, words).await,
        }
    }

    /// A request with one message; one answer, or a stream of them.
    async fn ask(&mut self, method: &str, words: &[&str]) -> Outcome<Vec<String>> {
        let method = self.schema.method(method)?;
        let Words {
            fields,
            metadata,
            manner,
        } = sort(words)?;
        let message = request::message(&method.input(), &fields, &self.names)?;
        let body = message.encode_to_vec().into();
        let (messages, status) = self.call(&path_of(&method), body, &metadata).await?;
        let mut lines = Vec::new();
        for bytes in messages {
            let answer = decode(&method.output(), bytes)?;
            self.bind(&message, &answer);
            lines.extend(self.names.lines(&answer, &manner));
        }
        match status {
            Some(status) => lines.push(said(&status)),
            None if method.is_server_streaming() => lines.push("end: Ok".into()),
            None => {}
        }
        Ok(lines)
    }

    /// A request over HTTP/1.1.
    async fn ask_http(&mut self, line: &str) -> Outcome<Vec<String>> {
        let (method, mut rest) = line.split_once(' ').ok_or("say METHOD PATH")?;
        let (mut path, mut only) = ("", Vec::new());
        let mut request = http::Request {
            method,
            ..http::Request::default()
        };
        loop {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            if path.is_empty() {
                path = word;
            } else if let Some(header) = word.strip_prefix('@') {
                let pair = header.split_once('=').ok_or("a header is @name=value")?;
                request.headers.push(pair);
            } else if let Some(names) = word.strip_prefix("%only=") {
                only = names.split(',').map(str::to_owned).collect();
            } else if let Some(count) = word.strip_prefix("%lines=") {
                let count = count.parse().map_err(|_| "%lines wants a number")?;
                request.lines = Some(count);
            } else {
                break;
            }
            rest = after;
        }
        request.path = path;
        request.body = self.names.number_leases(rest);
        let answer = http::exchange(self.endpoint, &request, ANSWER_WITHIN).await?;
        let asks_for_any = !rest.contains("\"ID\"");
        if path.ends_with("/lease/grant") && asks_for_any {
            let granted: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
            let id = granted
                .ok()
                .and_then(|it| it.get("ID")?.as_str()?.parse().ok());
            id.into_iter().for_each(|id| self.names.bind_lease(id));
        }
        json::lines(&answer, &only, &mut self.names)
    }

    /// A lease whose id the server chose gets a name: one that was asked for, or one that a lock
    /// or a candidate had to have, which stands in the name of its key.
    fn bind(&mut self, asked: &DynamicMessage, answer: &DynamicMessage) {
        let number = |message: &DynamicMessage, name| {
            let id = message.get_field_by_name(name).and_then(|id| id.as_i64());
            id.unwrap_or(0).cast_unsigned()
        };
        let (asked_id, chosen) = match asked.descriptor().name() {
            "LeaseGrantRequest" => (number(asked, "ID"), Some(number(answer, "ID"))),
            "LockRequest" => (number(asked, "lease"), lease_of_key(answer)),
            "CampaignRequest" => {
                let leader = answer.get_field_by_name("leader");
                let leader = leader.as_deref().and_then(|leader| leader.as_message());
                (number(asked, "lease"), leader.and_then(lease_of_key))
            }
            _ => return,
        };
        if let (0, Some(chosen @ 1..)) = (asked_id, chosen) {
            self.names.bind_lease(chosen);
        }
    }

    /// The messages of an answer, and its status unless that is Ok.
    async fn call(
        &self,
        path: &str,
        body: Bytes,
        metadata: &[(&str, &str)],
    ) -> Outcome<(Vec<Bytes>, Option<Status>)> {
        let path = path_and_query(path)?;
        let mut grpc = self.client();
        let mut request = Request::new(body);
        add_metadata(&mut request, metadata)?;
        let called = within(ANSWER_WITHIN, async move {
            if let Err(error) = grpc.ready().await {
                return (Vec::new(), Some(Status::unknown(format!("{error:?}"))));
            }
            let mut messages = Vec::new();
            let mut stream = match grpc.server_streaming(request, path, Raw).await {
                Ok(response) => response.into_inner(),
                Err(status) => return (messages, Some(status)),
            };
            loop {
                match stream.message().await {
                    Ok(Some(message)) if messages.len() < MESSAGES_MAX => messages.push(message),
                    Ok(Some(_)) => panic!("a stream of more than {MESSAGES_MAX} messages"),
                    Ok(None) => return (messages, None),
                    Err(status) => return (messages, Some(status)),
                }
            }
        });
        called.await
    }

    fn client(&self) -> Grpc<Channel> {
        let grpc = Grpc::new(self.channel.clone());
        grpc.max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    fn open(&mut self, name: &str, method: &str, words: &[&str]) -> Outcome {
        let method = self.schema.method(method)?;
        let Words {
            fields,
            metadata,
            manner,
        } = sort(words)?;
        if let Some(field) = fields.first() {
            return Err(format!("{field}: fields are sent, not opened with"));
        }
        let (requests, mut outgoing) = mpsc::channel(MESSAGES_MAX);
        let (incoming, responses) = mpsc::channel(MESSAGES_MAX);
        let outgoing = futures_util::stream::poll_fn(move |cx| outgoing.poll_recv(cx));
        let mut request = Request::new(outgoing);
        add_metadata(&mut request, &metadata)?;
        let path = path_and_query(&path_of(&method))?;
        let mut grpc = self.client();
        // A server may send the head of its answer with the first message only, and that may be
        // after our second: so the stream is read beside us.
        beside(async move {
            if let Err(error) = grpc.ready().await {
                let status = Status::unknown(format!("{error:?}"));
                let _nobody_receives = incoming.send(Err(status)).await;
                return;
            }
            let mut stream = match grpc.streaming(request, path, Raw).await {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    let _nobody_receives = incoming.send(Err(status)).await;
                    return;
                }
            };
            while let Some(message) = stream.next().await {
                if incoming.send(message).await.is_err() {
                    return;
                }
            }
        });
        let conversation = Conversation {
            method,
            manner,
            requests: Some(requests),
            responses,
        };
        match self.streams.insert(name.to_owned(), conversation) {
            None => Ok(()),
            Some(_) => Err(format!("a stream {name} is open already")),
        }
    }

    fn stream(&mut self, name: &str) -> Outcome<&mut Conversation> {
        let stream = self.streams.get_mut(name);
        stream.ok_or_else(|| format!("no stream {name} is open"))
    }

    async fn send_union(&mut self, name: &str, kind: &str, words: &[&str]) -> Outcome<Vec<String>> {
        let Words { fields, .. } = sort(words)?;
        let said = format!("{kind}={{{}}}", fields.join(" "));
        self.send(name, &[&said]).await
    }

    async fn send(&mut self, name: &str, words: &[&str]) -> Outcome<Vec<String>> {
        let input = self.stream(name)?.method.input();
        let message = request::message(&input, words, &self.names)?;
        let requests = self.stream(name)?.requests.clone();
        let requests = requests.ok_or_else(|| format!("our side of {name} is closed"))?;
        let body = message.encode_to_vec().into();
        match within(ANSWER_WITHIN, requests.send(body)).await? {
            Ok(()) => Ok(Vec::new()),
            Err(_) => Err(format!("the stream {name} has ended")),
        }
    }

    async fn receive(&mut self, name: &str, words: &[&str]) -> Outcome<Vec<String>> {
        let unordered = words.contains(&"unordered");
        let count = words.iter().find_map(|word| word.parse::<usize>().ok());
        let mut answers = Vec::new();
        for _ in 0..count.unwrap_or(1) {
            let stream = self.stream(name)?;
            let (output, manner) = (stream.method.output(), stream.manner.clone());
            let message = within(ANSWER_WITHIN, stream.responses.recv()).await?;
            answers.push(match message {
                Some(Ok(bytes)) => self.names.lines(&decode(&output, bytes)?, &manner),
                Some(Err(status)) => vec![format!("end: {}", said(&status))],
                None => vec!["end: Ok".into()],
            });
        }
        if unordered {
            answers.sort();
        }
        Ok(answers.concat())
    }
}

/// The lease in the name of the key that an answer says: `name/hexadecimal`.
fn lease_of_key(answer: &DynamicMessage) -> Option<u64> {
    let key = answer.get_field_by_name("key")?;
    let key = std::str::from_utf8(key.as_bytes()?).ok()?;
    u64::from_str_radix(key.rsplit_once('/')?.1, 16).ok()
}

fn sort<'a>(words: &[&'a str]) -> Outcome<Words<'a>> {
    let mut sorted = Words {
        fields: Vec::new(),
        metadata: Vec::new(),
        manner: Manner::default(),
    };
    for word in words {
        if let Some(word) = word.strip_prefix('@') {
            let pair = word.split_once('=');
            sorted.metadata.push(pair.ok_or("metadata is @name=value")?);
        } else if let Some(word) = word.strip_prefix('%') {
            let (how, names) = word.split_once('=').ok_or("a manner is %how=names")?;
            let names = names.split(',').map(str::to_owned).collect();
            match how {
                "unordered" => sorted.manner.unordered = names,
                "only" => sorted.manner.only = names,
                other => return Err(format!("there is no manner %{other}")),
            }
        } else {
            sorted.fields.push(word);
        }
    }
    Ok(sorted)
}

fn add_metadata<T>(request: &mut Request<T>, metadata: &[(&str, &str)]) -> Outcome {
    for (name, value) in metadata {
        let key: AsciiMetadataKey = name.parse().map_err(|_| format!("@{name} is no name"))?;
        let value = AsciiMetadataValue::try_from(&tokens::bytes(value)?[..]);
        let value = value.map_err(|_| format!("@{name} cannot have this value"))?;
        request.metadata_mut().insert(key, value);
    }
    Ok(())
}

fn path_and_query(path: &str) -> Outcome<PathAndQuery> {
    path.parse().map_err(|_| format!("{path} is no path"))
}

fn decode(descriptor: &MessageDescriptor, bytes: Bytes) -> Outcome<DynamicMessage> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes);
    message.map_err(|error| format!("the answer is no {}: {error}", descriptor.name()))
}

fn said(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn hex(text: &str) -> Outcome<Bytes> {
    let digits = if text == "\"\"" { "" } else { text };
    let byte = |at: usize| {
        digits
            .get(at..at + 2)
            .and_then(|it| u8::from_str_radix(it, 16).ok())
    };
    let bytes = (0..digits.len()).step_by(2).map(byte);
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes
        .map(Bytes::from)
        .ok_or_else(|| format!("{text} is not hexadecimal"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a player of cases lives in the real world, as the servers it plays against"
)]
fn beside(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

#[expect(
    clippy::disallowed_methods,
    reason = "ends a wait that would never end otherwise; no answer depends on it"
)]
pub(crate) async fn within<T>(limit: Duration, wait: impl Future<Output = T>) -> Outcome<T> {
    let waited = tokio::time::timeout(limit, wait).await;
    waited.map_err(|_| format!("no answer within {limit:?}"))
}

/// Messages as the bytes that they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
