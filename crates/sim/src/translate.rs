//! Between a member's types and the checker's, as `synod-server` translates for gRPC.

use synod_checker as seen;
use synod_checker::{Body, Field, Operation, Refusal, Response, TxnOp};
use synod_env::MemberId;
use synod_node::{Failure, WatchCreate, WatchEvent};
use synod_state::command::{Command, Compare, DeleteRange, Op, Operand, Put, Range, Relation, Txn};
use synod_state::reply;

use crate::wire::Ended;

/// The command that an operation stands for; none for those that are not put into the log.
pub(crate) fn command(operation: &Operation) -> Option<Command> {
    Some(match operation {
        Operation::Put(asked) => Command::Put(put(asked)),
        Operation::DeleteRange(asked) => Command::DeleteRange(delete(asked)),
        Operation::Txn(asked) => Command::Txn(txn(asked)),
        Operation::Compact { revision } => Command::Compact {
            revision: *revision,
        },
        Operation::LeaseRevoke { id } => Command::LeaseRevoke { lease: *id },
        Operation::Range(_)
        | Operation::LeaseGrant { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => return None,
    })
}

fn put(asked: &seen::Put) -> Put {
    Put {
        key: asked.key.clone(),
        value: asked.value.clone(),
        lease: asked.lease,
        prev_kv: asked.prev_kv,
        ..Put::default()
    }
}

fn delete(asked: &seen::DeleteRange) -> DeleteRange {
    DeleteRange {
        key: asked.key.clone(),
        range_end: asked.end.clone(),
        prev_kv: asked.prev_kv,
    }
}

pub(crate) fn range(asked: &seen::Range) -> Range {
    Range {
        key: asked.key.clone(),
        range_end: asked.end.clone(),
        limit: asked.limit,
        revision: asked.revision,
        keys_only: asked.keys_only,
        count_only: asked.count_only,
        ..Range::default()
    }
}

fn txn(asked: &seen::Txn) -> Txn {
    Txn {
        compare: asked.compares.iter().map(compare).collect(),
        success: asked.then.iter().map(op).collect(),
        failure: asked.otherwise.iter().map(op).collect(),
    }
}

fn op(asked: &TxnOp) -> Op {
    match asked {
        TxnOp::Put(asked) => Op::Put(put(asked)),
        TxnOp::DeleteRange(asked) => Op::DeleteRange(delete(asked)),
        TxnOp::Range(asked) => Op::Range(range(asked)),
    }
}

fn compare(asked: &seen::Compare) -> Compare {
    Compare {
        key: asked.key.clone(),
        range_end: asked.end.clone(),
        relation: match asked.relation {
            seen::Relation::Equal => Relation::Equal,
            seen::Relation::Greater => Relation::Greater,
            seen::Relation::Less => Relation::Less,
            seen::Relation::NotEqual => Relation::NotEqual,
        },
        operand: match &asked.field {
            Field::Version(version) => Operand::Version(*version),
            Field::Create(revision) => Operand::Create(*revision),
            Field::Mod(revision) => Operand::Mod(*revision),
            Field::Value(value) => Operand::Value(value.clone()),
            Field::Lease(lease) => Operand::Lease(*lease),
        },
    }
}

/// What a member answers to an operation that it put into the log.
pub(crate) fn response(operation: &Operation, member: MemberId, reply: reply::Reply) -> Response {
    let body = match reply.body {
        reply::Body::Nothing => match operation {
            Operation::Compact { .. } => Body::Compact,
            Operation::LeaseRevoke { .. } => Body::LeaseRevoke,
            Operation::Put(_)
            | Operation::DeleteRange(_)
            | Operation::Range(_)
            | Operation::Txn(_)
            | Operation::LeaseGrant { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => {
                unreachable!("{operation:?} was answered with nothing")
            }
        },
        reply::Body::Put(put) => put_body(put),
        reply::Body::DeleteRange(delete) => delete_body(delete),
        reply::Body::Txn(txn) => Body::Txn {
            succeeded: txn.succeeded,
            replies: txn.replies.into_iter().map(op_reply).collect(),
        },
        reply::Body::LeaseGrant { lease, ttl_ms } => Body::LeaseGrant { id: lease, ttl_ms },
        body @ reply::Body::SetAlarm { .. } => {
            unreachable!("{operation:?} was answered with {body:?}")
        }
    };
    Response {
        revision: reply.revision,
        member,
        body,
    }
}

fn put_body(put: reply::PutReply) -> Body {
    Body::Put {
        prev_kv: put.prev_kv.map(pair),
    }
}

fn delete_body(delete: reply::DeleteReply) -> Body {
    Body::DeleteRange {
        deleted: delete.deleted,
        prev_kvs: delete.prev_kvs.into_iter().map(pair).collect(),
    }
}

pub(crate) fn range_body(range: reply::RangeReply) -> Body {
    Body::Range {
        kvs: range.kvs.into_iter().map(pair).collect(),
        more: range.more,
        count: range.count,
    }
}

fn op_reply(reply: reply::OpReply) -> seen::OpReply {
    seen::OpReply {
        revision: reply.revision,
        body: match reply.body {
            reply::OpBody::Range(range) => range_body(range),
            reply::OpBody::Put(put) => put_body(put),
            reply::OpBody::DeleteRange(delete) => delete_body(delete),
            reply::OpBody::Txn(_) => unreachable!("clients here nest no transactions"),
        },
    }
}

pub(crate) fn pair(kv: reply::KeyValue) -> seen::KeyValue {
    seen::KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// What a refusal of the state means to a client.
pub(crate) fn refusal(refusal: reply::Refusal) -> Ended {
    Ended::Refused(match refusal {
        reply::Refusal::Compacted(_) => Refusal::Compacted,
        reply::Refusal::FutureRevision(_) => Refusal::FutureRevision,
        reply::Refusal::LeaseNotFound => Refusal::LeaseNotFound,
        reply::Refusal::LeaseExists => Refusal::LeaseExists,
        reply::Refusal::KeyNotFound
        | reply::Refusal::NoSpace
        | reply::Refusal::Corrupt
        | reply::Refusal::TooManyAlarms => Refusal::NotDone,
    })
}

/// How an attempt ended that failed.
pub(crate) fn failure(failure: Failure) -> Ended {
    match failure {
        Failure::Refused(why) => refusal(why),
        // Asking again at once does not make room.
        Failure::Invalid(_) | Failure::TooLarge | Failure::TtlTooLarge | Failure::NoSpace => {
            Ended::Refused(Refusal::NotDone)
        }
        Failure::TooManyRequests | Failure::NoLeader | Failure::TimedOut | Failure::Stopped => {
            Ended::NotDone
        }
        Failure::Unknown => Ended::Unknown,
    }
}

/// What a watch asks of a member.
pub(crate) fn watch(asked: &seen::WatchRequest) -> WatchCreate {
    WatchCreate {
        key: asked.key.clone(),
        range_end: asked.end.clone(),
        start_revision: asked.start,
        prev_kv: asked.prev_kv,
        no_put: asked.no_put,
        no_delete: asked.no_delete,
        progress_notify: true,
        fragment: true,
        ..WatchCreate::default()
    }
}

/// A change as a watch tells it.
pub(crate) fn change(event: WatchEvent) -> seen::Change {
    seen::Change {
        kv: pair(event.event.kv),
        prev_kv: event.prev_kv.map(pair),
    }
}
