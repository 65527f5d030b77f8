//! `synod bench interference`: what a large piece of work does to the puts beside it.
//!
//! Puts are sent in an open loop at a given rate, and each counts from its intended start, so that
//! a stall of the server is seen by all that it delays. Meanwhile the work is done now and then,
//! with rests between. A put belongs to the work if any of its time does, and to the quiet if it is
//! far from it; the quiet of the same run is what it is compared with.

use super::pace::Schedule;
use super::transport::{Connection, connect};
use super::work::{Material, Operation, Worker};
use super::{TargetArgs, fill, material, report};
use crate::client::Form;
use crate::exit::{Exit, Failure};
use crate::outside;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::maintenance_client::MaintenanceClient;
use synod_api::etcdserverpb::{CompactionRequest, RangeRequest, SnapshotRequest};
use tonic::Status;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct InterferenceArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Puts a second; half of what the server can do is usual
    #[arg(long, value_name = "PER SECOND", value_parser = super::positive_rate)]
    rate: f64,
    /// Clients that put
    #[arg(long, default_value_t = 256, value_parser = super::positive)]
    clients: usize,
    /// TCP connections they share
    #[arg(long, default_value_t = 8, value_parser = super::positive)]
    connections: usize,
    /// Bytes in a value
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Keys in the range that is read, of those that `synod bench fill` wrote
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", value_parser = super::positive)]
    range_keys: usize,
    /// How often the range is read, and how often the state is fetched
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = super::positive)]
    times: usize,
    /// The rest before each piece of work, and after the last
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = crate::config::duration)]
    rest: Duration,
}

/// How far from any work a put must be to count as undisturbed.
const QUIET_AFTER: Duration = Duration::from_millis(500);

/// A put that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Large pieces of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Read many keys in one request.
    Range,
    /// Fetch the whole state.
    Snapshot,
    /// Drop all history up to now, and wait until it is gone.
    Compaction,
}

impl Work {
    const ALL: [Self; 3] = [Self::Range, Self::Snapshot, Self::Compaction];

    const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Snapshot => "snapshot",
            Self::Compaction => "compaction",
        }
    }
}

/// From when to when, in nanoseconds of the run.
pub(super) type Span = (u64, u64);

/// What the puts beside one kind of work took.
struct Beside {
    work: Work,
    /// How long a piece of work took at the median.
    work_took: Duration,
    puts: usize,
    quiet_puts: usize,
    failed: usize,
    p99: Duration,
    quiet_p99: Duration,
}

impl InterferenceArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut all = Vec::new();
        let servers = [&self.target.endpoints, &self.target.versus];
        for endpoints in servers.into_iter().filter(|server| !server.is_empty()) {
            let name = endpoints.join(",");
            if self.target.form == Form::Simple {
                outside::say(format_args!(
                    "{name}: puts at {} beside large work",
                    report::rate(self.rate)
                ));
            }
            let mut rows = Vec::new();
            for work in Work::ALL {
                let beside = self.measure(endpoints, work)?;
                if self.target.form == Form::Simple {
                    outside::say(beside.text());
                }
                rows.push(beside.json());
            }
            all.push(json!({ "endpoint": name, "rate_per_s": self.rate, "beside": rows }));
        }
        if self.target.form == Form::Json {
            outside::say(json!({ "runs": all }));
        }
        Ok(())
    }

    fn measure(&self, endpoints: &[String], work: Work) -> Result<Beside, Failure> {
        let origin = outside::now();
        let goes_on = Arc::new(AtomicBool::new(true));
        let driver = {
            let (arguments, endpoints) = (self.clone(), endpoints.to_vec());
            let goes_on = Arc::clone(&goes_on);
            outside::spawn_thread(move || arguments.drive(&endpoints, origin, &goes_on))
        };
        let spans = self.disturb(endpoints, work, origin);
        goes_on.store(false, Ordering::Relaxed);
        let driven = driver
            .join()
            .map_err(|_| Failure::other("the load thread panicked"))?;
        let (puts, failed) = driven?;
        Beside::new(work, &spans?, puts, failed)
    }

    /// Does the work on this thread; when it did.
    fn disturb(
        &self,
        endpoints: &[String],
        work: Work,
        origin: Instant,
    ) -> Result<Vec<Span>, Failure> {
        block_on(async {
            let connection = connect(endpoints, 1).await?.remove(0);
            // Compacting again would find nothing to do.
            let times = match work {
                Work::Range | Work::Snapshot => self.times,
                Work::Compaction => 1,
            };
            let mut spans = Vec::new();
            for _ in 0..times {
                outside::sleep(self.rest).await;
                let begun = since(origin);
                let done = self.do_work(work, connection.clone()).await;
                done.map_err(|status| {
                    Failure::new(Exit::Failed, format!("{}: {status}", work.name()))
                })?;
                spans.push((begun, since(origin)));
            }
            outside::sleep(self.rest).await;
            Ok(spans)
        })
    }

    async fn do_work(&self, work: Work, connection: Connection) -> Result<(), Status> {
        let Connection { transport, origin } = connection;
        let mut kv = KvClient::with_origin(transport.clone(), origin.clone())
            .max_decoding_message_size(usize::MAX);
        match work {
            Work::Range => {
                let request = RangeRequest {
                    key: fill::key(0),
                    range_end: fill::key(self.range_keys),
                    ..RangeRequest::default()
                };
                let read = kv.range(request).await?.into_inner().kvs.len();
                if read != self.range_keys {
                    return Err(Status::not_found(format!(
                        "only {read} keys: fill it first"
                    )));
                }
            }
            Work::Snapshot => {
                let mut maintenance = MaintenanceClient::with_origin(transport, origin)
                    .max_decoding_message_size(usize::MAX);
                let pieces = maintenance.snapshot(SnapshotRequest::default()).await?;
                let mut pieces = pieces.into_inner();
                while pieces.message().await?.is_some() {}
            }
            Work::Compaction => {
                let head = kv.range(RangeRequest {
                    key: fill::key(0),
                    ..RangeRequest::default()
                });
                let header = head.await?.into_inner().header.unwrap_or_default();
                let request = CompactionRequest {
                    revision: header.revision,
                    physical: true,
                };
                kv.compact(request).await?;
            }
        }
        Ok(())
    }

    /// Puts at the rate while it goes on; when each was intended and answered, and how many failed.
    fn drive(
        &self,
        endpoints: &[String],
        origin: Instant,
        goes_on: &Arc<AtomicBool>,
    ) -> Result<(Vec<Span>, usize), Failure> {
        let material = material(10_000, self.value_size);
        block_on(async {
            let connections = connect(endpoints, self.connections).await?;
            let state = Arc::clone(goes_on);
            let schedule = Schedule::start(
                self.rate,
                self.clients,
                move || since(origin),
                move || state.load(Ordering::Relaxed),
            );
            let puts = Arc::new(Mutex::new((Vec::new(), 0)));
            let mut clients = Vec::new();
            for (number, connection) in (0..self.clients).zip(connections.iter().cycle()) {
                let worker = worker(&material, number, connection);
                let (schedule, puts) = (Arc::clone(&schedule), Arc::clone(&puts));
                clients.push(outside::spawn(put(worker, schedule, origin, puts)));
            }
            for client in clients {
                client
                    .await
                    .map_err(|_| Failure::other("a client panicked"))?;
            }
            let mut puts = puts.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(std::mem::take(&mut *puts))
        })
    }
}

