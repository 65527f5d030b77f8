//! Watches, also over the end of a member.

use crate::impostor::Impostor;
use crate::member::{Dir, Member, client, client_with, put, soon};
use std::ops::Range;
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_client::{Config, WatchEnded, Watched, Watcher};

fn all_from(start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision,
        ..pb::WatchCreateRequest::default()
    }
}

/// The next changes, at least so many, as revision and value.
async fn changes(watcher: &mut Watcher, count: usize) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match soon(watcher.next()).await.expect("the watch goes on") {
            Watched::Created(_) | Watched::Progress(_) => {}
            Watched::Changes(_, events) => seen.extend(events.into_iter().map(|event| {
                let kv = event.kv.expect("an event has a key");
                let value = String::from_utf8_lossy(&kv.value).into_owned();
                (kv.mod_revision, value)
            })),
        }
    }
    seen
}

/// What stands in the history if each value names its revision.
fn numbered(revisions: Range<i64>) -> Vec<(i64, String)> {
    revisions.map(|at| (at, format!("v{at}"))).collect()
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_member_comes_back() {
    let dir = Dir::new();
    let mut member = Member::start(&dir).await;
    let client = member.client();
    let mut watcher = client.watch(all_from(0));
    assert!(matches!(
        soon(watcher.next()).await,
        Ok(Watched::Created(_))
    ));
    let mut seen = Vec::new();
    let mut revision = 2;
    for _ in 0..3 {
        for at in revision..revision + 5 {
            soon(client.put(put("a", &format!("v{at}")))).await.unwrap();
        }
        // Some are read before the member stops, the others perhaps after it has come back.
        seen.extend(changes(&mut watcher, 2).await);
        let address = member.stop().await;
        member = Member::start_at(&dir, address).await;
        revision += 5;
    }
    let all = numbered(2..revision);
    seen.extend(changes(&mut watcher, all.len() - seen.len()).await);
    assert_eq!(seen, all);
    member.stop().await;
}

#[tokio::test]
async fn a_watch_finds_the_member_that_answers() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let hanging = Impostor::silent().await;
    soon(member.client().put(put("a", "v2"))).await.unwrap();
    for _ in 0..4 {
        let client = client([hanging.address, member.address]);
        let mut watcher = client.watch(all_from(1));
        assert_eq!(changes(&mut watcher, 1).await, numbered(2..3));
    }
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_ends_with_where_to_go_on() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let client = member.client();
    for at in 2..6 {
        soon(client.put(put("a", &format!("v{at}")))).await.unwrap();
    }
    let compact = pb::CompactionRequest {
        revision: 4,
        physical: false,
    };
    soon(client.compact(compact)).await.unwrap();
    let mut watcher = client.watch(all_from(2));
    let ended = loop {
        match soon(watcher.next()).await {
            Ok(Watched::Created(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(ended) => break ended,
        }
    };
    let compacted = WatchEnded::Compacted { revision: 4 };
    assert_eq!(ended, compacted);
    assert_eq!(soon(watcher.next()).await, Err(compacted));
    let mut watcher = client.watch(all_from(4));
    assert_eq!(changes(&mut watcher, 2).await, numbered(4..6));
}

#[tokio::test]
async fn a_watch_that_is_refused_ends() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let empty = pb::WatchCreateRequest {
        key: "b".into(),
        range_end: "a".into(),
        ..pb::WatchCreateRequest::default()
    };
    let mut watcher = member.client().watch(empty);
    let refused = WatchEnded::Refused {
        message: "mvcc: watcher range is empty".to_owned(),
    };
    assert_eq!(soon(watcher.next()).await, Err(refused));
}

#[tokio::test]
async fn a_watch_that_may_not_wait_for_ever_ends_when_no_member_comes_back() {
    let dir = Dir::new();
    let member = Member::start(&dir).await;
    let config = Config {
        watch_outage_max: Some(Duration::from_millis(300)),
        ..Config::default()
    };
    let client = client_with([member.address], config);
    let mut watcher = client.watch(all_from(0));
    assert!(matches!(
        soon(watcher.next()).await,
        Ok(Watched::Created(_))
    ));
    soon(client.put(put("a", "v2"))).await.unwrap();
    assert_eq!(changes(&mut watcher, 1).await, numbered(2..3));
    let address = member.stop().await;
    assert_eq!(soon(watcher.next()).await, Err(WatchEnded::Unreachable));
    // Whoever asks again waits again.
    let member = Member::start_at(&dir, address).await;
    soon(client.put(put("a", "v3"))).await.unwrap();
    assert_eq!(changes(&mut watcher, 1).await, numbered(3..4));
    member.stop().await;
}
