//! The service Maintenance beside Status, on a real socket.

use crate::http::ask;
use crate::member::{MEMBER, Running, config, error, header, put, soon, start, start_with};
use sha2::{Digest as _, Sha256};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::alarm_request::AlarmAction;
use synod_api::etcdserverpb::downgrade_request::DowngradeAction;
use synod_api::etcdserverpb::maintenance_client::MaintenanceClient;
use synod_env::Limits;
use synod_state::archive::Unpacked;
use synod_state::{Chunk, State};
use tonic::transport::Channel;
use tonic::{Code, Status};

fn client(member: &Running) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(member.channel())
}

async fn alarm(
    member: &Running,
    action: AlarmAction,
    member_id: u64,
    alarm: pb::AlarmType,
) -> Vec<(u64, pb::AlarmType)> {
    let request = pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm: alarm.into(),
    };
    let answer = soon(client(member).alarm(request)).await;
    let alarms = answer.expect("alarms can be spoken of").into_inner().alarms;
    let alarms = alarms.iter().map(|alarm| (alarm.member_id, alarm.alarm()));
    alarms.collect()
}

async fn try_put(member: &Running, key: &str, value: &str) -> Result<i64, (Code, String)> {
    let done = soon(member.kv().put(put(key, value))).await;
    done.map(|response| response.into_inner().header.map_or(0, |h| h.revision))
        .map_err(|status| (status.code(), status.message().to_owned()))
}

fn no_space() -> (Code, String) {
    let text = "etcdserver: mvcc: database space exceeded";
    (Code::ResourceExhausted, text.into())
}

#[tokio::test]
async fn a_quota_once_reached_bars_writing_until_the_alarm_is_cleared() {
    use AlarmAction::{Deactivate, Get};
    use pb::AlarmType::{Corrupt, None, Nospace};
    let limits = Limits {
        state_bytes_max: 200,
        ..Limits::default()
    };
    let member = start_with(limits, config()).await;
    assert_eq!(try_put(&member, "a", "1").await, Ok(2));
    let large = "x".repeat(300);
    assert_eq!(try_put(&member, "b", &large).await, Err(no_space()));
    let raised = vec![(MEMBER.0, Nospace)];
    assert_eq!(alarm(&member, Get, 0, None).await, raised);
    assert_eq!(alarm(&member, Get, 99, Nospace).await, raised);
    assert_eq!(alarm(&member, Get, 0, Corrupt).await, []);
    let status = soon(client(&member).status(pb::StatusRequest {})).await;
    let errors = status.unwrap().into_inner().errors;
    assert_eq!(errors, ["memberID:7 alarm:NOSPACE "]);

    // There is room for this, but the alarm bars it.
    assert_eq!(try_put(&member, "b", "1").await, Err(no_space()));
    let lease = pb::LeaseGrantRequest { ttl: 60, id: 5 };
    let refused = error(soon(member.lease().lease_grant(lease)).await);
    assert_eq!(refused, no_space());
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        ..pb::DeleteRangeRequest::default()
    };
    let deleted = soon(member.kv().delete_range(delete)).await.unwrap();
    assert_eq!(deleted.into_inner().deleted, 1);

    assert_eq!(alarm(&member, Deactivate, 99, Nospace).await, []);
    assert_eq!(alarm(&member, Deactivate, MEMBER.0, None).await, []);
    assert_eq!(alarm(&member, Deactivate, MEMBER.0, Nospace).await, raised);
    assert_eq!(alarm(&member, Deactivate, MEMBER.0, Nospace).await, []);
    assert_eq!(try_put(&member, "b", "1").await, Ok(4));
}

