//! The service `etcdserverpb.Maintenance`.

use crate::{ETCD_API_VERSION, ETCD_STORAGE_VERSION, Server, errors};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::alarm_request::AlarmAction;
use synod_log::{Role, Status as EngineStatus};
use synod_state::Root;
use tonic::Status;

impl Server {
    /// How this member is, by its own knowledge.
    pub(crate) fn status(&self) -> pb::StatusResponse {
        let root = self.node.root();
        let status = self.node.status();
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push(errors::NO_LEADER.text.to_owned());
        }
        if root.bytes() >= root.quota_bytes() {
            errors.push(format!("memberID:{} alarm:NOSPACE ", self.node.member().0));
        }
        let (committed, applied) = indexes(&root, &status);
        let bytes = i64::try_from(root.bytes()).unwrap_or(i64::MAX);
        pb::StatusResponse {
            header: Some(self.header(root.revision())),
            version: ETCD_API_VERSION.to_owned(),
            db_size: bytes,
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: committed,
            raft_term: status.epoch.0,
            raft_applied_index: applied,
            errors,
            db_size_in_use: bytes,
            is_learner: match status.role {
                Role::Learner => true,
                Role::Leader | Role::Follower | Role::Candidate => false,
            },
            storage_version: ETCD_STORAGE_VERSION.to_owned(),
            db_size_quota: i64::try_from(root.quota_bytes()).unwrap_or(i64::MAX),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: false,
                target_version: String::new(),
            }),
        }
    }

    /// The alarms that are raised.
    ///
    /// An alarm follows from the state: it is there while the state has reached its quota, and none
    /// is set or cleared by hand. `etcdctl endpoint health` asks for them before it calls a member
    /// healthy.
    pub(crate) fn alarms(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let pb::AlarmRequest {
            action,
            member_id,
            alarm,
        } = request;
        if action != i32::from(AlarmAction::Get) {
            return Err(Status::unimplemented(
                "alarms follow the state; none is set or cleared by hand",
            ));
        }
        let (root, member) = (self.node.root(), self.node.member().0);
        let nospace = i32::from(pb::AlarmType::Nospace);
        let is_asked = (member_id == 0 || member_id == member)
            && (alarm == i32::from(pb::AlarmType::None) || alarm == nospace);
        let is_raised = root.bytes() >= root.quota_bytes();
        let raised = (is_asked && is_raised).then_some(pb::AlarmMember {
            member_id: member,
            alarm: nospace,
        });
        Ok(pb::AlarmResponse {
            header: Some(self.header(root.revision())),
            alarms: raised.into_iter().collect(),
        })
    }
}

/// The last entry known to be committed, and the last applied. The engine's status may lag behind
/// the state: what is applied was committed.
pub(crate) fn indexes(root: &Root, status: &EngineStatus) -> (u64, u64) {
    let applied = status.applied.0.max(root.index());
    (status.committed.0.max(applied), applied)
}
