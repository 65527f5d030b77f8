//! Reading a running etcd: all keys as of one revision, page by page, and the leases.

use super::{Contents, Sum};
use crate::client;
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;
use synod_api::etcdserverpb::{LeaseTimeToLiveRequest, RangeRequest, RangeResponse};
use synod_api::mvccpb::KeyValue;
use synod_client::{Client, Error};
use synod_import::Taken;
use synod_import::etcd::Left;
use synod_state::Root;
use synod_state::anew::{ForeignKey, ForeignLease};
use synod_state::command::{LeaseId, Revision};

/// About the size of one answer.
const PAGE_BYTES: usize = 2 << 20;
/// Keys of the first page, before it is known how large they are.
const FIRST_PAGE: i64 = 100;
/// Most keys of a page.
const PAGE_KEYS_MAX: usize = 10_000;

/// A running etcd.
pub(super) struct Source(Client);

impl Source {
    pub(super) fn new(endpoint: &str, timeout: Duration) -> Result<Self, Failure> {
        Ok(Self(client::client(vec![endpoint.to_owned()], timeout)?))
    }

    /// Reads everything: the keys as of the revision that etcd has now, then the leases.
    pub(super) async fn read(&self) -> Result<Taken, Failure> {
        let mut keys = Vec::new();
        let mut progress = Progress::new("read");
        let mut bytes = 0;
        let revision = self
            .pages(0, |page| {
                for kv in page {
                    bytes += (kv.key.len() + kv.value.len()) as u64;
                    keys.push(foreign(kv));
                }
                progress.bytes(bytes, None);
            })
            .await?;
        let leases = self.leases().await?;
        let alive: BTreeSet<LeaseId> = leases.iter().map(|lease| lease.lease).collect();
        let before = keys.len();
        // Their lease ended after the revision that was read, and etcd has deleted them.
        keys.retain(|key| key.lease == 0 || alive.contains(&key.lease));
        let left = Left {
            keys_without_lease: before - keys.len(),
            ..Left::default()
        };
        Ok(Taken {
            keys,
            leases,
            revision,
            left,
            has_digest: false,
        })
    }

    /// Reads the keys as of `revision` once more, without those whose lease `root` does not have.
    pub(super) async fn read_again(
        &self,
        revision: Revision,
        root: &Root,
    ) -> Result<Contents, Failure> {
        let (mut count, mut sum) = (0, Sum::default());
        let mut progress = Progress::new("verified");
        let mut bytes = 0;
        self.pages(revision, |page| {
            for kv in page {
                bytes += (kv.key.len() + kv.value.len()) as u64;
                if kv.lease == 0 || root.lease(kv.lease).is_some() {
                    sum.add(&foreign(kv));
                    count += 1;
                }
            }
            progress.bytes(bytes, None);
        })
        .await?;
        let sum = sum.finish();
        Ok(Contents { count, sum })
    }

    /// Shows all keys as of `revision`, 0 for the present one. Says which revision that was.
    async fn pages(
        &self,
        revision: Revision,
        mut see: impl FnMut(Vec<KeyValue>),
    ) -> Result<Revision, Failure> {
        let mut request = RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            limit: FIRST_PAGE,
            revision,
            ..RangeRequest::default()
        };
        loop {
            let answer = self.0.get(request.clone()).await.map_err(failure)?;
            let RangeResponse {
                header, kvs, more, ..
            } = answer;
            if request.revision == 0 {
                let header = header.ok_or_else(|| Failure::other("an answer without a header"))?;
                request.revision = header.revision;
            }
            let last = kvs.last().map(|kv| kv.key.clone());
            let bytes: usize = kvs
                .iter()
                .map(|kv| kv.key.len() + kv.value.len() + 64)
                .sum();
            let each = bytes.div_ceil(kvs.len().max(1)).max(1);
            let keys = (PAGE_BYTES / each).clamp(1, PAGE_KEYS_MAX);
            request.limit = i64::try_from(keys).expect("at most ten thousand");
            see(kvs);
            let Some(last) = last.filter(|_| more) else {
                return Ok(request.revision);
            };
            // The first key after the last.
            request.key = [&last[..], b"\0"].concat().into();
        }
    }

    async fn leases(&self) -> Result<Vec<ForeignLease>, Failure> {
        let listed = self.0.lease_list().await.map_err(failure)?.leases;
        let mut leases = Vec::new();
        for lease in listed {
            let request = LeaseTimeToLiveRequest {
                id: lease.id,
                keys: false,
            };
            let times = self.0.lease_time_to_live(request).await.map_err(failure)?;
            // One that has ended since it was listed has a time of -1.
            if let Ok(granted_s) = u64::try_from(times.granted_ttl)
                && times.ttl > 0
            {
                leases.push(ForeignLease {
                    lease: lease.id,
                    ttl_ms: granted_s.saturating_mul(1_000),
                });
            }
        }
        leases.sort_by_key(|lease| lease.lease);
        Ok(leases)
    }
}

fn foreign(kv: KeyValue) -> ForeignKey {
    let KeyValue {
        key,
        create_revision,
        mod_revision,
        version,
        value,
        lease,
    } = kv;
    ForeignKey {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    }
}

fn failure(error: Error) -> Failure {
    const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
    if matches!(&error, Error::Refused { message, .. } if message == COMPACTED) {
        return Failure::new(
            Exit::Refused,
            "the revision was compacted while it was read; turn automatic compaction off, or take \
             a file that `etcdctl snapshot save` wrote",
        );
    }
    client::failure(error)
}
