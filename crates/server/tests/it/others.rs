//! Cluster, maintenance, health, and what is not served yet.

use crate::member::{EPOCH, MEMBER, error, header, soon, start};
use synod_api::authpb::Permission;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::auth_client::AuthClient;
use synod_api::etcdserverpb::cluster_client::ClusterClient;
use synod_api::etcdserverpb::maintenance_client::MaintenanceClient;
use synod_api::health::HealthCheckRequest;
use synod_api::health::health_check_response::ServingStatus;
use synod_api::health::health_client::HealthClient;
use tonic::Code;

#[tokio::test]
async fn the_members_are_listed() {
    let member = start().await;
    let mut cluster = ClusterClient::new(member.channel());
    for linearizable in [false, true] {
        let request = pb::MemberListRequest { linearizable };
        let listed = soon(cluster.member_list(request))
            .await
            .unwrap()
            .into_inner();
        // Membership has no revision.
        assert_eq!(listed.header, header(0));
        let expected = pb::Member {
            id: MEMBER.0,
            name: "solo".into(),
            peer_ur_ls: vec!["http://127.0.0.1:2380".into()],
            client_ur_ls: vec!["http://127.0.0.1:2379".into()],
            is_learner: false,
        };
        assert_eq!(listed.members, [expected]);
    }
}

