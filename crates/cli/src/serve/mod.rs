//! `synod serve`: from flags to a member that answers, and back.
//!
//! The walk is short: listen, take the data directory, open what it holds, start the engine on
//! it, serve clients, stop. Each step is another crate's; here they are only put in order.

mod announcing;
pub(crate) mod causes;
mod listening;
mod logging;
mod process_usage;
mod workers;

use crate::config::{self, Config, Dialect, Problem, Resolved, Sources};
use crate::exit::{Exit, Failure};
use crate::outside;
use listening::Listening;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;
use synod_env::{MemberId, oneshot};
use synod_host::{Host, HostOptions, HostState};
use synod_node::{Node, Opened};
use synod_protocols::{Peers, Service};
use synod_storage::{Founding, Identity};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use workers::Workers;

/// How long a start may take from having the log to having a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// How often a start looks whether there is a leader.
const LEADER_LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long the member may take to stop, after the clients' requests have been drained.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Reads the configuration and serves until told to stop.
///
/// # Errors
/// Each with its exit code; `docs/reference/exit-codes.md` says what to do.
pub(crate) fn run(dialect: Dialect, arguments: &[String]) -> Result<(), Failure> {
    if arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--help" | "-help" | "-h"))
    {
        outside::put_stdout(config::help(dialect).as_bytes());
        return Ok(());
    }
    let begun = outside::now();
    let Resolved { config, notes } = configuration(dialect, arguments)?;
    let _log = logging::start(&config.log)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    // This thread serves clients like the others.
    let threads = |error| Failure::other(format!("cannot start threads: {error}"));
    let workers = Workers::start(config.server_threads - 1).map_err(threads)?;
    let runtime = workers::runtime().map_err(threads)?;
    let mut handles = vec![runtime.handle().clone()];
    handles.extend_from_slice(workers.handles());
    let result = runtime.block_on(serve(&config, handles, begun));
    // What is still under way may not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The configuration, or all its problems in one message.
fn configuration(dialect: Dialect, arguments: &[String]) -> Result<Resolved, Failure> {
    let environment = outside::environment();
    let sources = Sources {
        dialect,
        arguments,
        environment: &environment,
        read_file: &|path| outside::read_file(path),
    };
    Config::from_sources(&sources).map_err(|problems| usage(&problems))
}

/// All that is wrong with a configuration, in one message.
pub(crate) fn usage(problems: &[Problem]) -> Failure {
    let mut message = match problems.len() {
        1 => "a problem with the configuration; nothing was started".to_owned(),
        count => format!("{count} problems with the configuration; nothing was started"),
    };
    for problem in problems {
        write!(message, "\n  {problem}").expect("writing to a string cannot fail");
    }
    Failure::new(Exit::Usage, message)
}

async fn serve(
    config: &Config,
    workers: Vec<Handle>,
    begun: std::time::Instant,
) -> Result<(), Failure> {
    // From here on a signal to stop is heard, whenever it comes.
    let signals = Signals::listen()
        .map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    // The port comes first: if it is taken, the data directory is not touched.
    let listening = Listening::open(config)?;
    let options = HostOptions {
        stop_within: STOP_WITHIN,
    };
    if outside::is_dir(&config.data_dir.join("member")) {
        return Err(causes::data_of_etcd(&config.data_dir));
    }
    let host = Host::new(&config.data_dir, options).map_err(|error| causes::host(&error))?;
    let served = member(config, &host, workers, signals, listening, begun).await;
    let stopped = tokio::task::spawn_blocking(move || host.shutdown()).await;
    if let Ok(Err(still_running)) = stopped {
        tracing::warn!("{still_running}; they end with the process");
    }
    served
}

/// Opens the member, serves clients, and stops the member.
async fn member(
    config: &Config,
    host: &Host,
    workers: Vec<Handle>,
    mut signals: Signals,
    mut listening: Listening,
    begun: std::time::Instant,
) -> Result<(), Failure> {
    let founding = founding(config);
    let mut engine = synod_raft::Config::new(MemberId(founding.member_id), &config.limits);
    engine.heartbeat = config.heartbeat_interval;
    engine.election_min = config.election_timeout;
    engine.election_max = config.election_timeout * 2;
    let members = engine.members.clone();
    let (opened, peers) = tokio::select! {
        opened = open(config, host, founding.clone(), members) => opened?,
        signal = signals.received() => {
            stopped_early(signal);
            return Ok(());
        }
    };
    let Opened {
        prepared,
        machine,
        log,
        recovered,
        position,
        identity,
    } = opened;
    let health = log.health();
    let engine = synod_raft::start(
        host.env().clone(),
        engine,
        log,
        recovered,
        position,
        machine,
        peers.port(Service::Engine),
    )
    .await
    .map_err(|error| causes::engine(&error))?;
    let node = prepared.start(engine, peers.port(Service::Node));

    let served = async {
        tokio::select! {
            led = leader(&node) => led?,
            signal = signals.received() => {
                stopped_early(signal);
                return Ok(());
            }
        }
        announcing::announce(config, &listening, &identity, begun)?;
        let mut server = server_config(config, &founding, &listening);
        server.workers = workers;
        let (ending, ended) = oneshot::channel();
        let until = async {
            // The receiver waits below, after the server has drained.
            drop(ending.send(end(&node, host, signals).await));
        };
        let listeners = std::mem::take(&mut listening.listeners);
        let cut = synod_server::serve(node.clone(), listeners, server, until).await;
        if cut > 0 {
            tracing::warn!("cut {cut} connections that did not end in time");
        }
        match ended.await {
            Ok(End::Asked(signal)) => {
                tracing::info!("stopped by {signal}");
                Ok(())
            }
            Ok(End::Failed(reason)) => Err(causes::stopped(&health.borrow(), &reason)),
            Err(oneshot::Dropped) => Err(causes::stopped(&health.borrow(), "the server ended")),
        }
    }
    .await;
    node.stop(node.now() + STOP_WITHIN).await;
    served
}

/// What is written was written before; there is nothing to drain.
fn stopped_early(signal: &str) {
    tracing::info!("stopped by {signal} before it served");
}

/// Opens what the data directory holds, or founds it, and links the member with the others, on a
/// thread that may block on the disk.
async fn open(
    config: &Config,
    host: &Host,
    founding: Founding,
    members: BTreeSet<MemberId>,
) -> Result<(Opened, Peers), Failure> {
    let node = synod_node::Config {
        limits: config.limits.clone(),
        leader_lease_max: config.election_timeout * 2,
        lease_ttl_min: lease_ttl_min(config.election_timeout),
        watch_progress_interval: config.watch_progress_interval,
    };
    let (done, opened) = oneshot::channel();
    let (env, join) = (host.env().clone(), config.join_existing);
    host.env().spawn_dedicated("open", async move {
        let opening = async {
            if join
                && Identity::read(&env)
                    .await
                    .map_err(|error| causes::storage(&error))?
                    .is_none()
            {
                return Err(Failure::new(
                    Exit::Usage,
                    "--initial-cluster-state existing: joining a cluster is not there yet; leave \
                     it out to make a new one",
                ));
            }
            let opened = synod_node::open(&env, node, &founding).await;
            let mut opened = opened.map_err(|error| causes::open(&error))?;
            let linked = opened.link(&env, &members).await;
            let peers = linked.map_err(|error| causes::link(&error))?;
            Ok((opened, peers))
        };
        // If the receiver has gone, the start was given up.
        drop(done.send(opening.await));
    });
    opened.await.unwrap_or_else(|oneshot::Dropped| {
        Err(Failure::new(
            Exit::MemberStopped,
            "the member ended while it was being opened",
        ))
    })
}

/// etcd's rule: a lease outlives an election by half of its time, and by whole seconds.
fn lease_ttl_min(election_timeout: Duration) -> Duration {
    let millis = election_timeout.as_millis().saturating_mul(3).div_ceil(2);
    Duration::from_secs(u64::try_from(millis.div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// The numbers of cluster and member. They are made from the member's addresses for others and
/// the cluster's token, so that a start with other values is seen to mean another cluster.
pub(crate) fn founding(config: &Config) -> Founding {
    let mut urls: Vec<String> = config
        .advertise_peer
        .iter()
        .map(ToString::to_string)
        .collect();
    urls.sort();
    let number = |parts: &[&str]| {
        // Zero means "none" to clients.
        xxhash_rust::xxh3::xxh3_64(parts.join("\n").as_bytes()).max(1)
    };
    let member_id = number(&["member", &urls.join(","), &config.cluster_token]);
    let cluster_id = number(&["cluster", &member_id.to_string(), &config.cluster_token]);
    Founding {
        cluster_id,
        member_id,
        token: config.cluster_token.clone(),
    }
}

fn server_config(
    config: &Config,
    founding: &Founding,
    listening: &Listening,
) -> synod_server::Config {
    fn texts(addresses: &[impl ToString]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }
    let client_urls = config.advertise_client.as_ref();
    let member = synod_server::Member {
        id: MemberId(founding.member_id),
        name: config.name.clone(),
        peer_urls: texts(&config.advertise_peer),
        client_urls: texts(client_urls.unwrap_or(&listening.clients)),
        learner: false,
    };
    let mut server = synod_server::Config::new(founding.cluster_id, vec![member]);
    server.api_version = config.api_version;
    server.connection_streams_max = config.connection_streams_max;
    server.keep_alive_interval = config.keep_alive_interval;
    server.keep_alive_timeout = config.keep_alive_timeout;
    server.leaderless_max = config.election_timeout * 3;
    server.gateway = config.gateway;
    server.cors = config.cors.clone();
    server.host_whitelist = config.host_whitelist.clone();
    server.process_usage = Some(process_usage::of_this_process);
    server
}

/// Ends when the member can answer whatever is asked: it has a leader, and that leader's reign
/// is in the state, without which it knows no lease's time.
async fn leader(node: &Node) -> Result<(), Failure> {
    const NO_LEASE: i64 = 0;
    let deadline = node.now() + LEADER_WITHIN;
    let mut last = None;
    while node.now() < deadline {
        match node.lease_time_to_live(NO_LEASE, false, deadline).await {
            Ok(_) => return Ok(()),
            Err(failure) => last = Some(failure),
        }
        node.env().sleep(LEADER_LOOK_EVERY).await;
    }
    let why = last.map_or_else(|| "no answer".to_owned(), |failure| format!("{failure:?}"));
    Err(Failure::new(
        Exit::MemberStopped,
        format!("no leader within {LEADER_WITHIN:?}: {why}; nothing is lost, start again"),
    ))
}

/// Why a member ends.
enum End {
    /// By that signal.
    Asked(&'static str),
    /// It cannot go on.
    Failed(String),
}

/// The signals that ask the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ends with the name of the next signal.
    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Ends when the process is asked to stop, or the member cannot go on.
async fn end(node: &Node, host: &Host, mut signals: Signals) -> End {
    let state = host.state();
    tokio::select! {
        signal = signals.received() => End::Asked(signal),
        reason = node.failed() => End::Failed(reason),
        reason = host_failed(state) => End::Failed(reason),
    }
}

/// Ends when a task of the member has failed.
async fn host_failed(mut state: synod_env::watch::Receiver<HostState>) -> String {
    loop {
        match &*state.borrow_seen() {
            HostState::Running => {}
            HostState::Stopped => return "the member's threads ended".to_owned(),
            HostState::Failed { task, reason } => return format!("task {task}: {reason}"),
        }
        if state.changed().await.is_err() {
            return "the member's threads ended".to_owned();
        }
    }
}
