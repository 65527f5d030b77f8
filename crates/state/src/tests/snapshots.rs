//! Saving and loading: what is unchanged is found again, and what is damaged is found out.

use super::{audit, batch, put};
use crate::archive::{Archive, Unpacked};
use crate::command::{Alarm, AlarmKind, Command, Put};
use crate::limit::{LimitChange, LimitKind};
use crate::reply::Refusal;
use crate::{Chunk, DecodedChunk, LoadError, Root, State};
use bytes::Bytes;
use std::collections::BTreeSet;
use synod_env::MemberId;

/// Small chunks, so that small states have several.
const CHUNK_BYTES: usize = 600;

/// A state with history, leases, tombstones and an unfinished compaction.
fn varied() -> Root {
    let mut state = State::new(2);
    let mut commands = vec![
        Command::SetLevel { level: 2 },
        Command::SetCompactionStep { events: 3 },
        Command::LeaseGrant {
            lease: 5,
            ttl_ms: 1_000,
        },
        Command::LeaseGrant {
            lease: 6,
            ttl_ms: 2_000,
        },
    ];
    for i in 0..40 {
        let key = format!("key{}", i % 17).into();
        let lease = [0, 5, 6][i % 3];
        let value = format!("value {i}").into();
        commands.push(Command::Put(Put {
            key,
            value,
            lease,
            ..Put::default()
        }));
    }
    commands.push(Command::Compact { revision: 20 });
    assert!(
        state
            .apply(1, &batch(1, commands))
            .outcomes
            .iter()
            .all(Result::is_ok)
    );
    let alarm = |kind, member| Command::SetAlarm {
        alarm: Alarm {
            kind,
            member: MemberId(member),
        },
        raised: true,
    };
    let alarms = vec![alarm(AlarmKind::Corrupt, 3), alarm(AlarmKind::NoSpace, 4)];
    state.apply(2, &batch(2, alarms));
    assert!(!state.root().compaction_finished());
    state.root()
}

fn encode(root: &Root) -> (Bytes, Vec<Bytes>) {
    (
        root.header(),
        root.chunks(CHUNK_BYTES).iter().map(Chunk::encode).collect(),
    )
}

fn load(header: &Bytes, chunks: &[Bytes]) -> Result<State, LoadError> {
    let decoded: Result<Vec<DecodedChunk>, _> = chunks.iter().cloned().map(Chunk::decode).collect();
    State::load(header.clone(), decoded?, 2)
}

#[test]
fn what_is_saved_loads_to_the_same() {
    for root in [varied(), State::new(2).root()] {
        let (header, chunks) = encode(&root);
        let loaded = load(&header, &chunks).expect("it was saved").root();
        audit::check(&loaded);
        assert_eq!(encode(&loaded).0, header);
        assert_eq!(audit::everything(&loaded), audit::everything(&root));
        assert_eq!(loaded.events(20, usize::MAX), root.events(20, usize::MAX));
    }
}

#[test]
fn a_state_without_alarms_is_written_as_before_there_were_any() {
    let mut state = State::new(2);
    state.apply(1, &batch(1, vec![put("a", "1")]));
    let header = state.root().header();
    assert_eq!((header[0], header.len()), (1, 139));
    assert_eq!(varied().header()[0], 2);
}

#[test]
fn limits_are_saved_with_who_changed_them() {
    let limit = |kind, value| {
        Command::SetLimit(LimitChange {
            kind,
            value,
            wall_ms: 1_700_000_000_000,
            by: "a person".into(),
        })
    };
    let mut state = State::new(2);
    state.apply(
        1,
        &batch(1, vec![put("a", "1"), limit(LimitKind::TxnOps, Some(7))]),
    );
    let with_one = state.root();
    state.apply(2, &batch(2, vec![limit(LimitKind::TxnOps, None)]));
    let given_back = state.root();
    let alarm = Alarm {
        kind: AlarmKind::NoSpace,
        member: MemberId(1),
    };
    let raise = Command::SetAlarm {
        alarm,
        raised: true,
    };
    state.apply(3, &batch(3, vec![raise]));
    for root in [with_one, given_back, state.root()] {
        let (header, chunks) = encode(&root);
        assert_eq!(header[0], 3);
        let loaded = load(&header, &chunks).expect("it was saved").root();
        audit::check(&loaded);
        assert_eq!(encode(&loaded).0, header);
        assert!(loaded.limit_changes().eq(root.limit_changes()));
        for end in 1..header.len() {
            assert!(load(&header.slice(..end), &chunks).is_err(), "{end} bytes");
        }
    }
}

