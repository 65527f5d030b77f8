//! The service KV, on a real socket.

use crate::member::{error, get, header, put, soon, start, start_with};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::response_op::Response;
use synod_api::mvccpb::KeyValue;
use synod_env::Limits;
use tonic::Code;

fn pair(key: &str, value: &str, revisions: (i64, i64), version: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: revisions.0,
        mod_revision: revisions.1,
        version,
        lease: 0,
    }
}

#[tokio::test]
async fn what_is_put_can_be_read_and_deleted() {
    let member = start().await;
    let mut kv = member.kv();

    let empty = soon(kv.range(get("a"))).await.unwrap().into_inner();
    assert_eq!(
        empty,
        pb::RangeResponse {
            header: header(1),
            ..Default::default()
        }
    );

    let first = soon(kv.put(put("a", "one"))).await.unwrap().into_inner();
    assert_eq!(
        first,
        pb::PutResponse {
            header: header(2),
            prev_kv: None
        }
    );
    let again = pb::PutRequest {
        prev_kv: true,
        ..put("a", "two")
    };
    let second = soon(kv.put(again)).await.unwrap().into_inner();
    assert_eq!(second.header, header(3));
    assert_eq!(second.prev_kv, Some(pair("a", "one", (2, 2), 1)));

    let now = soon(kv.range(get("a"))).await.unwrap().into_inner();
    assert_eq!(now.header, header(3));
    assert_eq!((now.count, now.more), (1, false));
    assert_eq!(now.kvs, [pair("a", "two", (2, 3), 2)]);
    // An older revision is shown with the present one in its header.
    let before = pb::RangeRequest {
        revision: 2,
        serializable: true,
        ..get("a")
    };
    let before = soon(kv.range(before)).await.unwrap().into_inner();
    assert_eq!(before.header, header(3));
    assert_eq!(before.kvs, [pair("a", "one", (2, 2), 1)]);

    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        prev_kv: true,
        ..Default::default()
    };
    let deleted = soon(kv.delete_range(delete.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((deleted.header, deleted.deleted), (header(4), 1));
    assert_eq!(deleted.prev_kvs, [pair("a", "two", (2, 3), 2)]);
    // Nothing is left to delete, and nothing changes.
    let deleted = soon(kv.delete_range(delete)).await.unwrap().into_inner();
    assert_eq!((deleted.header, deleted.deleted), (header(4), 0));
}

#[tokio::test]
async fn a_transaction_takes_the_branch_that_its_compares_choose() {
    let member = start().await;
    let mut kv = member.kv();
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    let request = pb::TxnRequest {
        compare: vec![pb::Compare {
            result: i32::from(CompareResult::Equal),
            target: i32::from(CompareTarget::Create),
            key: "a".into(),
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Default::default()
        }],
        success: vec![
            op(Request::RequestPut(put("a", "made"))),
            op(Request::RequestRange(get("a"))),
        ],
        failure: vec![op(Request::RequestRange(get("a")))],
    };

    let made = soon(kv.txn(request.clone())).await.unwrap().into_inner();
    assert!(made.succeeded);
    assert_eq!(made.header, header(2));
    let inner = Some(pb::ResponseHeader {
        revision: 2,
        ..Default::default()
    });
    let seen = pb::RangeResponse {
        header: inner,
        kvs: vec![pair("a", "made", (2, 2), 1)],
        more: false,
        count: 1,
    };
    let expected = [
        Response::ResponsePut(pb::PutResponse {
            header: inner,
            prev_kv: None,
        }),
        Response::ResponseRange(seen.clone()),
    ];
    let responses: Vec<_> = made
        .responses
        .into_iter()
        .filter_map(|op| op.response)
        .collect();
    assert_eq!(responses, expected);

    let kept = soon(kv.txn(request)).await.unwrap().into_inner();
    assert!(!kept.succeeded);
    assert_eq!(kept.header, header(2));
    assert_eq!(
        kept.responses[0].response,
        Some(Response::ResponseRange(seen))
    );
}

#[tokio::test]
async fn senseless_requests_are_refused_in_etcds_words() {
    let member = start().await;
    let mut kv = member.kv();

    let refused = error(soon(kv.put(put("", "value"))).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: key is not provided".into()
        )
    );
    let refused = error(soon(kv.range(get(""))).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: key is not provided".into()
        )
    );

    let request = pb::RangeRequest {
        sort_order: 9,
        ..get("a")
    };
    let refused = error(soon(kv.range(request)).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: invalid sort option".into()
        )
    );

    let request = pb::PutRequest {
        ignore_value: true,
        ..put("a", "value")
    };
    let refused = error(soon(kv.put(request)).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: value is provided".into()
        )
    );
    let request = pb::PutRequest {
        ignore_lease: true,
        lease: 1,
        ..put("a", "")
    };
    let refused = error(soon(kv.put(request)).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: lease is provided".into()
        )
    );
    let request = pb::PutRequest {
        ignore_value: true,
        ..put("missing", "")
    };
    let refused = error(soon(kv.put(request)).await);
    assert_eq!(
        refused,
        (Code::InvalidArgument, "etcdserver: key not found".into())
    );
    let request = pb::PutRequest {
        lease: 99,
        ..put("a", "")
    };
    let refused = error(soon(kv.put(request)).await);
    assert_eq!(
        refused,
        (
            Code::NotFound,
            "etcdserver: requested lease not found".into()
        )
    );

    let puts = |keys: &[&str]| pb::TxnRequest {
        success: keys
            .iter()
            .map(|key| pb::RequestOp {
                request: Some(Request::RequestPut(put(key, ""))),
            })
            .collect(),
        ..Default::default()
    };
    let refused = error(soon(kv.txn(puts(&["a", "a"]))).await);
    let duplicate = "etcdserver: duplicate key given in txn request";
    assert_eq!(refused, (Code::InvalidArgument, duplicate.into()));
    let refused = error(soon(kv.txn(puts(&["a"; 129]))).await);
    let too_many = "etcdserver: too many operations in txn request";
    assert_eq!(refused, (Code::InvalidArgument, too_many.into()));
    let nothing = pb::TxnRequest {
        failure: vec![pb::RequestOp { request: None }],
        ..Default::default()
    };
    let refused = error(soon(kv.txn(nothing)).await);
    assert_eq!(
        refused,
        (Code::InvalidArgument, "etcdserver: key not found".into())
    );

    assert_eq!(member.node.root().revision(), 1);
}

