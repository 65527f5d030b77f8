//! Leases that are held.

use crate::member::{Dir, Member, get, put, soon};
use synod_api::etcdserverpb as pb;
use synod_client::{Error, LossReason, Standing};
use tonic::Code;

fn for_seconds(ttl: i64) -> pb::LeaseGrantRequest {
    pb::LeaseGrantRequest { ttl, id: 0 }
}

#[tokio::test]
async fn a_held_lease_is_valid_until_somebody_ends_it() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    // The shortest there is: the renewal that tells the holder comes soon.
    let mut lease = soon(client.hold_lease(for_seconds(2))).await.unwrap();
    assert!(matches!(lease.standing(), Standing::Held(_)));
    let revoke = pb::LeaseRevokeRequest { id: lease.id() };
    soon(client.lease_revoke(revoke)).await.unwrap();
    let lost = Standing::Lost(LossReason::Ended);
    assert_eq!(soon(lease.invalid()).await, lost);
    assert!(!lease.is_valid());
}

#[tokio::test]
async fn a_lease_whose_member_is_gone_lapses_and_comes_back_with_it() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    let mut lease = soon(client.hold_lease(for_seconds(2))).await.unwrap();
    let address = member.stop().await;
    assert_eq!(soon(lease.invalid()).await, Standing::Lapsed);
    // No lease expires while nobody leads, so this one lives on, for a holder that is still there.
    let member = Member::start_at(&dir, address).await;
    soon(lease.valid()).await.unwrap();
    let other = soon(client.hold_existing_lease(lease.id())).await.unwrap();
    assert!(other.is_valid());
    soon(lease.revoke()).await.unwrap();
    member.stop().await;
}

#[tokio::test]
async fn ending_a_lease_deletes_its_keys() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    let lease = soon(client.hold_lease(for_seconds(60))).await.unwrap();
    let id = lease.id();
    let attached = pb::PutRequest {
        lease: id,
        ..put("a", "1")
    };
    soon(client.put(attached)).await.unwrap();
    let asked = pb::LeaseTimeToLiveRequest { id, keys: true };
    let times = soon(client.lease_time_to_live(asked)).await.unwrap();
    assert_eq!((times.granted_ttl, times.keys.len()), (60, 1));
    assert_eq!(soon(client.lease_list()).await.unwrap().leases.len(), 1);
    soon(lease.revoke()).await.unwrap();
    assert_eq!(soon(client.get(get("a"))).await.unwrap().count, 0);
    let renewed = soon(client.lease_keep_alive_once(id)).await.unwrap();
    assert_eq!(renewed.ttl, 0);
    let not_found = Error::Refused {
        code: Code::NotFound,
        message: "etcdserver: requested lease not found".to_owned(),
    };
    let held = soon(client.hold_existing_lease(id)).await;
    assert_eq!(held.map(drop), Err(not_found));
}
