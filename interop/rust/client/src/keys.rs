//! Keys and transactions.

use crate::{Verdict, Wrong, code, holds, refused, same};
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse,
};

pub(crate) async fn a_key_comes_back_as_it_was_put(mut client: Client) -> Verdict {
    let first = client.put("back", "1", None).await?;
    let before = first.header().map_or(0, |header| header.revision());
    holds!(first.prev_key().is_none());
    let second = client
        .put("back", "2", Some(PutOptions::new().with_prev_key()))
        .await?;
    let previous = second.prev_key().ok_or(Wrong("no previous value".into()))?;
    same!(previous.value(), b"1");
    same!(
        second.header().map(|header| header.revision()),
        Some(before + 1)
    );

    let got = client.get("back", None).await?;
    same!(got.kvs().len(), 1);
    let key = &got.kvs()[0];
    same!(key.value(), b"2");
    same!(key.create_revision(), before);
    same!(key.mod_revision(), before + 1);
    same!(key.version(), 2);
    same!(key.lease(), 0);

    let deleted = client
        .delete("back", Some(DeleteOptions::new().with_prev_key()))
        .await?;
    same!(deleted.deleted(), 1);
    same!(deleted.prev_kvs()[0].value(), b"2");
    same!(client.get("back", None).await?.count(), 0);
    Ok(())
}

pub(crate) async fn keys_and_values_are_any_bytes(mut client: Client) -> Verdict {
    let every_byte: Vec<u8> = (0..=255).collect();
    let key = [b"bytes/".as_slice(), &every_byte].concat();
    client.put(key.clone(), every_byte.clone(), None).await?;
    let got = client
        .get("bytes/", Some(GetOptions::new().with_prefix()))
        .await?;
    same!(got.kvs().len(), 1);
    same!(got.kvs()[0].key(), key);
    same!(got.kvs()[0].value(), every_byte);
    Ok(())
}

pub(crate) async fn an_open_prefix_reaches_the_last_key(mut client: Client) -> Verdict {
    let keys = [vec![0xff], vec![0xff, 0x00], vec![0xff, 0xff, 0xff]];
    for key in &keys {
        client.put(key.clone(), "last", None).await?;
    }
    let got = client
        .get([0xff], Some(GetOptions::new().with_prefix()))
        .await?;
    let found: Vec<&[u8]> = got.kvs().iter().map(|key| key.key()).collect();
    same!(found, keys);
    same!(
        client
            .delete([0xff], Some(DeleteOptions::new().with_from_key()))
            .await?
            .deleted(),
        3
    );
    Ok(())
}

pub(crate) async fn a_count_ignores_the_limit(mut client: Client) -> Verdict {
    for index in 0..5 {
        client.put(format!("count/{index}"), "x", None).await?;
    }
    let prefix = || GetOptions::new().with_prefix();
    let got = client.get("count/", Some(prefix().with_limit(2))).await?;
    same!((got.kvs().len(), got.count(), got.more()), (2, 5, true));
    let got = client.get("count/", Some(prefix().with_limit(5))).await?;
    same!((got.kvs().len(), got.count(), got.more()), (5, 5, false));
    let got = client
        .get("count/", Some(prefix().with_count_only()))
        .await?;
    same!((got.kvs().len(), got.count()), (0, 5));
    let got = client
        .get("count/", Some(prefix().with_keys_only()))
        .await?;
    holds!(
        got.kvs()
            .iter()
            .all(|key| key.value().is_empty() && key.mod_revision() > 0)
    );
    Ok(())
}

pub(crate) async fn revision_bounds_filter_before_the_limit(mut client: Client) -> Verdict {
    let mut revisions = Vec::new();
    for index in 0..4 {
        let put = client.put(format!("bound/{index}"), "x", None).await?;
        revisions.push(put.header().map_or(0, |header| header.revision()));
    }
    client.put("bound/0", "again", None).await?;
    let prefix = || GetOptions::new().with_prefix();
    let bounded = prefix()
        .with_min_mod_revision(revisions[1])
        .with_max_mod_revision(revisions[2]);
    let got = client.get("bound/", Some(bounded)).await?;
    let found: Vec<&[u8]> = got.kvs().iter().map(|key| key.key()).collect();
    same!(found, [b"bound/1", b"bound/2"]);
    same!(got.count(), 4);
    let newest = prefix()
        .with_max_create_revision(revisions[2])
        .with_limit(1);
    let newest = newest.with_sort(SortTarget::Mod, SortOrder::Descend);
    let got = client.get("bound/", Some(newest)).await?;
    same!(got.kvs()[0].key(), b"bound/0");
    holds!(got.more());
    Ok(())
}