#[tokio::test]
async fn a_corrupt_cluster_is_read_but_not_written() {
    use AlarmAction::{Activate, Deactivate, Get};
    use pb::AlarmType::{Corrupt, None, Nospace};
    let member = start().await;
    member.put("a", "1").await;
    let raised = vec![(3, Corrupt)];
    assert_eq!(alarm(&member, Activate, 3, None).await, []);
    assert_eq!(alarm(&member, Activate, 3, Corrupt).await, raised);
    assert_eq!(alarm(&member, Activate, 3, Corrupt).await, raised);
    alarm(&member, Activate, 4, Nospace).await;
    let both = vec![(4, Nospace), (3, Corrupt)];
    assert_eq!(alarm(&member, Get, 0, None).await, both);

    let corrupt = (Code::DataLoss, "etcdserver: corrupt cluster".to_owned());
    assert_eq!(try_put(&member, "a", "2").await, Err(corrupt));
    let read = soon(member.kv().range(crate::member::get("a"))).await;
    assert_eq!(read.unwrap().into_inner().kvs[0].value, "1");
    assert_eq!(alarm(&member, Deactivate, 3, Corrupt).await, raised);
    assert_eq!(try_put(&member, "a", "2").await, Err(no_space()));
}

#[tokio::test]
async fn what_is_no_alarm_and_no_action_is_refused() {
    let member = start().await;
    let request = |action, alarm| pb::AlarmRequest {
        action,
        member_id: 0,
        alarm,
    };
    let unknown = error(soon(client(&member).alarm(request(7, 0))).await);
    assert_eq!(
        unknown,
        (Code::Unknown, "etcdserver: unknown method".into())
    );
    let unknown = error(soon(client(&member).alarm(request(1, 7))).await);
    let text = "etcdserver: unknown alarm type";
    assert_eq!(unknown, (Code::InvalidArgument, text.into()));
}

