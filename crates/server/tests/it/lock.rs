//! The service Lock, on a real socket.

use crate::member::{Running, config, error, get, header, heard, soon, spawn, start, start_with};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_api::v3lockpb::lock_client::LockClient;
use synod_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use synod_env::Limits;
use synod_state::reply::EventKind;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};

fn request(name: &str, lease: i64) -> LockRequest {
    LockRequest {
        name: name.to_owned().into(),
        lease,
    }
}

async fn lock(member: &Running, request: impl tonic::IntoRequest<LockRequest>) -> Answer {
    let mut client = LockClient::new(member.channel());
    let locked = soon(client.lock(request)).await;
    locked.map(tonic::Response::into_inner)
}

type Answer = Result<LockResponse, Status>;

/// Asks for a lock in the background.
fn ask(member: &Running, request: impl tonic::IntoRequest<LockRequest>) -> JoinHandle<Answer> {
    let mut client = LockClient::new(member.channel());
    let request = request.into_request();
    spawn(async move { client.lock(request).await.map(tonic::Response::into_inner) })
}

async fn unlock(member: &Running, key: &str) -> i64 {
    let mut client = LockClient::new(member.channel());
    let key = key.to_owned().into();
    let unlocked = soon(client.unlock(UnlockRequest { key })).await;
    let unlocked = unlocked.expect("to unlock is no fault").into_inner();
    unlocked.header.expect("there is a header").revision
}

/// The first of three leases holds the lock; the others wait, in their order.
async fn line_of_three(member: &Running) -> (JoinHandle<Answer>, JoinHandle<Answer>) {
    for lease in 1..=3 {
        member.grant(60, lease).await;
    }
    lock(member, request("m", 1))
        .await
        .expect("the lock is free");
    let second = ask(member, request("m", 2));
    heard(member, "m/2", EventKind::Put).await;
    let third = ask(member, request("m", 3));
    heard(member, "m/3", EventKind::Put).await;
    (second, third)
}

async fn count(member: &Running, key: &str) -> i64 {
    let found = soon(member.kv().range(get(key))).await;
    found.expect("a key can be read").into_inner().count
}

#[tokio::test]
async fn a_free_lock_is_had_at_once_under_the_leases_key() {
    let member = start().await;
    member.grant(60, 17).await;
    let expected = LockResponse {
        header: header(2),
        key: "m/11".into(),
    };
    assert_eq!(lock(&member, request("m", 17)).await.unwrap(), expected);
    // Whoever has it gets it again, and nothing is written.
    assert_eq!(lock(&member, request("m", 17)).await.unwrap(), expected);
    assert_eq!(unlock(&member, "m/11").await, 3);
    assert_eq!(unlock(&member, "m/11").await, 3);
}

#[tokio::test]
async fn who_names_no_lease_gets_one_of_a_minute() {
    let member = start().await;
    let locked = lock(&member, request("m", 0)).await.unwrap();
    let ask = pb::RangeRequest {
        key: locked.key.clone(),
        ..pb::RangeRequest::default()
    };
    let found = soon(member.kv().range(ask)).await.unwrap();
    let lease = found.into_inner().kvs[0].lease;
    assert_eq!(locked.key, format!("m/{lease:x}"));
    let times = pb::LeaseTimeToLiveRequest {
        id: lease,
        keys: false,
    };
    let times = soon(member.lease().lease_time_to_live(times)).await;
    assert_eq!(times.unwrap().into_inner().granted_ttl, 60);
}

