//! What openraft sends to the other members, over the links of [`synod_protocols`].
//!
//! Each request is asked with a deadline, and each answer belongs to its request: the links see
//! to that. No answer is never taken for a success: openraft learns of a time-out, or of a member
//! that cannot be reached, and asks again in its own time.

mod appending;
mod patience;
mod sending;

use crate::engine::{Handle, Snapshotted};
use crate::machine::{Content, Snapshot};
use crate::rounds::{Rounds, WeakRounds};
use crate::types::{Types, Vote};
use crate::wire::{Request, decode_voted};
use appending::Pipeline;
pub(crate) use appending::REQUESTS_MAX;
use bytes::Bytes;
use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use patience::Patience;
use std::future::Future;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use synod_env::{Env, Lane, MemberId};
use synod_protocols::{AskError, NotSent, Port};
use synod_storage::Log;

/// Waits before a member is tried again that cannot be reached, or has no room: short at first,
/// since most trouble is short, and never longer than a follower waits for its leader.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(160);

/// Makes the links of each kind that openraft asks for.
#[derive(Clone)]
pub(crate) struct Links(Arc<Shared>);

struct Shared {
    env: Env,
    port: Port,
    log: Log,
    /// How long an answer to an append is waited for while nothing is known about the link.
    patience: Duration,
    /// The number of the last stream of appends.
    streams: AtomicU64,
    /// Set once the engine is there, which is made with its links.
    engine: OnceLock<EngineSide>,
}

/// What sending a snapshot needs of the engine that sends it. It does not keep the engine alive,
/// which holds these links.
struct EngineSide {
    raft: Weak<Handle>,
    snapshots: WeakRounds<Snapshotted>,
}

impl Links {
    /// Links over `port`. An append is given up if its first answer takes longer than `patience`.
    pub(crate) fn new(env: Env, port: Port, log: Log, patience: Duration) -> Self {
        Self(Arc::new(Shared {
            env,
            port,
            log,
            patience,
            streams: AtomicU64::new(0),
            engine: OnceLock::new(),
        }))
    }

    /// Tells the links whose they are.
    ///
    /// # Panics
    /// If they have been told before.
    pub(crate) fn serve(&self, raft: &Arc<Handle>, snapshots: &Rounds<Snapshotted>) {
        let side = EngineSide {
            raft: Arc::downgrade(raft),
            snapshots: snapshots.downgrade(),
        };
        let told = self.0.engine.set(side);
        assert!(told.is_ok(), "links serve one engine");
    }

    fn link(&self, to: u64, lane: Lane) -> Link {
        Link {
            shared: Arc::clone(&self.0),
            to: MemberId(to),
            lane,
            patience: Patience::new(self.0.patience),
        }
    }
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &()) -> Link {
        self.link(target, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &()) -> Link {
        self.link(target, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, _node: &()) -> Link {
        self.link(target, Lane::Bulk)
    }
}

/// The way to one other member.
pub(crate) struct Link {
    shared: Arc<Shared>,
    to: MemberId,
    /// What appends take: [`Lane::Control`] if they are heartbeats.
    lane: Lane,
    patience: Patience,
}

impl Link {
    fn ask(
        &self,
        lane: Lane,
        request: &Request,
        within: Duration,
    ) -> synod_env::BoxFuture<'static, Result<Bytes, AskError>> {
        let deadline = self.shared.env.now() + within;
        let port = &self.shared.port;
        port.ask(self.to, lane, request.encode(), deadline)
    }

    /// Asks for a vote.
    async fn poll(
        &self,
        request: Request,
        within: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.ask(Lane::Control, &request, within).await;
        let answer = answer.map_err(|error| self.failed(error, RPCTypes::Vote, within))?;
        decode_voted(&answer).map_err(|error| garbled(&error))
    }

    /// openraft's word for a request without an answer.
    fn failed(&self, error: AskError, action: RPCTypes, timeout: Duration) -> RPCError<Types> {
        match error {
            AskError::NotSent(why @ (NotSent::Unlinked | NotSent::Full)) => {
                unreachable(&why.to_string()).into()
            }
            AskError::NoAnswer => RPCError::Timeout(Timeout {
                action,
                id: self.shared.port.member().0,
                target: self.to.0,
                timeout,
            }),
        }
    }

    /// One heartbeat, as openraft's stream of a single request.
    async fn beat<S>(
        &self,
        mut input: S,
        within: Duration,
    ) -> Option<Result<StreamAppendResult<Types>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
    {
        use futures_util::StreamExt as _;
        let request = input.next().await?;
        let sent = appending::Sent::new(&request, self.shared.env.now());
        let answer = self.ask(Lane::Control, &Request::Heartbeat(request), within);
        let outcome = match answer.await {
            Ok(answer) => sent.outcome(&answer),
            Err(error) => Err(self.failed(error, RPCTypes::AppendEntries, within)),
        };
        Some(outcome)
    }
}

fn unreachable(why: &str) -> Unreachable<Types> {
    Unreachable::from_string(why)
}

/// An answer that this member does not understand.
fn garbled(error: &std::io::Error) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Content;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let input = futures_util::stream::iter([request]);
        match self.beat(input, option.hard_ttl()).await {
            Some(outcome) => outcome.map(AppendEntriesResponse::from),
            None => Err(unreachable("nothing to send").into()),
        }
    }

    /// Pipelined: see [`appending`].
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, StreamItem>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let stream: BoxStream<'s, StreamItem> = match self.lane {
            Lane::Control => {
                let beat = self.beat(input, option.hard_ttl());
                Box::pin(futures_util::stream::unfold(Some(beat), |beat| async {
                    Some((beat?.await?, None))
                }))
            }
            Lane::Append | Lane::Bulk => {
                let stream = self.shared.streams.fetch_add(1, Ordering::Relaxed) + 1;
                Box::pin(Pipeline::new(self, stream, input))
            }
        };
        Box::pin(async move { Ok(stream) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.poll(Request::Vote(request), option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        // Each election begins with this question, and may end with votes and an entry in the
        // log. A disk that stays full must not lose the last of its room to them.
        if !self.shared.log.has_room_for_votes() {
            return Err(unreachable("no room in the log for an election").into());
        }
        self.poll(Request::PreVote(request), option.hard_ttl())
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        self.send_snapshot(vote, &snapshot.meta, cancel).await
    }

    fn backoff(&self) -> Option<Backoff> {
        let longer = |wait: &Duration| Some((*wait * 2).min(BACKOFF_MAX));
        Some(Backoff::new(iter::successors(Some(BACKOFF_FIRST), longer)))
    }
}

/// What a stream of appends yields for each request.
type StreamItem = Result<StreamAppendResult<Types>, RPCError<Types>>;
