//! What applying costs: nanoseconds per put, memory per key, and what a second snapshot writes.
//!
//! `cargo run --release -p synod-state --example apply_cost [KEYS] [PUTS]`

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the machine's clock"
)]

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use synod_env::{MemberId, Prng};
use synod_state::command::{
    Batch, Command, Compare, Op, Operand, Origin, Put, Range, Relation, Txn,
};
use synod_state::{Chunk, Root, State};

const VALUE_BYTES: usize = 256;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|a| a.parse().expect("a number"));
    let key_count = arguments.next().unwrap_or(100_000);
    let put_count = arguments.next().unwrap_or(200_000);
    let before = resident_bytes();
    let mut bench = Bench::new();
    let keys: Vec<u64> = (0..key_count).collect();
    for part in keys.chunks(256) {
        let commands = part.iter().map(|key| put(*key, 0)).collect();
        bench.apply(commands);
    }
    let root = bench.state.root();
    println!(
        "{key_count} keys with {VALUE_BYTES}-byte values, {} bytes accounted",
        root.bytes()
    );
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!(
            "resident memory per key    {:>9} B",
            (after - before) / key_count
        );
    }
    drop(root);

    for batch in [1, 32, 256] {
        let mut prng = Prng::new(batch);
        let command = || put(prng.below(key_count), batch);
        bench.time(
            &format!("put, batches of {batch}"),
            put_count,
            batch,
            command,
        );
    }
    let mut prng = Prng::new(7);
    let command = || update(prng.below(key_count));
    bench.time(
        "txn (compare, put, get), batches of 32",
        put_count,
        32,
        command,
    );

    let root = bench.state.root();
    let ranges: Vec<Range> = (0..put_count).map(|_| get(prng.below(key_count))).collect();
    let start = cpu_time();
    for range in &ranges {
        black_box(root.range(range).expect("the present revision"));
    }
    report("get", start, put_count);
    let all = Range {
        key: key(0),
        range_end: Bytes::from_static(b"\0"),
        ..Range::default()
    };
    let start = cpu_time();
    let reply = black_box(root.range(&all).expect("the present revision"));
    report("range over all keys, per key", start, key_count);
    drop((reply, root));

    bench.compact();
    bench.snapshots(key_count);
    yardstick(key_count, put_count);
}

/// What the standard library's ordered map costs here and now, to hold the figures against:
/// it keeps no history and nobody can read it meanwhile.
fn yardstick(key_count: u64, put_count: u64) {
    let mut map: BTreeMap<Bytes, Vec<u8>> = BTreeMap::new();
    map.extend((0..key_count).map(|number| (key(number), vec![b'v'; VALUE_BYTES])));
    let mut prng = Prng::new(9);
    let keys: Vec<Bytes> = (0..put_count).map(|_| key(prng.below(key_count))).collect();
    let start = cpu_time();
    for key in &keys {
        black_box(map.insert(key.clone(), vec![b'w'; VALUE_BYTES]));
    }
    report("yardstick: BTreeMap insert", start, put_count);
    let start = cpu_time();
    for key in &keys {
        black_box(map.get(key));
    }
    report("yardstick: BTreeMap get", start, put_count);
}

/// A state whose latest root is always held by someone, as the node does.
struct Bench {
    state: State,
    published: Root,
    index: u64,
}

impl Bench {
    fn new() -> Self {
        let state = State::new(1);
        let published = state.root();
        let mut bench = Self {
            state,
            published,
            index: 0,
        };
        bench.apply(vec![Command::SetQuota { bytes: u64::MAX }]);
        bench
    }

    fn batch(&mut self, commands: Vec<Command>) -> Batch {
        self.index += 1;
        let origin = Origin {
            member: MemberId(1),
            incarnation: 1,
            sequence: self.index,
        };
        Batch {
            origin,
            reign: 0,
            time_ms: self.index,
            commands,
        }
    }

    fn apply(&mut self, commands: Vec<Command>) {
        let batch = self.batch(commands);
        let applied = self.state.apply(self.index, &batch);
        assert!(
            applied.outcomes.iter().all(Result::is_ok),
            "{:?}",
            applied.outcomes
        );
        self.published = self.state.root();
    }