pub(crate) async fn an_old_revision_can_be_read(mut client: Client) -> Verdict {
    let put = client.put("old", "1", None).await?;
    let revision = put.header().map_or(0, |header| header.revision());
    client.delete("old", None).await?;
    let got = client
        .get("old", Some(GetOptions::new().with_revision(revision)))
        .await?;
    same!(got.kvs()[0].value(), b"1");
    holds!(
        got.header()
            .is_some_and(|header| header.revision() > revision)
    );
    let got = client
        .get("old", Some(GetOptions::new().with_serializable()))
        .await?;
    same!(got.count(), 0);
    Ok(())
}

pub(crate) async fn requests_are_refused_in_the_words_clients_compare(
    mut client: Client,
) -> Verdict {
    let invalid = code::INVALID_ARGUMENT;
    refused(
        client.put("", "x", None).await,
        invalid,
        "etcdserver: key is not provided",
    )?;
    let keep = || PutOptions::new().with_ignore_value();
    let text = "etcdserver: value is provided";
    refused(client.put("words", "x", Some(keep())).await, invalid, text)?;
    let text = "etcdserver: key not found";
    refused(client.put("words", "", Some(keep())).await, invalid, text)?;
    let keep = PutOptions::new().with_ignore_lease().with_lease(1);
    let text = "etcdserver: lease is provided";
    refused(client.put("words", "x", Some(keep)).await, invalid, text)?;
    let future = GetOptions::new().with_revision(i64::MAX);
    let text = "etcdserver: mvcc: required revision is a future revision";
    refused(
        client.get("words", Some(future)).await,
        code::OUT_OF_RANGE,
        text,
    )?;
    let text = "etcdserver: requested lease not found";
    let leased = PutOptions::new().with_lease(77);
    refused(
        client.put("words", "x", Some(leased)).await,
        code::NOT_FOUND,
        text,
    )
}

pub(crate) async fn a_large_value_goes_both_ways(mut client: Client) -> Verdict {
    let value: Vec<u8> = (0..1 << 20)
        .map(|index: u32| index.to_le_bytes()[1])
        .collect();
    client.put("large", value.clone(), None).await?;
    let got = client.get("large", None).await?;
    holds!(got.kvs()[0].value() == value);
    client.delete("large", None).await?;
    Ok(())
}

pub(crate) async fn a_request_beyond_the_limit_is_refused(mut client: Client) -> Verdict {
    let value = vec![b'x'; (3 << 20) / 2 + 1];
    let text = "etcdserver: request is too large";
    refused(
        client.put("too-large", value, None).await,
        code::INVALID_ARGUMENT,
        text,
    )?;
    same!(client.get("too-large", None).await?.count(), 0);
    Ok(())
}

pub(crate) async fn a_range_comparison_holds_for_every_key(mut client: Client) -> Verdict {
    client.put("every/a", "1", None).await?;
    client.put("every/b", "1", None).await?;
    let when_all = |value: &str| {
        let compare = Compare::value("every/", CompareOp::Equal, value).with_prefix();
        Txn::new().when([compare])
    };
    holds!(client.txn(when_all("1")).await?.succeeded());
    client.put("every/b", "2", None).await?;
    holds!(!client.txn(when_all("1")).await?.succeeded());
    let none = Compare::create_revision("nothing/", CompareOp::Equal, 0).with_prefix();
    holds!(client.txn(Txn::new().when([none])).await?.succeeded());
    Ok(())
}