async fn hash(member: &Running, revision: i64) -> Result<pb::HashKvResponse, Status> {
    let hashed = soon(client(member).hash_kv(pb::HashKvRequest { revision })).await;
    hashed.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn two_members_with_the_same_keys_have_the_same_hash() {
    let (one, other) = (start().await, start().await);
    for key in ["a", "b", "a"] {
        one.put(key, "1").await;
        other.put(key, "1").await;
    }
    let hashed = hash(&one, 0).await.unwrap();
    assert_eq!(hash(&other, 4).await.unwrap().hash, hashed.hash);
    assert_ne!(hash(&other, 3).await.unwrap().hash, hashed.hash);
    let expected = pb::HashKvResponse {
        header: header(4),
        hash: hashed.hash,
        compact_revision: -1,
        hash_revision: 4,
    };
    assert_eq!(hashed, expected);

    other.put("a", "2").await;
    assert_ne!(hash(&other, 0).await.unwrap().hash, hashed.hash);
    assert_eq!(hash(&other, 4).await.unwrap().hash, hashed.hash);
    let compaction = pb::CompactionRequest {
        revision: 3,
        physical: true,
    };
    soon(other.kv().compact(compaction)).await.unwrap();
    assert_eq!(hash(&other, 4).await.unwrap().compact_revision, 3);
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let refused = error(hash(&other, 2).await);
    assert_eq!(refused, (Code::OutOfRange, compacted.into()));
    let future = "etcdserver: mvcc: required revision is a future revision";
    let refused = error(hash(&other, 9).await);
    assert_eq!(refused, (Code::OutOfRange, future.into()));

    let all = soon(client(&one).hash(pb::HashRequest {})).await.unwrap();
    let all = all.into_inner();
    assert_eq!(all.header, header(4));
    let again = soon(client(&one).hash(pb::HashRequest {})).await.unwrap();
    assert_eq!(again.into_inner(), all);
}

#[tokio::test]
async fn a_snapshot_is_the_state_with_its_digest() {
    let member = start().await;
    let value = "v".repeat(10_000);
    for number in 0..20 {
        member.put(&format!("key{number}"), &value).await;
    }
    let stream = soon(client(&member).snapshot(pb::SnapshotRequest {})).await;
    let mut stream = stream.unwrap().into_inner();
    let mut content = Vec::new();
    let mut messages: Vec<pb::SnapshotResponse> = Vec::new();
    while let Some(message) = soon(stream.message()).await.unwrap() {
        assert_eq!(message.version, "3.6.0");
        messages.push(message);
    }
    let digest = messages.pop().expect("the digest comes at the end");
    let total: usize = messages.iter().map(|message| message.blob.len()).sum();
    for message in messages {
        assert!(message.blob.len() <= 32 << 10, "{}", message.blob.len());
        content.extend_from_slice(&message.blob);
        assert_eq!(message.remaining_bytes, (total - content.len()) as u64);
    }
    assert_eq!(content.len() % 512, 0);
    assert_eq!(digest.blob, Sha256::digest(&content).to_vec());

    let unpacked = Unpacked::read(content.into()).unwrap();
    let chunks = unpacked.chunks.into_iter();
    let chunks = chunks.map(|chunk| Chunk::decode(chunk).unwrap()).collect();
    let state = State::load(unpacked.header, chunks, 1).unwrap();
    assert_eq!(state.root().hash(), member.node.root().hash());
}

#[tokio::test]
async fn there_is_nothing_to_defragment_and_no_version_to_go_down_to() {
    let member = start().await;
    let mut client = client(&member);
    let done = soon(client.defragment(pb::DefragmentRequest {})).await;
    assert_eq!(done.unwrap().into_inner().header, None);

    let mut downgrade = async |action: DowngradeAction, version: &str| {
        let request = pb::DowngradeRequest {
            action: action.into(),
            version: version.into(),
        };
        error(soon(client.downgrade(request)).await)
    };
    let target = "etcdserver: invalid downgrade target version".to_owned();
    let format = "etcdserver: wrong downgrade target version format".to_owned();
    for action in [DowngradeAction::Validate, DowngradeAction::Enable] {
        for version in ["3.5", "3.5.0"] {
            let refused = downgrade(action, version).await;
            assert_eq!(refused, (Code::InvalidArgument, target.clone()));
        }
        for version in ["", "x", "3", "3..5", "3.5.0.1"] {
            let refused = downgrade(action, version).await;
            assert_eq!(refused, (Code::InvalidArgument, format.clone()));
        }
    }
    let refused = downgrade(DowngradeAction::Cancel, "").await;
    let none = "etcdserver: no inflight downgrade job";
    assert_eq!(refused, (Code::FailedPrecondition, none.into()));
}

#[tokio::test]
async fn the_leadership_is_moved_by_the_leader_to_a_member_only() {
    let member = start().await;
    let mut client = client(&member);
    let to = |target_id| pb::MoveLeaderRequest { target_id };
    for target in [0, 99] {
        let refused = error(soon(client.move_leader(to(target))).await);
        let bad = "etcdserver: bad leader transferee";
        assert_eq!(refused, (Code::FailedPrecondition, bad.into()));
    }
    let moved = soon(client.move_leader(to(MEMBER.0))).await.unwrap();
    assert_eq!(moved.into_inner().header, None);
    member.engine.depose();
    let refused = error(soon(client.move_leader(to(MEMBER.0))).await);
    assert_eq!(
        refused,
        (Code::FailedPrecondition, "etcdserver: not leader".into())
    );
}

#[tokio::test]
async fn who_does_not_read_a_snapshot_is_given_up() {
    let mut config = config();
    config.reader_stall_max = std::time::Duration::from_millis(20);
    let member = start_with(Limits::default(), config).await;
    // More than is sent ahead of a client and under way to it.
    let value = "x".repeat(1 << 20);
    for key in ["a", "b", "c", "d", "e", "f"] {
        member.put(key, &value).await;
    }
    let mut held = Vec::new();
    for _ in 0..8 {
        let stream = soon(client(&member).snapshot(pb::SnapshotRequest {})).await;
        held.push(stream.expect("there is room for eight").into_inner());
    }
    let ninth = soon(client(&member).snapshot(pb::SnapshotRequest {})).await;
    assert_eq!(error(ninth).0, Code::ResourceExhausted);
    loop {
        let (_, _, metrics) = ask(&member, "GET /metrics HTTP/1.1").await;
        if metrics.lines().any(|line| line == "synod_scans 0") {
            break;
        }
    }
    let mut first = held.swap_remove(0);
    let ended = loop {
        match soon(first.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("half a snapshot was told to be whole"),
            Err(status) => break status,
        }
    };
    let expected = (Code::Unavailable, "etcdserver: request timed out");
    assert_eq!((ended.code(), ended.message()), expected);
}