#[tokio::test]
async fn a_refusal_has_its_text_and_no_code_of_its_own() {
    let member = start().await;
    for lease in [999, -5] {
        let refused = error(lock(&member, request("m", lease)).await);
        let unknown = "etcdserver: requested lease not found";
        assert_eq!(refused, (Code::Unknown, unknown.into()));
    }
    let mut client = LockClient::new(member.channel());
    let refused = error(soon(client.unlock(UnlockRequest::default())).await);
    assert_eq!(
        refused,
        (Code::Unknown, "etcdserver: key is not provided".into())
    );
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_in_the_order_of_asking() {
    let member = start().await;
    let (second, third) = line_of_three(&member).await;
    // A key that comes later, or is of another lock, is in nobody's way.
    member.put("m/4", "").await;
    member.put("n/1", "").await;

    assert_eq!(unlock(&member, "m/1").await, 7);
    let locked = soon(second).await.unwrap().unwrap();
    let expected = LockResponse {
        header: header(7),
        key: "m/2".into(),
    };
    assert_eq!(locked, expected);
    assert!(!third.is_finished());
    unlock(&member, "m/2").await;
    assert_eq!(soon(third).await.unwrap().unwrap().key, "m/3");
}

#[tokio::test]
async fn who_waits_in_the_middle_may_go() {
    let member = start().await;
    let (second, third) = line_of_three(&member).await;
    // The client vanishes; its place goes too, and the third now waits for the first.
    second.abort();
    heard(&member, "m/2", EventKind::Delete).await;
    unlock(&member, "m/1").await;
    assert_eq!(soon(third).await.unwrap().unwrap().key, "m/3");
}

#[tokio::test]
async fn who_loses_patience_loses_its_place() {
    let member = start().await;
    for lease in 1..=2 {
        member.grant(60, lease).await;
    }
    lock(&member, request("m", 1)).await.unwrap();
    let mut impatient = Request::new(request("m", 2));
    impatient.set_timeout(Duration::from_millis(300));
    assert!(lock(&member, impatient).await.is_err());
    heard(&member, "m/2", EventKind::Delete).await;
    assert_eq!(count(&member, "m/1").await, 1);
}

#[tokio::test]
async fn a_lease_that_ends_ends_the_wait_at_once() {
    let member = start().await;
    for lease in 1..=2 {
        member.grant(60, lease).await;
    }
    lock(&member, request("m", 1)).await.unwrap();
    let second = ask(&member, request("m", 2));
    heard(&member, "m/2", EventKind::Put).await;
    let revoke = pb::LeaseRevokeRequest { id: 2 };
    soon(member.lease().lease_revoke(revoke)).await.unwrap();
    let refused = error(soon(second).await.unwrap());
    assert_eq!(refused, (Code::Unknown, "mutex: session is expired".into()));
    assert_eq!(count(&member, "m/1").await, 1);
}

#[tokio::test]
async fn a_holder_whose_wait_for_its_own_lock_breaks_off_keeps_it() {
    let member = start().await;
    member.grant(60, 1).await;
    lock(&member, request("m", 1)).await.unwrap();
    for _ in 0..8 {
        let again = ask(&member, request("m", 1));
        again.abort();
    }
    // The last of the aborted requests that got through is done before this one.
    assert_eq!(
        lock(&member, request("m", 1)).await.unwrap().header,
        header(2)
    );
    assert_eq!(count(&member, "m/1").await, 1);
}

#[tokio::test]
async fn who_waits_is_sent_elsewhere_and_keeps_its_place() {
    let mut member = start().await;
    for lease in 1..=2 {
        member.grant(60, lease).await;
    }
    lock(&member, request("m", 1)).await.unwrap();
    let second = ask(&member, request("m", 2));
    heard(&member, "m/2", EventKind::Put).await;
    member.shut_down();
    let refused = error(soon(second).await.unwrap());
    assert_eq!(
        refused,
        (Code::Unavailable, "etcdserver: server stopped".into())
    );
    let root = member.node.root();
    assert_eq!((root.revision(), root.lease_keys(2).count()), (3, 1));
}

#[tokio::test]
async fn who_insists_on_a_leader_does_not_wait_without_one() {
    let config = synod_server::Config {
        leaderless_max: Duration::from_millis(200),
        ..config()
    };
    let member = start_with(Limits::default(), config).await;
    for lease in 1..=3 {
        member.grant(60, lease).await;
    }
    lock(&member, request("m", 1)).await.unwrap();
    let mut insistent = Request::new(request("m", 2));
    let metadata = insistent.metadata_mut();
    metadata.insert("hasleader", "true".parse().unwrap());
    let insistent = ask(&member, insistent);
    heard(&member, "m/2", EventKind::Put).await;
    let patient = ask(&member, request("m", 3));
    heard(&member, "m/3", EventKind::Put).await;
    member.engine.depose();
    let refused = error(soon(insistent).await.unwrap());
    assert_eq!(refused, (Code::Unavailable, "etcdserver: no leader".into()));
    assert!(!patient.is_finished());
}
