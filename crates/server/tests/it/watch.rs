//! The service Watch, on a real socket.

use crate::member::{Running, config, error, header, requests, soon, start, start_with};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::watch_request::RequestUnion;
use synod_api::mvccpb::event::EventType;
use synod_env::Limits;
use tokio::sync::mpsc;
use tonic::codec::Streaming;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// One stream: what the client sends, and what it receives.
struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Stream {
    async fn open(member: &Running) -> Self {
        let (requests, stream) = requests();
        let opened = soon(member.watch().watch(stream)).await;
        let responses = opened.expect("a stream opens at once").into_inner();
        Self {
            requests,
            responses,
        }
    }

    fn send(&self, request: RequestUnion) {
        let request = pb::WatchRequest {
            request_union: Some(request),
        };
        self.requests
            .try_send(request)
            .expect("the stream takes requests");
    }

    fn create(&self, request: pb::WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request));
    }

    fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(pb::WatchCancelRequest {
            watch_id,
        }));
    }

    fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    async fn next(&mut self) -> pb::WatchResponse {
        self.try_next().await.expect("the stream goes on")
    }

    async fn try_next(&mut self) -> Result<pb::WatchResponse, Status> {
        let response = soon(self.responses.message()).await?;
        Ok(response.expect("the server ends no stream without a reason"))
    }

    /// Creates a watcher and awaits its confirmation.
    async fn watch(&mut self, request: pb::WatchCreateRequest) -> i64 {
        self.create(request);
        let created = self.next().await;
        assert!(created.created && !created.canceled, "{created:?}");
        created.watch_id
    }
}

fn key(key: &'static str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: key.into(),
        ..Default::default()
    }
}

fn everything() -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..Default::default()
    }
}

/// Kind, key and revision of each event.
fn told(response: &pb::WatchResponse) -> Vec<(EventType, String, i64)> {
    let events = response.events.iter().map(|event| {
        let pair = event.kv.as_ref().expect("an event has a pair");
        let key = String::from_utf8(pair.key.to_vec()).expect("keys are text here");
        (event.r#type(), key, pair.mod_revision)
    });
    events.collect()
}

#[tokio::test]
async fn a_watcher_is_confirmed_and_then_told_of_each_change() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.create(key("a"));
    let created = stream.next().await;
    let expected = pb::WatchResponse {
        header: header(1),
        created: true,
        ..Default::default()
    };
    assert_eq!(created, expected);

    member.put("a", "one").await;
    let event = stream.next().await;
    assert_eq!((event.header, event.watch_id), (header(2), 0));
    assert_eq!(told(&event), [(EventType::Put, "a".into(), 2)]);

    // Changes of other keys are not told.
    member.put("b", "one").await;
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    soon(member.kv().delete_range(delete)).await.unwrap();
    let event = stream.next().await;
    assert_eq!(told(&event), [(EventType::Delete, "a".into(), 4)]);
    let pair = event.events[0].kv.as_ref().unwrap();
    assert_eq!(
        (pair.version, pair.create_revision, pair.value.len()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn watchers_of_a_stream_are_numbered_and_can_be_canceled() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    assert_eq!(stream.watch(key("a")).await, 0);
    assert_eq!(stream.watch(key("a")).await, 1);
    let chosen = pb::WatchCreateRequest {
        watch_id: 5,
        ..key("a")
    };
    assert_eq!(stream.watch(chosen.clone()).await, 5);

    stream.create(chosen);
    let refused = stream.next().await;
    assert_eq!(
        (refused.watch_id, refused.created, refused.canceled),
        (-1, true, true)
    );
    assert_eq!(
        refused.cancel_reason,
        "mvcc: duplicate watch ID provided on the WatchStream"
    );

    // What is not there cannot be canceled, and is not answered.
    stream.cancel(99);
    stream.cancel(1);
    let canceled = stream.next().await;
    assert_eq!(
        (canceled.watch_id, canceled.created, canceled.canceled),
        (1, false, true)
    );
    assert_eq!(
        (canceled.compact_revision, canceled.cancel_reason.as_str()),
        (0, "")
    );

    member.put("a", "one").await;
    let mut ids = [stream.next().await.watch_id, stream.next().await.watch_id];
    ids.sort_unstable();
    assert_eq!(ids, [0, 5]);
}

#[tokio::test]
async fn history_is_replayed_and_compacted_history_is_refused_by_number() {
    let member = start().await;
    for value in ["one", "two", "three"] {
        member.put("a", value).await;
    }
    let mut stream = Stream::open(&member).await;
    let from_two = pb::WatchCreateRequest {
        start_revision: 2,
        prev_kv: true,
        ..key("a")
    };
    stream.watch(from_two.clone()).await;
    let mut events = Vec::new();
    while events.len() < 3 {
        events.extend(stream.next().await.events);
    }
    let values: Vec<_> = events
        .iter()
        .map(|event| {
            let before = event.prev_kv.as_ref().map(|pair| pair.value.clone());
            (before, event.kv.as_ref().unwrap().value.clone())
        })
        .collect();
    let expected = [
        (None, "one".into()),
        (Some("one".into()), "two".into()),
        (Some("two".into()), "three".into()),
    ];
    assert_eq!(values, expected);

    let compact = pb::CompactionRequest {
        revision: 4,
        physical: false,
    };
    soon(member.kv().compact(compact)).await.unwrap();
    let watch_id = stream.watch(from_two).await;
    let canceled = stream.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled), (watch_id, true));
    assert_eq!(
        (canceled.compact_revision, canceled.cancel_reason.as_str()),
        (4, "")
    );

    stream.create(pb::WatchCreateRequest {
        start_revision: -1,
        ..key("a")
    });
    let refused = stream.next().await;
    assert_eq!(
        (refused.watch_id, refused.created, refused.canceled),
        (-1, true, true)
    );
    let gone = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refused.cancel_reason, gone);
}

