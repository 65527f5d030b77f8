//! Appends on their way to one follower, many at a time.
//!
//! openraft gives a stream of requests, each continuing the one before, and takes their outcomes
//! in the same order. Requests are sent without waiting for answers, within a bound on their
//! number and their bytes. They carry a place in the stream, since messages may overtake each
//! other and a follower has to append in order; it says so if one is missing for a while. The
//! first that fails ends the stream: openraft then looks where the follower is and begins a new
//! one.

use super::{Link, StreamItem, garbled, unreachable};
use crate::types::{LogId, Types};
use crate::wire::{Appended, Place, Request, entries_bytes};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use openraft::errors::{NetworkError, RPCError};
use openraft::network::RPCTypes;
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use synod_env::{BoxFuture, Instant, Lane};
use synod_protocols::AskError;

/// Requests that may be without an answer.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Bytes of those requests together, unless one alone is larger.
const BYTES_MAX: usize = 4 << 20;

/// A request that was sent, as far as its outcome needs it.
pub(super) struct Sent {
    prev: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    at: Instant,
    /// What came of it, while an earlier one has no answer yet.
    outcome: Option<StreamItem>,
}

impl Sent {
    pub(super) fn new(request: &AppendEntriesRequest<Types>, at: Instant) -> Self {
        let prev = request.prev_log_id;
        Self {
            prev,
            last: request.entries.last().map(|entry| entry.log_id).or(prev),
            bytes: entries_bytes(&request.entries),
            at,
            outcome: None,
        }
    }

    /// openraft's word for an answer.
    pub(super) fn outcome(&self, answer: &Bytes) -> StreamItem {
        match Appended::decode(answer).map_err(|error| garbled(&error))? {
            Appended::Done => Ok(Ok(self.last)),
            Appended::Conflict => match self.prev {
                Some(prev) => Ok(Err(StreamAppendError::Conflict(prev))),
                None => Err(broken("the beginning of a log conflicts with nothing")),
            },
            Appended::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote))),
            Appended::NoRoom => Err(unreachable("no room in its log").into()),
            Appended::Missing => Err(broken("an earlier request was lost")),
            Appended::Part(upto) if Some(upto) > self.prev && Some(upto) < self.last => {
                Ok(Ok(Some(upto)))
            }
            Appended::Part(upto) => Err(broken(&format!("{upto} is no part of what was sent"))),
        }
    }
}

fn broken(what: &str) -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string(what))
}

/// A request's number in its stream, and its answer.
type Answered = (u32, Result<Bytes, AskError>);

/// See the module.
pub(super) struct Pipeline<'s, S> {
    link: &'s mut Link,
    stream: u64,
    /// What is still to be sent; `None` when there is no more.
    input: Option<S>,
    /// Sent and not yet told to openraft, in order.
    sent: VecDeque<Sent>,
    bytes: usize,
    /// The number of the first of them.
    first: u32,
    answers: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Why the stream ends, once what was answered before is told.
    failed: Option<RPCError<Types>>,
}

impl<'s, S> Pipeline<'s, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    pub(super) fn new(link: &'s mut Link, stream: u64, input: S) -> Self {
        Self {
            link,
            stream,
            input: Some(input),
            sent: VecDeque::new(),
            bytes: 0,
            first: 0,
            answers: FuturesUnordered::new(),
            failed: None,
        }
    }

    /// Sends while there is something to send and room on the way.
    fn send(&mut self, cx: &mut Context<'_>) {
        loop {
            let has_room =
                self.sent.is_empty() || (self.sent.len() < REQUESTS_MAX && self.bytes < BYTES_MAX);
            let Some(input) = self.input.as_mut().filter(|_| has_room) else {
                return;
            };
            match input.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) => self.send_one(request),
                Poll::Ready(None) => self.input = None,
                Poll::Pending => return,
            }
        }
    }

    fn send_one(&mut self, request: AppendEntriesRequest<Types>) {
        let ahead = u32::try_from(self.sent.len()).expect("few requests are under way");
        let number = self.first + ahead;
        let sent = Sent::new(&request, self.link.shared.env.now());
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
        let place = Place {
            stream: self.stream,
            number,
        };
        let wait = self.link.patience.wait();
        let request = Request::Append(place, request);
        let answer = self.link.ask(Lane::Append, &request, wait);
        self.answers
            .push(Box::pin(async move { (number, answer.await) }));
    }

    /// Takes the answers that have come, up to the first failure.
    fn take_answers(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((number, answer))) = self.answers.poll_next_unpin(cx) {
            let sent = &mut self.sent[(number - self.first) as usize];
            let patience = &mut self.link.patience;
            let outcome = match answer {
                Ok(answer) => {
                    let now = self.link.shared.env.now();
                    patience.answered(now.saturating_since(sent.at));
                    sent.outcome(&answer)
                }
                Err(error) => {
                    let waited = patience.wait();
                    if error == AskError::NoAnswer {
                        patience.in_vain();
                    }
                    Err(self.link.failed(error, RPCTypes::AppendEntries, waited))
                }
            };
            match outcome {
                Ok(outcome) => sent.outcome = Some(Ok(outcome)),
                // What was sent after it is in vain, and what has no answer yet will be found
                // out by the next stream.
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    fn end(&mut self) {
        self.input = None;
        self.sent.clear();
        self.answers.clear();
    }
}

impl<S> Stream for Pipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    type Item = StreamItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        if self.failed.is_none() {
            self.send(cx);
            self.take_answers(cx);
        }
        if let Some(outcome) = self.sent.front_mut().and_then(|sent| sent.outcome.take()) {
            let told = self.sent.pop_front().expect("it was just looked at");
            self.bytes -= told.bytes;
            self.first += 1;
            if !matches!(&outcome, Ok(Ok(last)) if *last == told.last) {
                // What was sent after it has nothing to go on from.
                self.end();
                self.failed = None;
            }
            return Poll::Ready(Some(outcome));
        }
        if let Some(failed) = self.failed.take() {
            self.end();
            return Poll::Ready(Some(Err(failed)));
        }
        if self.sent.is_empty() && self.input.is_none() {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
