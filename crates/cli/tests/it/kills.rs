//! kill -9 under mixed load: every acknowledged write is there after each restart.
//!
//! This does not test fsync, since the operating system survives; crashes of the disk are tested
//! on the deterministic one in `synod-storage`, and the node asserts durability before it answers.

use crate::member::{Dir, Member};
use std::collections::BTreeMap;
use std::sync::mpsc;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::lease_client::LeaseClient;
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use synod_env::Prng;
use tonic::transport::Channel;

const WRITERS: usize = 8;
const KEYS_PER_WRITER: u64 = 12;

/// What is known of one writer's keys and leases. Each writer has one request under way, and
/// nobody else touches what is its own, so at most one thing at a time is unknown.
#[derive(Default)]
struct Known {
    /// The acknowledged value of each key; `None` if deleted.
    values: BTreeMap<String, Option<String>>,
    /// The acknowledged leases: true if granted and not revoked.
    leases: BTreeMap<i64, bool>,
    /// What the last request would have made of its key, if it had no answer.
    unknown_key: Option<(String, Option<String>)>,
    /// The same for its lease.
    unknown_lease: Option<(i64, bool)>,
    /// The highest revision seen in an answer.
    revision: i64,
    /// Counts the requests, so that no value is written twice.
    requests: u64,
}

#[test]
fn acknowledged_writes_survive_kills_at_random_moments() {
    let kills: u64 = match std::env::var("SYNOD_KILLS") {
        Ok(text) => text.parse().expect("SYNOD_KILLS is a number"),
        Err(_) => 20,
    };
    let dir = Dir::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut prng = Prng::new(20);
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let mut answers = 0;
    for kill in 0..=kills {
        let member = Member::start(&dir);
        let endpoint = member.endpoint.clone();
        for (writer, known) in known.iter_mut().enumerate() {
            runtime.block_on(check(&endpoint, writer, known, kill));
        }
        if kill == kills {
            break;
        }
        // The moment is a number of answers: it falls anywhere between two writes and their sync.
        let moment = 1 + prng.below(300);
        let (answered, count) = mpsc::channel();
        let load = std::thread::spawn({
            let mut prng = prng.fork();
            let endpoint = endpoint.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let channel = connect(&endpoint).await;
                    let mut writers = tokio::task::JoinSet::new();
                    for (writer, known) in known.into_iter().enumerate() {
                        let (channel, prng) = (channel.clone(), prng.fork());
                        let answered = answered.clone();
                        writers.spawn(async move {
                            (writer, write(channel, writer, known, prng, &answered).await)
                        });
                    }
                    drop(answered);
                    let mut known = writers.join_all().await;
                    known.sort_by_key(|(writer, _)| *writer);
                    known
                        .into_iter()
                        .map(|(_, known)| known)
                        .collect::<Vec<_>>()
                })
            }
        });
        for _ in 0..moment {
            count.recv().expect("the load goes on until the kill");
        }
        member.kill();
        known = load.join().unwrap();
        answers += moment + count.iter().count() as u64;
    }
    assert!(answers >= kills, "{answers} answers in {kills} rounds");
}