    /// Applies commands in batches of a size. The commands are made just before they are applied,
    /// as the log has just been read when it is; what making them costs is measured before and
    /// taken off.
    fn time(&mut self, what: &str, count: u64, batch: u64, command: impl FnMut() -> Command) {
        let mut command = command;
        let mut commands = || (0..batch).map(|_| command()).collect::<Vec<Command>>();
        let start = cpu_time();
        for _ in 0..count / batch {
            black_box(commands());
        }
        let making = cpu_time() - start;
        let start = cpu_time();
        for _ in 0..count / batch {
            let batch = self.batch(commands());
            black_box(self.state.apply(self.index, &batch));
            self.published = self.state.root();
        }
        report(what, start + making, count);
    }

    fn compact(&mut self) {
        let versions = self.published.version_count() as u64;
        let revision = self.published.revision();
        let start = cpu_time();
        self.apply(vec![Command::Compact { revision }]);
        while !self.published.compaction_finished() {
            self.apply(Vec::new());
        }
        let removed = versions - self.published.version_count() as u64;
        report("compaction, per removed version", start, removed.max(1));
    }

    /// Changes 1 % of the keys in one range, and counts what a second snapshot must write.
    fn snapshots(&mut self, key_count: u64) {
        const CHUNK_BYTES: usize = 1 << 20;
        let first = self.state.root().chunks(CHUNK_BYTES);
        let known: BTreeSet<_> = first.iter().map(Chunk::identity).collect();
        let start = cpu_time();
        let encoded: Vec<Bytes> = first.iter().map(Chunk::encode).collect();
        let total: usize = encoded.iter().map(Bytes::len).sum();
        println!(
            "first snapshot: {} chunks, {total} bytes, {:?}",
            first.len(),
            (cpu_time() - start)
        );
        let header = self.state.root().header();
        let start = cpu_time();
        let decoded: Vec<_> = encoded
            .into_iter()
            .map(|bytes| Chunk::decode(bytes).expect("it was encoded"))
            .collect();
        let decode = cpu_time() - start;
        let start = cpu_time();
        let loaded = State::load(header, decoded, 1).expect("it was saved");
        println!(
            "load: decode {decode:?} on one thread, join {:?}",
            (cpu_time() - start)
        );
        assert!(
            loaded.root().hash() == self.state.root().hash(),
            "a load keeps the hash"
        );
        drop(loaded);
        let from = key_count / 3;
        let changed: Vec<u64> = (from..from + key_count / 100).collect();
        for part in changed.chunks(32) {
            let commands = part.iter().map(|key| put(*key, 1)).collect();
            self.apply(commands);
        }
        let second = self.state.root().chunks(CHUNK_BYTES);
        let fresh = second
            .iter()
            .filter(|chunk| !known.contains(&chunk.identity()));
        let written: u64 = fresh.map(Chunk::encoded_len).sum();
        let share = written as f64 / total as f64 * 100.0;
        println!("second snapshot after 1 % changed: {written} bytes, {share:.2} % of the first");
    }
}

fn report(what: &str, start: Duration, count: u64) {
    println!(
        "{what:<40} {:>9} ns",
        (cpu_time() - start).as_nanos() / u128::from(count)
    );
}

/// Time that this process has had on a processor, so that neighbors show less in the figures;
/// where the system does not tell, time that has passed.
fn cpu_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let running = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanos = running.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/registry/pods/default/web-{number:010}"))
}

fn put(number: u64, salt: u64) -> Command {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&salt.to_le_bytes());
    Command::Put(Put {
        key: key(number),
        value: Bytes::from(value),
        ..Put::default()
    })
}

fn get(number: u64) -> Range {
    Range {
        key: key(number),
        ..Range::default()
    }
}

fn update(number: u64) -> Command {
    let compare = Compare {
        key: key(number),
        range_end: Bytes::new(),
        relation: Relation::Greater,
        operand: Operand::Mod(0),
    };
    let Command::Put(put) = put(number, 3) else {
        unreachable!("put makes a put")
    };
    let success = vec![Op::Put(put), Op::Range(get(number))];
    Command::Txn(Txn {
        compare: vec![compare],
        success,
        failure: Vec::new(),
    })
}

/// What this process occupies in memory, where the system tells.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
