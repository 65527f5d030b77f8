//! The service `etcdserverpb.Cluster`, and who the members are.

use crate::Server;
use crate::call::Call;
use synod_api::etcdserverpb as pb;
use synod_env::MemberId;
use synod_node::Consistency;
use tonic::Status;

/// A member as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// Its name, for people.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It follows without a vote.
    pub learner: bool,
}

impl Server {
    pub(crate) async fn member_list(
        &self,
        request: pb::MemberListRequest,
        call: Call,
    ) -> Result<pb::MemberListResponse, Status> {
        let pb::MemberListRequest { linearizable } = request;
        if linearizable {
            self.node
                .read(Consistency::Linearizable, call.deadline)
                .await
                .map_err(|failure| call.status(&failure))?;
        }
        Ok(pb::MemberListResponse {
            // Membership has no revision.
            header: Some(self.header(0)),
            members: self.config.members.iter().map(member).collect(),
        })
    }
}

fn member(member: &Member) -> pb::Member {
    let Member {
        id,
        name,
        peer_urls,
        client_urls,
        learner,
    } = member;
    pb::Member {
        id: id.0,
        name: name.clone(),
        peer_ur_ls: peer_urls.clone(),
        client_ur_ls: client_urls.clone(),
        is_learner: *learner,
    }
}
