//! Each translation is undone by a translation back, written here: what was lost would show.

use super::*;
use crate::errors::{COMPARE_UNKNOWN, SORT_OPTION};
use bytes::Bytes;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn range_back(range: Range, serializable: bool) -> pb::RangeRequest {
    let Range {
        key,
        range_end,
        limit,
        revision,
        order,
        target,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    } = range;
    let order = match order {
        Order::None => SortOrder::None,
        Order::Ascend => SortOrder::Ascend,
        Order::Descend => SortOrder::Descend,
    };
    let target = match target {
        Target::Key => SortTarget::Key,
        Target::Version => SortTarget::Version,
        Target::Create => SortTarget::Create,
        Target::Mod => SortTarget::Mod,
        Target::Value => SortTarget::Value,
    };
    pb::RangeRequest {
        key,
        range_end,
        limit,
        revision,
        sort_order: i32::from(order),
        sort_target: i32::from(target),
        serializable,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    }
}

fn put_back(put: Put) -> pb::PutRequest {
    let Put {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    } = put;
    pb::PutRequest {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    }
}

fn delete_back(delete: DeleteRange) -> pb::DeleteRangeRequest {
    let DeleteRange {
        key,
        range_end,
        prev_kv,
    } = delete;
    pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    }
}

fn txn_back(txn: Txn) -> pb::TxnRequest {
    let Txn {
        compare,
        success,
        failure,
    } = txn;
    pb::TxnRequest {
        compare: compare.into_iter().map(compare_back).collect(),
        success: success.into_iter().map(op_back).collect(),
        failure: failure.into_iter().map(op_back).collect(),
    }
}

fn op_back(op: Op) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(match op {
            Op::Range(range) => Request::RequestRange(range_back(range, false)),
            Op::Put(put) => Request::RequestPut(put_back(put)),
            Op::DeleteRange(delete) => Request::RequestDeleteRange(delete_back(delete)),
            Op::Txn(txn) => Request::RequestTxn(txn_back(txn)),
        }),
    }
}

fn compare_back(compare: Compare) -> pb::Compare {
    let Compare {
        key,
        range_end,
        relation,
        operand,
    } = compare;
    let result = match relation {
        Relation::Equal => CompareResult::Equal,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
        Relation::NotEqual => CompareResult::NotEqual,
    };
    let (target, union) = match operand {
        Operand::Version(number) => (CompareTarget::Version, TargetUnion::Version(number)),
        Operand::Create(number) => (CompareTarget::Create, TargetUnion::CreateRevision(number)),
        Operand::Mod(number) => (CompareTarget::Mod, TargetUnion::ModRevision(number)),
        Operand::Value(value) => (CompareTarget::Value, TargetUnion::Value(value)),
        Operand::Lease(number) => (CompareTarget::Lease, TargetUnion::Lease(number)),
    };
    pb::Compare {
        result: i32::from(result),
        target: i32::from(target),
        key,
        range_end,
        target_union: Some(union),
    }
}

fn a_range() -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes("a"),
        range_end: bytes("b"),
        limit: 1,
        revision: 2,
        sort_order: 1,
        sort_target: 3,
        serializable: false,
        keys_only: true,
        count_only: false,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    }
}

fn a_put() -> pb::PutRequest {
    pb::PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        lease: 7,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    }
}

fn a_delete() -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: bytes("k"),
        range_end: bytes("\0"),
        prev_kv: true,
    }
}

fn a_compare() -> pb::Compare {
    pb::Compare {
        result: 1,
        target: 2,
        key: bytes("k"),
        range_end: bytes("l"),
        target_union: Some(TargetUnion::ModRevision(9)),
    }
}

#[test]
fn ranges() {
    for sort_order in 0..=2 {
        for sort_target in 0..=4 {
            for flags in 0..8 {
                let request = pb::RangeRequest {
                    sort_order,
                    sort_target,
                    serializable: flags & 1 != 0,
                    keys_only: flags & 2 != 0,
                    count_only: flags & 4 != 0,
                    ..a_range()
                };
                let (range, serializable) = range(request.clone()).expect("it makes sense");
                assert_eq!(range_back(range, serializable), request);
            }
        }
    }
}

