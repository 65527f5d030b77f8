//! What `synod serve` is told, turned into a [`Config`] that is valid by construction.

mod address;
mod definition;
mod file;
mod history;
mod manual;
mod options;
mod reader;
mod sources;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use address::{Address, HttpUrl, url};
pub(crate) use history::keep as history_keep;
pub(crate) use manual::help;
pub(crate) use sources::{Problem, Sources};
pub(crate) use values::{bytes, duration};

use reader::Reader;
use sources::Gathered;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use synod_env::Limits;
use synod_server::ApiVersion;

/// As what the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As `synod serve`.
    Synod,
    /// As `etcd`: for scripts and units that were written for it.
    Etcd,
}

impl Dialect {
    /// What a person types.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Synod => "synod serve",
            Self::Etcd => "etcd",
        }
    }
}

/// A valid configuration of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// As what it was started.
    pub(crate) dialect: Dialect,
    /// Its name.
    pub(crate) name: String,
    /// Where everything durable is.
    pub(crate) data_dir: PathBuf,
    /// True if nobody chose `data_dir`: the start then says where it is.
    pub(crate) data_dir_is_default: bool,
    /// Where clients are served.
    pub(crate) listen_client: Vec<Listen>,
    /// Where only metrics and health are served.
    pub(crate) listen_metrics: Vec<Listen>,
    /// Other processes may listen on the same ports.
    pub(crate) reuse_port: bool,
    /// What clients are told; `None`: where they are served, with the ports in use.
    pub(crate) advertise_client: Option<Vec<Address>>,
    /// What other members are told.
    pub(crate) advertise_peer: Vec<HttpUrl>,
    /// Keeps clusters with equal addresses apart.
    pub(crate) cluster_token: String,
    /// A first start joins a cluster instead of making one.
    pub(crate) join_existing: bool,
    /// Which etcd clients are told this is.
    pub(crate) api_version: ApiVersion,
    /// Bounds of the member.
    pub(crate) limits: Limits,
    /// Most requests and streams on one connection.
    pub(crate) connection_streams_max: u32,
    /// Between a leader's heartbeats.
    pub(crate) heartbeat_interval: Duration,
    /// Without a leader before an election.
    pub(crate) election_timeout: Duration,
    /// Between progress notifications of an idle watch.
    pub(crate) watch_progress_interval: Duration,
    /// How often a quiet connection is asked for a sign of life.
    pub(crate) keep_alive_interval: Duration,
    /// How long that sign may take.
    pub(crate) keep_alive_timeout: Duration,
    /// Whether requests in JSON are served.
    pub(crate) gateway: bool,
    /// Origins whose pages may read answers.
    pub(crate) cors: Vec<String>,
    /// Names under which HTTP requests are answered.
    pub(crate) host_whitelist: Vec<String>,
    /// Threads that speak with clients.
    pub(crate) server_threads: usize,
    /// What is logged, and how.
    pub(crate) log: LogOptions,
    /// Where the addresses in use are written once the member serves.
    pub(crate) ports_file: Option<PathBuf>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On a port.
    Port {
        /// As written.
        url: HttpUrl,
        /// As the system takes it.
        address: SocketAddr,
    },
    /// On a socket of this machine, at this path.
    Socket(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { url, address: _ } => url.fmt(f),
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// What is logged, how, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogOptions {
    /// The least important level shown.
    pub(crate) level: tracing::Level,
    /// One JSON object a line.
    pub(crate) json: bool,
    /// Each line goes to all of these.
    pub(crate) outputs: Vec<LogOutput>,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The end of this file, which is made if it is not there.
    File(PathBuf),
}

/// A configuration, and what the operator should know about it.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Valid.
    pub(crate) config: Config,
    /// Sentences for the log.
    pub(crate) notes: Vec<String>,
}

impl Config {
    /// Reads every source and makes a configuration of them, or says everything that is wrong.
    ///
    /// # Errors
    /// All problems at once, each with its origin and its remedy.
    pub(crate) fn from_sources(sources: &Sources<'_>) -> Result<Resolved, Vec<Problem>> {
        let (config, gathered) = Reader::read(sources);
        let Gathered {
            problems,
            mut notes,
            ..
        } = gathered;
        if !problems.is_empty() {
            return Err(problems);
        }
        for listen in &config.listen_client {
            if let Listen::Port { url, address } = listen
                && !address.ip().is_loopback()
            {
                notes.push(format!(
                    "{url} is open to the network without TLS or passwords: whoever reaches it \
                     can read and change everything"
                ));
            }
        }
        Ok(Resolved { config, notes })
    }
}