pub(crate) async fn a_nested_transaction_follows_the_state_before_it(
    mut client: Client,
) -> Verdict {
    // The inner comparison is judged before the outer put, so that its other branch is taken.
    let inner = Txn::new()
        .when([Compare::version("nested/a", CompareOp::Greater, 0)])
        .and_then([TxnOp::put("nested/seen", "after", None)])
        .or_else([TxnOp::put("nested/seen", "before", None)]);
    let outer = Txn::new().and_then([
        TxnOp::put("nested/a", "1", None),
        TxnOp::txn(inner),
        TxnOp::get("nested/", Some(GetOptions::new().with_prefix())),
    ]);
    let done = client.txn(outer).await?;
    holds!(done.succeeded());
    let replies = done.op_responses();
    same!(replies.len(), 3);
    let TxnOpResponse::Get(got) = &replies[2] else {
        return Err(Wrong(format!("the third reply is {:?}", replies[2])));
    };
    let values: Vec<&[u8]> = got.kvs().iter().map(|key| key.value()).collect();
    same!(values, [b"1".as_slice(), b"before"]);
    same!(got.kvs()[0].mod_revision(), got.kvs()[1].mod_revision());
    Ok(())
}

pub(crate) async fn a_refused_transaction_changes_nothing(mut client: Client) -> Verdict {
    let revision = client
        .put("refused", "1", None)
        .await?
        .header()
        .map(|header| header.revision());
    let leased = PutOptions::new().with_lease(77);
    let txn = Txn::new().and_then([
        TxnOp::put("refused", "2", None),
        TxnOp::put("refused/other", "2", Some(leased)),
    ]);
    refused(
        client.txn(txn).await,
        code::NOT_FOUND,
        "etcdserver: requested lease not found",
    )?;
    let twice = Txn::new().and_then([
        TxnOp::put("refused", "2", None),
        TxnOp::put("refused", "3", None),
    ]);
    let text = "etcdserver: duplicate key given in txn request";
    refused(client.txn(twice).await, code::INVALID_ARGUMENT, text)?;
    let got = client.get("refused", None).await?;
    same!(got.kvs()[0].value(), b"1");
    same!(got.header().map(|header| header.revision()), revision);
    Ok(())
}

pub(crate) async fn a_transaction_has_at_most_128_operations(mut client: Client) -> Verdict {
    let puts = |count: usize| -> Txn {
        let puts: Vec<TxnOp> = (0..count)
            .map(|index| TxnOp::put(format!("most/{index}"), "x", None))
            .collect();
        Txn::new().and_then(puts)
    };
    holds!(client.txn(puts(128)).await?.succeeded());
    let text = "etcdserver: too many operations in txn request";
    refused(client.txn(puts(129)).await, code::INVALID_ARGUMENT, text)
}

pub(crate) async fn concurrent_increments_are_all_counted(mut client: Client) -> Verdict {
    const WRITERS: usize = 8;
    const INCREMENTS: usize = 25;
    client.put("counter", "0", None).await?;
    let increment = |mut client: Client| async move {
        for _ in 0..INCREMENTS {
            loop {
                let got = client.get("counter", None).await?;
                let text = got.kvs()[0].value_str()?;
                let next = text
                    .parse::<usize>()
                    .map_err(|error| Wrong(error.to_string()))?
                    + 1;
                let unchanged =
                    Compare::mod_revision("counter", CompareOp::Equal, got.kvs()[0].mod_revision());
                let put = TxnOp::put("counter", next.to_string(), None);
                if client
                    .txn(Txn::new().when([unchanged]).and_then([put]))
                    .await?
                    .succeeded()
                {
                    break;
                }
            }
        }
        Ok::<(), Wrong>(())
    };
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(increment(client.clone()));
    }
    while let Some(writer) = writers.join_next().await {
        writer.map_err(|error| Wrong(error.to_string()))??;
    }
    let got = client.get("counter", None).await?;
    same!(
        got.kvs()[0].value(),
        (WRITERS * INCREMENTS).to_string().as_bytes()
    );
    Ok(())
}

pub(crate) async fn many_requests_share_one_connection(mut client: Client) -> Verdict {
    const REQUESTS: usize = 500;
    let before = client.put("many", "x", None).await?;
    let before = before.header().map_or(0, |header| header.revision());
    let mut requests = tokio::task::JoinSet::new();
    for index in 0..REQUESTS {
        let mut client = client.clone();
        requests.spawn(async move { client.put(format!("many/{index}"), "x", None).await });
    }
    let mut revisions = Vec::new();
    while let Some(request) = requests.join_next().await {
        let put = request.map_err(|error| Wrong(error.to_string()))??;
        revisions.push(put.header().map_or(0, |header| header.revision()));
    }
    revisions.sort_unstable();
    let expected: Vec<i64> = (before + 1..).take(REQUESTS).collect();
    holds!(revisions == expected);
    Ok(())
}
