//! Cluster, maintenance, health, and what is not served yet.

use crate::member::{EPOCH, MEMBER, error, header, soon, start};
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

    let mut auth = AuthClient::new(channel.clone());
    let refused = error(soon(auth.auth_status(pb::AuthStatusRequest {})).await);
    assert_eq!(refused, sentence("etcdserverpb.Auth/AuthStatus"));
    let mut cluster = ClusterClient::new(channel.clone());
    let refused = error(soon(cluster.member_add(pb::MemberAddRequest::default())).await);
    assert_eq!(refused, sentence("etcdserverpb.Cluster/MemberAdd"));
    let mut maintenance = MaintenanceClient::new(channel);
    let refused = error(
        soon(maintenance.snapshot(pb::SnapshotRequest {}))
            .await
            .map(|_| ()),
    );
    assert_eq!(refused, sentence("etcdserverpb.Maintenance/Snapshot"));
}
