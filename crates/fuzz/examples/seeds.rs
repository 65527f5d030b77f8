//! Writes the seeds that chance would hardly make: a state's history, its chunks and its archive.
//!
//!     cargo run -p synod-fuzz --example seeds
#![expect(
    clippy::disallowed_methods,
    reason = "an example writes the seeds as files"
)]

use bytes::Bytes;
use std::path::Path;
use synod_env::MemberId;
use synod_node::HIGHEST_LEVEL;
use synod_state::command::{
    Alarm, AlarmKind, Batch, Command, Compare, DeleteRange, Op, Operand, Origin, Put, Range,
    Relation, Txn,
};
use synod_state::{Archive, State};

fn main() -> std::io::Result<()> {
    let mut state = State::new(HIGHEST_LEVEL);
    for (number, command) in commands().into_iter().enumerate() {
        let sequence = number as u64 + 1;
        let batch = Batch {
            origin: Origin {
                member: MemberId(1),
                incarnation: 1,
                sequence,
            },
            reign: u64::from(number > 0),
            time_ms: 1_000 + sequence,
            commands: vec![command],
        };
        write("command", &format!("made-{number:02}"), &batch.encode())?;
        let _applied = state.apply(sequence, &batch);
        let root = state.root();
        let archive = Archive::new(&root, 64).into_parts();
        let bytes = archive.collect::<Vec<Bytes>>().concat();
        write("archive", &format!("made-{number:02}"), &bytes)?;
    }
    let root = state.root();
    write("snapshot", "made-header", &root.header())?;
    for (number, chunk) in root.chunks(64).iter().enumerate() {
        write("snapshot", &format!("made-chunk-{number}"), &chunk.encode())?;
    }
    Ok(())
}

/// At least one of each kind that leaves something in the state.
fn commands() -> Vec<Command> {
    let put = |key: &'static str, lease| Put {
        key: key.into(),
        value: "value".into(),
        lease,
        prev_kv: true,
        ..Put::default()
    };
    let txn = Txn {
        compare: vec![Compare {
            key: "a".into(),
            range_end: Bytes::new(),
            relation: Relation::Equal,
            operand: Operand::Value("value".into()),
        }],
        success: vec![
            Op::Put(put("b", 7)),
            Op::Range(Range {
                key: "a".into(),
                range_end: "z".into(),
                ..Range::default()
            }),
            Op::Txn(Txn {
                success: vec![Op::Put(put("c", 0))],
                ..Txn::default()
            }),
        ],
        failure: Vec::new(),
    };
    vec![
        Command::Reign { reign: 1 },
        Command::Put(put("a", 0)),
        Command::LeaseGrant {
            lease: 7,
            ttl_ms: 5_000,
        },
        Command::Txn(txn),
        Command::DeleteRange(DeleteRange {
            key: "b".into(),
            ..DeleteRange::default()
        }),
        Command::LeaseCheckpoint {
            remaining: vec![(7, 1_000)],
        },
        Command::SetAlarm {
            alarm: Alarm {
                kind: AlarmKind::NoSpace,
                member: MemberId(1),
            },
            raised: true,
        },
        Command::SetQuota { bytes: 1 << 20 },
        Command::Compact { revision: 3 },
    ]
}

fn write(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    std::fs::write(seeds.join(target).join(name), bytes)
}
