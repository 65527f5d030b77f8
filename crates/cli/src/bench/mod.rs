//! `synod bench`: load against any etcd v3 endpoint, measured from outside.

mod cpu;
mod fill;
mod floor;
mod interference;
mod load;
mod pace;
mod record;
mod report;
mod stub;
mod transport;
mod watch;
mod work;

#[cfg(test)]
mod tests;

use crate::client::Form;
use crate::exit::{Exit, Failure};
use crate::outside;
use load::{Length, Plan};
use record::Measurement;
use serde_json::json;
use std::time::Duration;
use work::{Material, Operation};

/// Measure an etcd v3 endpoint, or two in turn
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Write one key
    Put(LoadArgs),
    /// Read one key, linearizable
    Range(LoadArgs),
    /// Compare, put and get one key
    Txn(LoadArgs),
    /// Grant and revoke a lease
    Lease(LoadArgs),
    /// Deliver changes to watchers
    Watch(watch::WatchArgs),
    /// Write many keys, each once, in an order of chance
    Fill(fill::FillArgs),
    /// Puts beside large ranges, snapshots and compactions
    Interference(interference::InterferenceArgs),
    /// What this machine allows: bare gRPC echo, durable writes, both together
    Floor(floor::FloorArgs),
    /// A server that `floor` measures
    #[command(hide = true)]
    Stub(stub::StubArgs),
}

/// Whom to measure and how to report.
#[derive(clap::Args, Clone, Debug)]
struct TargetArgs {
    /// The server's addresses
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379"
    )]
    endpoints: Vec<String>,
    /// A process of the server, for its CPU time (repeatable)
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Another server, measured in turn with the first
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    versus: Vec<String>,
    /// A process of the other server (repeatable)
    #[arg(long, value_name = "PID", requires = "versus")]
    versus_pid: Vec<u32>,
    /// Rounds; with --versus each measures both [default: 1, with --versus 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
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

/// How hard to drive.
#[derive(clap::Args, Clone, Debug)]
struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Clients, each with one operation under way
    #[arg(long, default_value_t = 64, value_parser = positive)]
    clients: usize,
    /// TCP connections they share
    #[arg(long, default_value_t = 8, value_parser = positive)]
    connections: usize,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = positive)]
    threads: usize,
    /// How long to measure
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = crate::config::duration)]
    duration: Duration,
    /// Stop after that many operations instead
    #[arg(long, value_name = "COUNT", conflicts_with = "duration")]
    total: Option<u64>,
    /// Load before measuring
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = crate::config::duration)]
    warm_up: Duration,
    /// Operations a second to intend, whether or not the server keeps up; latency counts from
    /// the intended start. Without it each client goes on as soon as it has its answer
    #[arg(long, value_name = "PER SECOND", value_parser = positive_rate)]
    rate: Option<f64>,
    /// Bytes in a value
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// How many keys to draw from
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = positive_u64)]
    key_space: u64,
    /// When an operation counts as timed out
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = crate::config::duration)]
    timeout: Duration,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "not a number above 0".to_owned())
}

fn positive_u64(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "not a number above 0".to_owned())
}

fn positive_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.001..=1e7).contains(rate))
        .ok_or_else(|| "not a number from 0.001 to 10000000".to_owned())
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Put(args) => args.run(Operation::Put),
            What::Range(args) => args.run(Operation::Range),
            What::Txn(args) => args.run(Operation::Txn),
            What::Lease(args) => args.run(Operation::Lease),
            What::Watch(args) => args.run(),
            What::Fill(args) => args.run(),
            What::Interference(args) => args.run(),
            What::Floor(args) => args.run(),
            What::Stub(args) => args.run(),
        }
    }
}

impl LoadArgs {
    fn run(&self, operation: Operation) -> Result<(), Failure> {
        let title = format!(
            "{}: {} clients on {} connections, {}-byte values, {} keys, {}",
            operation.name(),
            self.clients,
            self.connections,
            self.value_size,
            report::grouped(self.key_space),
            match self.rate {
                None => "closed loop".to_owned(),
                Some(rate) => format!("open loop at {}", report::rate(rate)),
            }
        );
        let material = material(self.key_space, self.value_size);
        let (ours, theirs) = (&self.target.endpoints, &self.target.versus);
        if operation == Operation::Range {
            for endpoints in [ours, theirs]
                .into_iter()
                .filter(|endpoints| !endpoints.is_empty())
            {
                fill(endpoints, &material)?;
            }
        }
        let plan = self.plan(operation, material);
        self.target
            .rounds(&title, "operation", |endpoints, server_pids| {
                load::measure(&Plan {
                    endpoints,
                    server_pids,
                    ..plan.clone()
                })
            })
    }

