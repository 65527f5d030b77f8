//! `synod put`, `get` and `del`.

use super::{ClientArgs, failure, render};
use crate::exit::{Exit, Failure};
use crate::outside;
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use synod_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use synod_api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};
use synod_api::mvccpb::KeyValue;

/// Write a key; without VALUE, the value is read from standard input.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Put {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    op: PutOp,
}

/// What a put does, alone or inside a transaction.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct PutOp {
    /// The key
    key: OsString,
    /// The value
    value: Option<OsString>,
    /// Lease to hang the key on, in hexadecimal
    #[arg(long, value_name = "ID", default_value = "0", value_parser = super::lease::lease_id)]
    lease: i64,
    /// Also return the value before
    #[arg(long)]
    prev_kv: bool,
    /// Keep the present value
    #[arg(long, conflicts_with = "value")]
    ignore_value: bool,
    /// Keep the present lease
    #[arg(long)]
    ignore_lease: bool,
}

/// Read a key, or the keys from KEY up to but without END.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Get {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    op: GetOp,
    /// Print values only
    #[arg(long)]
    print_value_only: bool,
}

/// What a get does, alone or inside a transaction.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct GetOp {
    #[command(flatten)]
    range: KeyRange,
    /// Return at most that many keys, 0 for all
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    limit: i64,
    /// Read as of that revision, 0 for now
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    rev: i64,
    /// `l`: newest, agreed by a quorum; `s`: what this member has
    #[arg(long, default_value = "l", value_parser = ["l", "s"])]
    consistency: String,
    /// Order of the result
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,
    /// What to order by
    #[arg(long, value_name = "FIELD")]
    sort_by: Option<Field>,
    /// Leave out the values
    #[arg(long)]
    keys_only: bool,
    /// Only count
    #[arg(long)]
    count_only: bool,
}

/// Delete a key, or the keys from KEY up to but without END.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Del {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    op: DelOp,
}

/// What a deletion does, alone or inside a transaction.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct DelOp {
    #[command(flatten)]
    range: KeyRange,
    /// Also return what was deleted
    #[arg(long)]
    prev_kv: bool,
}

/// Which keys.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct KeyRange {
    /// The key
    key: OsString,
    /// The first key beyond the range
    end: Option<OsString>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with_all = ["end", "from_key"])]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with = "end")]
    from_key: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "UPPER")]
enum Order {
    #[value(alias = "ascend")]
    Ascend,
    #[value(alias = "descend")]
    Descend,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "UPPER")]
enum Field {
    #[value(alias = "key")]
    Key,
    #[value(alias = "version")]
    Version,
    #[value(alias = "create")]
    Create,
    #[value(alias = "modify")]
    Modify,
    #[value(alias = "value")]
    Value,
}

pub(super) fn bytes(text: &OsStr) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

impl KeyRange {
    /// Key and range end as they go on the wire. `\0` as an end stands for "no end", and as a
    /// key for the smallest.
    pub(super) fn on_the_wire(&self) -> (Bytes, Bytes) {
        let key = self.key.as_bytes();
        let end = match &self.end {
            _ if self.prefix => prefix_end(key),
            _ if self.from_key => vec![0],
            Some(end) => end.as_bytes().to_vec(),
            None => Vec::new(),
        };
        let key = if key.is_empty() && !end.is_empty() {
            &[0]
        } else {
            key
        };
        (Bytes::copy_from_slice(key), end.into())
    }
}

/// The first key behind all keys with that prefix: the last byte that can grow, grown by one.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0]
}

impl PutOp {
    pub(super) fn request(
        &self,
        read_value: impl FnOnce() -> Result<Bytes, Failure>,
    ) -> Result<PutRequest, Failure> {
        let value = match &self.value {
            Some(value) => bytes(value),
            None if self.ignore_value => Bytes::new(),
            None => read_value()?,
        };
        Ok(PutRequest {
            key: bytes(&self.key),
            value,
            lease: self.lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

impl GetOp {
    pub(super) fn request(&self) -> RangeRequest {
        let (key, range_end) = self.range.on_the_wire();
        let sort_order = match (self.order, self.sort_by) {
            (Some(Order::Descend), _) => SortOrder::Descend,
            (Some(Order::Ascend), _) | (None, Some(_)) => SortOrder::Ascend,
            (None, None) => SortOrder::None,
        };
        let sort_target = match self.sort_by {
            None | Some(Field::Key) => SortTarget::Key,
            Some(Field::Version) => SortTarget::Version,
            Some(Field::Create) => SortTarget::Create,
            Some(Field::Modify) => SortTarget::Mod,
            Some(Field::Value) => SortTarget::Value,
        };
        RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev,
            sort_order: sort_order.into(),
            sort_target: sort_target.into(),
            serializable: self.consistency == "s",
            keys_only: self.keys_only,
            count_only: self.count_only,
            ..RangeRequest::default()
        }
    }
}

impl DelOp {
    pub(super) fn request(&self) -> DeleteRangeRequest {
        let (key, range_end) = self.range.on_the_wire();
        DeleteRangeRequest {
            key,
            range_end,
            prev_kv: self.prev_kv,
        }
    }
}

impl Put {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let request = self.op.request(value_from_stdin)?;
        let client = self.client.connect()?;
        let reply = client.put(request).await.map_err(failure)?;
        render::answer(
            self.client.form,
            || render::put(&reply),
            || put_text(&reply),
        );
        Ok(())
    }
}

/// The value as it stands on standard input, without a final newline only if it has none.
fn value_from_stdin() -> Result<Bytes, Failure> {
    let value = outside::read_stdin().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot read the value from standard input: {error}"),
        )
    })?;
    Ok(value.into())
}

impl Get {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let client = self.client.connect()?;
        let reply = client.get(self.op.request()).await.map_err(failure)?;
        let show = Show {
            keys: !self.print_value_only,
            values: !self.op.keys_only,
            count: self.op.count_only,
        };
        render::answer(
            self.client.form,
            || render::range(&reply),
            || range_text(&reply, show),
        );
        Ok(())
    }
}

impl Del {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let client = self.client.connect()?;
        let reply = client.delete(self.op.request()).await.map_err(failure)?;
        render::answer(
            self.client.form,
            || render::delete(&reply),
            || delete_text(&reply),
        );
        Ok(())
    }
}

/// What of a range a person wants to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    pub(super) keys: bool,
    pub(super) values: bool,
    pub(super) count: bool,
}

impl Show {
    pub(super) const ALL: Self = Self {
        keys: true,
        values: true,
        count: false,
    };
}

fn put_line(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

fn put_pair(text: &mut Vec<u8>, kv: &KeyValue) {
    put_line(text, &kv.key);
    put_line(text, &kv.value);
}

pub(super) fn put_text(reply: &PutResponse) -> Vec<u8> {
    let mut text = b"OK\n".to_vec();
    if let Some(previous) = &reply.prev_kv {
        put_pair(&mut text, previous);
    }
    text
}

pub(super) fn range_text(reply: &RangeResponse, show: Show) -> Vec<u8> {
    if show.count {
        return format!("{}\n", reply.count).into_bytes();
    }
    let mut text = Vec::new();
    for kv in &reply.kvs {
        if show.keys {
            put_line(&mut text, &kv.key);
        }
        if show.values {
            put_line(&mut text, &kv.value);
        }
    }
    text
}

pub(super) fn delete_text(reply: &DeleteRangeResponse) -> Vec<u8> {
    let mut text = format!("{}\n", reply.deleted).into_bytes();
    for kv in &reply.prev_kvs {
        put_pair(&mut text, kv);
    }
    text
}
