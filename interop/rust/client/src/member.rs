//! The member and its cluster.

use crate::{Verdict, Wrong, holds, same};
use etcd_client::Client;

pub(crate) async fn the_member_describes_itself(mut client: Client) -> Verdict {
    let status = client.status().await?;
    let member = status.header().map_or(0, |header| header.member_id());
    holds!(member != 0);
    same!(status.leader(), member);
    holds!(!status.is_learner());
    holds!(status.errors().is_empty());
    holds!(status.raft_term() >= 1);
    holds!(status.raft_applied_index() <= status.raft_index());
    // Clients read the numbers of the version to tell what they may ask for.
    let numbers: Vec<&str> = status.version().split('.').collect();
    same!(numbers.len(), 3);
    holds!(numbers[0] == "3" && numbers[1].parse::<u32>().is_ok());
    Ok(())
}

pub(crate) async fn headers_agree_with_the_member_list(mut client: Client) -> Verdict {
    let list = client.member_list().await?;
    same!(list.members().len(), 1);
    let member = &list.members()[0];
    holds!(!member.name().is_empty());
    holds!(!member.client_urls().is_empty());
    holds!(!member.is_learner());

    let put = client.put("header", "x", None).await?;
    let lease = client.lease_grant(600, None).await?;
    client.lease_revoke(lease.id()).await?;
    let put = put.header().ok_or(Wrong("a put has no header".into()))?;
    let lease = lease
        .header()
        .ok_or(Wrong("a lease has no header".into()))?;
    let list = list
        .header()
        .ok_or(Wrong("a member list has no header".into()))?;
    same!(put.member_id(), member.id());
    holds!(put.cluster_id() != 0 && put.raft_term() >= 1);
    for header in [lease, list] {
        same!(header.cluster_id(), put.cluster_id());
        same!(header.member_id(), put.member_id());
    }
    same!(lease.revision(), put.revision());
    Ok(())
}
