//! The log on the deterministic disk.

mod crashes;
mod damage;
mod faults;
mod model;
mod ordinary;

use super::{Done, Flush, Log, Options, Priority, Recovered, Refused};
use crate::{Entry, EntryKind, Position, StorageError, Vote};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synod_env::sim::Sim;
use synod_env::{Env, MemberId, oneshot};

const ONE: MemberId = MemberId(1);

/// Everything small, so that a short run sees many segments.
fn small() -> Options {
    Options {
        segment_bytes: 16 << 10,
        entry_bytes_max: 1_500,
        reserve_bytes: 2 << 10,
        queue_bytes_max: 8 << 10,
        cache_bytes_max: 4 << 10,
        segments_ready: 1,
        segments_kept: 2,
        idle: Duration::from_millis(100),
        prepare_again: Duration::from_secs(1),
    }
}

fn at(epoch: u64, index: u64) -> Position {
    Position {
        epoch,
        node: 7,
        index,
    }
}

fn entry(epoch: u64, index: u64, payload: impl Into<Bytes>) -> Entry {
    Entry {
        position: at(epoch, index),
        kind: EntryKind::Batch,
        payload: payload.into(),
    }
}

fn vote(term: u64) -> Vote {
    Vote {
        term,
        node: 7,
        committed: true,
    }
}

/// A log in a world of its own.
struct Fixture {
    sim: Sim,
    env: Env,
    options: Options,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        Self {
            sim,
            env,
            options: small(),
        }
    }

    fn try_open(&self) -> Result<(Log, Recovered), StorageError> {
        self.run(Log::open(&self.env, self.options.clone()))
    }

    fn open(&self) -> (Log, Recovered) {
        self.try_open().expect("the log opens")
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.block_on(future).expect("the run ends")
    }

    /// Power off, power on.
    fn crash(&mut self) {
        self.env = self.sim.restart(ONE);
    }

    /// The process dies and is started again; the page cache stays.
    fn kill(&mut self) {
        self.sim.nemesis().kill(ONE);
        self.env = self.sim.member(ONE);
    }

    fn wait(&self, duration: Duration) {
        self.sim.run_for(duration).expect("the run ends");
    }

    fn syncs(&self) -> u64 {
        self.sim.nemesis().disk_counters(ONE).syncs
    }

    /// Entries `range` of `epoch`, each with a payload of `bytes` bytes, one append each; ends when
    /// all are durable. Waits for room if need be.
    fn fill(&self, log: &Log, epoch: u64, range: std::ops::Range<u64>, bytes: usize) {
        self.run(async {
            for index in range {
                let payload = Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]);
                let room = log.admitted(bytes).await.expect("there will be room");
                append(log, vec![entry(epoch, index, payload)])
                    .await
                    .expect("it is written");
                drop(room);
            }
        });
    }

    fn entries(&self, log: &Log) -> Vec<Entry> {
        let end = log.last().map_or(0, |last| last.index + 1);
        let first = log.purged().map_or(0, |purged| purged.index + 1);
        self.run(log.read(first..end, usize::MAX))
            .expect("the entries can be read")
    }
}

/// Appends with the reserve and tells when it is durable.
fn append(log: &Log, entries: Vec<Entry>) -> Flush {
    let (done, flush) = callback();
    if let Err(refused) = log.append(entries, Priority::Reserve, done) {
        let (sender, flush) = oneshot::channel();
        sender
            .send(Err(refused.into()))
            .expect("the receiver is there");
        return Flush(flush);
    }
    flush
}

fn callback() -> (Done, Flush) {
    let (sender, flush) = oneshot::channel();
    let done = Box::new(move |result| {
        sender.send(result).ok();
    });
    (done, Flush(flush))
}

/// A callback that writes down what it was told.
fn noting(notes: &Arc<Mutex<Vec<(u64, io::Result<()>)>>>, index: u64) -> Done {
    let notes = Arc::clone(notes);
    Box::new(move |result| notes.lock().unwrap().push((index, result)))
}

/// Paths of the files in the log's directory.
fn files(fixture: &Fixture) -> Vec<String> {
    let disk = fixture.env.disk();
    let names = fixture.run(async { disk.list("log").await }).unwrap();
    names
        .into_iter()
        .map(|name| format!("log/{name}"))
        .collect()
}

fn read_file(fixture: &Fixture, path: &str) -> Bytes {
    let disk = fixture.env.disk();
    fixture.run(async {
        let file = disk.open(path, synod_env::disk::Open::Read).await.unwrap();
        let length = usize::try_from(file.len().await.unwrap()).unwrap();
        file.read_at(0, length).await.unwrap()
    })
}

fn write_file(fixture: &Fixture, path: &str, bytes: impl Into<Bytes>) {
    let disk = fixture.env.disk();
    fixture.run(async {
        let file = disk
            .open(path, synod_env::disk::Open::Create)
            .await
            .unwrap();
        file.write_at(0, bytes.into()).await.unwrap();
        file.sync().await.unwrap();
        disk.sync_dir("log").await.unwrap();
    });
}