#[tokio::test]
async fn compacted_and_future_revisions_cannot_be_read() {
    let member = start().await;
    let mut kv = member.kv();
    for value in ["one", "two", "three"] {
        member.put("a", value).await;
    }

    let compact = |revision| pb::CompactionRequest {
        revision,
        physical: true,
    };
    let compacted = soon(kv.compact(compact(3))).await.unwrap().into_inner();
    assert_eq!(compacted.header, header(4));

    let at = |revision| pb::RangeRequest {
        revision,
        ..get("a")
    };
    let kept = soon(kv.range(at(3))).await.unwrap().into_inner();
    assert_eq!(kept.kvs, [pair("a", "two", (2, 3), 2)]);
    let gone = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(
        error(soon(kv.range(at(2))).await),
        (Code::OutOfRange, gone.into())
    );
    assert_eq!(
        error(soon(kv.compact(compact(3))).await),
        (Code::OutOfRange, gone.into())
    );
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(
        error(soon(kv.range(at(5))).await),
        (Code::OutOfRange, future.into())
    );
    assert_eq!(
        error(soon(kv.compact(compact(5))).await),
        (Code::OutOfRange, future.into())
    );
}

#[tokio::test]
async fn a_request_beyond_the_bound_is_refused_and_the_connection_lives_on() {
    let limits = Limits {
        request_bytes_max: 1000,
        ..Limits::default()
    };
    let member = start_with(limits, crate::member::config()).await;
    let mut kv = member.kv();

    let refused = error(soon(kv.put(put("a", &"x".repeat(1000)))).await);
    assert_eq!(
        refused,
        (
            Code::InvalidArgument,
            "etcdserver: request is too large".into()
        )
    );

    // Far beyond it, gRPC refuses the message before it is read.
    let refused = soon(kv.put(put("a", &"x".repeat(1 << 20))))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let expected = "grpc: received message larger than max (1048583 vs. 525288)";
    assert_eq!(refused.message(), expected);

    let fits = soon(kv.put(put("a", &"x".repeat(900)))).await.unwrap();
    assert_eq!(fits.into_inner().header, header(2));
}

#[tokio::test]
async fn a_value_that_spans_many_frames_arrives_whole() {
    let member = start().await;
    let mut kv = member.kv();
    let value = "0123456789abcdef".repeat(60_000);
    soon(kv.put(put("a", &value))).await.unwrap();
    let read = soon(kv.range(get("a"))).await.unwrap().into_inner();
    assert_eq!(read.kvs[0].value, value);
}

#[tokio::test]
async fn without_a_leader_writes_fail_for_certain_and_serializable_reads_go_on() {
    let request_timeout = Duration::from_secs(1);
    let limits = Limits {
        request_timeout,
        ..Limits::default()
    };
    let member = start_with(limits, crate::member::config()).await;
    let mut kv = member.kv();
    member.put("a", "one").await;
    member.engine.depose();

    let mut at_once = tonic::Request::new(put("a", "two"));
    at_once
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    let refused = error(soon(kv.put(at_once)).await);
    assert_eq!(refused, (Code::Unavailable, "etcdserver: no leader".into()));

    let status = soon(kv.put(put("a", "two"))).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: no leader");
    let outcome = status.metadata().get(synod_server::OUTCOME);
    assert_eq!(outcome.expect("the outcome is known"), "not-done");

    let request = pb::RangeRequest {
        serializable: true,
        ..get("a")
    };
    let read = soon(kv.range(request)).await.unwrap().into_inner();
    assert_eq!(read.kvs, [pair("a", "one", (2, 2), 1)]);
}