#[test]
fn an_archive_holds_the_state() {
    for root in [varied(), State::new(2).root()] {
        let archive = Archive::new(&root, CHUNK_BYTES);
        let length = archive.encoded_len();
        let parts: Vec<Bytes> = archive.into_parts().collect();
        let bytes = Bytes::from(parts.concat());
        assert_eq!((bytes.len() as u64, length % 512), (length, 0));
        let unpacked = Unpacked::read(bytes.clone()).expect("it was written");
        let loaded = load(&unpacked.header, &unpacked.chunks).expect("it was saved");
        assert_eq!(loaded.root().hash(), root.hash());

        let content = (0..bytes.len())
            .rfind(|at| bytes[*at] != 0)
            .expect("a header");
        for cut in [0, 7, 15, 16, 24, 100, content] {
            let cut = bytes.slice(..cut);
            let length = cut.len();
            assert!(Unpacked::read(cut).is_err(), "{length} bytes");
        }
    }
}

/// It does not depend on how far the removal of compacted history has got.
#[test]
fn the_hash_of_the_history_is_of_what_can_be_read() {
    let mut state = State::new(2);
    state.apply(1, &batch(1, vec![Command::SetCompactionStep { events: 1 }]));
    for (index, key) in (2..).zip(["a", "b", "a", "c", "a"]) {
        state.apply(index, &batch(index, vec![put(key, format!("{index}"))]));
    }
    let before = state.root();
    let hash = |revision| before.history_hash(revision).map(|hash| hash.hash);
    assert_eq!(hash(0), hash(6));
    assert_ne!(hash(5), hash(6));
    assert_eq!(hash(7), Err(Refusal::FutureRevision(6)));

    state.apply(7, &batch(7, vec![Command::Compact { revision: 5 }]));
    let compacted = state
        .root()
        .history_hash(0)
        .expect("the present can be read");
    assert!(!state.root().compaction_finished());
    assert_eq!((compacted.revision, compacted.compact_revision), (6, 5));
    assert_ne!(Ok(compacted.hash), hash(6));
    for index in 8..20 {
        state.apply(index, &batch(index, Vec::new()));
        assert_eq!(state.root().history_hash(6), Ok(compacted));
    }
    assert!(state.root().compaction_finished());
    let gone = state.root().history_hash(4);
    assert_eq!(gone, Err(Refusal::Compacted(5)));
}

#[test]
fn every_flipped_bit_is_found() {
    let (header, chunks) = encode(&varied());
    assert!(
        chunks.len() > 4,
        "{} chunks are too few to be a test",
        chunks.len()
    );
    let mut parts = vec![header];
    parts.extend(chunks);
    for part in 0..parts.len() {
        for bit in 0..parts[part].len() * 8 {
            let mut damaged = parts.clone();
            let mut bytes = damaged[part].to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged[part] = Bytes::from(bytes);
            let loaded = load(&damaged[0], &damaged[1..]);
            assert!(loaded.is_err(), "bit {bit} of part {part} does not matter");
        }
    }
}

#[test]
fn cut_missing_doubled_and_exchanged_parts_are_found() {
    let (header, chunks) = encode(&varied());
    for length in 0..header.len() {
        assert!(
            load(&header.slice(..length), &chunks).is_err(),
            "header of {length} bytes"
        );
    }
    for at in 0..chunks.len() {
        for length in 0..chunks[at].len() {
            let mut cut = chunks.clone();
            cut[at] = chunks[at].slice(..length);
            assert!(load(&header, &cut).is_err(), "chunk {at} of {length} bytes");
        }
        let mut missing = chunks.clone();
        missing.remove(at);
        assert!(load(&header, &missing).is_err(), "chunk {at} is missing");
        let mut doubled = chunks.clone();
        doubled.insert(at, chunks[at].clone());
        assert!(
            load(&header, &doubled).is_err(),
            "chunk {at} is there twice"
        );
    }
    let mut exchanged = chunks.clone();
    exchanged.swap(0, 1);
    let error = load(&header, &exchanged).expect_err("chunks 0 and 1 are exchanged");
    assert!(
        matches!(
            error,
            LoadError::Mismatch {
                what: "versions out of order",
                ..
            }
        ),
        "{error}"
    );
    let other = encode(&State::new(2).root()).0;
    assert!(
        load(&other, &chunks).is_err(),
        "the header is of another state"
    );
}

