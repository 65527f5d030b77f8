//! The load generator: a few threads, each with its own runtime, connections and clients.
//!
//! A run has a warm-up, a window, and a rest in which what is under way ends. Throughput and CPU
//! time count the window; latencies are recorded from its beginning until the last answer.

use super::cpu::{self, Share};
use super::pace::Schedule;
use super::record::{Ended, Measurement, Tally};
use super::transport::connect;
use super::work::{Material, Operation, Worker};
use crate::exit::Failure;
use crate::outside;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// What to drive, and how hard.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The server's addresses; connections are spread over them.
    pub(super) endpoints: Vec<String>,
    /// The server's processes, for their CPU time.
    pub(super) server_pids: Vec<u32>,
    /// What each client does.
    pub(super) operation: Operation,
    /// With which keys and values.
    pub(super) material: Material,
    /// Clients, each with one operation under way.
    pub(super) clients: usize,
    /// TCP connections they share.
    pub(super) connections: usize,
    /// Load threads.
    pub(super) threads: usize,
    /// Time before the window.
    pub(super) warm_up: Duration,
    /// When the window ends.
    pub(super) length: Length,
    /// Intended operations a second over all clients; `None`: each as soon as the last has ended.
    /// With a rate, `length` is a time.
    pub(super) rate: Option<f64>,
    /// After which an operation counts as timed out.
    pub(super) timeout: Duration,
}

/// When a window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// After that time.
    Time(Duration),
    /// After that many operations.
    Operations(u64),
}

/// A window of operations cannot last longer than this.
const WINDOW_MAX: Duration = Duration::from_secs(3_600);

/// What all threads of a run share.
struct Run {
    plan: Plan,
    /// The time all instants below count from.
    origin: Instant,
    /// When the window begins and ends, in nanoseconds from `origin`; `u64::MAX` while unknown.
    window_begin_ns: AtomicU64,
    window_end_ns: AtomicU64,
    /// Operations begun in the window, to stop at a given number.
    begun: AtomicU64,
}

