//! What other members ask of this engine, and its answers.
//!
//! One task takes all messages. Signs of life and votes are answered from there, many at a time;
//! appends go on to a task for each sender, which puts them in order; snapshots to a task that
//! takes one at a time. What does not fit into a queue is dropped, and its sender asks again.
//!
//! An answer is a promise, and a promise is kept across a loss of power. So what can be checked
//! of it is asserted right before it leaves: an append is answered when it is durable here, a
//! vote when it is.

mod appends;
mod snapshots;

use crate::engine::Handle;
use crate::runtime::Runtime;
use crate::storage::Votes;
use crate::turn::Turns;
use crate::types::{LogId, Types, Vote, seam_index};
use crate::wire::{Appended, Request, encode_voted};
use appends::{Appends, Arrival};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use openraft::AsyncRuntime as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft_rt::Select3;
use snapshots::Snapshots;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use synod_env::{BoxFuture, Env, MemberId, queue, watch};
use synod_log::Index;
use synod_protocols::{Answer, Incoming, Port};
use synod_storage::Log;

/// Signs of life and votes being answered; more are dropped. A sign of life is answered when the
/// disk has done what it was given before: this is a stall of ten seconds.
const CONTROL_MAX: usize = 256;
/// Messages of one sender that wait for their task.
const APPENDS_WAITING_MAX: usize = 2 * crate::network::REQUESTS_MAX;
/// Messages about snapshots that wait for their task.
const SNAPSHOTS_WAITING_MAX: usize = 16;

/// Requests to openraft that serving `others` can have under way at one time.
pub(crate) const fn requests_max(others: usize) -> usize {
    CONTROL_MAX + others * appends::UNDER_WAY_MAX + 2
}

/// What answering needs of the engine.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) env: Env,
    pub(crate) raft: Arc<Handle>,
    pub(crate) log: Log,
    pub(crate) votes: Arc<Votes>,
    pub(crate) turns: Turns,
}

/// The tasks that answer other members. They end when this is dropped.
pub(crate) struct Serving {
    _ended: watch::Sender<()>,
}

impl Serving {
    /// Begins to answer what comes in at `port`.
    pub(crate) fn begin(side: &Side, port: Port) -> Self {
        let (ended, end) = watch::channel(());
        if port.others().is_empty() {
            // Nobody will ever ask.
            return Self { _ended: ended };
        }
        let (snapshots, queue) = queue::bounded(SNAPSHOTS_WAITING_MAX);
        let task = Snapshots::new(side.clone(), queue, end.clone());
        side.env.spawn("raft-receive-snapshot", task.serve());
        let mut appends = BTreeMap::new();
        for other in port.others() {
            let (sender, queue) = queue::bounded(APPENDS_WAITING_MAX);
            let task = Appends::new(side.clone(), queue, end.clone());
            side.env.spawn("raft-append", task.serve());
            appends.insert(*other, sender);
        }
        let desk = Desk {
            side: side.clone(),
            appends,
            snapshots,
            control: FuturesUnordered::new(),
        };
        side.env.spawn("raft-serve", desk.serve(port, end));
        Self { _ended: ended }
    }
}