#[test]
fn a_state_of_a_higher_level_is_refused_by_name() {
    let (header, chunks) = encode(&varied());
    let decoded = chunks
        .into_iter()
        .map(|chunk| Chunk::decode(chunk).unwrap())
        .collect();
    let error = State::load(header, decoded, 1).expect_err("level 2 is not known");
    assert_eq!(
        error,
        LoadError::UnknownLevel {
            level: 2,
            highest: 1
        }
    );
    assert_eq!(
        error.to_string(),
        "the state is at level 2 and this build knows levels up to 1: start a newer build"
    );
}

#[test]
#[should_panic(expected = "the cluster goes to level 3, this build to 2")]
fn a_level_that_this_build_does_not_know_stops_it() {
    State::new(2).apply(1, &batch(1, vec![Command::SetLevel { level: 3 }]));
}

/// A snapshot written by this version stays loadable: header and chunks of a small state, as they
/// were when the format was fixed.
#[test]
fn format_1_is_what_it_was() {
    let mut state = State::new(1);
    let commands = vec![
        Command::LeaseGrant {
            lease: 5,
            ttl_ms: 6,
        },
        Command::Put(Put {
            key: "k".into(),
            value: "v".into(),
            lease: 5,
            ..Put::default()
        }),
        Command::LeaseRevoke { lease: 5 },
        Command::LeaseGrant {
            lease: 7,
            ttl_ms: 8,
        },
        Command::LeaseCheckpoint {
            remaining: vec![(7, 3)],
        },
        Command::Compact { revision: 2 },
    ];
    state.apply(1, &batch(1, commands));
    let (header, chunks) = encode(&state.root());
    let hex = |bytes: &Bytes| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let recorded = [
        "01050100000003000000000000000200000000000000ffffffffffffffff00000000e80300000000",
        "00000a00000000000000000000800000000000000000000000000200000000000000010000000000",
        "00007600000000000000dea9448031ca7fa8dc43bc8f9eb9a7d30100000000000000040100000000",
        "00000001000000000000000100000000000000",
    ];
    assert_eq!(hex(&header), recorded.concat());
    let versions = [
        "010101000000010000006b0200000000000000020000000000000001000000000000000500000000",
        "00000000000000760201000000000000006b03000000000000000000000000000000000000000000",
        "0000000000000000000000000000",
    ];
    let leases = "0103070000000000000008000000000000000300000000000000";
    let chunks: Vec<String> = chunks.iter().map(hex).collect();
    assert_eq!(chunks, [&versions.concat(), leases]);
}

/// A second snapshot after a change of 1 % of the keys, all in one range, writes few bytes.
#[test]
fn a_second_snapshot_writes_what_changed() {
    const KEYS: usize = 100_000;
    let mut state = State::new(1);
    let mut index = 0;
    let mut write = |state: &mut State, from: usize, count: usize| {
        for first in (from..from + count).step_by(500) {
            index += 1;
            let key = |i: usize| format!("/registry/pods/default/web-{i:06}");
            let commands = (first..first + 500)
                .map(|i| put(key(i), vec![7; 256]))
                .collect();
            state.apply(index, &batch(index, commands));
        }
    };
    write(&mut state, 0, KEYS);
    let first = state.root().chunks(256 << 10);
    let known: BTreeSet<_> = first.iter().map(Chunk::identity).collect();
    write(&mut state, KEYS / 3, KEYS / 100);
    let second = state.root().chunks(256 << 10);
    let fresh: Vec<&Chunk> = second
        .iter()
        .filter(|chunk| !known.contains(&chunk.identity()))
        .collect();
    let first_bytes: usize = first.iter().map(|chunk| chunk.encode().len()).sum();
    let fresh_bytes: usize = fresh.iter().map(|chunk| chunk.encode().len()).sum();
    assert!(
        first.len() * (256 << 10) <= 3 * first_bytes,
        "{} chunks are many",
        first.len()
    );
    assert!(
        first
            .iter()
            .all(|chunk| chunk.encoded_len() <= 1 + (256 << 10))
    );
    assert!(
        fresh_bytes >= KEYS / 100 * 256,
        "{fresh_bytes} bytes cannot hold what changed"
    );
    assert!(
        fresh_bytes * 20 <= first_bytes,
        "{fresh_bytes} bytes after {first_bytes}"
    );
    let decoded = second
        .iter()
        .map(|chunk| Chunk::decode(chunk.encode()).unwrap())
        .collect();
    let loaded = State::load(state.root().header(), decoded, 1).expect("it was saved");
    assert_eq!(loaded.root().hash(), state.root().hash());
}

/// Roots are read, and chunks encoded and decoded, on any thread.
#[test]
fn roots_and_chunks_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Root>();
    crosses::<Chunk>();
    crosses::<DecodedChunk>();
    crosses::<State>();
}
