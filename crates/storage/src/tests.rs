//! Directories written by earlier versions can still be opened.
//!
//! `fixtures/v1` holds a member's directory in format version 1. It is written once, by
//! `UPDATE=1 cargo test -p synod-storage --lib format_version`, and never again: a change that cannot
//! open it needs a new format version, and a new fixture beside this one.

use crate::{
    Entry, EntryKind, Founding, Identity, Log, Meta, Options, Position, Priority, Recovered,
    SnapshotStore, StorageError, Vote,
};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::time::Duration;
use synod_env::disk::Open;
use synod_env::sim::Sim;
use synod_env::{Env, MemberId};

const ONE: MemberId = MemberId(1);

fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        entry_bytes_max: 1_500,
        reserve_bytes: 2 << 10,
        queue_bytes_max: 64 << 10,
        cache_bytes_max: 4 << 10,
        segments_ready: 1,
        segments_kept: 2,
        idle: Duration::from_millis(100),
        prepare_again: Duration::from_secs(1),
    }
}

fn founding() -> Founding {
    Founding {
        cluster_id: 0xc1,
        member_id: 0xe1,
        token: "fixture".to_owned(),
    }
}

fn at(epoch: u64, index: u64) -> Position {
    Position {
        epoch,
        node: 0xe1,
        index,
    }
}

/// Entries of all kinds; those from 21 on replace others of the same index.
fn entry(index: u64) -> Entry {
    let (kind, payload) = match index % 5 {
        0 => (EntryKind::Blank, Bytes::new()),
        1 => (
            EntryKind::Membership,
            Bytes::from_static(b"who belongs to it"),
        ),
        _ => (
            EntryKind::Batch,
            Bytes::from(vec![u8::try_from(index).unwrap(); 700]),
        ),
    };
    Entry {
        position: at(if index > 20 { 2 } else { 1 }, index),
        kind,
        payload,
    }
}

fn meta() -> Meta {
    Meta {
        index: 8,
        position: Bytes::from_static(b"engine's own"),
        header: Bytes::from_static(b"state's own"),
    }
}

fn vote() -> Vote {
    Vote {
        term: 2,
        node: 0xe1,
        committed: true,
    }
}

async fn write_everything(env: &Env) {
    Identity::start(env, &founding()).await.unwrap();
    Identity::start(env, &founding()).await.unwrap();
    let (log, _) = Log::open(env, options()).await.unwrap();
    let append = async |entry: Entry| {
        let room = log.admitted(entry.payload.len()).await.unwrap();
        let (sender, flushed) = synod_env::oneshot::channel();
        let done = Box::new(move |result| sender.send(result).unwrap());
        log.append(vec![entry], Priority::Reserve, done).unwrap();
        flushed.await.unwrap().unwrap();
        drop(room);
    };
    for index in 1..26 {
        append(Entry {
            position: at(1, index),
            ..entry(index)
        })
        .await;
    }
    log.save_vote(Vote {
        term: 2,
        node: 7,
        committed: false,
    })
    .await
    .unwrap();
    log.save_vote(vote()).await.unwrap();
    log.truncate_after(Some(at(1, 20))).await.unwrap();
    for index in 21..31 {
        append(entry(index)).await;
    }
    log.save_committed(at(2, 29));
    log.purge(at(1, 3)).await.unwrap();
    log.close().await;
    let store = SnapshotStore::open(env).await.unwrap();
    let mut writer = store.begin(Meta::default());
    let kept = writer.add(Bytes::from_static(b"kept")).await.unwrap();
    writer.add(Bytes::from_static(b"replaced")).await.unwrap();
    writer.finish().await.unwrap();
    let mut writer = store.begin(meta());
    writer.carry(kept);
    writer.add(Bytes::from_static(b"new")).await.unwrap();
    writer.finish().await.unwrap();
}

async fn check_everything(env: &Env) -> Result<(), StorageError> {
    let identity = Identity::start(env, &founding()).await?;
    assert_eq!(identity.incarnation, 3);
    let (log, recovered) = Log::open(env, options()).await?;
    let expected = Recovered {
        vote: Some(vote()),
        committed: Some(at(2, 29)),
        purged: Some(at(1, 3)),
        last: Some(at(2, 30)),
        torn: None,
    };
    assert_eq!(recovered, expected);
    let entries = log.read(4..100, usize::MAX).await?;
    assert_eq!(entries, (4..31).map(entry).collect::<Vec<_>>());
    let snapshot = SnapshotStore::open(env)
        .await?
        .load()
        .expect("there is one");
    assert_eq!(snapshot.meta(), &meta());
    let mut contents = Vec::new();
    for chunk in snapshot.chunks() {
        contents.push(snapshot.read(chunk).await?);
    }
    assert_eq!(contents, ["kept", "new"]);
    Ok(())
}

#[test]
fn format_version_1_can_be_opened() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    let sim = Sim::new(1);
    if update_is_asked() {
        sim.block_on(write_everything(&sim.member(ONE))).unwrap();
        let disk = sim.member(ONE).disk();
        for path in sim.block_on(list(disk.as_ref())).unwrap() {
            let bytes = sim.block_on(read(disk.as_ref(), &path)).unwrap();
            save(&fixture.join(path), &bytes);
        }
    }
    let sim = Sim::new(2);
    let disk = sim.member(ONE).disk();
    for dir in ["", "log", "snapshot"] {
        for (name, bytes) in load(&fixture.join(dir)) {
            let path = if dir.is_empty() {
                name
            } else {
                format!("{dir}/{name}")
            };
            sim.block_on(write(disk.as_ref(), dir, &path, bytes))
                .unwrap();
        }
    }
    sim.block_on(check_everything(&sim.member(ONE)))
        .unwrap()
        .expect("it can be opened");
}

async fn list(disk: &dyn synod_env::Disk) -> Vec<String> {
    let mut paths = vec!["member".to_owned()];
    for dir in ["log", "snapshot"] {
        let names = disk.list(dir).await.unwrap();
        paths.extend(names.into_iter().map(|name| format!("{dir}/{name}")));
    }
    paths
}

async fn read(disk: &dyn synod_env::Disk, path: &str) -> Bytes {
    let file = disk.open(path, Open::Read).await.unwrap();
    file.read_at(0, 1 << 20).await.unwrap()
}

async fn write(disk: &dyn synod_env::Disk, dir: &str, path: &str, bytes: Bytes) {
    disk.create_dir(dir).await.unwrap();
    let file = disk.open(path, Open::Create).await.unwrap();
    file.write_at(0, bytes).await.unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told to rewrite its fixture this way"
)]
fn update_is_asked() -> bool {
    std::env::var_os("UPDATE").is_some_and(|update| update == "1")
}

#[expect(
    clippy::disallowed_methods,
    reason = "fixtures are files of the repository"
)]
fn save(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Names and contents of the files in a directory.
#[expect(
    clippy::disallowed_methods,
    reason = "fixtures are files of the repository"
)]
fn load(dir: &Path) -> Vec<(String, Bytes)> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| {
        panic!("{}: {error}; write it with UPDATE=1", dir.display());
    });
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    let files = paths.into_iter().filter(|path| path.is_file());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap().into())
        })
        .collect()
}
