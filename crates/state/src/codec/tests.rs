//! The encoding goes both ways, has one form for each batch, and takes any bytes without panic.

use super::TXN_DEPTH_MAX;
use crate::command::{
    Alarm, AlarmKind, Batch, Command, Compare, DeleteRange, Op, Operand, Order, Origin, Put, Range,
    Relation, Target, Txn,
};
use crate::limit::{LimitChange, LimitKind};
use crate::tests::properties::any_command;
use crate::{Corrupt, Invalid};
use bytes::Bytes;
use proptest::prelude::*;
use synod_env::MemberId;

/// Numbers at the borders of varints, and others.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64_u32, 0..3_u64).prop_map(|(shift, off)| (1 << shift) + off - 1),
    ]
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let extra = (number(), number()).prop_map(|(a, b)| {
        vec![
            Command::LeaseGrant {
                lease: a.cast_signed(),
                ttl_ms: b,
            },
            Command::LeaseCheckpoint {
                remaining: vec![(b.cast_signed(), a)],
            },
            Command::Reign { reign: a },
            Command::Compact {
                revision: b.cast_signed(),
            },
        ]
    });
    let commands = prop::collection::vec(any_command(), 0..6);
    (
        number(),
        number(),
        number(),
        number(),
        number(),
        commands,
        extra,
    )
        .prop_map(
            |(member, incarnation, sequence, reign, time_ms, mut commands, extra)| {
                commands.extend(extra);
                let origin = Origin {
                    member: MemberId(member),
                    incarnation,
                    sequence,
                };
                Batch {
                    origin,
                    reign,
                    time_ms,
                    commands,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_the_same(batch in any_batch(), time_ms in number()) {
        let encoded = batch.encode();
        prop_assert_eq!(Batch::decode(encoded.clone()), Ok(batch.clone()));
        let lengths: usize = batch.commands.iter().map(Command::encoded_len).sum();
        prop_assert_eq!(encoded.len(), 41 + 1 + lengths, "fewer than 128 commands have a count of one byte");
        let stamped = Batch::decode(Batch::stamp(&encoded, time_ms));
        prop_assert_eq!(stamped, Ok(Batch { time_ms, ..batch }));
    }

    #[test]
    fn a_cut_batch_is_corrupt(batch in any_batch()) {
        let encoded = batch.encode();
        for length in 0..encoded.len() {
            let corrupt = Batch::decode(encoded.slice(..length)).expect_err("it was cut");
            prop_assert!(corrupt.offset <= length, "{:?} is beyond {}", corrupt, length);
        }
        let longer: Bytes = encoded.iter().copied().chain([0]).collect();
        let expected = "the end of the batch";
        prop_assert_eq!(Batch::decode(longer), Err(Corrupt { offset: encoded.len(), expected }));
    }

    /// Whatever decodes has no other encoding: there is no slack in which damage could hide.
    #[test]
    fn a_flipped_bit_is_corrupt_or_another_batch(batch in any_batch()) {
        let encoded = batch.encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = Bytes::from(flipped);
            if let Ok(other) = Batch::decode(flipped.clone()) {
                prop_assert_ne!(&other, &batch);
                prop_assert_eq!(other.encode(), flipped);
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut entry = vec![1];
        entry.extend_from_slice(&bytes);
        for bytes in [bytes, entry] {
            let bytes = Bytes::from(bytes);
            if let Ok(batch) = Batch::decode(bytes.clone()) {
                prop_assert_eq!(batch.encode(), bytes);
            }
        }
    }
}

fn nested(depth: usize) -> Txn {
    let mut txn = Txn::default();
    for _ in 1..depth {
        txn = Txn {
            success: vec![Op::Txn(txn)],
            ..Txn::default()
        };
    }
    txn
}

#[test]
fn transactions_nest_to_a_bound() {
    let batch = |depth| crate::tests::batch(1, vec![Command::Txn(nested(depth))]);
    let deepest = batch(TXN_DEPTH_MAX);
    assert_eq!(Batch::decode(deepest.encode()), Ok(deepest));
    let corrupt = Batch::decode(batch(TXN_DEPTH_MAX + 1).encode()).expect_err("it is too deep");
    assert_eq!(corrupt.expected, "a transaction nested less deeply");
    assert_eq!(nested(TXN_DEPTH_MAX).check(usize::MAX), Ok(()));
    assert_eq!(
        nested(TXN_DEPTH_MAX + 1).check(usize::MAX),
        Err(Invalid::TooManyOperations)
    );
}

/// A log written by this version stays readable: the bytes of one batch with every kind of
/// command, operation and compare, as they were when the format was fixed.
#[test]
fn format_1_is_what_it_was() {
    let put = Put {
        key: Bytes::from("k"),
        value: Bytes::from("v"),
        lease: -1,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    };
    let delete = DeleteRange {
        key: Bytes::from("a"),
        range_end: Bytes::from("\0"),
        prev_kv: true,
    };
    let range = Range {
        key: Bytes::from("r"),
        range_end: Bytes::from("s"),
        limit: 1,
        revision: 2,
        order: Order::Descend,
        target: Target::Value,
        keys_only: true,
        count_only: false,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 300,
    };
    let compare = |relation, operand| Compare {
        key: Bytes::from("c"),
        range_end: Bytes::new(),
        relation,
        operand,
    };
    let txn = Txn {
        compare: vec![
            compare(Relation::Equal, Operand::Version(1)),
            compare(Relation::Greater, Operand::Create(2)),
            compare(Relation::Less, Operand::Mod(3)),
            compare(Relation::NotEqual, Operand::Value(Bytes::from("v"))),
            compare(Relation::Equal, Operand::Lease(4)),
        ],
        success: vec![Op::Range(range), Op::Put(put.clone())],
        failure: vec![Op::DeleteRange(delete.clone()), Op::Txn(Txn::default())],
    };
    let batch = Batch {
        origin: Origin {
            member: MemberId(2),
            incarnation: 3,
            sequence: 4,
        },
        reign: 5,
        time_ms: 6,
        commands: vec![
            Command::Reign { reign: 5 },
            Command::Put(put),
            Command::DeleteRange(delete),
            Command::Txn(txn),
            Command::Compact { revision: 7 },
            Command::LeaseGrant {
                lease: 8,
                ttl_ms: 9,
            },
            Command::LeaseRevoke { lease: 10 },
            Command::LeaseExpire {
                leases: vec![11, 12],
            },
            Command::LeaseCheckpoint {
                remaining: vec![(13, 14)],
            },
            Command::SetQuota { bytes: 15 },
            Command::SetLevel { level: 16 },
            Command::SetCompactionStep { events: 17 },
            Command::SetAlarm {
                alarm: Alarm {
                    kind: AlarmKind::Corrupt,
                    member: MemberId(18),
                },
                raised: true,
            },
            Command::SetLimit(LimitChange {
                kind: LimitKind::QuotaBytes,
                value: Some(19),
                wall_ms: 20,
                by: "p".into(),
            }),
        ],
    };
    let hex: String = batch
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let recorded = [
        "01060000000000000005000000000000000200000000000000030000000000000004000000000000",
        "000e00050105016b0176010201016101000305016300000002016300010104016300020206016300",
        "03030176016300000408020001017201730204020406080ad8040105016b01760102020101610100",
        "03000000040e05100906140702161808011a0e090f0a100b110c020112",
        "0d010113140170",
    ];
    assert_eq!(hex, recorded.concat());
}
