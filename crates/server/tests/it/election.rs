//! The service Election, on a real socket.

use crate::member::{CLUSTER_ID, EPOCH, MEMBER, Running, error, header, heard, soon, spawn, start};
use synod_api::etcdserverpb as pb;
use synod_api::mvccpb::KeyValue;
use synod_api::v3electionpb::election_client::ElectionClient;
use synod_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ResignRequest,
};
use synod_state::reply::EventKind;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

fn client(member: &Running) -> ElectionClient<Channel> {
    ElectionClient::new(member.channel())
}

fn candidacy(lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest {
        name: "e".into(),
        lease,
        value: value.to_owned().into(),
    }
}

async fn campaign(member: &Running, lease: i64, value: &str) -> CampaignResponse {
    let elected = soon(client(member).campaign(candidacy(lease, value))).await;
    elected.expect("nobody else leads").into_inner()
}

fn compete(member: &Running, lease: i64) -> JoinHandle<Result<CampaignResponse, Status>> {
    let mut client = client(member);
    spawn(async move {
        let elected = client.campaign(candidacy(lease, "v")).await;
        elected.map(tonic::Response::into_inner)
    })
}

fn election() -> LeaderRequest {
    LeaderRequest { name: "e".into() }
}

fn proclamation(leader: Option<LeaderKey>, value: &str) -> ProclaimRequest {
    ProclaimRequest {
        leader,
        value: value.to_owned().into(),
    }
}

async fn resign(member: &Running, leader: Option<LeaderKey>) -> i64 {
    let resigned = soon(client(member).resign(ResignRequest { leader })).await;
    let resigned = resigned.expect("to resign is no fault").into_inner();
    resigned.header.expect("there is a header").revision
}

fn leader(revision: i64, kv: KeyValue) -> LeaderResponse {
    LeaderResponse {
        header: header(revision),
        kv: Some(kv),
    }
}

fn pair(lease: i64, value: &str, created: i64, changed: i64, version: i64) -> KeyValue {
    KeyValue {
        key: format!("e/{lease:x}").into(),
        create_revision: created,
        mod_revision: changed,
        version,
        value: value.to_owned().into(),
        lease,
    }
}

