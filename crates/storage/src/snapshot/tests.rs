//! Snapshots on the deterministic disk.

use super::*;
use std::sync::Mutex;
use synod_env::sim::{DiskOp, Sim};
use synod_env::{MemberId, Prng};

const ONE: MemberId = MemberId(1);

struct Fixture {
    sim: Sim,
    env: Env,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        Self { sim, env }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.block_on(future).expect("the run ends")
    }

    fn open(&self) -> SnapshotStore {
        self.run(SnapshotStore::open(&self.env))
            .expect("the store opens")
    }

    fn crash(&mut self) {
        self.env = self.sim.restart(ONE);
    }

    fn files(&self) -> Vec<String> {
        let disk = self.env.disk();
        self.run(async { disk.list(SNAPSHOT_DIR).await }).unwrap()
    }

    fn written(&self) -> u64 {
        self.sim.nemesis().disk_counters(ONE).written_bytes
    }
}

fn meta(index: u64) -> Meta {
    Meta {
        index,
        position: Bytes::from(format!("position of {index}")),
        header: Bytes::from(format!("header of {index}")),
    }
}

/// Writes a snapshot: of each part either the chunk that is carried or new content.
async fn write(
    store: &SnapshotStore,
    index: u64,
    parts: &[Result<ChunkId, Bytes>],
) -> Result<Snapshot, StorageError> {
    let mut writer = store.begin(meta(index));
    for part in parts {
        match part {
            Ok(carried) => writer.carry(*carried),
            Err(content) => {
                writer.add(content.clone()).await?;
            }
        }
    }
    writer.finish().await
}

async fn contents(snapshot: &Snapshot) -> Result<Vec<Bytes>, StorageError> {
    let mut contents = Vec::new();
    for chunk in snapshot.chunks() {
        contents.push(snapshot.read(chunk).await?);
    }
    Ok(contents)
}

