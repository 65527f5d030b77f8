//! Requests with one answer, and how they end when members fail.

use crate::impostor::{Impostor, Proxy};
use crate::member::{Dir, Member, client, client_with, get, nowhere, put, soon};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::request_op::Request;
use synod_client::{CallConfig, Config, Error};
use tonic::Code;

/// Endpoints are tried in an order drawn at random: in so many clients, each comes first.
const ORDERS: usize = 8;

#[tokio::test]
async fn keys_are_set_read_changed_and_deleted() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    soon(client.put(put("a", "1"))).await.unwrap();
    let read = soon(client.get(get("a"))).await.unwrap();
    assert_eq!(&read.kvs[0].value[..], b"1");
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    let txn = pb::TxnRequest {
        success: vec![
            op(Request::RequestPut(put("b", "2"))),
            op(Request::RequestRange(get("a"))),
        ],
        ..pb::TxnRequest::default()
    };
    let answer = soon(client.txn(txn)).await.unwrap();
    assert_eq!((answer.succeeded, answer.responses.len()), (true, 2));
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        ..pb::DeleteRangeRequest::default()
    };
    assert_eq!(soon(client.delete(delete)).await.unwrap().deleted, 1);
    let compact = pb::CompactionRequest {
        revision: 3,
        physical: true,
    };
    soon(client.compact(compact)).await.unwrap();
    let past = pb::RangeRequest {
        revision: 2,
        ..get("a")
    };
    let refused = Error::Refused {
        code: Code::OutOfRange,
        message: "etcdserver: mvcc: required revision has been compacted".to_owned(),
    };
    assert_eq!(soon(client.get(past)).await, Err(refused));
    let status = soon(client.status()).await.unwrap();
    assert_eq!(status.leader, status.header.unwrap().member_id);
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_costs_nothing() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    for _ in 0..ORDERS {
        let client = client([nowhere().await, member.address, nowhere().await]);
        soon(client.put(put("a", "1"))).await.unwrap();
        soon(client.get(get("a"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_is_not_lost_at_an_endpoint_that_hangs() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let hanging = Impostor::silent().await;
    for _ in 0..ORDERS {
        let client = client([hanging.address, member.address]);
        soon(client.put(put("a", "1"))).await.unwrap();
        soon(client.get(get("a"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_is_not_lost_on_a_connection_that_has_fallen_silent() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let (one, two) = (
        Proxy::to(member.address).await,
        Proxy::to(member.address).await,
    );
    let client = client([one.address, two.address]);
    soon(client.put(put("a", "1"))).await.unwrap();
    let (used, other) = if one.connections() > 0 {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!((used.connections(), other.connections()), (1, 0));
    used.freeze();
    // The read finds that out, and goes the other way.
    soon(client.get(get("a"))).await.unwrap();
    soon(client.put(put("a", "2"))).await.unwrap();
    assert_eq!((used.connections(), other.connections()), (1, 1));
    // Now there is no other way, and the old connection stands as it stood. While another client
    // is answered, this one hears that the other way is closed.
    other.close();
    soon(member.client().put(put("b", "1"))).await.unwrap();
    soon(client.put(put("a", "3"))).await.unwrap();
    assert_eq!(used.connections(), 2);
}

#[tokio::test]
async fn a_write_that_left_and_was_not_answered_is_unknown_and_not_sent_again() {
    let closing = Impostor::closing_at("key-to-be-seen").await;
    let unknown = soon(client([closing.address]).put(put("key-to-be-seen", "1"))).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
    assert_eq!(closing.seen(), 1);
    // A read is asked for again, until the time is over.
    let config = Config {
        timeout: Duration::from_millis(500),
        ..Config::default()
    };
    let client = client_with([closing.address], config);
    let unanswered = soon(client.get(get("key-to-be-seen"))).await;
    assert!(
        matches!(unanswered, Err(Error::NoAnswer { .. })),
        "{unanswered:?}"
    );
    assert!(closing.seen() > 2, "read {} times", closing.seen());
}

#[tokio::test]
async fn silence_makes_a_write_unknown_and_a_read_unanswered() {
    let hanging = Impostor::silent().await;
    let config = Config {
        timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let client = client_with([hanging.address], config);
    let message = "no answer in time".to_owned();
    let unknown = Error::Unknown {
        message: message.clone(),
    };
    assert_eq!(soon(client.put(put("a", "1"))).await, Err(unknown));
    let unanswered = Error::NoAnswer { message };
    assert_eq!(soon(client.get(get("a"))).await, Err(unanswered));
}

#[tokio::test]
async fn where_nobody_is_reached_nothing_was_sent() {
    let (one, two) = (nowhere().await, nowhere().await);
    let config = Config {
        calls: CallConfig {
            attempts_max: 2,
            ..CallConfig::default()
        },
        ..Config::default()
    };
    let client = client_with([one, two], config);
    for result in [
        soon(client.put(put("a", "1"))).await.map(drop),
        soon(client.get(get("a"))).await.map(drop),
        soon(client.connect()).await,
    ] {
        let Err(Error::Unreachable { tried }) = result else {
            panic!("{result:?}");
        };
        assert!(!tried.is_empty());
        for tried in tried {
            let endpoint = tried.endpoint.parse().unwrap();
            assert!([one, two].contains(&endpoint), "{tried:?}");
            assert!(tried.said.contains("refused"), "{tried:?}");
        }
    }
}

#[tokio::test]
async fn a_client_goes_on_when_its_member_comes_back() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    soon(client.put(put("a", "1"))).await.unwrap();
    let address = member.stop().await;
    let (read, member) = tokio::join!(client.get(get("a")), Member::start_at(&dir, address));
    assert_eq!(read.unwrap().count, 1);
    soon(client.put(put("a", "2"))).await.unwrap();
    member.stop().await;
}