/// Takes all messages and sees to each.
struct Desk {
    side: Side,
    appends: BTreeMap<MemberId, queue::Sender<Arrival>>,
    snapshots: queue::Sender<snapshots::Message>,
    control: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Desk {
    async fn serve(mut self, port: Port, mut end: watch::Receiver<()>) {
        loop {
            let answered = next_of(&mut self.control);
            match Runtime::select3(end.changed(), answered, port.receive()).await {
                Select3::First(_ended) => break,
                Select3::Second(()) => {}
                Select3::Third(incoming) => self.take(incoming),
            }
        }
        // openraft does not allow a call to be abandoned.
        while let Some(()) = self.control.next().await {}
    }

    fn take(&mut self, incoming: Incoming) {
        let Incoming {
            from, body, answer, ..
        } = incoming;
        // All requests of this protocol ask for an answer.
        let Some(answer) = answer else { return };
        let request = match Request::decode(&body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%from, %error, "an engine sent something strange");
                return;
            }
        };
        match request {
            Request::Append(place, request) => {
                let arrival = Arrival {
                    place,
                    request,
                    answer,
                };
                if let Some(appends) = self.appends.get(&from) {
                    drop(appends.try_send(arrival));
                }
            }
            Request::Heartbeat(request) => {
                let side = self.side.clone();
                self.control(Box::pin(async move {
                    append(&side, request, Taken::All, answer).await;
                }));
            }
            Request::Vote(_) | Request::PreVote(_) if !self.side.log.has_room_for_votes() => {
                tracing::warn!(%from, "no room in the log for a vote");
            }
            Request::Vote(request) => {
                let side = self.side.clone();
                self.control(Box::pin(vote(side, request, answer)));
            }
            Request::PreVote(request) => {
                let side = self.side.clone();
                self.control(Box::pin(pre_vote(side, request, answer)));
            }
            Request::SnapshotBegin {
                transfer,
                vote,
                position,
            } => {
                let begin = snapshots::Step::Begin { vote, position };
                self.snapshot(from, transfer, begin, answer);
            }
            Request::SnapshotPart {
                transfer,
                number,
                part,
            } => {
                let part = snapshots::Step::Part { number, part };
                self.snapshot(from, transfer, part, answer);
            }
            Request::SnapshotEnd { transfer, parts } => {
                self.snapshot(from, transfer, snapshots::Step::End { parts }, answer);
            }
        }
    }

    fn control(&mut self, answered: BoxFuture<'static, ()>) {
        if self.control.len() < CONTROL_MAX {
            self.control.push(answered);
        }
    }

    fn snapshot(&self, from: MemberId, transfer: u64, step: snapshots::Step, answer: Answer) {
        let message = snapshots::Message {
            from,
            transfer,
            step,
            answer,
        };
        drop(self.snapshots.try_send(message));
    }
}

/// The next of some futures that is ready; never, while there are none.
async fn next_of<T>(futures: &mut FuturesUnordered<BoxFuture<'static, T>>) -> T {
    match futures.next().await {
        Some(value) => value,
        None => pending().await,
    }
}

/// Has openraft append what was `taken` of a request, and answers. An engine that has stopped
/// answers nothing.
async fn append(side: &Side, request: AppendEntriesRequest<Types>, taken: Taken, answer: Answer) {
    let prev = request.prev_log_id;
    let last = request.entries.last().map(|entry| entry.log_id).or(prev);
    let Ok(response) = side.raft.append_entries(request).await else {
        return;
    };
    let appended = match response {
        AppendEntriesResponse::Success => {
            assert_durable(&side.log, last);
            match (taken, last) {
                (Taken::Part, Some(last)) => Appended::Part(last),
                (Taken::Part | Taken::All, _) => Appended::Done,
            }
        }
        AppendEntriesResponse::Conflict => Appended::Conflict,
        AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(vote),
        AppendEntriesResponse::PartialSuccess(upto) => {
            unreachable!("an append ended at {upto:?} and not at {last:?}")
        }
    };
    answer.send(appended.encode());
}

/// How much of a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    /// Its last entries were left out.
    Part,
}

/// The leader counts this member's answer towards its quorum. So the entries must be durable here
/// by now, or covered by a snapshot, unless a later leader has already replaced them.
fn assert_durable(log: &Log, last: Option<LogId>) {
    let Some(last) = last else { return };
    let index = seam_index(last.index);
    let is_held = log
        .position(index.0)
        .is_some_and(|held| held.epoch == last.leader_id.term);
    let purged = log.purged().map_or(Index(0), |at| Index(at.index));
    if is_held && purged < index {
        let durable = log.durable().map_or(Index(0), Index);
        assert!(
            index <= durable,
            "answering for {last} while the log is durable up to {durable}"
        );
    }
}

async fn vote(side: Side, request: VoteRequest<Types>, answer: Answer) {
    let Ok(response) = side.raft.vote(request).await else {
        return;
    };
    if response.vote_granted {
        assert_promised(&side.votes, response.vote);
    }
    answer.send(encode_voted(&response));
}

/// A vote that is granted must never be forgotten.
fn assert_promised(votes: &Votes, granted: Vote) {
    let durable = votes.durable().map(|vote| (vote.term, vote.node));
    let granted = (granted.leader_id.term, granted.leader_id.voted_for);
    let is_kept = durable.is_some_and(|(term, node)| term > granted.0 || (term, node) == granted);
    assert!(
        is_kept,
        "granting {granted:?} while {durable:?} is the durable vote"
    );
}

/// Promises nothing: it says what the answer to a vote would be.
async fn pre_vote(side: Side, request: VoteRequest<Types>, answer: Answer) {
    if let Ok(response) = side.raft.pre_vote(request).await {
        answer.send(encode_voted(&response));
    }
}
