//! RangeStream of the service `etcdserverpb.KV`: a range's answer in pieces.
//!
//! All pieces come from one state, so compaction takes nothing away from under a reader, and a
//! piece is made only when the one before has been taken: what a slow reader costs is that state,
//! not its answer.

use crate::Server;
use crate::call::Call;
use crate::errors::{self, Error};
use crate::translate;
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::sync::Arc;
use synod_api::etcdserverpb as pb;
use synod_state::command::{Order, Range, Revision, Target};
use synod_state::reply::RangeReply;
use synod_state::{KeyRange, Record, Root};
use tonic::Status;

/// Keys of the first piece, as in etcd: the client has something soon.
const FIRST_KEYS: usize = 10;

impl Server {
    /// Makes the pieces, or says why there are none.
    pub(crate) async fn range_stream(
        self: Arc<Self>,
        request: pb::RangeRequest,
        call: Call,
    ) -> Result<impl Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send + 'static, Status>
    {
        let (range, serializable) = translate::range(request)?;
        range.check().map_err(Error::invalid)?;
        let by_key = match range.order {
            Order::None => true,
            Order::Ascend => range.target == Target::Key,
            Order::Descend => false,
        };
        if !by_key {
            return Err(errors::STREAM_SORTED.into());
        }
        if is_filtered(&range) {
            return Err(errors::STREAM_FILTERED.into());
        }
        let root = self.fresh(serializable, call).await?;
        let pages = Pages::new(root, range, self.node.limits().request_bytes_max)?;
        self.metrics.ranges.add(1);
        // A header is of the moment in which the answer begins, like the state.
        let header = self.header(pages.root.revision());
        Ok(stream::unfold(Some(pages), move |pages| async move {
            let mut pages = pages?;
            let page = pages.next();
            let range_response = match page {
                Page::Part(reply) => pb::RangeResponse {
                    header: None,
                    ..translate::range_reply(reply, header)
                },
                Page::Last(reply) => {
                    let last = translate::range_reply(reply, header);
                    return Some((Ok(response(last)), None));
                }
            };
            Some((Ok(response(range_response)), Some(pages)))
        }))
    }
}

fn response(range_response: pb::RangeResponse) -> pb::RangeStreamResponse {
    pb::RangeStreamResponse {
        range_response: Some(range_response),
    }
}

fn is_filtered(range: &Range) -> bool {
    range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0
}

/// An answer that is given page by page.
struct Pages {
    root: Root,
    /// Its key moves on from page to page.
    range: Range,
    at: Revision,
    /// Keys that may still be shown.
    left: usize,
    /// Keys of all pages so far.
    passed: i64,
    /// Keys of the next page.
    keys: usize,
    /// About the size that a page should have.
    bytes: usize,
}

enum Page {
    Part(RangeReply),
    Last(RangeReply),
}

impl Pages {
    fn new(root: Root, range: Range, bytes: usize) -> Result<Self, Status> {
        let at = if range.revision > 0 {
            range.revision
        } else {
            root.revision()
        };
        // Looks whether that can be read.
        drop(scan(&root, &range, at)?);
        let limit = usize::try_from(range.limit)
            .ok()
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        Ok(Self {
            root,
            at,
            left: if range.count_only { 0 } else { limit },
            range,
            passed: 0,
            keys: FIRST_KEYS,
            bytes,
        })
    }

    fn next(&mut self) -> Page {
        let keys = self.keys.min(self.left);
        let show = if self.range.keys_only {
            Record::key_only
        } else {
            Record::key_value
        };
        let mut kvs = Vec::new();
        let mut bytes = 0;
        let range = self.range.clone();
        let mut found = scan(&self.root, &range, self.at)
            .expect("what could be read of a root can be read again")
            .peekable();
        while kvs.len() < keys && bytes < self.bytes {
            let Some(record) = found.next() else { break };
            let pair = show(record);
            bytes += pair.key.len() + pair.value.len();
            kvs.push(pair);
        }
        self.passed += count(kvs.len());
        self.left -= kvs.len();
        if self.left > 0
            && let Some(next) = found.peek()
        {
            self.range.key = Bytes::copy_from_slice(next.key());
            self.keys = if bytes > self.bytes / 2 {
                (self.keys / 2).max(1)
            } else {
                self.keys.saturating_mul(2)
            };
            return Page::Part(RangeReply {
                kvs,
                more: false,
                count: 0,
            });
        }
        let rest = count(found.count());
        Page::Last(RangeReply {
            kvs,
            more: rest > 0 && !self.range.count_only,
            count: self.passed + rest,
        })
    }
}

fn scan<'a>(
    root: &'a Root,
    range: &'a Range,
    at: Revision,
) -> Result<impl Iterator<Item = &'a Record>, Status> {
    let keys = KeyRange::new(&range.key, &range.range_end);
    root.scan(keys, at)
        .map_err(|refusal| Error::refused(refusal).into())
}

fn count(keys: usize) -> i64 {
    i64::try_from(keys).expect("a table holds fewer than 2^63 records")
}
