//! Watches.

use crate::{Verdict, Wrong, holds, same};
use etcd_client::{
    Client, EventType, Txn, TxnOp, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
};

/// An event, as far as the checks look at it.
pub(crate) struct Seen {
    pub(crate) kind: EventType,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) revision: i64,
    pub(crate) previous: Option<Vec<u8>>,
}

async fn message(watch: &mut WatchStream) -> Result<WatchResponse, Wrong> {
    watch
        .message()
        .await?
        .ok_or_else(|| Wrong("the stream ended".into()))
}

/// Takes the reply that a watch was created, which must come before its first event, and returns
/// its number.
pub(crate) async fn created(watch: &mut WatchStream) -> Result<i64, Wrong> {
    let reply = message(watch).await?;
    holds!(reply.created());
    holds!(!reply.canceled());
    holds!(reply.events().is_empty());
    Ok(reply.watch_id())
}

/// Takes messages until `count` events have come; more in the last message are one too many.
pub(crate) async fn events(watch: &mut WatchStream, count: usize) -> Result<Vec<Seen>, Wrong> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(seen_in(&message(watch).await?));
    }
    same!(seen.len(), count);
    Ok(seen)
}

fn seen_in(message: &WatchResponse) -> Vec<Seen> {
    let seen = message.events().iter().filter_map(|event| {
        event.kv().map(|key| Seen {
            kind: event.event_type(),
            key: key.key().to_vec(),
            value: key.value().to_vec(),
            revision: key.mod_revision(),
            previous: event.prev_kv().map(|previous| previous.value().to_vec()),
        })
    });
    seen.collect()
}

