//! The service `etcdserverpb.Maintenance`.

use crate::call::Call;
use crate::errors::Error;
use crate::kv::mismatch;
use crate::{Server, errors};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::alarm_request::AlarmAction;
use synod_api::etcdserverpb::downgrade_request::DowngradeAction;
use synod_env::world::DeadlinePassed;
use synod_env::{MemberId, oneshot};
use synod_log::{Role, Status as EngineStatus};
use synod_node::{Consistency, Failure};
use synod_state::Root;
use synod_state::command::{Alarm, AlarmKind, Command};
use synod_state::reply::{Body, Reply};
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
        errors.extend(root.alarms().map(|Alarm { kind, member }| {
            let name = alarm_name(kind);
            // etcd's texts end like this.
            format!("memberID:{} alarm:{name} ", member.0)
        }));
        let (committed, applied) = indexes(&root, &status);
        let bytes = i64::try_from(root.bytes()).unwrap_or(i64::MAX);
        pb::StatusResponse {
            header: Some(self.header(root.revision())),
            version: self.config.api_version.to_string(),
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
            storage_version: self.config.api_version.of_cluster().to_string(),
            db_size_quota: i64::try_from(root.quota_bytes()).unwrap_or(i64::MAX),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: false,
                target_version: String::new(),
            }),
        }
    }

    /// Tells, raises and clears alarms.
    pub(crate) async fn alarm(
        &self,
        request: pb::AlarmRequest,
        call: Call,
    ) -> Result<pb::AlarmResponse, Status> {
        let pb::AlarmRequest {
            action,
            member_id,
            alarm,
        } = request;
        let action = AlarmAction::try_from(action).map_err(|_| errors::UNKNOWN_METHOD)?;
        let kind = alarm_kind(alarm)?;
        let (revision, alarms) = match (action, kind) {
            // As in etcd, the member's number does not matter here.
            (AlarmAction::Get, kind) => {
                let read = self.node.read(Consistency::Linearizable, call.deadline);
                let root = read.await.map_err(|failure| call.status(&failure))?;
                let is_asked = |alarm: &Alarm| kind.is_none_or(|kind| alarm.kind == kind);
                let alarms = root.alarms().filter(is_asked).collect();
                (root.revision(), alarms)
            }
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => {
                (self.node.root().revision(), Vec::new())
            }
            (AlarmAction::Activate | AlarmAction::Deactivate, Some(kind)) => {
                let member = MemberId(member_id);
                let alarm = Alarm { kind, member };
                let raised = action == AlarmAction::Activate;
                let Reply { revision, body } = self
                    .propose(Command::SetAlarm { alarm, raised }, call)
                    .await?;
                let Body::SetAlarm { changed } = body else {
                    mismatch(&body)
                };
                // What was raised before is shown all the same; what was not there is not.
                let is_shown = raised || changed;
                (revision, is_shown.then_some(alarm).into_iter().collect())
            }
        };
        Ok(pb::AlarmResponse {
            header: Some(self.header(revision)),
            alarms: alarms.into_iter().map(alarm_member).collect(),
        })
    }

    /// There is nothing to defragment: what is not needed any more is given back as it goes.
    #[expect(clippy::unused_self, reason = "it is a method like the others")]
    pub(crate) fn defragment(
        &self,
        pb::DefragmentRequest {}: &pb::DefragmentRequest,
    ) -> pb::DefragmentResponse {
        tracing::info!("asked to defragment: there is nothing to do, now or ever");
        pb::DefragmentResponse { header: None }
    }

    /// Hashes all that this member has applied. It tells two members apart only if both have
    /// applied the same entries.
    pub(crate) fn hash(&self, pb::HashRequest {}: &pb::HashRequest) -> pb::HashResponse {
        let root = self.node.root();
        let [hash @ .., _, _, _, _, _, _, _, _, _, _, _, _] = root.hash().to_le_bytes();
        pb::HashResponse {
            header: Some(self.header(root.revision())),
            hash: u32::from_le_bytes(hash),
        }
    }

    /// Hashes what can be read of the keys up to a revision.
    pub(crate) async fn hash_kv(
        &self,
        request: pb::HashKvRequest,
        call: Call,
    ) -> Result<pb::HashKvResponse, Status> {
        let pb::HashKvRequest { revision } = request;
        let root = self.node.root();
        let header = self.header(root.revision());
        let scan = self.scans.begin()?;
        let (done, hashed) = oneshot::channel();
        self.node.env().spawn_background("hash", async move {
            let _unwanted = done.send(root.history_hash(revision));
            drop(scan);
        });
        let hashed = match self.node.env().deadline(call.patience(), hashed).await {
            Ok(Ok(hashed)) => hashed.map_err(Error::refused)?,
            Ok(Err(oneshot::Dropped)) => return Err(call.status(&Failure::Stopped)),
            Err(DeadlinePassed) => return Err(errors::DEADLINE_EXCEEDED.into()),
        };
        Ok(pb::HashKvResponse {
            header: Some(header),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision,
            hash_revision: hashed.revision,
        })
    }

    /// Hands the leadership to another member. None can take it yet.
    pub(crate) fn move_leader(
        &self,
        request: &pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, Status> {
        let pb::MoveLeaderRequest { target_id } = request;
        if !self.node.leads() {
            return Err(errors::NOT_LEADER.into());
        }
        let own = self.node.member().0;
        let mut members = self.config.members.iter();
        if !members.any(|member| member.id.0 == *target_id && !member.learner) {
            return Err(errors::BAD_LEADER_TRANSFEREE.into());
        }
        if *target_id == own {
            return Ok(pb::MoveLeaderResponse { header: None });
        }
        Err(Status::unimplemented(
            "this version of Synod does not move the leadership on request",
        ))
    }

    /// Says that there is no version to go down to: each build reads what earlier ones wrote, and
    /// none is taken apart for an earlier one.
    #[expect(clippy::unused_self, reason = "it is a method like the others")]
    pub(crate) fn downgrade(
        &self,
        request: &pb::DowngradeRequest,
    ) -> Result<pb::DowngradeResponse, Status> {
        let pb::DowngradeRequest { action, version } = request;
        Err(match DowngradeAction::try_from(*action) {
            Ok(DowngradeAction::Validate | DowngradeAction::Enable) => {
                if is_version(version) {
                    errors::DOWNGRADE_TARGET.into()
                } else {
                    errors::DOWNGRADE_FORMAT.into()
                }
            }
            Ok(DowngradeAction::Cancel) => errors::NO_DOWNGRADE.into(),
            Err(_) => errors::UNKNOWN_METHOD.into(),
        })
    }
}

