//! The service `etcdserverpb.Auth`, as etcd answers it while authentication is off and no user and
//! no role was ever made. None can be made yet.

use crate::{Server, errors};
use synod_api::etcdserverpb as pb;
use tonic::Status;

/// What etcd counts from: nothing of users and roles was ever changed.
const REVISION: u64 = 1;

pub(crate) fn enable(
    pb::AuthEnableRequest {}: &pb::AuthEnableRequest,
) -> Result<pb::AuthEnableResponse, Status> {
    Err(errors::ROOT_USER_MISSING.into())
}

pub(crate) fn authenticate(
    _: &pb::AuthenticateRequest,
) -> Result<pb::AuthenticateResponse, Status> {
    Err(errors::AUTH_NOT_ENABLED.into())
}

pub(crate) fn user_add(
    request: &pb::AuthUserAddRequest,
) -> Result<pb::AuthUserAddResponse, Status> {
    if request.name.is_empty() {
        return Err(errors::USER_NAME_EMPTY.into());
    }
    Err(Status::unimplemented(
        "this version of Synod has no users: whoever reaches it may do everything",
    ))
}

pub(crate) fn user_get(_: &pb::AuthUserGetRequest) -> Result<pb::AuthUserGetResponse, Status> {
    Err(errors::USER_NOT_FOUND.into())
}

pub(crate) fn user_delete(
    _: &pb::AuthUserDeleteRequest,
) -> Result<pb::AuthUserDeleteResponse, Status> {
    Err(errors::USER_NOT_FOUND.into())
}

pub(crate) fn user_change_password(
    _: &pb::AuthUserChangePasswordRequest,
) -> Result<pb::AuthUserChangePasswordResponse, Status> {
    Err(errors::USER_NOT_FOUND.into())
}

pub(crate) fn user_grant_role(
    _: &pb::AuthUserGrantRoleRequest,
) -> Result<pb::AuthUserGrantRoleResponse, Status> {
    Err(errors::USER_NOT_FOUND.into())
}

pub(crate) fn user_revoke_role(
    _: &pb::AuthUserRevokeRoleRequest,
) -> Result<pb::AuthUserRevokeRoleResponse, Status> {
    Err(errors::USER_NOT_FOUND.into())
}

pub(crate) fn role_add(
    request: &pb::AuthRoleAddRequest,
) -> Result<pb::AuthRoleAddResponse, Status> {
    if request.name.is_empty() {
        return Err(errors::ROLE_NAME_EMPTY.into());
    }
    Err(Status::unimplemented(
        "this version of Synod has no roles: whoever reaches it may do everything",
    ))
}

pub(crate) fn role_get(_: &pb::AuthRoleGetRequest) -> Result<pb::AuthRoleGetResponse, Status> {
    Err(errors::ROLE_NOT_FOUND.into())
}

pub(crate) fn role_delete(
    _: &pb::AuthRoleDeleteRequest,
) -> Result<pb::AuthRoleDeleteResponse, Status> {
    Err(errors::ROLE_NOT_FOUND.into())
}

pub(crate) fn role_grant_permission(
    request: &pb::AuthRoleGrantPermissionRequest,
) -> Result<pb::AuthRoleGrantPermissionResponse, Status> {
    Err(if request.perm.is_none() {
        errors::PERMISSION_MISSING.into()
    } else {
        errors::ROLE_NOT_FOUND.into()
    })
}

pub(crate) fn role_revoke_permission(
    _: &pb::AuthRoleRevokePermissionRequest,
) -> Result<pb::AuthRoleRevokePermissionResponse, Status> {
    Err(errors::ROLE_NOT_FOUND.into())
}

impl Server {
    /// It is off already.
    pub(crate) fn auth_disable(
        &self,
        pb::AuthDisableRequest {}: &pb::AuthDisableRequest,
    ) -> pb::AuthDisableResponse {
        pb::AuthDisableResponse {
            header: Some(self.present_header()),
        }
    }

    pub(crate) fn auth_status(
        &self,
        pb::AuthStatusRequest {}: &pb::AuthStatusRequest,
    ) -> pb::AuthStatusResponse {
        pb::AuthStatusResponse {
            header: Some(self.present_header()),
            enabled: false,
            auth_revision: REVISION,
        }
    }

    pub(crate) fn user_list(
        &self,
        pb::AuthUserListRequest {}: &pb::AuthUserListRequest,
    ) -> pb::AuthUserListResponse {
        pb::AuthUserListResponse {
            header: Some(self.present_header()),
            users: Vec::new(),
        }
    }

    pub(crate) fn role_list(
        &self,
        pb::AuthRoleListRequest {}: &pb::AuthRoleListRequest,
    ) -> pb::AuthRoleListResponse {
        pb::AuthRoleListResponse {
            header: Some(self.present_header()),
            roles: Vec::new(),
        }
    }

    fn present_header(&self) -> pb::ResponseHeader {
        self.header(self.node.root().revision())
    }
}
