//! `cargo xtask bench-etcd`: Synod and etcd in one run on one machine, as ratios, against what
//! Synod must reach.
//!
//! The load and the figures are those of `synod bench`, which drives both servers in turn and also
//! says what the load generator itself used. A target that is missed is reported and is no failure:
//! a benchmark is not a test.

mod report;
mod scale;
#[cfg(test)]
mod tests;

use crate::member::{Kind, Member};
use crate::provision::{self, Trouble};
use crate::{Outcome, interop, process, world};
use report::{Figures, Report, Row};
use scale::Scale;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Clients of the rows that ask what a server can do at most.
const MANY_CLIENTS: u32 = 256;

/// Watchers of the row without clients, and the writes a second that all of them are told.
const WATCHERS: &str = "100";
const WATCHED_WRITES: &str = "500";

/// Each start is on an empty folder; the median counts.
const STARTS: usize = 5;

/// One row: both servers, all rounds, filling and warm-up.
const ROW_WITHIN: Duration = Duration::from_secs(600);

/// What is measured, as `synod bench` names it, and with how many clients.
const ROWS: [(&str, u32); 7] = [
    ("put", MANY_CLIENTS),
    ("put", 1),
    ("range", MANY_CLIENTS),
    ("range", 1),
    ("txn", MANY_CLIENTS),
    ("lease", MANY_CLIENTS),
    ("watch", 0),
];

/// What the command line asks for.
struct Request {
    etcd: Option<PathBuf>,
    synod: Option<PathBuf>,
    markdown: Option<PathBuf>,
    duration: String,
    rounds: String,
    operations: bool,
    scale: bool,
}

/// Measures both servers and prints the table and the targets.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let request = Request::parse(arguments)?;
    let etcd = match &request.etcd {
        Some(path) => path.clone(),
        None => provision::etcd().map_err(Trouble::why)?.server,
    };
    let synod = match &request.synod {
        Some(path) => path.clone(),
        None => interop::build_synod()?,
    };
    // Both on the file system that `target` is on: the disk is what is compared last.
    let folder = world::target_dir().join("bench");
    let mut report = Report::default();
    let measured = measure(&request, &synod, &etcd, &folder, &mut report);
    world::remove_dir(&folder)?;
    measured?;
    print!("\n{}", report.text());
    match request.markdown {
        Some(path) => world::write(&path, &report.markdown()),
        None => Ok(()),
    }
}

impl Request {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut request = Self {
            etcd: None,
            synod: None,
            markdown: None,
            duration: "5s".to_owned(),
            rounds: "3".to_owned(),
            operations: true,
            scale: true,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} wants a value"))?;
            match argument.as_str() {
                "--etcd" => request.etcd = Some(PathBuf::from(value)),
                "--synod" => request.synod = Some(PathBuf::from(value)),
                "--markdown" => request.markdown = Some(PathBuf::from(value)),
                "--duration" => request.duration.clone_from(value),
                "--rounds" => request.rounds.clone_from(value),
                "--only" if value == "operations" => request.scale = false,
                "--only" if value == "scale" => request.operations = false,
                other => {
                    return Err(format!(
                        "takes --etcd PATH, --synod PATH, --markdown PATH, --duration 5s, \
                         --rounds 3 and --only operations or scale, not {other} {value}"
                    ));
                }
            }
        }
        Ok(request)
    }
}

fn measure(
    request: &Request,
    synod: &Path,
    etcd: &Path,
    folder: &Path,
    report: &mut Report,
) -> Outcome {
    if request.operations {
        measure_operations(request, synod, etcd, folder, report)?;
    }
    if request.scale {
        let of = |kind, program| scale::measure(kind, program, synod, folder);
        let pair: (Scale, Scale) = (of(Kind::Synod, synod)?, of(Kind::Etcd, etcd)?);
        report.scale = Some(pair);
    }
    Ok(())
}

fn measure_operations(
    request: &Request,
    synod: &Path,
    etcd: &Path,
    folder: &Path,
    report: &mut Report,
) -> Outcome {
    report.synod_starts_in = median_start(Kind::Synod, synod, folder)?;
    report.etcd_starts_in = median_start(Kind::Etcd, etcd, folder)?;
    for (operation, clients) in ROWS {
        println!("{operation}, {}", report::clients(clients));
        // Fresh members for each row: none pays for the data of the row before.
        world::remove_dir(folder)?;
        let ours = Member::start(Kind::Synod, synod, &folder.join("synod"))?;
        let theirs = Member::start(Kind::Etcd, etcd, &folder.join("etcd"))?;
        let mut bench = Command::new(synod);
        bench.args([
            "bench",
            operation,
            "--output",
            "json",
            "--rounds",
            &request.rounds,
        ]);
        bench.args(["--duration", &request.duration]);
        if clients > 0 {
            bench.args(["--clients", &clients.to_string()]);
        } else {
            bench.args(["--watchers", WATCHERS, "--rate", WATCHED_WRITES]);
        }
        let (our_url, their_url) = (url(&ours), url(&theirs));
        bench.args([
            "--endpoints",
            &our_url,
            "--server-pid",
            &ours.pid().to_string(),
        ]);
        bench.args([
            "--versus",
            &their_url,
            "--versus-pid",
            &theirs.pid().to_string(),
        ]);
        let measured = json_of(&mut bench)?;
        report.rows.push(Row {
            operation: operation.to_owned(),
            clients,
            synod: Figures::of(&measured, &our_url)?,
            etcd: Figures::of(&measured, &their_url)?,
        });
        ours.stop()?;
        theirs.stop()?;
    }
    println!("floor");
    let mut floor = Command::new(synod);
    floor
        .args(["bench", "floor", "--output", "json", "--dir"])
        .arg(folder);
    report.skeleton_p50_us = report::skeleton_p50_us(&json_of(&mut floor)?)?;
    Ok(())
}

fn url(member: &Member) -> String {
    format!("http://{}", member.endpoint())
}

/// Runs `synod bench … -o json`.
fn json_of(bench: &mut Command) -> Outcome<Value> {
    let printed = process::run_within(bench, "", ROW_WITHIN)?;
    if !printed.status.success() {
        let name = world::name(bench);
        return Err(format!(
            "{name} ended with {}: {}",
            printed.status,
            printed.stderr.trim()
        ));
    }
    serde_json::from_str(&printed.stdout)
        .map_err(|error| format!("{} printed no JSON: {error}", world::name(bench)))
}

/// The time from starting a process on an empty folder to its first good answer.
///
/// The answer is that of `/health`, for which both servers do a linearizable read.
fn median_start(kind: Kind, program: &Path, folder: &Path) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        world::remove_dir(folder)?;
        let member = Member::start(kind, program, folder)?;
        times.push(member.ready_after());
        member.stop()?;
    }
    times.sort();
    Ok(times[STARTS / 2])
}
