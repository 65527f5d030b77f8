//! `synod bench watch`: writes at a fixed rate, delivered to many watchers.

use super::cpu::{self, Share};
use super::pace::Schedule;
use super::record::{Ended, Measurement, Tally};
use super::transport::{Connection, connect};
use super::{Material, TargetArgs, material, report};
use crate::exit::{Exit, Failure};
use crate::outside;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::watch_client::WatchClient;
use synod_api::etcdserverpb::watch_request::RequestUnion;
use synod_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::{Semaphore, mpsc};
use tonic::Streaming;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Watchers, all on the range that is written
    #[arg(long, default_value_t = 1_000, value_parser = super::positive)]
    watchers: usize,
    /// Streams they share, each on a connection of its own
    #[arg(long, default_value_t = 8, value_parser = super::positive)]
    connections: usize,
    /// Writes a second; each is delivered to every watcher
    #[arg(long, default_value = "50", value_name = "PER SECOND", value_parser = super::positive_rate)]
    rate: f64,
    /// How long to write
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = crate::config::duration)]
    duration: Duration,
    /// Bytes in a value, at least 8
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// How long to wait for the last event
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = crate::config::duration)]
    timeout: Duration,
}

/// Writes under way at once; beyond it a write is late, which its events' latencies show.
const WRITES_INFLIGHT_MAX: usize = 256;

/// What the tasks of a run share.
struct Run {
    origin: Instant,
    material: Material,
    tally: Mutex<Tally>,
    delivered: AtomicU64,
}

impl Run {
    fn elapsed_ns(&self) -> u64 {
        u64::try_from((outside::now() - self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl WatchArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let title = format!(
            "watch: {} watchers on {} connections, {} writes, {}-byte values; latency from the \
             intended write to the event",
            self.watchers,
            self.connections,
            report::rate(self.rate),
            self.value_size.max(8)
        );
        self.target.rounds(&title, "event", |endpoints, pids| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
            runtime.block_on(self.measure(&endpoints, &pids))
        })
    }

    async fn measure(&self, endpoints: &[String], pids: &[u32]) -> Result<Measurement, Failure> {
        let run = Arc::new(Run {
            origin: outside::now(),
            material: material(1_000, self.value_size.max(8)),
            tally: Mutex::new(Tally::default()),
            delivered: AtomicU64::new(0),
        });
        let streams = self.connections.min(self.watchers);
        let mut connections = connect(endpoints, streams + 1).await?;
        let writer = connections
            .pop()
            .ok_or_else(|| Failure::other("no connection"))?;
        let mut open = Vec::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let watchers = self.watchers / streams + usize::from(number < self.watchers % streams);
            let stream = outside::within(self.timeout, open_stream(&run, connection, watchers))
                .await
                .ok_or_else(|| Failure::new(Exit::Unreachable, "the watches did not begin"))??;
            open.push(outside::spawn(receive(Arc::clone(&run), stream)));
        }

        let server_before = cpu::of_processes(pids)?;
        let (generator_before, thread_before) = (cpu::of_this_process(), cpu::of_this_thread());
        let begun = outside::now();
        let written = self.write(&run, writer).await;
        let expected = written * self.watchers as u64;
        let patience = outside::now() + self.timeout;
        while run.delivered.load(Ordering::Relaxed) < expected && outside::now() < patience {
            outside::sleep(Duration::from_millis(1)).await;
        }
        let window = outside::now() - begun;
        let (generator_after, thread_after) = (cpu::of_this_process(), cpu::of_this_thread());
        let server_cpu = cpu::of_processes(pids)?
            .zip(server_before)
            .map(|(after, before)| after.saturating_sub(before));
        for stream in open {
            stream.abort();
        }

        let mut tally = run
            .tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for _ in tally.done..expected {
            tally.add(Ended::TimedOut, self.timeout, false);
        }
        Ok(Measurement {
            endpoint: endpoints.join(","),
            tally,
            window,
            server_cpu,
            generator_cpu: generator_after.saturating_sub(generator_before),
            generator_share: Share {
                running_ns: thread_after.0.saturating_sub(thread_before.0),
                waiting_ns: thread_after.1.saturating_sub(thread_before.1),
                wall_ns: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            },
        })
    }