    fn plan(&self, operation: Operation, material: Material) -> Plan {
        let length = match (self.total, self.rate) {
            (None, _) => Length::Time(self.duration),
            (Some(total), None) => Length::Operations(total),
            (Some(total), Some(rate)) => Length::Time(Duration::from_secs_f64(total as f64 / rate)),
        };
        Plan {
            endpoints: Vec::new(),
            server_pids: Vec::new(),
            operation,
            material,
            clients: self.clients,
            connections: self.connections.min(self.clients),
            threads: self.threads.min(self.clients),
            warm_up: self.warm_up,
            length,
            rate: self.rate,
            timeout: self.timeout,
        }
    }
}

/// Keys and values that no earlier run used.
fn material(keys: u64, value_size: usize) -> Material {
    let prefix = format!("bench/{:x}/", outside::wall_ns()).into();
    let mut prng = synod_env::Prng::new(1);
    let value = (0..value_size)
        .map(|_| prng.next_u64().to_le_bytes()[0])
        .collect();
    Material {
        prefix,
        keys,
        value,
    }
}

/// Writes every key once, so that reads find something.
fn fill(endpoints: &[String], material: &Material) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        const WRITERS: u64 = 64;
        let connections = transport::connect(endpoints, 4).await?;
        let mut writers = Vec::new();
        for (first, connection) in (0..WRITERS.min(material.keys)).zip(connections.iter().cycle()) {
            let (material, connection) = (material.clone(), connection.clone());
            writers.push(outside::spawn(async move {
                let mut worker = work::Worker::new(Operation::Put, material.clone(), 0, connection);
                for index in (first..material.keys).step_by(64) {
                    worker.put(material.key(index)).await?;
                }
                Ok::<(), tonic::Status>(())
            }));
        }
        for writer in writers {
            let written = writer
                .await
                .map_err(|_| Failure::other("a writer panicked"))?;
            written.map_err(|status| {
                Failure::new(
                    Exit::Failed,
                    format!("cannot write the keys to read: {status}"),
                )
            })?;
        }
        Ok(())
    })
}

impl TargetArgs {
    /// Measures in rounds, the two servers in turn, and reports.
    fn rounds(
        &self,
        title: &str,
        unit: &str,
        measure: impl Fn(Vec<String>, Vec<u32>) -> Result<Measurement, Failure>,
    ) -> Result<(), Failure> {
        let ours = || measure(self.endpoints.clone(), self.server_pid.clone());
        let theirs = || measure(self.versus.clone(), self.versus_pid.clone());
        let simple = self.form == Form::Simple;
        let show = |measurement: &Measurement| {
            if simple {
                outside::say(report::run(measurement, unit));
            }
        };
        if simple {
            outside::say(format_args!("{title}\n"));
        }
        let (mut single, mut paired) = (Vec::new(), Vec::new());
        for round in 0..self
            .rounds
            .unwrap_or(if self.versus.is_empty() { 1 } else { 3 })
        {
            if self.versus.is_empty() {
                let measurement = ours()?;
                show(&measurement);
                single.push(measurement);
                continue;
            }
            // Who goes first changes, so that what the first leaves behind favors neither.
            let pair = if round % 2 == 0 {
                let first = ours()?;
                show(&first);
                (first, theirs()?)
            } else {
                let first = theirs()?;
                show(&first);
                (ours()?, first)
            };
            show(if round % 2 == 0 { &pair.1 } else { &pair.0 });
            paired.push(pair);
        }
        if simple {
            if !paired.is_empty() {
                outside::say(report::ratios(&paired).trim_end());
            }
            return Ok(());
        }
        let runs: Vec<_> = single
            .iter()
            .chain(paired.iter().flat_map(|(ours, theirs)| [ours, theirs]))
            .map(report::run_json)
            .collect();
        let ratios = (!paired.is_empty()).then(|| report::ratios_json(&paired));
        outside::say(json!({ "title": title, "unit": unit, "runs": runs, "ratios": ratios }));
        Ok(())
    }
}