pub(crate) async fn a_live_watch_sees_each_change_once_and_in_order(mut client: Client) -> Verdict {
    const CHANGES: usize = 200;
    let mut watch = client
        .watch("live/", Some(WatchOptions::new().with_prefix()))
        .await?;
    created(&mut watch).await?;
    let mut writers = tokio::task::JoinSet::new();
    for index in 0..CHANGES {
        let mut client = client.clone();
        writers.spawn(async move {
            client
                .put(format!("live/{}", index % 7), index.to_string(), None)
                .await
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.map_err(|error| Wrong(error.to_string()))??;
    }
    let events = events(&mut watch, CHANGES).await?;
    holds!(
        events
            .windows(2)
            .all(|pair| pair[0].revision < pair[1].revision)
    );
    let mut values: Vec<usize> = events
        .iter()
        .filter_map(|event| String::from_utf8_lossy(&event.value).parse().ok())
        .collect();
    values.sort_unstable();
    holds!(values == (0..CHANGES).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn two_watches_share_a_stream(mut client: Client) -> Verdict {
    let numbered = |id: i64| Some(WatchOptions::new().with_watch_id(id));
    let mut watch = client.watch("share/a", numbered(11)).await?;
    same!(created(&mut watch).await?, 11);
    watch.watch("share/b", numbered(12)).await?;
    same!(created(&mut watch).await?, 12);
    client.put("share/b", "1", None).await?;
    let reply = message(&mut watch).await?;
    same!((reply.watch_id(), reply.events().len()), (12, 1));
    watch.cancel(12).await?;
    let reply = message(&mut watch).await?;
    same!((reply.watch_id(), reply.canceled()), (12, true));
    client.put("share/b", "2", None).await?;
    client.put("share/a", "3", None).await?;
    let reply = message(&mut watch).await?;
    same!((reply.watch_id(), reply.events().len()), (11, 1));
    Ok(())
}

pub(crate) async fn a_duplicate_number_is_refused(mut client: Client) -> Verdict {
    let numbered = || Some(WatchOptions::new().with_watch_id(21));
    let mut watch = client.watch("duplicate", numbered()).await?;
    same!(created(&mut watch).await?, 21);
    watch.watch("duplicate", numbered()).await?;
    let reply = message(&mut watch).await?;
    holds!(reply.created() && reply.canceled());
    same!(reply.watch_id(), -1);
    same!(
        reply.cancel_reason(),
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    client.put("duplicate", "1", None).await?;
    same!(message(&mut watch).await?.watch_id(), 21);
    Ok(())
}

pub(crate) async fn filters_and_previous_values(mut client: Client) -> Verdict {
    client.put("filter", "0", None).await?;
    let no_puts = WatchOptions::new()
        .with_filters([WatchFilterType::NoPut])
        .with_prev_key();
    let mut deletes = client.watch("filter", Some(no_puts)).await?;
    created(&mut deletes).await?;
    let no_deletes = WatchOptions::new()
        .with_filters([WatchFilterType::NoDelete])
        .with_prev_key();
    let mut puts = client.watch("filter", Some(no_deletes)).await?;
    created(&mut puts).await?;
    client.put("filter", "1", None).await?;
    client.delete("filter", None).await?;
    client.put("filter", "2", None).await?;

    let deleted = events(&mut deletes, 1).await?;
    same!(deleted[0].kind, EventType::Delete);
    same!(deleted[0].previous.as_deref(), Some(b"1".as_slice()));
    holds!(deleted[0].value.is_empty());
    let put = events(&mut puts, 2).await?;
    same!(put[0].previous.as_deref(), Some(b"0".as_slice()));
    same!(put[1].previous, None);
    Ok(())
}

pub(crate) async fn a_replay_comes_before_what_is_new(mut client: Client) -> Verdict {
    let first = client.put("replay", "0", None).await?;
    let first = first.header().map_or(0, |header| header.revision());
    for index in 1..50 {
        client.put("replay", index.to_string(), None).await?;
    }
    let past = WatchOptions::new().with_start_revision(first);
    let mut watch = client.watch("replay", Some(past)).await?;
    created(&mut watch).await?;
    for index in 50..100 {
        client.put("replay", index.to_string(), None).await?;
    }
    let events = events(&mut watch, 100).await?;
    let values: Vec<String> = events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.value).into_owned())
        .collect();
    holds!(values == (0..100).map(|index| index.to_string()).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn a_large_replay_comes_in_fragments(mut client: Client) -> Verdict {
    const VALUES: usize = 8;
    const VALUE_BYTES: usize = 500 << 10;
    const MESSAGE_BYTES_MAX: usize = 3 << 20;
    let mut first = 0;
    for index in 0..VALUES {
        let put = client
            .put(format!("fragment/{index}"), vec![b'x'; VALUE_BYTES], None)
            .await?;
        first = if index == 0 {
            put.header().map_or(0, |header| header.revision())
        } else {
            first
        };
    }
    let past = WatchOptions::new()
        .with_prefix()
        .with_start_revision(first)
        .with_fragment();
    let mut watch = client.watch("fragment/", Some(past)).await?;
    created(&mut watch).await?;
    let mut keys = Vec::new();
    while keys.len() < VALUES {
        let events = seen_in(&message(&mut watch).await?);
        holds!(events.len() * VALUE_BYTES <= MESSAGE_BYTES_MAX);
        keys.extend(events.into_iter().map(|event| event.key));
    }
    let expected: Vec<Vec<u8>> = (0..VALUES)
        .map(|index| format!("fragment/{index}").into_bytes())
        .collect();
    holds!(keys == expected);
    let deletes: Vec<TxnOp> = keys
        .into_iter()
        .map(|key| TxnOp::delete(key, None))
        .collect();
    client.txn(Txn::new().and_then(deletes)).await?;
    Ok(())
}

pub(crate) async fn progress_is_told_when_asked(mut client: Client) -> Verdict {
    let mut watch = client.watch("progress", None).await?;
    created(&mut watch).await?;
    let put = client.put("elsewhere", "1", None).await?;
    let revision = put.header().map_or(0, |header| header.revision());
    // A server may drop the request while the watch still catches up, so clients repeat it.
    for _ in 0..50 {
        watch.request_progress().await?;
        let answer =
            tokio::time::timeout(std::time::Duration::from_millis(200), message(&mut watch));
        let Ok(answer) = answer.await else { continue };
        let answer = answer?;
        holds!(answer.events().is_empty() && !answer.canceled());
        same!(answer.watch_id(), -1);
        holds!(
            answer
                .header()
                .is_some_and(|header| header.revision() >= revision)
        );
        return Ok(());
    }
    Err(Wrong("no answer to any of 50 requests".into()))
}

pub(crate) async fn a_watch_from_the_future_waits_for_it(mut client: Client) -> Verdict {
    let put = client.put("future", "0", None).await?;
    let start = put.header().map_or(0, |header| header.revision()) + 3;
    let mut watch = client
        .watch(
            "future",
            Some(WatchOptions::new().with_start_revision(start)),
        )
        .await?;
    created(&mut watch).await?;
    for index in 1..=4 {
        client.put("future", index.to_string(), None).await?;
    }
    let events = events(&mut watch, 2).await?;
    same!(
        (events[0].value.as_slice(), events[0].revision),
        (b"3".as_slice(), start)
    );
    same!(events[1].value.as_slice(), b"4".as_slice());
    Ok(())
}

pub(crate) async fn a_watch_of_what_was_compacted_is_told_where_to_begin(
    mut client: Client,
) -> Verdict {
    let mut last = 0;
    for index in 0..5 {
        let put = client.put("compacted", index.to_string(), None).await?;
        last = put.header().map_or(0, |header| header.revision());
    }
    client.compact(last - 1, None).await?;
    let past = WatchOptions::new().with_start_revision(last - 3);
    let mut watch = client.watch("compacted", Some(past)).await?;
    let mut reply = message(&mut watch).await?;
    if reply.created() && !reply.canceled() {
        reply = message(&mut watch).await?;
    }
    holds!(reply.canceled());
    same!(reply.compact_revision(), last - 1);
    let start = WatchOptions::new().with_start_revision(reply.compact_revision() + 1);
    let mut watch = client.watch("compacted", Some(start)).await?;
    created(&mut watch).await?;
    same!(events(&mut watch, 1).await?[0].revision, last);
    Ok(())
}
