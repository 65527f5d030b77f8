//! What one append costs on this machine's disk.
//!
//! `cargo run --release -p synod-storage --example append_cost -- DIRECTORY [SECONDS]`
//!
//! Prints, for entries of 256 bytes: writing and syncing sectors without any log (the floor), then
//! appends through the log by 1 and by 64 writers, each of which waits until its entry is durable;
//! and opening the log that they leave.

#![expect(clippy::print_stdout, reason = "an example prints what it found")]

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use synod_env::disk::Open;
use synod_env::{Env, Limits, oneshot};
use synod_host::{Host, HostOptions};
use synod_storage::{Entry, EntryKind, Log, Options, Position, Priority, Refused};

const PAYLOAD_BYTES: usize = 256;
const FLOOR_BYTES: u64 = 4 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .expect("usage: append_cost DIRECTORY [SECONDS]");
    let seconds = arguments
        .next()
        .map_or(3, |text| text.parse().expect("seconds are a number"));
    let duration = Duration::from_secs(seconds);
    let directory = PathBuf::from(directory);
    let host = Host::new(&directory, HostOptions::default()).expect("the directory can be used");
    let env = host.env();
    for bytes in [512, 4096] {
        let floor = on_a_thread(env, move |env| floor(env, bytes, duration));
        floor.print(&format!("write and sync {bytes} bytes"));
    }
    for writers in [1, 64] {
        let appends = on_a_thread(env, move |env| appends(env, writers, duration));
        appends.print(&format!("append, {writers} writer(s)"));
    }
    let (megabytes, took) = on_a_thread(env, reopen);
    println!(
        "open a log of {megabytes} MiB: {:.1} ms",
        took.as_secs_f64() * 1e3
    );
    host.shutdown().expect("every thread ends");
}

/// What a run found.
struct Cost {
    latencies: Vec<Duration>,
    took: Duration,
}

impl Cost {
    fn print(mut self, what: &str) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let per_second = count as f64 / self.took.as_secs_f64();
        let micros =
            |per_mille: usize| self.latencies[(count - 1) * per_mille / 1_000].as_secs_f64() * 1e6;
        println!(
            "{what:24} {per_second:9.0}/s   p50 {:6.1} us   p99 {:6.1} us   p99.9 {:7.1} us",
            micros(500),
            micros(990),
            micros(999),
        );
    }
}

/// Runs a task that may block on the disk, and waits for its result.
fn on_a_thread<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    env: &Env,
    task: impl FnOnce(Env) -> F + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    let task = task(env.clone());
    env.spawn_dedicated("append-cost", async move {
        sender.send(task.await).expect("main waits");
    });
    receiver
        .recv()
        .expect("the task does not end without a result")
}

/// Overwrites a zero-filled file in place, one sync per write.
async fn floor(env: Env, bytes: u64, duration: Duration) -> Cost {
    let disk = env.disk();
    let file = disk
        .open("floor.tmp", Open::Create)
        .await
        .expect("the directory is writable");
    let zeros = Bytes::from(vec![0; usize::try_from(FLOOR_BYTES).expect("it is small")]);
    file.write_at(0, zeros).await.expect("there is room");
    file.sync().await.expect("the disk syncs");
    let data = Bytes::from(vec![7; usize::try_from(bytes).expect("it is small")]);
    let began = env.now();
    let mut latencies = Vec::new();
    let mut offset = 0;
    while env.now().saturating_since(began) < duration {
        let start = env.now();
        file.write_at(offset, data.clone())
            .await
            .expect("overwriting needs no room");
        file.sync().await.expect("the disk syncs");
        latencies.push(env.now().saturating_since(start));
        offset = (offset + bytes) % FLOOR_BYTES;
    }
    let took = env.now().saturating_since(began);
    disk.remove("floor.tmp").await.expect("it was made above");
    Cost { latencies, took }
}

/// Appends entries by `writers` tasks on the member's own thread, as its engine does.
async fn appends(env: Env, writers: u64, duration: Duration) -> Cost {
    let options = Options::new(&Limits::default());
    let (log, recovered) = Log::open(&env, options).await.expect("the log opens");
    // The first segments are small: let a full one get ready.
    env.sleep(Duration::from_secs(1)).await;
    let next = Arc::new(AtomicU64::new(
        recovered.last.map_or(1, |last| last.index + 1),
    ));
    let latencies = Arc::new(Mutex::new(Vec::<Duration>::new()));
    let began = env.now();
    let mut ends = Vec::new();
    for _ in 0..writers {
        let (end, ended) = oneshot::channel();
        ends.push(ended);
        let (env, log) = (env.clone(), log.clone());
        let (next, latencies) = (Arc::clone(&next), Arc::clone(&latencies));
        env.clone().spawn("writer", async move {
            let mut own = Vec::new();
            while env.now().saturating_since(began) < duration {
                let start = env.now();
                append(&env, &log, &next).await;
                own.push(env.now().saturating_since(start));
            }
            latencies.lock().expect("no writer panics").extend(own);
            end.send(()).expect("somebody waits");
        });
    }
    for ended in ends {
        ended.await.expect("each writer says when it ends");
    }
    let took = env.now().saturating_since(began);
    log.close().await;
    let latencies = std::mem::take(&mut *latencies.lock().expect("no writer panics"));
    Cost { latencies, took }
}

/// How large the log is that the runs before have left, and how long opening it takes. It is purged
/// afterwards, so that the next run begins with an empty one.
async fn reopen(env: Env) -> (u64, Duration) {
    let began = env.now();
    let opened = Log::open(&env, Options::new(&Limits::default())).await;
    let took = env.now().saturating_since(began);
    let (log, _) = opened.expect("the log opens");
    let megabytes = log.bytes() >> 20;
    let last = log.last().expect("something was appended");
    log.purge(last).await.expect("the log goes on");
    env.sleep(Duration::from_secs(1)).await;
    log.close().await;
    (megabytes, took)
}

/// Appends one entry and waits until it is durable.
async fn append(env: &Env, log: &Log, next: &AtomicU64) {
    loop {
        let (done, durable) = oneshot::channel();
        // Writers run on one thread: between these two lines no other writer comes.
        let index = next.load(Ordering::Relaxed);
        let entry = Entry {
            position: Position {
                epoch: 1,
                node: 1,
                index,
            },
            kind: EntryKind::Batch,
            payload: Bytes::from_static(&[7; PAYLOAD_BYTES]),
        };
        let told = Box::new(move |result| done.send(result).expect("the writer waits"));
        match log.append(vec![entry], Priority::Ordinary, told) {
            Ok(()) => {
                next.store(index + 1, Ordering::Relaxed);
                let result = durable.await.expect("the log answers");
                return result.expect("the disk works");
            }
            Err(Refused::Preparing | Refused::Busy) => env.sleep(Duration::from_millis(1)).await,
            Err(refused @ (Refused::NoSpace | Refused::TooLarge | Refused::Stopped)) => {
                panic!("{refused}");
            }
        }
    }
}