fn worker(material: &Material, number: usize, connection: &Connection) -> Worker {
    let seed = number as u64;
    Worker::new(Operation::Put, material.clone(), seed, connection.clone())
}

async fn put(
    mut worker: Worker,
    schedule: Arc<Schedule>,
    origin: Instant,
    puts: Arc<Mutex<(Vec<Span>, usize)>>,
) {
    while let Some(intended) = schedule.next().await {
        let answered = outside::within(TIMEOUT, worker.once()).await;
        let mut puts = puts.lock().unwrap_or_else(PoisonError::into_inner);
        puts.0.push((intended, since(origin)));
        puts.1 += usize::from(!matches!(answered, Some(Ok(()))));
    }
}

fn since(origin: Instant) -> u64 {
    u64::try_from((outside::now() - origin).as_nanos()).unwrap_or(u64::MAX)
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?
        .block_on(future)
}

/// Puts apart into those beside the work and those in the quiet; latencies of both, sorted.
pub(super) fn sort_out(work: &[Span], puts: Vec<Span>) -> (Vec<u64>, Vec<u64>) {
    let margin = u64::try_from(QUIET_AFTER.as_nanos()).expect("a short time");
    let (mut beside, mut quiet) = (Vec::new(), Vec::new());
    for (intended, answered) in puts {
        let latency = answered.saturating_sub(intended);
        let meets = |margin: u64| {
            work.iter().any(|(begun, ended)| {
                intended <= ended.saturating_add(margin) && answered >= begun.saturating_sub(margin)
            })
        };
        if meets(0) {
            beside.push(latency);
        } else if !meets(margin) {
            quiet.push(latency);
        }
    }
    beside.sort_unstable();
    quiet.sort_unstable();
    (beside, quiet)
}

/// The latency that all but one in a hundred do not exceed.
fn p99(sorted_ns: &[u64]) -> Option<Duration> {
    let at = (sorted_ns.len() * 99).div_ceil(100).checked_sub(1)?;
    Some(Duration::from_nanos(sorted_ns[at]))
}

impl Beside {
    fn new(work: Work, spans: &[Span], puts: Vec<Span>, failed: usize) -> Result<Self, Failure> {
        let (beside, quiet) = sort_out(spans, puts);
        let mut took: Vec<u64> = spans.iter().map(|(begun, ended)| ended - begun).collect();
        took.sort_unstable();
        let too_few = || Failure::other(format!("no put beside a {}, or none else", work.name()));
        Ok(Self {
            work,
            work_took: Duration::from_nanos(took[took.len() / 2]),
            puts: beside.len(),
            quiet_puts: quiet.len(),
            failed,
            p99: p99(&beside).ok_or_else(too_few)?,
            quiet_p99: p99(&quiet).ok_or_else(too_few)?,
        })
    }

    fn ratio(&self) -> f64 {
        self.p99.as_secs_f64() / self.quiet_p99.as_secs_f64()
    }

    fn text(&self) -> String {
        format!(
            "  {:<11} of {:>8}: put p99 {:>8} beside it ({} puts), {:>8} in the quiet ({}): {:.2}x{}",
            self.work.name(),
            report::time(self.work_took),
            report::time(self.p99),
            report::grouped(self.puts as u64),
            report::time(self.quiet_p99),
            report::grouped(self.quiet_puts as u64),
            self.ratio(),
            match self.failed {
                0 => String::new(),
                failed => format!("; {failed} puts failed"),
            }
        )
    }

    fn json(&self) -> Value {
        json!({
            "work": self.work.name(),
            "work_us": report::micros(self.work_took),
            "puts": self.puts,
            "quiet_puts": self.quiet_puts,
            "failed": self.failed,
            "p99_us": report::micros(self.p99),
            "quiet_p99_us": report::micros(self.quiet_p99),
            "ratio": self.ratio(),
        })
    }
}
