//! The service `v3lockpb.Lock`: whoever is first in the line holds the lock.

use crate::Server;
use crate::call::Call;
use crate::errors;
use crate::line::in_line;
use bytes::Bytes;
use synod_api::v3lockpb as pb;
use synod_node::line::Candidate;
use synod_state::command::{Command, DeleteRange};
use tonic::Status;

impl Server {
    pub(crate) async fn lock(
        &self,
        request: pb::LockRequest,
        call: Call,
    ) -> Result<pb::LockResponse, Status> {
        let pb::LockRequest { name, lease } = request;
        let lease = self.session(lease, &call).await;
        let candidate = Candidate::new(&name, lease.map_err(|failure| in_line(&call, &failure))?);
        let entered = candidate.enter(&self.node, Bytes::new(), call.deadline);
        let mut place = entered.await.map_err(|failure| in_line(&call, &failure))?;
        match self.patiently(&call, place.come_first()).await {
            Ok(revision) => Ok(pb::LockResponse {
                header: Some(self.header(revision)),
                key: place.keep().key,
            }),
            Err(ended) => Err(self.out_of_line(&call, place, ended, errors::LOCK_SESSION_EXPIRED)),
        }
    }

    pub(crate) async fn unlock(
        &self,
        request: pb::UnlockRequest,
        call: Call,
    ) -> Result<pb::UnlockResponse, Status> {
        let pb::UnlockRequest { key } = request;
        let delete = DeleteRange {
            key,
            ..DeleteRange::default()
        };
        let deleted = self
            .node
            .propose(Command::DeleteRange(delete), call.deadline);
        let reply = deleted.await.map_err(|failure| in_line(&call, &failure))?;
        Ok(pb::UnlockResponse {
            header: Some(self.header(reply.revision)),
        })
    }
}