impl Run {
    fn elapsed_ns(&self) -> u64 {
        u64::try_from((outside::now() - self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// True while the window is not over.
    fn goes_on(&self) -> bool {
        self.elapsed_ns() < self.window_end_ns.load(Ordering::Relaxed)
    }

    /// True if a client should begin another operation; it is then counted.
    fn wants_more(&self) -> bool {
        let warming_up = self.elapsed_ns() < self.window_begin_ns.load(Ordering::Relaxed);
        self.goes_on()
            && match self.plan.length {
                Length::Time(_) => true,
                Length::Operations(_) if warming_up => true,
                Length::Operations(total) => self.begun.fetch_add(1, Ordering::Relaxed) < total,
            }
    }

    /// True if an operation belongs to what is measured. A window of a given time takes all that
    /// end in or after it; one of a given number takes those that begin in it.
    fn counts(&self, begun_ns: u64, ended_ns: u64) -> bool {
        let from = match self.plan.length {
            Length::Time(_) => ended_ns,
            Length::Operations(_) => begun_ns,
        };
        from >= self.window_begin_ns.load(Ordering::Relaxed)
    }
}

/// What one load thread found.
#[derive(Default)]
struct Found {
    tally: Tally,
    share: Share,
}

/// Connects, warms up, measures.
///
/// # Errors
/// When nothing could be connected, or a server process is not there.
pub(super) fn measure(plan: &Plan) -> Result<Measurement, Failure> {
    let run = Arc::new(Run {
        plan: plan.clone(),
        origin: outside::now(),
        window_begin_ns: AtomicU64::new(u64::MAX),
        window_end_ns: AtomicU64::new(u64::MAX),
        begun: AtomicU64::new(0),
    });
    let (ready, readiness) = mpsc::sync_channel(plan.threads);
    let (begin, beginnings): (Vec<_>, Vec<_>) = (0..plan.threads)
        .map(|_| tokio::sync::oneshot::channel::<()>())
        .unzip();
    let mut threads = Vec::new();
    for (number, beginning) in beginnings.into_iter().enumerate() {
        let (run, ready) = (Arc::clone(&run), ready.clone());
        threads.push(outside::spawn_thread(move || {
            load_thread(&run, number, &ready, beginning)
        }));
    }
    drop(ready);
    for _ in 0..plan.threads {
        readiness
            .recv()
            .map_err(|_| Failure::other("a load thread ended before it began"))??;
    }
    for begin in begin {
        begin
            .send(())
            .map_err(|()| Failure::other("a load thread ended before it began"))?;
    }

    outside::sleep_blocking(plan.warm_up);
    let server_before = cpu::of_processes(&plan.server_pids)?;
    let generator_before = cpu::of_this_process();
    let window_begin_ns = run.elapsed_ns();
    run.window_begin_ns
        .store(window_begin_ns, Ordering::Relaxed);
    let longest = match plan.length {
        Length::Time(time) => time,
        Length::Operations(_) => WINDOW_MAX,
    };
    let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    run.window_end_ns.store(
        window_begin_ns.saturating_add(longest_ns),
        Ordering::Relaxed,
    );
    match plan.length {
        Length::Time(time) => outside::sleep_blocking(time),
        Length::Operations(_) => {
            while threads.iter().any(|thread| !thread.is_finished()) {
                outside::sleep_blocking(Duration::from_millis(1));
            }
        }
    }
    let window = Duration::from_nanos(run.elapsed_ns() - window_begin_ns);
    let generator_cpu = cpu::of_this_process().saturating_sub(generator_before);
    let server_cpu = cpu::of_processes(&plan.server_pids)?
        .zip(server_before)
        .map(|(after, before)| after.saturating_sub(before));

    let mut tally = Tally::default();
    let mut generator_share = Share::default();
    for thread in threads {
        let found = thread
            .join()
            .map_err(|_| Failure::other("a load thread panicked"))??;
        tally.merge(&found.tally);
        generator_share.merge(found.share);
    }
    Ok(Measurement {
        endpoint: plan.endpoints.join(","),
        tally,
        window,
        server_cpu,
        generator_cpu,
        generator_share,
    })
}

fn load_thread(
    run: &Arc<Run>,
    number: usize,
    ready: &mpsc::SyncSender<Result<(), Failure>>,
    beginning: tokio::sync::oneshot::Receiver<()>,
) -> Result<Found, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start a load thread: {error}")))?;
    runtime.block_on(async {
        let workers = match workers(run, number).await {
            Ok(workers) => workers,
            Err(failure) => {
                // The coordinator reports it; if it has gone, nobody is left to.
                drop(ready.send(Err(failure.clone())));
                return Err(failure);
            }
        };
        drop(ready.send(Ok(())));
        beginning
            .await
            .map_err(|_| Failure::other("the run was given up"))?;
        Ok(drive(run, workers).await)
    })
}

/// This thread's part of the clients, on its part of the connections.
async fn workers(run: &Run, number: usize) -> Result<Vec<Worker>, Failure> {
    let Plan {
        clients, threads, ..
    } = run.plan;
    let part = |whole: usize| whole / threads + usize::from(number < whole % threads);
    let connections = connect(&run.plan.endpoints, part(run.plan.connections).max(1)).await?;
    let worker = |index: usize| {
        let seed = (number * clients + index) as u64;
        let connection = connections[index % connections.len()].clone();
        Worker::new(
            run.plan.operation,
            run.plan.material.clone(),
            seed,
            connection,
        )
    };
    Ok((0..part(clients)).map(worker).collect())
}

async fn drive(run: &Arc<Run>, workers: Vec<Worker>) -> Found {
    let before = cpu::of_this_thread();
    let begun = outside::now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let schedule = run.plan.rate.map(|rate| {
        let share = workers.len() as f64 / run.plan.clients as f64;
        let (clock, state) = (Arc::clone(run), Arc::clone(run));
        let elapsed_ns = move || clock.elapsed_ns();
        Schedule::start(rate * share, workers.len(), elapsed_ns, move || {
            state.goes_on()
        })
    });
    let mut clients = Vec::new();
    for worker in workers {
        let (run, tally) = (Arc::clone(run), Arc::clone(&tally));
        clients.push(match &schedule {
            None => outside::spawn(closed_loop(run, worker, tally)),
            Some(schedule) => outside::spawn(open_loop(run, worker, Arc::clone(schedule), tally)),
        });
    }
    for client in clients {
        client.await.expect("a client does not panic");
    }
    // CPU shares are taken over the whole life of the thread, warm-up included: a generator that
    // was the limit then is one in the window too.
    let after = cpu::of_this_thread();
    let share = Share {
        running_ns: after.0.saturating_sub(before.0),
        waiting_ns: after.1.saturating_sub(before.1),
        wall_ns: u64::try_from((outside::now() - begun).as_nanos()).unwrap_or(u64::MAX),
    };
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Found { tally, share }
}

/// Each operation begins when the last one has ended.
async fn closed_loop(run: Arc<Run>, mut worker: Worker, tally: Arc<Mutex<Tally>>) {
    while run.wants_more() {
        let begun_ns = run.elapsed_ns();
        attempt(&run, &mut worker, begun_ns, &tally).await;
    }
}

/// Each operation begins at its intended time, or as soon after as a client is free; its latency
/// counts from the intended time, so that a stall of the server is seen by all it delayed.
async fn open_loop(
    run: Arc<Run>,
    mut worker: Worker,
    schedule: Arc<Schedule>,
    tally: Arc<Mutex<Tally>>,
) {
    while let Some(intended_ns) = schedule.next().await {
        let late = Duration::from_nanos(run.elapsed_ns().saturating_sub(intended_ns));
        if late > run.plan.timeout {
            // Its time ran out while all clients were waiting for the server.
            if intended_ns >= run.window_begin_ns.load(Ordering::Relaxed) {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.add(Ended::TimedOut, late, false);
            }
            continue;
        }
        attempt(&run, &mut worker, intended_ns, &tally).await;
    }
}

/// Does one operation and records it, unless it ended before the window.
async fn attempt(run: &Run, worker: &mut Worker, begun_ns: u64, tally: &Mutex<Tally>) {
    let (ended, failure) = match outside::within(run.plan.timeout, worker.once()).await {
        Some(Ok(())) => (Ended::Done, None),
        Some(Err(status)) => (Ended::Failed, Some(status.to_string())),
        None => (Ended::TimedOut, None),
    };
    let ended_ns = run.elapsed_ns();
    if run.counts(begun_ns, ended_ns) {
        let in_window = ended_ns < run.window_end_ns.load(Ordering::Relaxed);
        let latency = Duration::from_nanos(ended_ns.saturating_sub(begun_ns));
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add(ended, latency, in_window);
        tally.first_failure = tally.first_failure.take().or(failure);
    }
}
