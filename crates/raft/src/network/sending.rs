//! A snapshot on its way to a member that lags behind the log.
//!
//! The machine's newest snapshot is read part by part and each part is asked for its receipt
//! before the next one is read: so the receiver's disk sets the pace, and one part is all that
//! is in memory. A part without an answer is sent again; the receiver knows it by its number.

use super::{Link, garbled, unreachable};
use crate::runtime::Runtime;
use crate::types::{Position, SnapshotMeta, Types, Vote, seam_index_of};
use crate::wire::{Received, Request};
use openraft::AsyncRuntime as _;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout};
use openraft::network::RPCTypes;
use openraft::raft::SnapshotResponse;
use openraft_rt::Select2;
use std::future::{Future, ready};
use std::time::Duration;
use synod_env::{Instant, Lane, oneshot};
use synod_log::SnapshotReader;
use synod_protocols::{AskError, NotSent};

/// How long the first attempt of a request waits for its answer; each further one waits twice as
/// long.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// No attempt waits longer.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// After so long without an answer the transfer is given up; openraft begins a new one. It is
/// less than a receiver waits for its sender ([`crate::serving`]).
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// A queue that is full is tried again after this.
const FULL_WAIT: Duration = Duration::from_millis(5);

type Outcome<T> = Result<T, StreamingError<Types>>;

impl Link {
    /// Sends the newest snapshot, which covers at least what openraft knows of it (`least`), as
    /// the leader of `vote`.
    pub(super) async fn send_snapshot(
        &self,
        vote: Vote,
        least: &SnapshotMeta,
        cancel: impl Future<Output = ReplicationClosed> + Send,
    ) -> Outcome<SnapshotResponse<Types>> {
        let sent = self.transfer(vote, least);
        match Runtime::select2(cancel, sent).await {
            Select2::First(closed) => Err(StreamingError::Closed(closed)),
            Select2::Second(outcome) => outcome,
        }
    }

    async fn transfer(&self, vote: Vote, least: &SnapshotMeta) -> Outcome<SnapshotResponse<Types>> {
        let mut reader = self.newest_snapshot().await?;
        let position = reader.position();
        let covers = Position::decode(&position).map_err(|error| garbled(&error))?;
        if covers.applied < least.last_log_id {
            return Err(network(
                "the newest snapshot is older than the engine knows",
            ));
        }
        let transfer = self.shared.env.random();
        tracing::info!(to = %self.to, at = %reader.at(), "sending a snapshot");
        let begin = Request::SnapshotBegin {
            transfer,
            vote,
            position,
        };
        let mut answer = self.receipt(&begin).await?;
        let mut parts = 0;
        while answer == Received::Ready {
            let next = reader.next().await;
            let next = next.map_err(|error| network(&format!("read the snapshot: {error}")))?;
            let Some(part) = next else {
                answer = self
                    .receipt(&Request::SnapshotEnd { transfer, parts })
                    .await?;
                break;
            };
            let request = Request::SnapshotPart {
                transfer,
                number: parts,
                part,
            };
            answer = self.receipt(&request).await?;
            parts += 1;
        }
        match answer {
            Received::Settled(vote) => Ok(SnapshotResponse { vote }),
            Received::Outdated => {
                self.renew_snapshot().await;
                Err(unreachable("it needs a newer snapshot").into())
            }
            Received::Busy => Err(unreachable("it is busy with another snapshot").into()),
            Received::Unknown => Err(unreachable("it has given the transfer up").into()),
            Received::Ready => Err(network("it wants more than there is")),
            Received::Failed(why) => {
                tracing::warn!(to = %self.to, %why, at = %seam_index_of(least.last_log_id.as_ref()),
                    "a snapshot was refused");
                Err(unreachable(&why).into())
            }
        }
    }

    /// The machine's newest snapshot.
    async fn newest_snapshot(&self) -> Outcome<Box<dyn SnapshotReader>> {
        let raft = self
            .shared
            .engine
            .get()
            .and_then(|engine| engine.raft.upgrade());
        let raft = raft.ok_or_else(stopped)?;
        let (sender, receiver) = oneshot::channel();
        // On a task of its own: this transfer may be cancelled, and openraft does not allow the
        // call to be abandoned.
        self.shared.env.spawn("raft-outgoing", async move {
            let outgoing = raft
                .with_state_machine(|machine| Box::pin(ready(machine.outgoing())))
                .await;
            drop(sender.send(outgoing));
        });
        let outgoing = receiver.await.ok().and_then(Result::ok);
        let read = outgoing.ok_or_else(stopped)?.await;
        let read = read.map_err(|error| network(&format!("open the snapshot: {error}")))?;
        read.ok_or_else(|| network("the machine has no snapshot"))
    }

    /// Writes a snapshot that covers more.
    async fn renew_snapshot(&self) {
        let engine = self.shared.engine.get();
        if let Some(snapshots) = engine.and_then(|engine| engine.snapshots.upgrade())
            && let Some(Err((_, why))) = snapshots.ask().await
        {
            tracing::warn!(%why, "a newer snapshot is needed and cannot be written");
        }
    }

    /// Asks until an answer comes, or none has come for too long.
    async fn receipt(&self, request: &Request) -> Outcome<Received> {
        let env = &self.shared.env;
        let give_up: Instant = env.now() + GIVE_UP_AFTER;
        let mut wait = WAIT_FIRST;
        loop {
            let left = give_up.saturating_since(env.now());
            match self.ask(Lane::Bulk, request, wait.min(left)).await {
                Ok(answer) => {
                    return Received::decode(&answer).map_err(|error| garbled(&error).into());
                }
                Err(AskError::NotSent(NotSent::Unlinked)) => {
                    return Err(unreachable(&NotSent::Unlinked.to_string()).into());
                }
                Err(AskError::NotSent(NotSent::Full)) => env.sleep(FULL_WAIT).await,
                Err(AskError::NoAnswer) => wait = (wait * 2).min(WAIT_MAX),
            }
            if env.now() >= give_up {
                return Err(StreamingError::Timeout(Timeout {
                    action: RPCTypes::InstallSnapshot,
                    id: self.shared.port.member().0,
                    target: self.to.0,
                    timeout: GIVE_UP_AFTER,
                }));
            }
        }
    }
}

fn stopped() -> StreamingError<Types> {
    StreamingError::Closed(ReplicationClosed::new("the engine has stopped"))
}

fn network(what: &str) -> StreamingError<Types> {
    RPCError::Network(NetworkError::from_string(what)).into()
}