#[test]
fn a_sort_that_does_not_exist_is_refused() {
    for (sort_order, sort_target) in [(3, 0), (-1, 0), (0, 5), (0, -1)] {
        let request = pb::RangeRequest {
            sort_order,
            sort_target,
            ..a_range()
        };
        assert_eq!(range(request), Err(SORT_OPTION));
    }
}

#[test]
fn puts_and_deletes() {
    for flags in 0..8 {
        let request = pb::PutRequest {
            prev_kv: flags & 1 != 0,
            ignore_value: flags & 2 != 0,
            ignore_lease: flags & 4 != 0,
            ..a_put()
        };
        assert_eq!(put_back(put(request.clone())), request);
    }
    for prev_kv in [false, true] {
        let request = pb::DeleteRangeRequest {
            prev_kv,
            ..a_delete()
        };
        assert_eq!(delete_back(delete_range(request.clone())), request);
    }
}

#[test]
fn transactions_with_every_kind_of_compare_and_operation() {
    let unions = [
        TargetUnion::Version(1),
        TargetUnion::CreateRevision(2),
        TargetUnion::ModRevision(3),
        TargetUnion::Value(bytes("four")),
        TargetUnion::Lease(5),
    ];
    let compare = (0..)
        .zip(unions)
        .flat_map(|(target, union)| {
            (0..=3).map(move |result| pb::Compare {
                result,
                target,
                target_union: Some(union.clone()),
                ..a_compare()
            })
        })
        .collect();
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    let a_put = || pb::PutRequest {
        ignore_value: false,
        ignore_lease: false,
        ..a_put()
    };
    let inner = pb::TxnRequest {
        compare: vec![a_compare()],
        success: vec![op(Request::RequestPut(a_put()))],
        failure: vec![op(Request::RequestRange(a_range()))],
    };
    let request = pb::TxnRequest {
        compare,
        success: vec![
            op(Request::RequestRange(a_range())),
            op(Request::RequestPut(a_put())),
            op(Request::RequestDeleteRange(a_delete())),
            op(Request::RequestTxn(inner)),
        ],
        failure: vec![op(Request::RequestDeleteRange(a_delete()))],
    };
    assert_eq!(
        txn_back(txn(request.clone(), 128).expect("it makes sense")),
        request
    );
}

#[test]
fn a_compare_without_its_operand_is_against_zero() {
    let operands = [
        Operand::Version(0),
        Operand::Create(0),
        Operand::Mod(0),
        Operand::Value(Bytes::new()),
        Operand::Lease(0),
    ];
    for (target, operand) in (0..).zip(operands) {
        // Of another kind than any but one target; then none at all.
        let other = if target == 0 {
            TargetUnion::Lease(8)
        } else {
            TargetUnion::Version(8)
        };
        for target_union in [Some(other), None] {
            let request = pb::Compare {
                target,
                target_union,
                ..a_compare()
            };
            assert_eq!(
                compare(request).map(|compare| compare.operand),
                Ok(operand.clone())
            );
        }
    }
}

#[test]
fn compares_and_operations_that_do_not_exist_are_refused() {
    for (result, target) in [(4, 0), (-1, 0), (0, 5), (0, -1)] {
        let request = pb::Compare {
            result,
            target,
            ..a_compare()
        };
        assert_eq!(compare(request), Err(COMPARE_UNKNOWN));
    }
    let request = pb::RequestOp { request: None };
    assert_eq!(
        op(request, 128).map_err(|error| error.text),
        Err("etcdserver: key not found")
    );
}