async fn connect(endpoint: &str) -> Channel {
    Channel::from_shared(endpoint.to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// Writes until the member is gone.
async fn write(
    channel: Channel,
    writer: usize,
    mut known: Known,
    mut prng: Prng,
    answered: &mpsc::Sender<()>,
) -> Known {
    let mut kv = KvClient::new(channel.clone());
    let mut leases = LeaseClient::new(channel);
    loop {
        known.requests += 1;
        let key = format!("{writer}/{:02}", prng.below(KEYS_PER_WRITER));
        let value = format!("{writer}.{}", known.requests);
        let revision = match prng.below(10) {
            0..=4 => {
                known.unknown_key = Some((key.clone(), Some(value.clone())));
                let put = PutRequest {
                    key: key.into(),
                    value: value.into(),
                    ..PutRequest::default()
                };
                kv.put(put).await.map(|reply| reply.into_inner().header)
            }
            5..=6 => {
                known.unknown_key = Some((key.clone(), None));
                let delete = DeleteRangeRequest {
                    key: key.into(),
                    ..DeleteRangeRequest::default()
                };
                kv.delete_range(delete)
                    .await
                    .map(|reply| reply.into_inner().header)
            }
            7 => {
                // Of two puts of which the condition takes one.
                known.unknown_key = Some((key.clone(), Some(value.clone())));
                let reply = kv.txn(transaction(key, value)).await;
                reply.map(|reply| reply.into_inner().header)
            }
            8 => {
                let id = i64::try_from(known.requests).unwrap() * 100
                    + i64::try_from(writer).unwrap()
                    + 1;
                known.unknown_lease = Some((id, true));
                let grant = LeaseGrantRequest { ttl: 10_000, id };
                leases
                    .lease_grant(grant)
                    .await
                    .map(|reply| reply.into_inner().header)
            }
            _ => {
                let granted = known.leases.iter().find(|(_, granted)| **granted);
                let Some((&id, _)) = granted else { continue };
                known.unknown_lease = Some((id, false));
                let revoke = LeaseRevokeRequest { id };
                leases
                    .lease_revoke(revoke)
                    .await
                    .map(|reply| reply.into_inner().header)
            }
        };
        let Ok(header) = revision else { return known };
        known.revision = known.revision.max(header.unwrap().revision);
        known.values.extend(known.unknown_key.take());
        known.leases.extend(known.unknown_lease.take());
        // Nobody counts any more once the member is killed.
        answered.send(()).ok();
    }
}

/// If the key exists, put it; if not, put it too.
fn transaction(key: String, value: String) -> TxnRequest {
    let put = PutRequest {
        key: key.clone().into(),
        value: value.into(),
        ..PutRequest::default()
    };
    let op = vec![RequestOp {
        request: Some(Request::RequestPut(put)),
    }];
    let exists = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: key.into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    TxnRequest {
        compare: vec![exists],
        success: op.clone(),
        failure: op,
    }
}

/// Compares what is known of a writer's keys and leases with what the member has, and takes over
/// what became of the request that had no answer.
async fn check(endpoint: &str, writer: usize, known: &mut Known, kill: u64) {
    let channel = connect(endpoint).await;
    let mut kv = KvClient::new(channel.clone());
    let mut leases = LeaseClient::new(channel);
    let range = RangeRequest {
        key: format!("{writer}/").into(),
        range_end: format!("{writer}0").into(),
        ..RangeRequest::default()
    };
    let reply = kv.range(range).await.unwrap().into_inner();
    let revision = reply.header.unwrap().revision;
    let seen = known.revision;
    assert!(
        revision >= seen,
        "after kill {kill}: revision {revision}, acknowledged was {seen}"
    );
    let present: BTreeMap<String, String> = reply
        .kvs
        .iter()
        .map(|kv| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(&kv.key), text(&kv.value))
        })
        .collect();
    if let Some((key, made)) = known.unknown_key.take()
        && present.get(&key) == made.as_ref()
    {
        known.values.insert(key, made);
    }
    let expected: BTreeMap<String, String> = known
        .values
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
        .collect();
    assert_eq!(present, expected, "after kill {kill}");

    let unknown = known.unknown_lease.take();
    let asked: Vec<i64> = known
        .leases
        .keys()
        .copied()
        .chain(unknown.map(|(id, _)| id))
        .collect();
    for id in asked {
        let request = LeaseTimeToLiveRequest { id, keys: false };
        let reply = leases
            .lease_time_to_live(request)
            .await
            .unwrap()
            .into_inner();
        let exists = reply.ttl >= 0;
        match unknown {
            Some((uncertain, _)) if uncertain == id => {
                known.leases.insert(id, exists);
            }
            _ => assert_eq!(exists, known.leases[&id], "lease {id} after kill {kill}"),
        }
    }
    // Checking grows with what was ever granted: ended leases need no second look.
    known.leases.retain(|_, granted| *granted);
}