    /// Writes at the rate, each value beginning with its intended time. Gives the number done.
    async fn write(&self, run: &Arc<Run>, connection: Connection) -> u64 {
        let Connection { transport, origin } = connection;
        let inflight = Arc::new(Semaphore::new(WRITES_INFLIGHT_MAX));
        let done = Arc::new(AtomicU64::new(0));
        let end_ns = run.elapsed_ns() + u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX);
        let (clock, state) = (Arc::clone(run), Arc::clone(run));
        let elapsed_ns = move || clock.elapsed_ns();
        let schedule = Schedule::start(self.rate, 1, elapsed_ns, move || {
            state.elapsed_ns() < end_ns
        });
        let mut number = 0;
        while let Some(intended_ns) = schedule.next().await {
            let permit = Arc::clone(&inflight)
                .acquire_owned()
                .await
                .expect("it is never closed");
            let put = PutRequest {
                key: run.material.key(number % run.material.keys),
                value: stamped(intended_ns, &run.material.value),
                ..PutRequest::default()
            };
            let mut client = KvClient::with_origin(transport.clone(), origin.clone());
            let (run, done, timeout) = (Arc::clone(run), Arc::clone(&done), self.timeout);
            outside::spawn(async move {
                let failure = match outside::within(timeout, client.put(put)).await {
                    Some(Ok(_)) => {
                        done.fetch_add(1, Ordering::Relaxed);
                        None
                    }
                    Some(Err(status)) => Some(status.to_string()),
                    None => Some("a write timed out".to_owned()),
                };
                if let Some(failure) = failure {
                    let mut tally = run.tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.add(Ended::Failed, timeout, false);
                    tally.first_failure.get_or_insert(failure);
                }
                drop(permit);
            });
            number += 1;
        }
        let all = u32::try_from(WRITES_INFLIGHT_MAX).expect("a small constant");
        drop(inflight.acquire_many(all).await);
        done.load(Ordering::Relaxed)
    }
}

/// The value, its first eight bytes replaced.
fn stamped(intended_ns: u64, value: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&intended_ns.to_le_bytes()[..]);
    bytes.extend_from_slice(&value[8..]);
    bytes.freeze()
}

/// A stream on which that many watchers have begun.
async fn open_stream(
    run: &Run,
    connection: Connection,
    watchers: usize,
) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), Failure> {
    let failed = |what: String| Failure::new(Exit::Failed, format!("cannot watch: {what}"));
    let mut range_end = run.material.prefix.as_bytes().to_vec();
    // The prefix ends in `/`, and `0` is the next byte.
    range_end.pop();
    range_end.push(b'0');
    let create = WatchCreateRequest {
        key: Bytes::copy_from_slice(run.material.prefix.as_bytes()),
        range_end: range_end.into(),
        ..WatchCreateRequest::default()
    };
    let (requests, mut outgoing) = mpsc::channel(watchers);
    for _ in 0..watchers {
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create.clone())),
        };
        requests
            .try_send(create)
            .map_err(|error| failed(error.to_string()))?;
    }
    let mut client = WatchClient::with_origin(connection.transport, connection.origin)
        .max_decoding_message_size(usize::MAX);
    let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
    let answers = client.watch(outgoing).await;
    let mut answers = answers
        .map_err(|status| failed(status.to_string()))?
        .into_inner();
    let mut created = 0;
    while created < watchers {
        match answers.message().await {
            Ok(Some(reply)) if reply.canceled => return Err(failed(reply.cancel_reason)),
            Ok(Some(reply)) => created += usize::from(reply.created),
            Ok(None) => return Err(failed("the stream ended".to_owned())),
            Err(status) => return Err(failed(status.to_string())),
        }
    }
    Ok((requests, answers))
}

/// Records every event until the stream ends. The sender is held so that it does not.
async fn receive(
    run: Arc<Run>,
    (_requests, mut answers): (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>),
) {
    while let Ok(Some(reply)) = answers.message().await {
        let now = run.elapsed_ns();
        let mut tally = run.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &reply.events {
            let Some(mut value) = event.kv.as_ref().map(|kv| &kv.value[..]) else {
                continue;
            };
            if value.len() < 8 {
                continue;
            }
            let latency = Duration::from_nanos(now.saturating_sub(value.get_u64_le()));
            tally.add(Ended::Done, latency, true);
        }
        run.delivered
            .fetch_add(reply.events.len() as u64, Ordering::Relaxed);
    }
}