/// The kind of an alarm on the wire; `None` for none in particular.
fn alarm_kind(alarm: i32) -> Result<Option<AlarmKind>, Status> {
    match pb::AlarmType::try_from(alarm) {
        Ok(pb::AlarmType::None) => Ok(None),
        Ok(pb::AlarmType::Nospace) => Ok(Some(AlarmKind::NoSpace)),
        Ok(pb::AlarmType::Corrupt) => Ok(Some(AlarmKind::Corrupt)),
        Err(_) => Err(errors::ALARM_UNKNOWN.into()),
    }
}

fn alarm_member(Alarm { kind, member }: Alarm) -> pb::AlarmMember {
    let alarm = match kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember {
        member_id: member.0,
        alarm: alarm.into(),
    }
}

/// An alarm's name on the wire.
pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// Two or three numbers with points between them.
fn is_version(text: &str) -> bool {
    let numbers = text.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(numbers.clone().count(), 2 | 3) && numbers.into_iter().all(is_number)
}

/// The last entry known to be committed, and the last applied. The engine's status may lag behind
/// the state: what is applied was committed.
pub(crate) fn indexes(root: &Root, status: &EngineStatus) -> (u64, u64) {
    let applied = status.applied.0.max(root.index());
    (status.committed.0.max(applied), applied)
}
