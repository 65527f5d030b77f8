//! RangeStream, on a real socket.

use crate::member::{Running, config, error, get, header, soon, start, start_with};
use synod_api::etcdserverpb as pb;
use synod_env::Limits;
use tonic::{Code, Status};

async fn stream(
    member: &Running,
    request: pb::RangeRequest,
) -> Result<Vec<pb::RangeResponse>, Status> {
    let mut stream = soon(member.kv().range_stream(request)).await?.into_inner();
    let mut pieces = Vec::new();
    while let Some(piece) = soon(stream.message()).await? {
        pieces.push(piece.range_response.expect("a piece holds something"));
    }
    Ok(pieces)
}

/// What the pieces come to together.
fn merged(pieces: &[pb::RangeResponse]) -> pb::RangeResponse {
    let (last, parts) = pieces.split_last().expect("there is always a last piece");
    for part in parts {
        assert_eq!((part.header, part.more, part.count), (None, false, 0));
        assert!(!part.kvs.is_empty(), "{part:?}");
    }
    let kvs = pieces.iter().flat_map(|piece| piece.kvs.clone());
    pb::RangeResponse {
        kvs: kvs.collect(),
        ..last.clone()
    }
}

fn prefix() -> pb::RangeRequest {
    pb::RangeRequest {
        range_end: "l".into(),
        ..get("k")
    }
}

/// Sixty keys of five revisions each; the last three are gone.
async fn filled() -> Running {
    let member = start().await;
    for round in 0..5 {
        for key in 0..60 {
            member.put(&format!("k{key:02}"), &round.to_string()).await;
        }
    }
    let delete = pb::DeleteRangeRequest {
        key: "k57".into(),
        range_end: "l".into(),
        prev_kv: false,
    };
    let deleted = soon(member.kv().delete_range(delete)).await;
    deleted.expect("keys can be deleted");
    member
}

#[tokio::test]
async fn the_pieces_merged_are_the_answer_to_a_range() {
    let member = filled().await;
    let requests = [
        prefix(),
        get("k07"),
        get("nothing"),
        pb::RangeRequest {
            range_end: "a".into(),
            ..get("b")
        },
        pb::RangeRequest {
            range_end: "\0".into(),
            ..get("\0")
        },
        pb::RangeRequest {
            keys_only: true,
            ..prefix()
        },
        pb::RangeRequest {
            count_only: true,
            ..prefix()
        },
        pb::RangeRequest {
            count_only: true,
            limit: 3,
            ..prefix()
        },
        pb::RangeRequest {
            revision: 100,
            serializable: true,
            ..prefix()
        },
    ];
    let limits = [1, 9, 10, 11, 30, 56, 57, 58].map(|limit| pb::RangeRequest { limit, ..prefix() });
    for request in requests.into_iter().chain(limits) {
        let pieces = stream(&member, request.clone()).await.unwrap();
        let whole = soon(member.kv().range(request.clone())).await.unwrap();
        assert_eq!(merged(&pieces), whole.into_inner(), "{request:?}");
    }
}

#[tokio::test]
async fn pieces_begin_small_and_grow() {
    let member = filled().await;
    let pieces = stream(&member, prefix()).await.unwrap();
    let lengths: Vec<_> = pieces.iter().map(|piece| piece.kvs.len()).collect();
    assert_eq!(lengths, [10, 20, 27]);
    let last = pieces.last().unwrap();
    assert_eq!((last.header, last.count), (header(302), 57));
}

#[tokio::test]
async fn pieces_of_large_values_stay_below_the_size_of_a_request() {
    let limits = Limits {
        request_bytes_max: 1_000,
        ..Limits::default()
    };
    let member = start_with(limits, config()).await;
    for key in 0..40 {
        member.put(&format!("k{key:02}"), &"v".repeat(300)).await;
    }
    let pieces = stream(&member, prefix()).await.unwrap();
    assert_eq!(merged(&pieces).kvs.len(), 40);
    let largest = pieces.iter().map(|piece| piece.kvs.len()).max();
    assert_eq!(largest, Some(4));
}

#[tokio::test]
async fn a_reader_that_has_begun_is_not_hurt_by_a_compaction() {
    let member = filled().await;
    let opened = soon(member.kv().range_stream(prefix())).await.unwrap();
    let mut stream = opened.into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    for key in 0..60 {
        member.put(&format!("k{key:02}"), "new").await;
    }
    let compaction = pb::CompactionRequest {
        revision: 362,
        physical: true,
    };
    soon(member.kv().compact(compaction)).await.unwrap();
    let mut kvs = first.range_response.unwrap().kvs;
    while let Some(piece) = soon(stream.message()).await.unwrap() {
        kvs.extend(piece.range_response.unwrap().kvs);
    }
    assert_eq!(kvs.len(), 57);
    assert!(kvs.iter().all(|pair| pair.value == "4"), "{kvs:?}");
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_in_etcds_words() {
    let member = start().await;
    let order = i32::from(pb::range_request::SortOrder::Descend);
    let sorted = pb::RangeRequest {
        sort_order: order,
        min_mod_revision: 1,
        ..get("a")
    };
    let refused = error(stream(&member, sorted).await);
    let text = "RangeStream does not support custom sort orders";
    assert_eq!(refused, (Code::Unimplemented, text.into()));
    let filtered = pb::RangeRequest {
        min_mod_revision: 1,
        ..get("a")
    };
    let refused = error(stream(&member, filtered).await);
    let text = "RangeStream does not support revision filters";
    assert_eq!(refused, (Code::Unimplemented, text.into()));
    let refused = error(stream(&member, get("")).await);
    let text = "etcdserver: key is not provided";
    assert_eq!(refused, (Code::InvalidArgument, text.into()));
    let future = pb::RangeRequest {
        revision: 9,
        ..get("a")
    };
    let refused = error(stream(&member, future).await);
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(refused, (Code::OutOfRange, text.into()));
}
