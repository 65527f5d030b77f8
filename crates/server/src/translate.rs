//! Between the messages on the wire and what the member understands.
//!
//! Everything is taken apart field by field, so that a field added on either side does not
//! compile until it is translated.

use crate::errors::{COMPARE_UNKNOWN, Error};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::response_op::Response;
use synod_api::etcdserverpb::watch_create_request::FilterType;
use synod_api::mvccpb;
use synod_node::{WatchCreate, WatchEvent};
use synod_state::Invalid;
use synod_state::command::{
    Compare, DeleteRange, Op, Operand, Order, Put, Range, Relation, Target, Txn,
};
use synod_state::reply::{
    DeleteReply, Event, EventKind, KeyValue, OpBody, OpReply, PutReply, RangeReply, TxnReply,
};

/// What a client asks to read, and whether it is content with what this member has.
pub(crate) fn range(request: pb::RangeRequest) -> Result<(Range, bool), Error> {
    let pb::RangeRequest {
        key,
        range_end,
        limit,
        revision,
        sort_order,
        sort_target,
        serializable,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    } = request;
    // etcd looks at the key first: a request with several faults is told of this one.
    if key.is_empty() {
        return Err(Error::invalid(Invalid::KeyNotProvided));
    }
    let range = Range {
        key,
        range_end,
        limit,
        revision,
        order: order(sort_order)?,
        target: target(sort_target)?,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    };
    Ok((range, serializable))
}

fn order(number: i32) -> Result<Order, Error> {
    match SortOrder::try_from(number) {
        Ok(SortOrder::None) => Ok(Order::None),
        Ok(SortOrder::Ascend) => Ok(Order::Ascend),
        Ok(SortOrder::Descend) => Ok(Order::Descend),
        Err(_) => Err(Error::invalid(Invalid::SortOption)),
    }
}

fn target(number: i32) -> Result<Target, Error> {
    match SortTarget::try_from(number) {
        Ok(SortTarget::Key) => Ok(Target::Key),
        Ok(SortTarget::Version) => Ok(Target::Version),
        Ok(SortTarget::Create) => Ok(Target::Create),
        Ok(SortTarget::Mod) => Ok(Target::Mod),
        Ok(SortTarget::Value) => Ok(Target::Value),
        Err(_) => Err(Error::invalid(Invalid::SortOption)),
    }
}

pub(crate) fn put(request: pb::PutRequest) -> Put {
    let pb::PutRequest {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    } = request;
    Put {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    }
}

pub(crate) fn delete_range(request: pb::DeleteRangeRequest) -> DeleteRange {
    let pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    } = request;
    DeleteRange {
        key,
        range_end,
        prev_kv,
    }
}

/// A transaction whose branches have at most `ops_max` operations.
///
/// What makes it senseless is looked for on the way, in etcd's order: of several faults, the client
/// is told of the same one.
pub(crate) fn txn(request: pb::TxnRequest, ops_max: usize) -> Result<Txn, Error> {
    let pb::TxnRequest {
        compare: compares,
        success,
        failure,
    } = request;
    let most = compares.len().max(success.len()).max(failure.len());
    let left = ops_max
        .checked_sub(most)
        .ok_or(Error::invalid(Invalid::TooManyOperations))?;
    let op = |request| op(request, left);
    Ok(Txn {
        compare: compares
            .into_iter()
            .map(compare)
            .collect::<Result<_, _>>()?,
        success: success.into_iter().map(op).collect::<Result<_, _>>()?,
        failure: failure.into_iter().map(op).collect::<Result<_, _>>()?,
    })
}

fn op(request: pb::RequestOp, ops_left: usize) -> Result<Op, Error> {
    let pb::RequestOp { request } = request;
    match request {
        // Inside a transaction all reads are alike, whatever they say about freshness.
        Some(Request::RequestRange(request)) => Ok(Op::Range(range(request)?.0)),
        Some(Request::RequestPut(request)) => {
            let put = put(request);
            put.check().map_err(Error::invalid)?;
            Ok(Op::Put(put))
        }
        Some(Request::RequestDeleteRange(request)) => {
            let delete = delete_range(request);
            delete.check().map_err(Error::invalid)?;
            Ok(Op::DeleteRange(delete))
        }
        Some(Request::RequestTxn(request)) => Ok(Op::Txn(txn(request, ops_left)?)),
        None => Err(Error::invalid(Invalid::OperationMissing)),
    }
}