#[tokio::test]
async fn the_only_candidate_leads_and_says_what_it_likes() {
    let member = start().await;
    member.grant(60, 17).await;
    let key = LeaderKey {
        name: "e".into(),
        key: "e/11".into(),
        rev: 2,
        lease: 17,
    };
    let elected = CampaignResponse {
        header: header(2),
        leader: Some(key.clone()),
    };
    assert_eq!(campaign(&member, 17, "a").await, elected);
    assert_eq!(campaign(&member, 17, "a").await, elected);
    // A leader that says something else says it at once, but is shown its candidacy.
    assert_eq!(campaign(&member, 17, "b").await, elected);
    let told = soon(client(&member).leader(election())).await.unwrap();
    assert_eq!(told.into_inner(), leader(3, pair(17, "b", 2, 3, 2)));

    let proclaim = proclamation(Some(key.clone()), "c");
    let said = soon(client(&member).proclaim(proclaim)).await.unwrap();
    assert_eq!(said.into_inner().header, header(4));
    assert_eq!(resign(&member, Some(key.clone())).await, 5);
    // Once more changes nothing and is no fault.
    assert_eq!(resign(&member, Some(key.clone())).await, 5);
    let proclaim = proclamation(Some(key), "d");
    let refused = error(soon(client(&member).proclaim(proclaim)).await);
    assert_eq!(refused, (Code::Unknown, "election: not leader".into()));
    let nobody = error(soon(client(&member).leader(election())).await);
    assert_eq!(nobody, (Code::Unknown, "election: no leader".into()));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_etcds_words() {
    let member = start().await;
    let mut client = client(&member);
    let refused = error(soon(client.campaign(candidacy(999, ""))).await);
    let unknown = "etcdserver: requested lease not found";
    assert_eq!(refused, (Code::Unknown, unknown.into()));

    let missing = (
        Code::Unknown,
        "\"leader\" field must be provided".to_owned(),
    );
    let proclaimed = soon(client.proclaim(proclamation(None, ""))).await;
    assert_eq!(error(proclaimed), missing);
    let resigned = soon(client.resign(ResignRequest { leader: None })).await;
    assert_eq!(error(resigned), missing);

    let empty = (Code::Unknown, "etcdserver: key is not provided".to_owned());
    let leader = Some(LeaderKey::default());
    let proclaimed = soon(client.proclaim(proclamation(leader.clone(), ""))).await;
    assert_eq!(error(proclaimed), empty);
    let resigned = soon(client.resign(ResignRequest { leader })).await;
    assert_eq!(error(resigned), empty);
}

#[tokio::test]
async fn the_next_candidate_leads_when_the_leader_has_gone() {
    let member = start().await;
    for lease in 1..=3 {
        member.grant(60, lease).await;
    }
    let first = campaign(&member, 1, "v").await.leader;
    let second = compete(&member, 2);
    heard(&member, "e/2", EventKind::Put).await;
    let third = compete(&member, 3);
    heard(&member, "e/3", EventKind::Put).await;
    // A candidate whose lease ends is out, which it learns at once.
    let revoke = pb::LeaseRevokeRequest { id: 2 };
    soon(member.lease().lease_revoke(revoke)).await.unwrap();
    let refused = error(soon(second).await.unwrap());
    assert_eq!(refused, (Code::Unknown, "election: not leader".into()));

    resign(&member, first).await;
    let elected = soon(third).await.unwrap().unwrap();
    // The header is that of the candidacy.
    assert_eq!(elected.header, header(4));
    assert_eq!(elected.leader.unwrap().rev, 4);
}

#[tokio::test]
async fn an_observer_is_told_who_leads_and_each_change() {
    let member = start().await;
    for lease in 1..=2 {
        member.grant(60, lease).await;
    }
    let observed = soon(client(&member).observe(election())).await;
    let mut observed = observed.unwrap().into_inner();
    let mut told = async || soon(observed.message()).await.unwrap().unwrap();

    let first = campaign(&member, 1, "a").await.leader;
    assert_eq!(told().await, leader(2, pair(1, "a", 2, 2, 1)));
    let second = compete(&member, 2);
    heard(&member, "e/2", EventKind::Put).await;
    let proclaim = proclamation(first.clone(), "b");
    soon(client(&member).proclaim(proclaim)).await.unwrap();
    assert_eq!(told().await, leader(4, pair(1, "b", 2, 4, 2)));
    resign(&member, first).await;
    let second = soon(second).await.unwrap().unwrap().leader;
    assert_eq!(told().await, leader(5, pair(2, "v", 3, 3, 1)));

    // Whoever comes later is told of the present.
    let late = soon(client(&member).observe(election())).await.unwrap();
    let mut late = late.into_inner();
    let now = soon(late.message()).await.unwrap().unwrap();
    assert_eq!(now, leader(5, pair(2, "v", 3, 3, 1)));
    assert_eq!(now.header.unwrap().cluster_id, CLUSTER_ID);
    assert_eq!(now.header.unwrap().member_id, MEMBER.0);
    assert_eq!(now.header.unwrap().raft_term, EPOCH);

    // Without a leader there is nothing to tell, until there is one again.
    resign(&member, second).await;
    campaign(&member, 1, "c").await;
    assert_eq!(told().await, leader(7, pair(1, "c", 7, 7, 1)));
}

#[tokio::test]
async fn an_observer_is_sent_elsewhere_when_the_server_stops() {
    let mut member = start().await;
    let observed = soon(client(&member).observe(election())).await;
    let mut observed = observed.unwrap().into_inner();
    member.shut_down();
    let ended = error(soon(observed.message()).await);
    assert_eq!(
        ended,
        (Code::Unavailable, "etcdserver: server stopped".into())
    );
}
