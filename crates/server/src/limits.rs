//! The service `synodpb.Limits`: bounds that can be changed while the cluster runs.

use crate::call::Call;
use crate::kv::mismatch;
use crate::{Server, errors};
use bytes::Bytes;
use synod_api::synodpb as pb;
use synod_env::{HistoryKeep, Limits};
use synod_node::Consistency;
use synod_state::Root;
use synod_state::command::Command;
use synod_state::limit::{LimitChange, LimitKind};
use synod_state::reply::{Body, Reply};
use tonic::Status;

impl Server {
    /// Tells what holds, and why.
    pub(crate) async fn list_limits(
        &self,
        pb::ListLimitsRequest {}: pb::ListLimitsRequest,
        call: Call,
    ) -> Result<pb::ListLimitsResponse, Status> {
        let read = self.node.read(Consistency::Linearizable, call.deadline);
        let root = read.await.map_err(|failure| call.status(&failure))?;
        let limits = LimitKind::ALL
            .into_iter()
            .map(|kind| self.limit(kind, &root));
        Ok(pb::ListLimitsResponse {
            limits: limits.collect(),
        })
    }

    fn limit(&self, kind: LimitKind, root: &Root) -> pb::Limit {
        let limits = self.node.limits();
        let started_with = of_member(kind, limits);
        let value = match kind {
            LimitKind::QuotaBytes => root.quota_bytes(),
            LimitKind::RequestBytes => root.limit(kind).unwrap_or(u64::MAX).min(started_with),
            LimitKind::TxnOps => root.limit(kind).unwrap_or(started_with),
            LimitKind::HistoryMs | LimitKind::HistoryRevisions => {
                history(kind, root.history_keep().unwrap_or(limits.history_keep))
            }
        };
        let change = root.limit_changes().find(|change| change.kind == kind);
        let change = change.map(|change| pb::LimitChange {
            value: change.value,
            wall_ms: i64::try_from(change.wall_ms).unwrap_or(i64::MAX),
            by: String::from_utf8_lossy(&change.by).into_owned(),
        });
        pb::Limit {
            name: name(kind).to_owned(),
            value,
            started_with,
            default: of_member(kind, &Limits::default()),
            change,
        }
    }

    /// Sets a bound, or gives it back.
    pub(crate) async fn set_limit(
        &self,
        request: pb::SetLimitRequest,
        call: Call,
    ) -> Result<pb::SetLimitResponse, Status> {
        let pb::SetLimitRequest {
            name: asked,
            value,
            by,
        } = request;
        let kind = LimitKind::ALL.into_iter().find(|kind| name(*kind) == asked);
        let change = LimitChange {
            kind: kind.ok_or(errors::LIMIT_UNKNOWN)?,
            value,
            wall_ms: u64::try_from(self.node.env().wall().0).unwrap_or(0),
            by: Bytes::from(by),
        };
        let Reply { revision: _, body } = self.propose(Command::SetLimit(change), call).await?;
        match body {
            Body::Nothing => Ok(pb::SetLimitResponse {}),
            Body::Put(_)
            | Body::DeleteRange(_)
            | Body::Txn(_)
            | Body::LeaseGrant { .. }
            | Body::SetAlarm { .. } => mismatch(&body),
        }
    }
}

/// A limit's name on the wire.
const fn name(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::QuotaBytes => "quota-bytes",
        LimitKind::RequestBytes => "max-request-bytes",
        LimitKind::TxnOps => "max-txn-ops",
        LimitKind::HistoryMs => "auto-compaction-period",
        LimitKind::HistoryRevisions => "auto-compaction-revisions",
    }
}

/// What a member was started with.
fn of_member(kind: LimitKind, limits: &Limits) -> u64 {
    match kind {
        LimitKind::QuotaBytes => limits.state_bytes_max,
        LimitKind::RequestBytes => limits.request_bytes_max as u64,
        LimitKind::TxnOps => limits.txn_ops_max as u64,
        LimitKind::HistoryMs | LimitKind::HistoryRevisions => history(kind, limits.history_keep),
    }
}

/// What a wish about history says in one of its two ways; 0 in the other.
fn history(kind: LimitKind, keep: HistoryKeep) -> u64 {
    match (kind, keep) {
        (LimitKind::HistoryMs, HistoryKeep::For(period)) => {
            u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
        }
        (LimitKind::HistoryRevisions, HistoryKeep::Revisions(count)) => count,
        (
            LimitKind::QuotaBytes
            | LimitKind::RequestBytes
            | LimitKind::TxnOps
            | LimitKind::HistoryMs
            | LimitKind::HistoryRevisions,
            HistoryKeep::Everything | HistoryKeep::For(_) | HistoryKeep::Revisions(_),
        ) => 0,
    }
}
