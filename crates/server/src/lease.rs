//! The service `etcdserverpb.Lease`.

use crate::Server;
use crate::call::Call;
use crate::kv::mismatch;
use crate::metrics::Handling;
use crate::stop::End;
use futures_util::{Stream, StreamExt as _};
use http::header::HeaderMap;
use std::sync::Arc;
use synod_api::etcdserverpb as pb;
use synod_state::command::Command;
use synod_state::reply::{Body, Reply};
use tonic::Status;
use tonic::codec::Streaming;

/// Renewals of one stream that wait for the leader at the same time. Each waits for a round that
/// begins after it came, so one after the other would take a round each.
const RENEWALS_MAX: usize = 128;

impl Server {
    pub(crate) async fn lease_grant(
        &self,
        request: pb::LeaseGrantRequest,
        call: Call,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        let pb::LeaseGrantRequest { ttl, id } = request;
        let (Reply { revision, body }, granted_s) = self
            .node
            .lease_grant(id, ttl, call.deadline)
            .await
            .map_err(|failure| call.status(&failure))?;
        let Body::LeaseGrant { lease, ttl_ms: _ } = body else {
            mismatch(&body)
        };
        self.metrics.leases_granted.add(1);
        Ok(pb::LeaseGrantResponse {
            header: Some(self.header(revision)),
            id: lease,
            ttl: granted_s,
            error: String::new(),
        })
    }

    pub(crate) async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
        call: Call,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        let pb::LeaseRevokeRequest { id } = request;
        let Reply { revision, body } = self
            .propose(Command::LeaseRevoke { lease: id }, call)
            .await?;
        let Body::Nothing = body else { mismatch(&body) };
        self.metrics.leases_revoked.add(1);
        Ok(pb::LeaseRevokeResponse {
            header: Some(self.header(revision)),
        })
    }

    pub(crate) async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
        call: Call,
    ) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let pb::LeaseTimeToLiveRequest { id, keys } = request;
        let times = self
            .node
            .lease_time_to_live(id, keys, call.deadline)
            .await
            .map_err(|failure| call.status(&failure))?;
        let header = Some(self.header(self.node.root().revision()));
        Ok(match times {
            Some(times) => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: times.remaining_s,
                granted_ttl: times.granted_s,
                keys: times.keys,
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id,
                ttl: -1,
                granted_ttl: 0,
                keys: Vec::new(),
            },
        })
    }

    pub(crate) async fn lease_leases(
        &self,
        pb::LeaseLeasesRequest {}: pb::LeaseLeasesRequest,
        call: Call,
    ) -> Result<pb::LeaseLeasesResponse, Status> {
        let leases = self
            .node
            .leases(call.deadline)
            .await
            .map_err(|failure| call.status(&failure))?;
        Ok(pb::LeaseLeasesResponse {
            header: Some(self.header(self.node.root().revision())),
            leases: leases
                .into_iter()
                .map(|id| pb::LeaseStatus { id })
                .collect(),
        })
    }

    /// Renews what the stream asks for, many at a time, and answers in the order of the requests.
    pub(crate) fn lease_keep_alive(
        self: Arc<Self>,
        requests: Streaming<pb::LeaseKeepAliveRequest>,
        end: End,
        handling: Handling,
    ) -> impl Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send + 'static {
        let renewals = requests.map(move |request| {
            let server = Arc::clone(&self);
            async move { server.renew(request?).await }
        });
        end.after(renewals.buffered(RENEWALS_MAX), handling)
    }

    async fn renew(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Result<pb::LeaseKeepAliveResponse, Status> {
        let pb::LeaseKeepAliveRequest { id } = request;
        // A stream's deadline, if it has one, says nothing about one of its renewals.
        let call = Call::new(self.node.now(), &HeaderMap::new(), self.timeout_max());
        // As in etcd, the header is made before the renewal.
        let header = self.header(self.node.root().revision());
        let granted_s = self
            .node
            .lease_keep_alive(id, call.deadline)
            .await
            .map_err(|failure| call.status(&failure))?;
        self.metrics.leases_renewed.add(1);
        Ok(pb::LeaseKeepAliveResponse {
            header: Some(header),
            id,
            ttl: granted_s.unwrap_or(0),
        })
    }
}
