//! Links to the other members: none yet, since a cluster has one.

use crate::types::{Types, Vote};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use std::future::Future;

type Snapshot = openraft::Snapshot<crate::types::CommittedLeaderId, u64, (), ()>;

/// Answers for every other member that it cannot be reached.
///
/// Each request is answered with an error, also the preliminary vote: openraft's default grants
/// it, and a member that cannot be reached grants nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unlinked;

fn unreachable() -> Unreachable<Types> {
    Unreachable::from_string("this member has no links to others")
}

impl RaftNetworkFactory<Types> for Unlinked {
    type Network = Self;

    async fn new_client(&mut self, _target: u64, _node: &()) -> Self {
        *self
    }
}

impl RaftNetworkV2<Types> for Unlinked {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn pre_vote(
        &mut self,
        _request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(unreachable()))
    }
}
