//! `synod serve`: from flags to a member that answers, and back.
//!
//! The walk is short: listen, take the data directory, open what it holds, start the engine on
//! it, serve clients, stop. Each step is another crate's; here they are only put in order.

pub(crate) mod causes;
mod logging;
mod usage;
mod workers;

use crate::config::{self, Config, HttpUrl, Problem, Resolved, Sources};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use synod_env::{MemberId, oneshot};
use synod_host::{Host, HostOptions, HostState};
use synod_node::{Node, Opened};
use synod_protocols::{Peers, Service};
use synod_server::Listener;
use synod_storage::{Founding, Identity};
use tokio::net::TcpListener;
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
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--help" | "-help" | "-h"))
    {
        outside::put_stdout(config::help().as_bytes());
        return Ok(());
    }
    let begun = outside::now();
    let Resolved { config, notes } = configuration(arguments)?;
    let _log = logging::start(config.log);
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
fn configuration(arguments: &[String]) -> Result<Resolved, Failure> {
    let environment = outside::environment();
    let sources = Sources {
        arguments,
        environment: &environment,
        read_file: &|path| outside::read_file(path),
    };
    Config::from_sources(&sources).map_err(|problems: Vec<Problem>| {
        let mut message = match problems.len() {
            1 => "a problem with the configuration; nothing was started".to_owned(),
            count => format!("{count} problems with the configuration; nothing was started"),
        };
        for problem in problems {
            write!(message, "\n  {problem}").expect("writing to a string cannot fail");
        }
        Failure::new(Exit::Usage, message)
    })
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
    let (listeners, urls) = listen(config).await?;
    let options = HostOptions {
        stop_within: STOP_WITHIN,
    };
    let host = Host::new(&config.data_dir, options).map_err(|error| causes::host(&error))?;
    let served = member(config, &host, workers, signals, listeners, &urls, begun).await;
    let stopped = tokio::task::spawn_blocking(move || host.shutdown()).await;
    if let Ok(Err(still_running)) = stopped {
        tracing::warn!("{still_running}; they end with the process");
    }
    served
}

/// Opens the client ports. Gives them with the URLs that are in fact in use.
async fn listen(config: &Config) -> Result<(Vec<Listener>, Vec<HttpUrl>), Failure> {
    let (mut listeners, mut urls) = (Vec::new(), Vec::new());
    for listen in &config.listen_client {
        let listener = TcpListener::bind(listen.address)
            .await
            .map_err(|error| causes::listen(listen, &error))?;
        let port = listener
            .local_addr()
            .map_err(|error| causes::listen(listen, &error))?
            .port();
        urls.push(listen.url.with_port(port));
        listeners.push(listener.into());
    }
    Ok((listeners, urls))
}

/// Opens the member, serves clients, and stops the member.
async fn member(
    config: &Config,
    host: &Host,
    workers: Vec<Handle>,
    signals: Signals,
    listeners: Vec<Listener>,
    urls: &[HttpUrl],
    begun: std::time::Instant,
) -> Result<(), Failure> {
    let founding = founding(config);
    let mut engine = synod_raft::Config::new(MemberId(founding.member_id), &config.limits);
    engine.heartbeat = config.heartbeat_interval;
    engine.election_min = config.election_timeout;
    engine.election_max = config.election_timeout * 2;
    let members = engine.members.clone();
    let (opened, peers) = open(config, host, founding.clone(), members).await?;
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
        leader(&node).await?;
        announce(config, urls, &identity, begun)?;
        let advertised = config.advertise_client.as_deref().unwrap_or(urls);
        let mut server = server_config(config, &founding, advertised);
        server.workers = workers;
        let (ending, ended) = oneshot::channel();
        let until = async {
            // The receiver waits below, after the server has drained.
            drop(ending.send(end(&node, host, signals).await));
        };
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
    client_urls: &[HttpUrl],
) -> synod_server::Config {
    let texts = |urls: &[HttpUrl]| urls.iter().map(ToString::to_string).collect();
    let member = synod_server::Member {
        id: MemberId(founding.member_id),
        name: config.name.clone(),
        peer_urls: texts(&config.advertise_peer),
        client_urls: texts(client_urls),
        learner: false,
    };
    let mut server = synod_server::Config::new(founding.cluster_id, vec![member]);
    server.process_usage = Some(usage::of_this_process);
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

/// Says where the member is, what to try, and that it is ready.
fn announce(
    config: &Config,
    urls: &[HttpUrl],
    identity: &Identity,
    begun: std::time::Instant,
) -> Result<(), Failure> {
    let list: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    tracing::info!(
        name = config.name,
        clients = list.join(","),
        data_dir = %dir.display(),
        start = identity.incarnation,
        "serving after {} ms", (outside::now() - begun).as_millis()
    );
    if let Some(path) = &config.ports_file {
        write_ports(path, &list)?;
    }
    if !config.log.json {
        outside::note(introduction(config, &list, &dir));
    }
    // Those who wait for this line wait for these words, whatever the log level.
    if tracing::enabled!(tracing::Level::INFO) {
        tracing::info!("ready to serve client requests");
    } else {
        outside::note("ready to serve client requests");
    }
    Ok(())
}

/// Where everything is, and three commands to try.
fn introduction(config: &Config, urls: &[String], dir: &Path) -> String {
    let chosen = if config.data_dir_is_default {
        " (--data-dir chooses another)"
    } else {
        ""
    };
    let endpoint = match urls.first().map(String::as_str) {
        None | Some("http://localhost:2379" | "http://127.0.0.1:2379") => String::new(),
        Some(url) => format!(" --endpoints {url}"),
    };
    format!(
        "\n  Data: {}{chosen}\n  Try in another terminal:\n\n    synod put greeting hello{endpoint}\n    \
         synod get greeting{endpoint}\n    synod watch greeting{endpoint}\n",
        dir.display()
    )
}

fn write_ports(path: &Path, urls: &[String]) -> Result<(), Failure> {
    let text: String = urls.iter().map(|url| format!("client={url}\n")).collect();
    outside::replace_file(path, &text).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("--ports-file {}: {error}", path.display()),
        )
    })
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
}

/// Ends when the process is asked to stop, or the member cannot go on.
async fn end(node: &Node, host: &Host, mut signals: Signals) -> End {
    let state = host.state();
    tokio::select! {
        _ = signals.terminate.recv() => End::Asked("SIGTERM"),
        _ = signals.interrupt.recv() => End::Asked("SIGINT"),
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