fn compare(request: pb::Compare) -> Result<Compare, Error> {
    let pb::Compare {
        result,
        target,
        key,
        range_end,
        target_union,
    } = request;
    if key.is_empty() {
        return Err(Error::invalid(Invalid::KeyNotProvided));
    }
    let relation = match CompareResult::try_from(result) {
        Ok(CompareResult::Equal) => Relation::Equal,
        Ok(CompareResult::Greater) => Relation::Greater,
        Ok(CompareResult::Less) => Relation::Less,
        Ok(CompareResult::NotEqual) => Relation::NotEqual,
        Err(_) => return Err(COMPARE_UNKNOWN),
    };
    // The target says what is compared. If the other side is of another kind, or missing, the
    // zero of the target's kind stands in, as it does in etcd.
    let operand = match (CompareTarget::try_from(target), target_union) {
        (Ok(CompareTarget::Version), Some(TargetUnion::Version(number))) => {
            Operand::Version(number)
        }
        (Ok(CompareTarget::Version), _) => Operand::Version(0),
        (Ok(CompareTarget::Create), Some(TargetUnion::CreateRevision(number))) => {
            Operand::Create(number)
        }
        (Ok(CompareTarget::Create), _) => Operand::Create(0),
        (Ok(CompareTarget::Mod), Some(TargetUnion::ModRevision(number))) => Operand::Mod(number),
        (Ok(CompareTarget::Mod), _) => Operand::Mod(0),
        (Ok(CompareTarget::Value), Some(TargetUnion::Value(value))) => Operand::Value(value),
        (Ok(CompareTarget::Value), _) => Operand::Value(bytes::Bytes::new()),
        (Ok(CompareTarget::Lease), Some(TargetUnion::Lease(number))) => Operand::Lease(number),
        (Ok(CompareTarget::Lease), _) => Operand::Lease(0),
        (Err(_), _) => return Err(COMPARE_UNKNOWN),
    };
    Ok(Compare {
        key,
        range_end,
        relation,
        operand,
    })
}

/// A filter that this version does not know filters nothing.
pub(crate) fn watch_create(request: pb::WatchCreateRequest) -> WatchCreate {
    let pb::WatchCreateRequest {
        key,
        range_end,
        start_revision,
        progress_notify,
        filters,
        prev_kv,
        watch_id,
        fragment,
    } = request;
    let filters = |filter: FilterType| filters.contains(&i32::from(filter));
    WatchCreate {
        watch_id,
        key,
        range_end,
        start_revision,
        prev_kv,
        progress_notify,
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        fragment,
    }
}

pub(crate) fn key_value(pair: KeyValue) -> mvccpb::KeyValue {
    let KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    } = pair;
    mvccpb::KeyValue {
        key,
        create_revision,
        mod_revision,
        version,
        value,
        lease,
    }
}

pub(crate) fn watch_event(event: WatchEvent) -> mvccpb::Event {
    let WatchEvent {
        event: Event { kind, kv },
        prev_kv,
    } = event;
    let kind = match kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: i32::from(kind),
        kv: Some(key_value(kv)),
        prev_kv: prev_kv.map(key_value),
    }
}

pub(crate) fn range_reply(reply: RangeReply, header: pb::ResponseHeader) -> pb::RangeResponse {
    let RangeReply { kvs, more, count } = reply;
    pb::RangeResponse {
        header: Some(header),
        kvs: kvs.into_iter().map(key_value).collect(),
        more,
        count,
    }
}

pub(crate) fn put_reply(reply: PutReply, header: pb::ResponseHeader) -> pb::PutResponse {
    let PutReply { prev_kv } = reply;
    pb::PutResponse {
        header: Some(header),
        prev_kv: prev_kv.map(key_value),
    }
}

pub(crate) fn delete_reply(
    reply: DeleteReply,
    header: pb::ResponseHeader,
) -> pb::DeleteRangeResponse {
    let DeleteReply { deleted, prev_kvs } = reply;
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted,
        prev_kvs: prev_kvs.into_iter().map(key_value).collect(),
    }
}

pub(crate) fn txn_reply(reply: TxnReply, header: pb::ResponseHeader) -> pb::TxnResponse {
    let TxnReply { succeeded, replies } = reply;
    pb::TxnResponse {
        header: Some(header),
        succeeded,
        responses: replies.into_iter().map(op_reply).collect(),
    }
}

/// Only the whole transaction says who answered and when; its operations show their revision, and
/// a transaction in a transaction, as in etcd, not even that.
fn op_reply(reply: OpReply) -> pb::ResponseOp {
    let OpReply { revision, body } = reply;
    let header = pb::ResponseHeader {
        revision,
        ..pb::ResponseHeader::default()
    };
    let response = match body {
        OpBody::Range(reply) => Response::ResponseRange(range_reply(reply, header)),
        OpBody::Put(reply) => Response::ResponsePut(put_reply(reply, header)),
        OpBody::DeleteRange(reply) => Response::ResponseDeleteRange(delete_reply(reply, header)),
        OpBody::Txn(reply) => {
            Response::ResponseTxn(txn_reply(reply, pb::ResponseHeader::default()))
        }
    };
    pb::ResponseOp {
        response: Some(response),
    }
}

#[cfg(test)]
mod tests;
