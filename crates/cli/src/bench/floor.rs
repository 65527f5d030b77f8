//! `synod bench floor`: what this machine allows, to judge a member by.

use super::load::{self, Length, Plan};
use super::record::{Ended, Measurement, Tally};
use super::stub::{DurableFile, Kind};
use super::work::Operation;
use super::{material, report};
use crate::client::Form;
use crate::exit::Failure;
use crate::outside;
use serde_json::json;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct FloorArgs {
    /// Where durable writes go: the disk to be judged
    #[arg(long, default_value = ".", value_name = "PATH")]
    dir: PathBuf,
    /// How long each row is measured
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = crate::config::duration)]
    duration: Duration,
    /// Clients of the second row of each server
    #[arg(long, default_value_t = 256, value_parser = super::positive)]
    clients: usize,
    /// Bytes in a value
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// `simple` or `json`
    #[arg(
        short = 'o',
        long = "output",
        default_value = "simple",
        value_name = "FORM"
    )]
    #[arg(hide_possible_values = true)]
    form: Form,
}

impl FloorArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let simple = self.form == Form::Simple;
        let scratch = outside::ScratchDir::under(&self.dir, "floor")
            .map_err(|error| Failure::other(format!("{}: {error}", self.dir.display())))?;
        let mut writes = Vec::new();
        if simple {
            outside::say(format_args!(
                "durable writes into a file of zeros in {}",
                self.dir.display()
            ));
        }
        for size in [256, 4_096] {
            let (tally, window) = durable_writes(scratch.path(), size, self.duration)?;
            let per_second = tally.done as f64 / window.as_secs_f64();
            if simple {
                outside::say(format_args!(
                    "  {size:>5} bytes  {:>10}  {}",
                    report::rate(per_second),
                    report::latencies(&tally)
                ));
            }
            writes.push(json!({
                "bytes": size,
                "per_s": per_second,
                "p50_us": report::micros(tally.percentile(50.0)),
                "p99_us": report::micros(tally.percentile(99.0)),
            }));
        }
        let mut servers = Vec::new();
        for (kind, name) in [
            (Kind::Echo, "bare gRPC echo"),
            (
                Kind::Skeleton,
                "skeleton: echo, channel, group-committed log, ordered map",
            ),
        ] {
            if simple {
                outside::say(format_args!("\n{name}, {}-byte values", self.value_size));
            }
            for clients in [1, self.clients] {
                let server = StubServer::start(kind, scratch.path())?;
                let measurement = self.measure(&server, clients)?;
                if simple {
                    outside::say(row(clients, &measurement));
                }
                servers.push(json!({
                    "server": name,
                    "clients": clients,
                    "run": report::run_json(&measurement),
                }));
            }
        }
        if !simple {
            let object = json!({ "durable_writes": writes, "servers": servers });
            outside::say(object);
        }
        Ok(())
    }

    fn measure(&self, server: &StubServer, clients: usize) -> Result<Measurement, Failure> {
        load::measure(&Plan {
            endpoints: vec![server.endpoint.clone()],
            server_pids: vec![server.child.id()],
            operation: Operation::Put,
            material: material(10_000, self.value_size),
            clients,
            connections: clients.min(8),
            threads: 1,
            warm_up: Duration::from_millis(500),
            length: Length::Time(self.duration),
            rate: None,
            timeout: Duration::from_secs(5),
        })
    }
}

fn row(clients: usize, measurement: &Measurement) -> String {
    let tally = &measurement.tally;
    format!(
        "  {clients:>4} {:<8} p50 {:>9}  p99 {:>9}  server CPU {:>5.1} us each  {}",
        if clients == 1 { "client" } else { "clients" },
        report::time(tally.percentile(50.0)),
        report::time(tally.percentile(99.0)),
        measurement.server_us_per_op().unwrap_or(f64::NAN),
        match measurement.throughput() {
            Some(per_second) => report::rate(per_second),
            None => "(the load generator was the limit)".to_owned(),
        }
    )
}

fn durable_writes(
    dir: &Path,
    size: usize,
    duration: Duration,
) -> Result<(Tally, Duration), Failure> {
    let failed =
        |error: io::Error| Failure::other(format!("durable writes in {}: {error}", dir.display()));
    let mut file = DurableFile::create(&dir.join("raw.log")).map_err(failed)?;
    let record: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    let mut tally = Tally::default();
    let begun = outside::now();
    loop {
        let before = outside::now();
        if before - begun >= duration {
            return Ok((tally, before - begun));
        }
        file.append(&record).map_err(failed)?;
        tally.add(Ended::Done, outside::now() - before, true);
    }
}

/// A stub in a process of its own, so that its CPU time is its own; it ends with its owner.
struct StubServer {
    child: Child,
    endpoint: String,
}

impl StubServer {
    fn start(kind: Kind, dir: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::other(format!("cannot start a server: {error}"));
        let kind = match kind {
            Kind::Echo => "echo",
            Kind::Skeleton => "skeleton",
        };
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["bench", "stub", kind, "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut endpoint = String::new();
        if let Some(stdout) = child.stdout.take() {
            io::BufReader::new(stdout)
                .read_line(&mut endpoint)
                .map_err(failed)?;
        }
        let server = Self {
            child,
            endpoint: endpoint.trim().to_owned(),
        };
        if server.endpoint.is_empty() {
            return Err(Failure::other("the server to measure did not start"));
        }
        Ok(server)
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
