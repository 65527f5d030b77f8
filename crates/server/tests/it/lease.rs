//! The service Lease, on a real socket.

use crate::member::{error, get, header, put, requests, soon, start};
use synod_api::etcdserverpb as pb;
use tonic::Code;

#[tokio::test]
async fn a_lease_is_granted_what_it_asks_for_but_no_less_than_the_least() {
    let member = start().await;
    let granted = member.grant(60, 5).await;
    let expected = pb::LeaseGrantResponse {
        header: header(1),
        id: 5,
        ttl: 60,
        error: String::new(),
    };
    assert_eq!(granted, expected);
    assert_eq!(member.grant(1, 6).await.ttl, 2);
    assert_eq!(member.grant(-1, 7).await.ttl, 2);
    assert!(member.grant(60, 0).await.id > 0);

    let mut lease = member.lease();
    let again = soon(lease.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 5 })).await;
    let exists = "etcdserver: lease already exists";
    assert_eq!(error(again), (Code::FailedPrecondition, exists.into()));
    let long = pb::LeaseGrantRequest {
        ttl: 9_000_000_001,
        id: 0,
    };
    let refused = error(soon(lease.lease_grant(long)).await);
    assert_eq!(
        refused,
        (Code::OutOfRange, "etcdserver: too large lease TTL".into())
    );
}

#[tokio::test]
async fn a_lease_takes_its_keys_with_it() {
    let member = start().await;
    member.grant(60, 5).await;
    for key in ["b", "a"] {
        let request = pb::PutRequest {
            lease: 5,
            ..put(key, "")
        };
        soon(member.kv().put(request)).await.unwrap();
    }
    let mut lease = member.lease();
    let ask = |keys| pb::LeaseTimeToLiveRequest { id: 5, keys };
    let times = soon(lease.lease_time_to_live(ask(true)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (times.header, times.id, times.granted_ttl),
        (header(3), 5, 60)
    );
    assert!((0..=60).contains(&times.ttl), "{times:?}");
    assert_eq!(times.keys, ["a", "b"]);
    let times = soon(lease.lease_time_to_live(ask(false)))
        .await
        .unwrap()
        .into_inner();
    assert!(times.keys.is_empty());

    let revoke = pb::LeaseRevokeRequest { id: 5 };
    let revoked = soon(lease.lease_revoke(revoke)).await.unwrap().into_inner();
    assert_eq!(revoked.header, header(4));
    let gone = soon(member.kv().range(get("a")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(gone.count, 0);
    let refused = error(soon(lease.lease_revoke(revoke)).await);
    assert_eq!(
        refused,
        (
            Code::NotFound,
            "etcdserver: requested lease not found".into()
        )
    );
}

#[tokio::test]
async fn a_lease_that_does_not_exist_has_a_time_to_live_of_minus_one() {
    let member = start().await;
    let ask = pb::LeaseTimeToLiveRequest { id: 5, keys: true };
    let times = soon(member.lease().lease_time_to_live(ask))
        .await
        .unwrap()
        .into_inner();
    let expected = pb::LeaseTimeToLiveResponse {
        header: header(1),
        id: 5,
        ttl: -1,
        ..Default::default()
    };
    assert_eq!(times, expected);
}

#[tokio::test]
async fn all_leases_are_listed() {
    let member = start().await;
    for id in [9, 3, 6] {
        member.grant(60, id).await;
    }
    let request = pb::LeaseLeasesRequest {};
    let listed = soon(member.lease().lease_leases(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.header, header(1));
    let ids: Vec<i64> = listed.leases.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [3, 6, 9]);
}

#[tokio::test]
async fn renewals_are_answered_in_order_and_unknown_leases_with_zero() {
    let member = start().await;
    member.grant(60, 5).await;
    member.grant(30, 6).await;
    let (sender, stream) = requests();
    let opened = soon(member.lease().lease_keep_alive(stream)).await;
    let mut answers = opened.expect("a stream opens at once").into_inner();
    for id in [5, 99, 6, 5] {
        sender.try_send(pb::LeaseKeepAliveRequest { id }).unwrap();
    }
    for (id, ttl) in [(5, 60), (99, 0), (6, 30), (5, 60)] {
        let answer = soon(answers.message())
            .await
            .unwrap()
            .expect("the stream goes on");
        assert_eq!(
            answer,
            pb::LeaseKeepAliveResponse {
                header: header(1),
                id,
                ttl
            }
        );
    }
    // The client closes its side, and the stream ends well.
    drop(sender);
    assert_eq!(soon(answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn renewal_streams_end_when_the_server_stops() {
    let mut member = start().await;
    let (_sender, stream) = requests();
    let opened = soon(member.lease().lease_keep_alive(stream)).await;
    let mut answers = opened.expect("a stream opens at once").into_inner();
    member.shut_down();
    let ended = error(soon(answers.message()).await);
    assert_eq!(
        ended,
        (Code::Unavailable, "etcdserver: server stopped".into())
    );
}