#[test]
fn watches() {
    let request = pb::WatchCreateRequest {
        key: bytes("a"),
        range_end: bytes("b"),
        start_revision: 3,
        progress_notify: true,
        filters: Vec::new(),
        prev_kv: true,
        watch_id: 4,
        fragment: true,
    };
    let expected = WatchCreate {
        watch_id: 4,
        key: bytes("a"),
        range_end: bytes("b"),
        start_revision: 3,
        prev_kv: true,
        progress_notify: true,
        no_put: false,
        no_delete: false,
        fragment: true,
    };
    let filters = [
        (vec![], false, false),
        (vec![0], true, false),
        (vec![1], false, true),
        (vec![1, 0, 1, 99], true, true),
    ];
    for (filters, no_put, no_delete) in filters {
        let request = pb::WatchCreateRequest {
            filters,
            ..request.clone()
        };
        assert_eq!(
            watch_create(request),
            WatchCreate {
                no_put,
                no_delete,
                ..expected.clone()
            }
        );
    }
}

fn a_pair(key: &'static str) -> KeyValue {
    KeyValue {
        key: bytes(key),
        value: bytes("value"),
        create_revision: 1,
        mod_revision: 2,
        version: 3,
        lease: 4,
    }
}

fn a_pair_on_the_wire(key: &'static str) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: bytes(key),
        value: bytes("value"),
        create_revision: 1,
        mod_revision: 2,
        version: 3,
        lease: 4,
    }
}

#[test]
fn events() {
    for (kind, type_) in [(EventKind::Put, 0), (EventKind::Delete, 1)] {
        for before in [None, Some("b")] {
            let event = Event {
                kind,
                kv: a_pair("a"),
            };
            let told = watch_event(WatchEvent {
                event,
                prev_kv: before.map(a_pair),
            });
            assert_eq!(told.r#type, type_);
            assert_eq!(told.kv, Some(a_pair_on_the_wire("a")));
            assert_eq!(told.prev_kv, before.map(a_pair_on_the_wire));
        }
    }
}

#[test]
fn replies_of_every_kind() {
    let range = || RangeReply {
        kvs: vec![a_pair("a"), a_pair("b")],
        more: true,
        count: 9,
    };
    let put = || PutReply {
        prev_kv: Some(a_pair("c")),
    };
    let delete = || DeleteReply {
        deleted: 2,
        prev_kvs: vec![a_pair("d")],
    };
    let inner = TxnReply {
        succeeded: false,
        replies: Vec::new(),
    };
    let reply = TxnReply {
        succeeded: true,
        replies: vec![
            OpReply {
                revision: 5,
                body: OpBody::Range(range()),
            },
            OpReply {
                revision: 6,
                body: OpBody::Put(put()),
            },
            OpReply {
                revision: 7,
                body: OpBody::DeleteRange(delete()),
            },
            OpReply {
                revision: 8,
                body: OpBody::Txn(inner),
            },
        ],
    };

    let outer = pb::ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision: 8,
        raft_term: 3,
    };
    let header = |revision| {
        Some(pb::ResponseHeader {
            revision,
            ..pb::ResponseHeader::default()
        })
    };
    let on_the_wire = |response| pb::ResponseOp {
        response: Some(response),
    };
    let expected = pb::TxnResponse {
        header: Some(outer),
        succeeded: true,
        responses: vec![
            on_the_wire(Response::ResponseRange(pb::RangeResponse {
                header: header(5),
                kvs: vec![a_pair_on_the_wire("a"), a_pair_on_the_wire("b")],
                more: true,
                count: 9,
            })),
            on_the_wire(Response::ResponsePut(pb::PutResponse {
                header: header(6),
                prev_kv: Some(a_pair_on_the_wire("c")),
            })),
            on_the_wire(Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                header: header(7),
                deleted: 2,
                prev_kvs: vec![a_pair_on_the_wire("d")],
            })),
            on_the_wire(Response::ResponseTxn(pb::TxnResponse {
                header: Some(pb::ResponseHeader::default()),
                succeeded: false,
                responses: Vec::new(),
            })),
        ],
    };
    assert_eq!(txn_reply(reply, outer), expected);
}
