//! The service `etcdserverpb.KV`.

use crate::Server;
use crate::call::Call;
use crate::errors::{self, Error};
use crate::grpc::{self, Framed};
use crate::translate;
use synod_api::etcdserverpb as pb;
use synod_env::oneshot;
use synod_node::{Consistency, Failure};
use synod_state::Root;
use synod_state::command::{Command, Revision};
use synod_state::reply::{Body, OpBody, Reply, TxnReply};
use tonic::Status;

/// Passing so many bytes of records takes longer than whoever waits behind it should notice.
const LARGE_RANGE_BYTES: u64 = 256 << 10;

impl Server {
    /// Reads a range and writes the response; if it is large, beside the thread that serves this
    /// connection and others.
    pub(crate) async fn range(
        &self,
        request: pb::RangeRequest,
        call: Call,
    ) -> Result<Framed, Status> {
        let (range, serializable) = translate::range(request)?;
        range.check().map_err(Error::invalid)?;
        let root = self.fresh(serializable, call).await?;
        let header = self.header(root.revision());
        let place = if root.range_bytes(&range) < LARGE_RANGE_BYTES {
            None
        } else {
            // With no place left, the connections of this thread have to wait.
            self.large_ranges.begin().ok()
        };
        let read = move || {
            let reply = root.range(&range).map_err(Error::refused)?;
            grpc::framed(&translate::range_reply(reply, header))
        };
        let answer = match place {
            None => read(),
            Some(place) => {
                let (done, answer) = oneshot::channel();
                self.node.env().spawn_background("large range", async move {
                    // Whoever gave up does not want it any more.
                    drop(done.send(read()));
                    drop(place);
                });
                answer.await.map_err(|oneshot::Dropped| errors::STOPPED)?
            }
        };
        let answer = answer?;
        self.metrics.ranges.add(1);
        Ok(answer)
    }

    pub(crate) async fn put(
        &self,
        request: pb::PutRequest,
        call: Call,
    ) -> Result<pb::PutResponse, Status> {
        let bytes = request.key.len() + request.value.len();
        let command = Command::Put(translate::put(request));
        let Reply { revision, body } = self.propose(command, call).await?;
        let Body::Put(reply) = body else {
            mismatch(&body)
        };
        self.metrics.puts.add(1);
        let bytes = u64::try_from(bytes).expect("a length fits");
        self.metrics.put_bytes.add(bytes);
        Ok(translate::put_reply(reply, self.header(revision)))
    }

    pub(crate) async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
        call: Call,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        let command = Command::DeleteRange(translate::delete_range(request));
        let Reply { revision, body } = self.propose(command, call).await?;
        let Body::DeleteRange(reply) = body else {
            mismatch(&body)
        };
        self.metrics.deletes.add(1);
        Ok(translate::delete_reply(reply, self.header(revision)))
    }

    pub(crate) async fn txn(
        &self,
        request: pb::TxnRequest,
        call: Call,
    ) -> Result<pb::TxnResponse, Status> {
        let command = Command::Txn(translate::txn(request, self.node.txn_ops_max())?);
        let Reply { revision, body } = self.propose(command, call).await?;
        let Body::Txn(reply) = body else {
            mismatch(&body)
        };
        self.metrics.txns.add(1);
        self.count_operations(&reply);
        Ok(translate::txn_reply(reply, self.header(revision)))
    }

    pub(crate) async fn compact(
        &self,
        request: pb::CompactionRequest,
        call: Call,
    ) -> Result<pb::CompactionResponse, Status> {
        let pb::CompactionRequest {
            revision: compacted,
            physical,
        } = request;
        let command = Command::Compact {
            revision: compacted,
        };
        let Reply { revision, body } = self.propose(command, call).await?;
        let Body::Nothing = body else { mismatch(&body) };
        if physical {
            self.node
                .compact_finished(call.patience())
                .await
                .map_err(|failure| call.status(&failure))?;
        }
        Ok(pb::CompactionResponse {
            header: Some(self.header(revision)),
        })
    }

    /// A state to read from: whatever this member has, if that will do.
    pub(crate) async fn fresh(&self, serializable: bool, call: Call) -> Result<Root, Status> {
        let consistency = if serializable {
            Consistency::Serializable
        } else {
            Consistency::Linearizable
        };
        let read = self.node.read(consistency, call.deadline).await;
        read.map_err(|failure| {
            self.metrics.reads_failed.add(1);
            call.status(&failure)
        })
    }

    /// Proposes a command and awaits its outcome.
    pub(crate) async fn propose(&self, command: Command, call: Call) -> Result<Reply, Status> {
        self.node
            .propose(command, call.deadline)
            .await
            .map_err(|failure| {
                if !is_refusal(&failure) {
                    self.metrics.proposals_failed.add(1);
                }
                call.status(&failure)
            })
    }

    /// What stands at the head of each response.
    pub(crate) fn header(&self, revision: Revision) -> pb::ResponseHeader {
        let (epoch, _) = self.node.epoch();
        pb::ResponseHeader {
            cluster_id: self.config.cluster_id,
            member_id: self.node.member().0,
            revision,
            raft_term: epoch.0,
        }
    }

    fn count_operations(&self, txn: &TxnReply) {
        for reply in &txn.replies {
            match &reply.body {
                OpBody::Range(_) => self.metrics.ranges.add(1),
                OpBody::Put(_) => self.metrics.puts.add(1),
                OpBody::DeleteRange(_) => self.metrics.deletes.add(1),
                OpBody::Txn(inner) => self.count_operations(inner),
            }
        }
    }
}

/// The member did its part: the request itself was at fault, or the state refused it.
fn is_refusal(failure: &Failure) -> bool {
    match failure {
        Failure::Invalid(_) | Failure::Refused(_) | Failure::TooLarge | Failure::TtlTooLarge => {
            true
        }
        Failure::TooManyRequests
        | Failure::NoSpace
        | Failure::NoLeader
        | Failure::TimedOut
        | Failure::Stopped
        | Failure::Unknown => false,
    }
}

/// The answer to a command does not fit the command: a bug.
pub(crate) fn mismatch(body: &Body) -> ! {
    panic!("an applied command was answered with another's reply: {body:?}")
}