#[tokio::test]
async fn the_status_says_what_probes_look_for() {
    let member = start().await;
    member.put("a", "one").await;
    let mut maintenance = MaintenanceClient::new(member.channel());
    let status = soon(maintenance.status(pb::StatusRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.header, header(2));
    assert_eq!((status.leader, status.raft_term), (MEMBER.0, EPOCH));
    assert!(status.raft_index >= status.raft_applied_index, "{status:?}");
    assert!(status.db_size > 0);
    assert!(status.db_size_quota >= status.db_size);
    assert!(status.errors.is_empty(), "{status:?}");
    let version: Vec<u32> = status
        .version
        .split('.')
        .map(|part| part.parse().expect("a number"))
        .collect();
    assert!(version.len() == 3, "{version:?}");
    assert!(version >= vec![3, 6, 0], "{version:?}");

    member.put("a", "two").await;
    let applied = status.raft_applied_index;
    let status = soon(maintenance.status(pb::StatusRequest {})).await;
    let status = status.unwrap().into_inner();
    assert!(status.raft_applied_index > applied, "{status:?}");

    member.engine.depose();
    let status = soon(maintenance.status(pb::StatusRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.leader, 0);
    assert_eq!(status.errors, ["etcdserver: no leader"]);
}

#[tokio::test]
async fn health_is_that_of_the_server_as_a_whole() {
    let mut member = start().await;
    let mut health = HealthClient::new(member.channel());
    let ask = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let whole = soon(health.check(ask(""))).await.unwrap().into_inner();
    assert_eq!(whole.status(), ServingStatus::Serving);
    let unknown = error(soon(health.check(ask("nobody"))).await);
    assert_eq!(unknown, (Code::NotFound, "unknown service".into()));

    let mut states = soon(health.watch(ask(""))).await.unwrap().into_inner();
    let now = soon(states.message())
        .await
        .unwrap()
        .expect("the stream goes on");
    assert_eq!(now.status(), ServingStatus::Serving);
    let mut unknown = soon(health.watch(ask("nobody")))
        .await
        .unwrap()
        .into_inner();
    let now = soon(unknown.message())
        .await
        .unwrap()
        .expect("the stream goes on");
    assert_eq!(now.status(), ServingStatus::ServiceUnknown);
    drop(unknown);

    member.shut_down();
    let ended = error(soon(states.message()).await);
    assert_eq!(
        ended,
        (Code::Unavailable, "etcdserver: server stopped".into())
    );
}

#[tokio::test]
async fn what_is_not_served_says_so_in_a_sentence() {
    let member = start().await;
    let channel = member.channel();
    let sentence = |method: &str| {
        (
            Code::Unimplemented,
            format!("this version of Synod does not serve {method}"),
        )
    };

    let mut cluster = ClusterClient::new(channel);
    let refused = error(soon(cluster.member_add(pb::MemberAddRequest::default())).await);
    assert_eq!(refused, sentence("etcdserverpb.Cluster/MemberAdd"));
}

#[tokio::test]
async fn users_and_roles_are_answered_for_as_while_authentication_is_off() {
    let member = start().await;
    let mut auth = AuthClient::new(member.channel());
    let status = soon(auth.auth_status(pb::AuthStatusRequest {})).await;
    let off = pb::AuthStatusResponse {
        header: header(1),
        enabled: false,
        auth_revision: 1,
    };
    assert_eq!(status.unwrap().into_inner(), off);
    let disabled = soon(auth.auth_disable(pb::AuthDisableRequest {})).await;
    assert_eq!(disabled.unwrap().into_inner().header, header(1));
    let users = soon(auth.user_list(pb::AuthUserListRequest {})).await;
    assert_eq!(users.unwrap().into_inner().users, [""; 0]);
    let roles = soon(auth.role_list(pb::AuthRoleListRequest {})).await;
    assert_eq!(roles.unwrap().into_inner().roles, [""; 0]);

    let precondition = |text: &str| (Code::FailedPrecondition, text.to_owned());
    let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
    let enabled = soon(auth.auth_enable(pb::AuthEnableRequest {})).await;
    let no_root = precondition("etcdserver: root user does not exist");
    assert_eq!(error(enabled), no_root);
    let authenticated = soon(auth.authenticate(pb::AuthenticateRequest::default())).await;
    let off = precondition("etcdserver: authentication is not enabled");
    assert_eq!(error(authenticated), off);

    let no_user = precondition("etcdserver: user name not found");
    let got = soon(auth.user_get(pb::AuthUserGetRequest::default())).await;
    assert_eq!(error(got), no_user);
    let deleted = soon(auth.user_delete(pb::AuthUserDeleteRequest::default())).await;
    assert_eq!(error(deleted), no_user);
    let change = pb::AuthUserChangePasswordRequest::default();
    assert_eq!(
        error(soon(auth.user_change_password(change)).await),
        no_user
    );
    let grant = pb::AuthUserGrantRoleRequest::default();
    assert_eq!(error(soon(auth.user_grant_role(grant)).await), no_user);
    let revoke = pb::AuthUserRevokeRoleRequest::default();
    assert_eq!(error(soon(auth.user_revoke_role(revoke)).await), no_user);

    let no_role = precondition("etcdserver: role name not found");
    let got = soon(auth.role_get(pb::AuthRoleGetRequest::default())).await;
    assert_eq!(error(got), no_role);
    let deleted = soon(auth.role_delete(pb::AuthRoleDeleteRequest::default())).await;
    assert_eq!(error(deleted), no_role);
    let grant = pb::AuthRoleGrantPermissionRequest::default();
    let nothing = error(soon(auth.role_grant_permission(grant)).await);
    assert_eq!(nothing, invalid("etcdserver: permission not given"));
    let grant = pb::AuthRoleGrantPermissionRequest {
        perm: Some(Permission::default()),
        ..pb::AuthRoleGrantPermissionRequest::default()
    };
    assert_eq!(
        error(soon(auth.role_grant_permission(grant)).await),
        no_role
    );
    let revoke = pb::AuthRoleRevokePermissionRequest::default();
    assert_eq!(
        error(soon(auth.role_revoke_permission(revoke)).await),
        no_role
    );

    let user = |name: &str| pb::AuthUserAddRequest {
        name: name.into(),
        ..pb::AuthUserAddRequest::default()
    };
    let nameless = error(soon(auth.user_add(user(""))).await);
    assert_eq!(nameless, invalid("etcdserver: user name is empty"));
    let (code, _) = error(soon(auth.user_add(user("ada"))).await);
    assert_eq!(code, Code::Unimplemented);
    let role = |name: &str| pb::AuthRoleAddRequest { name: name.into() };
    let nameless = error(soon(auth.role_add(role(""))).await);
    assert_eq!(nameless, invalid("etcdserver: role name is empty"));
    let (code, _) = error(soon(auth.role_add(role("reader"))).await);
    assert_eq!(code, Code::Unimplemented);
}