fn parts(texts: &[&'static str]) -> Vec<Result<ChunkId, Bytes>> {
    texts
        .iter()
        .map(|text| Err(Bytes::from_static(text.as_bytes())))
        .collect()
}

#[test]
fn a_new_store_has_no_snapshot() {
    let fixture = Fixture::new(1);
    assert!(fixture.open().load().is_none());
}

#[test]
fn a_snapshot_is_there_after_a_restart() {
    let mut fixture = Fixture::new(2);
    let store = fixture.open();
    fixture
        .run(write(&store, 5, &parts(&["one", "", "three"])))
        .unwrap();
    fixture.crash();
    let store = fixture.open();
    let snapshot = store.load().expect("it was finished");
    assert_eq!(snapshot.meta(), &meta(5));
    assert_eq!(snapshot.bytes(), 8);
    assert_eq!(
        fixture.run(contents(&snapshot)).unwrap(),
        ["one", "", "three"]
    );
    assert!(store.damaged().is_none());
}

#[test]
fn an_empty_state_has_a_snapshot_too() {
    let mut fixture = Fixture::new(3);
    fixture.run(write(&fixture.open(), 0, &[])).unwrap();
    fixture.crash();
    assert_eq!(fixture.open().load().unwrap().chunks(), []);
}

#[test]
fn carried_chunks_are_not_written_again() {
    let mut fixture = Fixture::new(4);
    let store = fixture.open();
    let chunk_bytes = 10_000;
    let new = |fill: u8| Err(Bytes::from(vec![fill; chunk_bytes]));
    let all: Vec<_> = (0..100).map(new).collect();
    let before = fixture.written();
    let first = fixture.run(write(&store, 1, &all)).unwrap();
    let full = fixture.written() - before;
    let mut changed: Vec<_> = first.chunks().iter().map(|chunk| Ok(chunk.id)).collect();
    changed[50] = new(200);
    drop(first);
    let before = fixture.written();
    fixture.run(write(&store, 2, &changed)).unwrap();
    let second = fixture.written() - before;
    assert!(full > 1_000_000, "{full}");
    assert!(
        second < 13_000,
        "one chunk and a manifest took {second} bytes"
    );
    fixture.crash();
    let snapshot = fixture.open().load().unwrap();
    let expected: Vec<_> = (0..100)
        .map(|fill| vec![if fill == 50 { 200 } else { fill }; chunk_bytes])
        .collect();
    assert_eq!(fixture.run(contents(&snapshot)).unwrap(), expected);
    assert_eq!(
        fixture.files().len(),
        101,
        "the replaced chunk and manifest are gone"
    );
}

#[test]
fn a_restore_can_rewrite_the_position_alone() {
    let mut fixture = Fixture::new(5);
    let store = fixture.open();
    let first = fixture.run(write(&store, 7, &parts(&["state"]))).unwrap();
    let restored = Meta {
        position: Bytes::from_static(b"another cluster"),
        ..first.meta().clone()
    };
    let mut writer = store.begin(restored.clone());
    first
        .chunks()
        .iter()
        .for_each(|chunk| writer.carry(chunk.id));
    fixture.run(writer.finish()).unwrap();
    fixture.crash();
    let snapshot = fixture.open().load().unwrap();
    assert_eq!(snapshot.meta(), &restored);
    assert_eq!(fixture.run(contents(&snapshot)).unwrap(), ["state"]);
}

#[test]
fn a_snapshot_that_is_being_read_keeps_its_files() {
    let fixture = Fixture::new(6);
    let store = fixture.open();
    fixture
        .run(write(&store, 1, &parts(&["old one", "old two"])))
        .unwrap();
    let old = store.load().unwrap();
    fixture.run(write(&store, 2, &parts(&["new"]))).unwrap();
    assert_eq!(fixture.run(contents(&old)).unwrap(), ["old one", "old two"]);
    drop(old);
    fixture.run(write(&store, 3, &parts(&["newer"]))).unwrap();
    assert_eq!(fixture.files().len(), 2);
    assert_eq!(store.load().unwrap().meta().index, 3);
}

#[test]
fn a_writer_that_is_dropped_has_done_nothing_and_its_room_is_given_back() {
    let fixture = Fixture::new(7);
    let store = fixture.open();
    fixture.run(write(&store, 1, &parts(&["kept"]))).unwrap();
    let mut writer = store.begin(meta(2));
    fixture
        .run(writer.add(Bytes::from_static(b"given up")))
        .unwrap();
    drop(writer);
    assert_eq!(store.load().unwrap().meta().index, 1);
    assert_eq!(fixture.files().len(), 3);
    let mut writer = store.begin(meta(3));
    fixture
        .run(writer.add(Bytes::from_static(b"next")))
        .unwrap();
    assert_eq!(
        fixture.files().len(),
        3,
        "the chunk that was given up made room"
    );
    drop(writer);
    drop(store);
    fixture.open();
    assert_eq!(
        fixture.files().len(),
        2,
        "leftovers are removed when the store is opened"
    );
}

/// Several snapshots in a row, some chunks carried and some new. Notes the contents that may be
/// found later: the last finished, then the one under way.
async fn succession(
    env: Env,
    mut prng: Prng,
    possible: Arc<Mutex<Vec<(u64, Vec<Bytes>)>>>,
) -> Result<(), StorageError> {
    let store = SnapshotStore::open(&env).await?;
    let mut last = store.load();
    for _ in 0..4 {
        let index = last.as_ref().map_or(0, |snapshot| snapshot.meta().index) + 1;
        let mut parts = Vec::new();
        let mut now = Vec::new();
        if let Some(last) = &last {
            for (chunk, content) in last.chunks().iter().zip(contents(last).await?) {
                if prng.chance(2, 3) {
                    parts.push(Ok(chunk.id));
                    now.push(content);
                }
            }
        }
        for _ in 0..prng.below(4) {
            let length = usize::try_from(prng.below(3_000)).unwrap();
            let content = Bytes::from(vec![u8::try_from(prng.below(256)).unwrap(); length]);
            parts.push(Err(content.clone()));
            now.push(content);
        }
        possible.lock().unwrap().push((index, now));
        last = Some(write(&store, index, &parts).await?);
        let mut possible = possible.lock().unwrap();
        *possible = vec![possible.pop().unwrap()];
    }
    Ok(())
}

fn check_one_of(fixture: &Fixture, possible: &[(u64, Vec<Bytes>)], context: &str) -> bool {
    let store = fixture.run(SnapshotStore::open(&fixture.env));
    let store = store.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(
        store.damaged().is_none(),
        "{context}: {:?}",
        store.damaged()
    );
    let Some(snapshot) = store.load() else {
        assert_eq!(possible[0].0, 1, "{context}: a finished snapshot is gone");
        return false;
    };
    let found = (
        snapshot.meta().index,
        fixture.run(contents(&snapshot)).unwrap(),
    );
    assert!(
        possible.contains(&found),
        "{context}: {found:?} is none of {possible:?}"
    );
    let listed = 1 + snapshot.chunks().len();
    assert_eq!(
        fixture.files().len(),
        listed,
        "{context}: nothing else is left"
    );
    found.0 == possible[0].0 && possible.len() > 1
}

/// Fault and place; ends when a run does not meet it any more.
fn at_each_operation(harm: impl Fn(&Fixture, u64), kinds: &str) -> (u32, u32) {
    let (mut old, mut new) = (0, 0);
    for op in 1.. {
        let mut fixture = Fixture::new(8);
        let possible = Arc::new(Mutex::new(Vec::new()));
        harm(&fixture, op);
        let run = succession(fixture.env.clone(), Prng::new(8), Arc::clone(&possible));
        let ended = fixture.sim.block_on(run);
        for kind in [DiskOp::Read, DiskOp::Write, DiskOp::Sync, DiskOp::Name] {
            fixture.sim.nemesis().fail_disk_op(ONE, kind, u64::MAX);
        }
        let is_met = !matches!(ended, Ok(Ok(())))
            || fixture.sim.nemesis().disk_counters(ONE).injected_errors > 0;
        let mut possible = possible.lock().unwrap().clone();
        if possible.is_empty() {
            possible.push((1, Vec::new()));
        }
        let context = format!("{kinds} {op}");
        for _ in 0..2 {
            fixture.crash();
            if check_one_of(&fixture, &possible, &context) {
                old += 1;
            } else {
                new += 1;
            }
        }
        if !is_met {
            break;
        }
    }
    (old, new)
}

#[test]
fn power_can_fail_at_each_operation_and_leaves_the_old_or_the_new_snapshot() {
    let crash = |fixture: &Fixture, op| fixture.sim.nemesis().crash_at_disk_op(ONE, op);
    let (old, new) = at_each_operation(crash, "crash at operation");
    assert!(old > 20, "{old}");
    assert!(new > 20, "{new}");
}

#[test]
fn each_disk_call_can_fail() {
    for kind in [DiskOp::Read, DiskOp::Write, DiskOp::Sync, DiskOp::Name] {
        let fail = |fixture: &Fixture, op| fixture.sim.nemesis().fail_disk_op(ONE, kind, op);
        let (_, new) = at_each_operation(fail, &format!("{kind:?} failing"));
        assert!(new > 3, "{kind:?}: {new}");
    }
}

/// The process survives a failure and goes on with the same store.
#[test]
fn a_store_goes_on_after_a_failed_snapshot() {
    let mut failed = 0;
    for kind in [DiskOp::Write, DiskOp::Sync, DiskOp::Name] {
        for call in 1..12 {
            let mut fixture = Fixture::new(call);
            let store = fixture.open();
            let first = fixture
                .run(write(&store, 1, &parts(&["one", "two"])))
                .unwrap();
            let carried = Ok(first.chunks()[0].id);
            drop(first);
            fixture.sim.nemesis().fail_disk_op(ONE, kind, call);
            let new = Err(Bytes::from_static(b"three"));
            let second = fixture.run(write(&store, 2, &[carried.clone(), new.clone()]));
            fixture.sim.nemesis().fail_disk_op(ONE, kind, u64::MAX);
            if second.is_err() {
                failed += 1;
                assert_eq!(store.load().unwrap().meta().index, 1);
                // The chunks of the failed one are not removed while it might count.
                let mut third = store.begin(meta(3));
                fixture.run(third.add(Bytes::from_static(b"four"))).unwrap();
                drop(third);
                let mut probe = Fixture::new(call);
                probe.sim = fixture.sim;
                probe.crash();
                let store = probe.open();
                let index = store.load().unwrap().meta().index;
                assert!(index <= 2, "{kind:?} {call}");
                probe.run(contents(&store.load().unwrap())).unwrap();
                let again = probe.run(write(&store, 4, &[new])).unwrap();
                assert_eq!(probe.run(contents(&again)).unwrap(), ["three"]);
            } else {
                fixture.crash();
                assert_eq!(fixture.open().load().unwrap().meta().index, 2);
            }
        }
    }
    assert!(failed > 8, "{failed}");
}

#[test]
fn a_full_disk_fails_the_snapshot_and_keeps_the_one_before() {
    let mut fixture = Fixture::new(9);
    let store = fixture.open();
    fixture.run(write(&store, 1, &parts(&["small"]))).unwrap();
    fixture.sim.nemesis().set_disk_capacity(ONE, 20_000);
    let large: Vec<_> = (0..10)
        .map(|fill| Err(Bytes::from(vec![fill; 5_000])))
        .collect();
    for _ in 0..3 {
        let error = fixture.run(write(&store, 2, &large)).unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    }
    // What the failed ones wrote does not stand in the way of one that fits.
    fixture.run(write(&store, 3, &large[..2])).unwrap();
    fixture.crash();
    assert_eq!(fixture.open().load().unwrap().meta().index, 3);
}

#[test]
fn rot_in_a_chunk_is_found_and_named_when_it_is_read() {
    let fixture = Fixture::new(10);
    let store = fixture.open();
    let snapshot = fixture
        .run(write(&store, 1, &parts(&["content of a chunk"])))
        .unwrap();
    let path = chunk_path(snapshot.chunks()[0].id);
    let length = u64::try_from(CHUNK_HEADER).unwrap() + 18;
    for offset in 0..length {
        assert!(
            fixture
                .sim
                .nemesis()
                .rot(ONE, &path, offset, 1 << (offset % 8))
        );
        let error = fixture.run(contents(&snapshot)).unwrap_err();
        let StorageError::Corrupt(damage) = &error else {
            panic!("{error}")
        };
        assert_eq!(damage.file, format!("/sim/1/{path}"));
        let named = if offset < u64::try_from(CHUNK_HEADER).unwrap() {
            offset
        } else {
            32
        };
        assert_eq!(damage.offset, named, "byte {offset}");
        assert!(
            fixture
                .sim
                .nemesis()
                .rot(ONE, &path, offset, 1 << (offset % 8))
        );
    }
    assert!(
        !fixture.sim.nemesis().rot(ONE, &path, length, 1),
        "every byte was tried"
    );
    fixture.run(contents(&snapshot)).unwrap();
}

#[test]
fn rot_in_the_manifest_is_found_and_named() {
    let mut fixture = Fixture::new(11);
    fixture
        .run(write(&fixture.open(), 1, &parts(&["one", "two"])))
        .unwrap();
    fixture.crash();
    let path = manifest_path(1);
    let mut offset = 0;
    while fixture
        .sim
        .nemesis()
        .rot(ONE, &path, offset, 1 << (offset % 8))
    {
        let error = fixture.run(SnapshotStore::open(&fixture.env)).unwrap_err();
        let StorageError::Corrupt(damage) = &error else {
            panic!("{error}")
        };
        assert_eq!(damage.file, format!("/sim/1/{path}"));
        assert!(
            fixture
                .sim
                .nemesis()
                .rot(ONE, &path, offset, 1 << (offset % 8))
        );
        offset += 1;
    }
    assert!(offset > 80, "{offset}");
    assert_eq!(fixture.open().load().unwrap().meta().index, 1);
}

#[test]
fn an_older_manifest_stands_in_for_a_damaged_one_and_nothing_is_removed() {
    let fixture = Fixture::new(12);
    let store = fixture.open();
    let old = fixture.run(write(&store, 1, &parts(&["old"]))).unwrap();
    // The older one is still there because it is being read.
    fixture.run(write(&store, 2, &parts(&["new"]))).unwrap();
    assert!(fixture.sim.nemesis().rot(ONE, &manifest_path(2), 40, 4));
    let files = fixture.files();
    let store = fixture.open();
    assert_eq!(store.load().unwrap().meta().index, 1);
    let damage = store.damaged().expect("it is reported");
    assert_eq!(damage.file, format!("/sim/1/{}", manifest_path(2)));
    assert_eq!(fixture.files(), files);
    assert_eq!(fixture.run(contents(&old)).unwrap(), ["old"]);
    fixture.run(write(&store, 3, &parts(&["newest"]))).unwrap();
    assert_eq!(fixture.open().load().unwrap().meta().index, 3);
    assert_eq!(fixture.files().len(), 2);
}

#[test]
fn a_missing_chunk_and_a_foreign_file_are_named() {
    let fixture = Fixture::new(13);
    fixture
        .run(write(&fixture.open(), 1, &parts(&["one"])))
        .unwrap();
    let disk = fixture.env.disk();
    fixture
        .run(async { disk.open("snapshot/notes.txt", Open::Create).await })
        .unwrap();
    let error = fixture.run(SnapshotStore::open(&fixture.env)).unwrap_err();
    assert!(
        matches!(&error, StorageError::Foreign { file } if file == "/sim/1/snapshot/notes.txt")
    );
    fixture
        .run(async { disk.remove("snapshot/notes.txt").await })
        .unwrap();
    fixture
        .run(async { disk.remove(&chunk_path(ChunkId(1))).await })
        .unwrap();
    let error = fixture.run(SnapshotStore::open(&fixture.env)).unwrap_err();
    let StorageError::Missing { file, evidence } = &error else {
        panic!("{error}")
    };
    assert_eq!(file, "/sim/1/snapshot/0000000000000001.chunk");
    assert_eq!(
        evidence,
        "/sim/1/snapshot/0000000000000001.manifest lists it"
    );
}

#[test]
#[should_panic(expected = "is not in the snapshot before")]
fn carrying_what_is_not_there_is_a_bug_of_the_caller() {
    let fixture = Fixture::new(14);
    fixture.open().begin(meta(1)).carry(ChunkId(9));
}
