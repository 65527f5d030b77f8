//! Answers as text and as JSON. The JSON is etcdctl's: its names, base64 for bytes.

use super::Form;
use crate::outside;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use synod_api::etcdserverpb as pb;
use synod_api::mvccpb::{Event, KeyValue};

/// Prints an answer in the asked form.
pub(super) fn answer(form: Form, json: impl FnOnce() -> Value, simple: impl FnOnce() -> Vec<u8>) {
    match form {
        Form::Json => outside::say(json()),
        Form::Simple => outside::put_stdout(&simple()),
    }
}

/// An object without its empty fields, as protobuf's JSON leaves them out.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let full = fields.into_iter().filter(|(_, value)| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    });
    Value::Object(
        full.map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn list<T>(items: &[T], item: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(item).collect())
}

/// Bytes as JSON has them.
fn bytes(bytes: &[u8]) -> Value {
    Value::String(STANDARD.encode(bytes))
}

fn header(header: Option<&pb::ResponseHeader>) -> Value {
    header.map_or(Value::Null, |header| {
        object([
            ("cluster_id", header.cluster_id.into()),
            ("member_id", header.member_id.into()),
            ("revision", header.revision.into()),
            ("raft_term", header.raft_term.into()),
        ])
    })
}

fn key_value(kv: &KeyValue) -> Value {
    object([
        ("key", bytes(&kv.key)),
        ("create_revision", kv.create_revision.into()),
        ("mod_revision", kv.mod_revision.into()),
        ("version", kv.version.into()),
        ("value", bytes(&kv.value)),
        ("lease", kv.lease.into()),
    ])
}

fn optional(kv: Option<&KeyValue>) -> Value {
    kv.map_or(Value::Null, key_value)
}

pub(super) fn put(reply: &pb::PutResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("prev_kv", optional(reply.prev_kv.as_ref())),
    ])
}

pub(super) fn range(reply: &pb::RangeResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("kvs", list(&reply.kvs, key_value)),
        ("more", reply.more.into()),
        ("count", reply.count.into()),
    ])
}

pub(super) fn delete(reply: &pb::DeleteRangeResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("deleted", reply.deleted.into()),
        ("prev_kvs", list(&reply.prev_kvs, key_value)),
    ])
}

pub(super) fn txn(reply: &pb::TxnResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("succeeded", reply.succeeded.into()),
        ("responses", list(&reply.responses, response_op)),
    ])
}

fn response_op(op: &pb::ResponseOp) -> Value {
    use pb::response_op::Response;
    match &op.response {
        Some(Response::ResponseRange(reply)) => json!({ "response_range": range(reply) }),
        Some(Response::ResponsePut(reply)) => json!({ "response_put": put(reply) }),
        Some(Response::ResponseDeleteRange(reply)) => {
            json!({ "response_delete_range": delete(reply) })
        }
        Some(Response::ResponseTxn(reply)) => json!({ "response_txn": txn(reply) }),
        None => json!({}),
    }
}

pub(super) fn compaction(reply: &pb::CompactionResponse) -> Value {
    object([("header", header(reply.header.as_ref()))])
}

pub(super) fn alarms(reply: &pb::AlarmResponse) -> Value {
    let alarm = |alarm: &pb::AlarmMember| {
        object([
            ("memberID", alarm.member_id.into()),
            ("alarm", alarm.alarm.into()),
        ])
    };
    object([
        ("header", header(reply.header.as_ref())),
        ("alarms", list(&reply.alarms, alarm)),
    ])
}

pub(super) fn watch(reply: &pb::WatchResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("watch_id", reply.watch_id.into()),
        ("events", list(&reply.events, event)),
        ("compact_revision", reply.compact_revision.into()),
        ("created", reply.created.into()),
        ("canceled", reply.canceled.into()),
        ("cancel_reason", reply.cancel_reason.as_str().into()),
    ])
}

fn event(event: &Event) -> Value {
    object([
        ("type", event.r#type.into()),
        ("kv", optional(event.kv.as_ref())),
        ("prev_kv", optional(event.prev_kv.as_ref())),
    ])
}

pub(super) fn lease_grant(reply: &pb::LeaseGrantResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("ID", reply.id.into()),
        ("TTL", reply.ttl.into()),
    ])
}

pub(super) fn lease_revoke(reply: &pb::LeaseRevokeResponse) -> Value {
    object([("header", header(reply.header.as_ref()))])
}

pub(super) fn lease_keep_alive(reply: &pb::LeaseKeepAliveResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("ID", reply.id.into()),
        ("TTL", reply.ttl.into()),
    ])
}

pub(super) fn lease_time_to_live(reply: &pb::LeaseTimeToLiveResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        ("id", reply.id.into()),
        ("ttl", reply.ttl.into()),
        ("granted-ttl", reply.granted_ttl.into()),
        ("keys", list(&reply.keys, |key| bytes(key))),
    ])
}

pub(super) fn leases(reply: &pb::LeaseLeasesResponse) -> Value {
    object([
        ("header", header(reply.header.as_ref())),
        (
            "leases",
            list(&reply.leases, |lease| json!({ "id": lease.id })),
        ),
    ])
}

pub(super) fn status(endpoint: &str, reply: &pb::StatusResponse) -> Value {
    let status = object([
        ("header", header(reply.header.as_ref())),
        ("version", reply.version.as_str().into()),
        ("dbSize", reply.db_size.into()),
        ("leader", reply.leader.into()),
        ("raftIndex", reply.raft_index.into()),
        ("raftTerm", reply.raft_term.into()),
        ("raftAppliedIndex", reply.raft_applied_index.into()),
        ("errors", list(&reply.errors, |error| error.as_str().into())),
        ("dbSizeInUse", reply.db_size_in_use.into()),
        ("isLearner", reply.is_learner.into()),
        ("dbSizeQuota", reply.db_size_quota.into()),
    ]);
    json!({ "Endpoint": endpoint, "Status": status })
}
