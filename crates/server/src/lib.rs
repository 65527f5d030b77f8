//! The client port: gRPC as etcd speaks it, and a little HTTP/1.1, on the same listener.
//!
//! This crate translates and decides nothing. A request is read and routed (`grpc`, `route`),
//! put into the member's words (`translate`), handed to the [`Node`], and its outcome put into
//! etcd's words (`translate`, `errors`). What the member promises is the business of
//! `synod-node`; here it can only be passed on or lost.

mod access;
mod auth;
mod bell;
mod call;
mod cluster;
mod election;
mod errors;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod grpc;
mod health;
mod http;
mod kv;
mod lease;
mod limits;
mod line;
mod listen;
mod lock;
mod maintenance;
mod methods;
mod metrics;
mod probes;
mod range_stream;
mod reflection;
mod route;
mod scans;
mod schema;
mod snapshot;
mod stop;
mod translate;
mod version;
mod watch;

pub use cluster::Member;
pub use errors::OUTCOME;
pub use listen::{Listener, serve};
pub use metrics::ProcessUsage;
pub use version::{ApiVersion, InvalidApiVersion};

use crate::metrics::Metrics;
use crate::scans::Scans;
use crate::stop::{Leaderless, Stopping};
use std::sync::Arc;
use std::time::Duration;
use synod_node::Node;
use tokio::runtime::Handle;

/// Beyond the largest request, so that one a little too large is refused in etcd's words instead
/// of gRPC's.
const REQUEST_OVERHEAD_BYTES: usize = 512 << 10;

/// What a server is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's number.
    pub cluster_id: u64,
    /// The cluster's members.
    pub members: Vec<Member>,
    /// Which etcd clients are told this is.
    pub api_version: ApiVersion,
    /// Most connections at a time; more wait in the operating system's backlog.
    pub connections_max: usize,
    /// Most requests and streams at a time on one connection.
    pub connection_streams_max: u32,
    /// How often a quiet connection is asked for a sign of life.
    pub keep_alive_interval: Duration,
    /// How long that sign may take.
    pub keep_alive_timeout: Duration,
    /// How long a new connection may say nothing, and the head of an HTTP/1.1 request may take.
    pub header_timeout: Duration,
    /// How long requests that are under way may take when the server stops.
    pub drain: Duration,
    /// How long a client may take to read one message of a snapshot before it is given up.
    pub reader_stall_max: Duration,
    /// How long no leader may be known before the streams and waits of clients that insist on one
    /// are ended.
    pub leaderless_max: Duration,
    /// Whether `/v3/` is served: the same calls in JSON, for those who do not speak gRPC.
    pub gateway: bool,
    /// Origins whose pages may read what HTTP requests are answered, such as
    /// `https://console.example`; `*` or an empty list stands for all. It does not concern gRPC.
    pub cors: Vec<String>,
    /// Host names and addresses, without a port, under which HTTP requests are answered; `*` or
    /// an empty list stands for all. It does not concern gRPC.
    pub host_whitelist: Vec<String>,
    /// Runtimes that serve the connections, each having its turn; if there are none, the runtime
    /// that accepts them does.
    pub workers: Vec<Handle>,
    /// Asks the operating system about the process, for the metrics.
    pub process_usage: Option<fn() -> ProcessUsage>,
}

impl Config {
    /// etcd's settings for a cluster.
    #[must_use]
    pub fn new(cluster_id: u64, members: Vec<Member>) -> Self {
        Self {
            cluster_id,
            members,
            api_version: ApiVersion::default(),
            connections_max: 16_384,
            connection_streams_max: 65_536,
            keep_alive_interval: Duration::from_secs(2 * 60 * 60),
            keep_alive_timeout: Duration::from_secs(20),
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            reader_stall_max: Duration::from_secs(60),
            // Three times its election timeout.
            leaderless_max: Duration::from_secs(3),
            gateway: true,
            cors: Vec::new(),
            host_whitelist: Vec::new(),
            workers: Vec::new(),
            process_usage: None,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    node: Node,
    config: Config,
    metrics: Arc<Metrics>,
    stopping: Arc<Stopping>,
    leaderless: Leaderless,
    scans: Scans,
    large_ranges: Scans,
}

impl Server {
    fn new(node: Node, config: Config) -> Self {
        let metrics = Arc::new(Metrics::new(node.env().clone()));
        Self {
            node,
            config,
            metrics,
            stopping: Arc::default(),
            leaderless: Leaderless::default(),
            scans: Scans::default(),
            large_ranges: Scans::default(),
        }
    }

    /// How long a request may take whose client sets no earlier deadline.
    fn timeout_max(&self) -> Duration {
        self.node.limits().request_timeout
    }

    /// The largest message that is read at all.
    fn message_bytes_max(&self) -> usize {
        self.node.limits().request_bytes_max + REQUEST_OVERHEAD_BYTES
    }
}
