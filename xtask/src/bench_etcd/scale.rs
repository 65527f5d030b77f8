//! What a server takes to hold much: memory, disk, the time to start again, and what large pieces
//! of work do to the puts beside them.

use super::{json_of, url};
use crate::member::{Kind, Member};
use crate::{Outcome, world};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Keys of 256 random bytes each.
const KEYS: &str = "1000000";

/// Revisions for the compaction to drop, beside the keys above.
const REVISIONS: &str = "1000000";

/// As much room as either server is used with at most.
const FLAGS: [&str; 2] = ["--quota-backend-bytes", "8589934592"];

/// Operations of the benchmark after which memory is looked at. Their number is given, and not
/// their time, lest the faster server hold more history.
const BENCHMARK: [(&str, &str); 4] = [
    ("put", "100000"),
    ("range", "100000"),
    ("txn", "50000"),
    ("lease", "20000"),
];

/// Given back memory and finished work in the background are waited for so long.
const SETTLE: Duration = Duration::from_secs(5);

/// What one server takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale {
    /// Resident after [`BENCHMARK`], in bytes.
    pub(super) benchmark_resident_bytes: f64,
    /// Resident with [`KEYS`], in bytes.
    pub(super) full_resident_bytes: f64,
    /// On disk with them, in bytes.
    pub(super) full_disk_bytes: f64,
    /// From starting it on them to its first good answer.
    pub(super) full_start: Duration,
    pub(super) beside: Vec<Beside>,
}

/// What the puts beside one kind of work took.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) work: String,
    pub(super) p99_us: f64,
    pub(super) quiet_p99_us: f64,
}

/// Measures one server, on its own.
pub(super) fn measure(kind: Kind, program: &Path, bench: &Path, folder: &Path) -> Outcome<Scale> {
    println!("{kind:?} after a benchmark");
    world::remove_dir(folder)?;
    let member = Member::start(kind, program, folder)?;
    for (operation, total) in BENCHMARK {
        let arguments = ["--clients", "256", "--total", total];
        bench_json(bench, operation, &member, &arguments)?;
    }
    let arguments = ["--watchers", "100", "--rate", "500", "--duration", "5s"];
    bench_json(bench, "watch", &member, &arguments)?;
    world::pause(SETTLE);
    let benchmark_resident_bytes = resident_bytes(&member)?;
    member.stop()?;

    println!("{kind:?} with {KEYS} keys");
    world::remove_dir(folder)?;
    let flags = FLAGS.map(str::to_owned);
    let member = Member::start_with(kind, program, folder, &flags)?;
    bench_json(bench, "fill", &member, &["--keys", KEYS])?;
    world::pause(SETTLE);
    let full_resident_bytes = resident_bytes(&member)?;
    member.stop()?;
    let full_disk_bytes = world::disk_bytes(&folder.join("data"))?;
    let member = Member::start_with(kind, program, folder, &flags)?;
    let full_start = member.ready_after();

    println!("{kind:?} with large work");
    let arguments = [
        "--clients",
        "256",
        "--total",
        REVISIONS,
        "--key-space",
        "100000",
    ];
    let most = bench_json(bench, "put", &member, &arguments)?;
    let run = &most["runs"][0];
    let seconds = run["window_s"]
        .as_f64()
        .ok_or("synod bench gave no window")?;
    let done = run["done"].as_f64().ok_or("synod bench gave no count")?;
    let rate = (done / seconds / 2.0).round().to_string();
    let beside = bench_json(bench, "interference", &member, &["--rate", &rate])?;
    member.stop()?;
    Ok(Scale {
        benchmark_resident_bytes,
        full_resident_bytes,
        full_disk_bytes,
        full_start,
        beside: Beside::all_of(&beside)?,
    })
}

impl Beside {
    /// Reads what `synod bench interference -o json` says.
    pub(super) fn all_of(printed: &Value) -> Outcome<Vec<Self>> {
        let rows = printed["runs"][0]["beside"].as_array();
        let rows = rows.ok_or("synod bench interference printed no rows")?;
        let number = |row: &Value, name: &str| {
            let number = row[name].as_f64();
            number.ok_or_else(|| format!("synod bench interference printed no {name}"))
        };
        rows.iter()
            .map(|row| {
                Ok(Self {
                    work: row["work"].as_str().unwrap_or_default().to_owned(),
                    p99_us: number(row, "p99_us")?,
                    quiet_p99_us: number(row, "quiet_p99_us")?,
                })
            })
            .collect()
    }

    /// How much longer the slowest puts take beside the work.
    pub(super) fn ratio(&self) -> f64 {
        self.p99_us / self.quiet_p99_us
    }
}

fn bench_json(bench: &Path, what: &str, member: &Member, arguments: &[&str]) -> Outcome<Value> {
    let mut command = Command::new(bench);
    command.args(["bench", what, "--output", "json", "--endpoints"]);
    command.arg(url(member)).args(arguments);
    json_of(&mut command)
}

/// The memory that a member's process has resident.
fn resident_bytes(member: &Member) -> Outcome<f64> {
    let status = world::read(Path::new(&format!("/proc/{}/status", member.pid())))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: Option<f64> = kib.and_then(|kib| kib.parse().ok());
    Ok(kib.ok_or("the kernel does not say what is resident")? * 1024.0)
}
