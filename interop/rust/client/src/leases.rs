//! Leases.

use crate::watches::{created, events};
use crate::{Verdict, Wrong, code, holds, refused, same};
use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions,
    PutOptions, Txn, WatchOptions,
};
use std::time::Duration;

pub(crate) async fn a_lease_may_choose_its_number_once(mut client: Client) -> Verdict {
    let chosen = || Some(LeaseGrantOptions::new().with_id(4711));
    let granted = client.lease_grant(600, chosen()).await?;
    same!((granted.id(), granted.ttl()), (4711, 600));
    let text = "etcdserver: lease already exists";
    refused(
        client.lease_grant(600, chosen()).await,
        code::FAILED_PRECONDITION,
        text,
    )?;
    holds!(
        client
            .leases()
            .await?
            .leases()
            .iter()
            .any(|lease| lease.id() == 4711)
    );
    client.lease_revoke(4711).await?;
    holds!(
        client
            .leases()
            .await?
            .leases()
            .iter()
            .all(|lease| lease.id() != 4711)
    );
    Ok(())
}

pub(crate) async fn a_lease_too_long_is_refused(mut client: Client) -> Verdict {
    let text = "etcdserver: too large lease TTL";
    refused(
        client.lease_grant(9_000_000_001, None).await,
        code::OUT_OF_RANGE,
        text,
    )
}

pub(crate) async fn revoking_deletes_all_keys_in_one_revision(mut client: Client) -> Verdict {
    let lease = client.lease_grant(600, None).await?.id();
    for name in ["revoked/b", "revoked/a"] {
        client
            .put(name, "x", Some(PutOptions::new().with_lease(lease)))
            .await?;
    }
    let with_keys = LeaseTimeToLiveOptions::new().with_keys();
    let mut keys = client
        .lease_time_to_live(lease, Some(with_keys))
        .await?
        .keys()
        .to_vec();
    keys.sort();
    same!(keys, [b"revoked/a", b"revoked/b"]);
    let mut watch = client
        .watch("revoked/", Some(WatchOptions::new().with_prefix()))
        .await?;
    created(&mut watch).await?;
    client.lease_revoke(lease).await?;
    let events = events(&mut watch, 2).await?;
    let keys: Vec<&[u8]> = events.iter().map(|event| event.key.as_slice()).collect();
    same!(keys, [b"revoked/a", b"revoked/b"]);
    holds!(events.iter().all(|event| event.kind == EventType::Delete));
    same!(events[0].revision, events[1].revision);
    Ok(())
}

pub(crate) async fn an_expired_lease_deletes_its_keys(mut client: Client) -> Verdict {
    // The shortest lease of a server follows its election time-out, so what is granted may be
    // longer.
    let lease = client.lease_grant(1, None).await?;
    holds!(lease.ttl() >= 1);
    client
        .put(
            "expired",
            "x",
            Some(PutOptions::new().with_lease(lease.id())),
        )
        .await?;
    let mut watch = client.watch("expired", None).await?;
    created(&mut watch).await?;
    same!(events(&mut watch, 1).await?[0].kind, EventType::Delete);
    let text = "etcdserver: requested lease not found";
    refused(client.lease_revoke(lease.id()).await, code::NOT_FOUND, text)
}

pub(crate) async fn a_lease_kept_alive_does_not_expire(mut client: Client) -> Verdict {
    let lease = client.lease_grant(2, None).await?;
    client
        .put("alive", "x", Some(PutOptions::new().with_lease(lease.id())))
        .await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(lease.id()).await?;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        keeper.keep_alive().await?;
        let answer = answers
            .message()
            .await?
            .ok_or(Wrong("the stream ended".into()))?;
        same!((answer.id(), answer.ttl()), (lease.id(), lease.ttl()));
    }
    same!(client.get("alive", None).await?.count(), 1);
    client.lease_revoke(lease.id()).await?;
    keeper.keep_alive().await?;
    let answer = answers
        .message()
        .await?
        .ok_or(Wrong("the stream ended".into()))?;
    same!((answer.id(), answer.ttl()), (lease.id(), 0));
    Ok(())
}

pub(crate) async fn what_is_not_there_has_no_time_to_live(mut client: Client) -> Verdict {
    let answer = client.lease_time_to_live(123_456, None).await?;
    same!(
        (answer.id(), answer.ttl(), answer.granted_ttl()),
        (123_456, -1, 0)
    );
    Ok(())
}

pub(crate) async fn a_comparison_sees_the_lease_of_a_key(mut client: Client) -> Verdict {
    let lease = client.lease_grant(600, None).await?.id();
    client
        .put("leased", "x", Some(PutOptions::new().with_lease(lease)))
        .await?;
    let held = |id: i64| Txn::new().when([Compare::lease("leased", CompareOp::Equal, id)]);
    holds!(client.txn(held(lease)).await?.succeeded());
    client.put("leased", "y", None).await?;
    holds!(client.txn(held(0)).await?.succeeded());
    client.lease_revoke(lease).await?;
    let got = client.get("leased", Some(GetOptions::new())).await?;
    same!((got.count(), got.kvs()[0].lease()), (1, 0));
    Ok(())
}