#[tokio::test]
async fn a_range_without_keys_cannot_be_watched() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.create(pb::WatchCreateRequest {
        range_end: "a".into(),
        ..key("b")
    });
    let refused = stream.next().await;
    assert_eq!(
        (refused.watch_id, refused.created, refused.canceled),
        (-1, true, true)
    );
    assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");
}

#[tokio::test]
async fn filters_leave_events_out() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream
        .watch(pb::WatchCreateRequest {
            filters: vec![0],
            ..everything()
        })
        .await;
    member.put("a", "one").await;
    let delete = pb::DeleteRangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    soon(member.kv().delete_range(delete)).await.unwrap();
    assert_eq!(
        told(&stream.next().await),
        [(EventType::Delete, "a".into(), 3)]
    );
}

#[tokio::test]
async fn progress_of_a_stream_comes_after_all_events_before_it() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.watch(everything()).await;
    member.put("a", "one").await;
    stream.progress();
    assert_eq!(
        told(&stream.next().await),
        [(EventType::Put, "a".into(), 2)]
    );
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.header), (-1, header(2)));
    assert!(progress.events.is_empty());
}

#[tokio::test]
async fn a_thousand_watchers_share_a_stream() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    for _ in 0..1000 {
        stream.create(key("a"));
    }
    for watch_id in 0..1000 {
        assert_eq!(stream.next().await.watch_id, watch_id);
    }
    member.put("a", "one").await;
    let mut ids = Vec::new();
    for _ in 0..1000 {
        let response = stream.next().await;
        assert_eq!(told(&response), [(EventType::Put, "a".into(), 2)]);
        ids.push(response.watch_id);
    }
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..1000), "{ids:?}");
}

#[tokio::test]
async fn a_client_that_has_asked_for_everything_still_receives() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.watch(key("a")).await;
    // The client closes its side.
    let (unused, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut stream.requests, unused));
    member.put("a", "one").await;
    assert_eq!(
        told(&stream.next().await),
        [(EventType::Put, "a".into(), 2)]
    );
}

#[tokio::test]
async fn a_stream_that_is_dropped_takes_its_watchers_with_it() {
    let member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.watch(key("a")).await;
    let mut other = Stream::open(&member).await;
    other.watch(key("a")).await;
    assert_eq!(member.node.watch_counts(), (2, 2));
    drop(stream);
    while member.node.watch_counts() != (1, 1) {
        // Something is done between two looks, so that the loss of the stream can be noticed.
        member.put("b", "").await;
    }
    member.put("a", "one").await;
    let told: Vec<_> = told(&other.next().await)
        .into_iter()
        .map(|(_, key, _)| key)
        .collect();
    assert_eq!(told, ["a"]);
}

#[tokio::test]
async fn streams_end_when_the_server_stops_so_that_clients_go_elsewhere() {
    let mut member = start().await;
    let mut stream = Stream::open(&member).await;
    stream.watch(key("a")).await;
    member.shut_down();
    let ended = error(stream.try_next().await);
    assert_eq!(
        ended,
        (Code::Unavailable, "etcdserver: server stopped".into())
    );
    drop(stream);
    assert_eq!(member.served().await, 0);
}

/// Opens a stream that does not go on without a leader.
async fn open_insistent(member: &Running) -> Result<Stream, Status> {
    let (requests, stream) = requests();
    let mut request = tonic::Request::new(stream);
    let metadata = request.metadata_mut();
    metadata.insert("hasleader", MetadataValue::from_static("true"));
    let responses = soon(member.watch().watch(request)).await?.into_inner();
    Ok(Stream {
        requests,
        responses,
    })
}

#[tokio::test]
async fn a_client_that_insists_on_a_leader_is_refused_without_one() {
    let member = start().await;
    member.engine.depose();
    let refused = open_insistent(&member).await.map(|_| ());
    assert_eq!(
        error(refused),
        (Code::Unavailable, "etcdserver: no leader".into())
    );
}

#[tokio::test]
async fn a_stream_that_insists_on_a_leader_ends_when_there_is_none_for_too_long() {
    let config = synod_server::Config {
        leaderless_max: Duration::from_millis(200),
        ..config()
    };
    let member = start_with(Limits::default(), config).await;
    let mut insistent = open_insistent(&member).await.expect("there is a leader");
    insistent.watch(key("a")).await;
    let mut patient = Stream::open(&member).await;
    patient.watch(key("a")).await;
    member.engine.depose();
    assert_eq!(
        error(insistent.try_next().await),
        (Code::Unavailable, "etcdserver: no leader".into())
    );
    // The other one is still there: it answers.
    patient.watch(key("b")).await;
}
