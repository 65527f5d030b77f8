//! A client of Synod, or of etcd, version 3.
//!
//! A [`Client`] knows the endpoints of a cluster and asks one that works, another when that one
//! fails. What a request does not say for certain the client does not say either: each ends
//! *done*, with its answer, or in an [`Error`] that tells *refused* from *unknown*. A write is sent
//! again only if it is certain that it was not done.
//!
//! ```text
//! let client = Client::new(["10.0.0.1:2379", "10.0.0.2:2379"], Config::default())?;
//! match client.put(put("config/limit", "80")).await {
//!     Ok(answer) => ...,                       // done, at answer.header.revision
//!     Err(Error::Refused { message, .. }) => ...,  // not done
//!     Err(Error::Unknown { .. }) => ...,           // read the key to find out
//!     Err(Error::NoAnswer { .. } | Error::Unreachable { .. }) => ..., // nothing was changed
//! }
//! ```
//!
//! `examples/limits.rs` is a small program that reads a key, follows it through restarts of the
//! members, and holds a lease. The decisions are made by `synod-session`, without a socket; this
//! crate is what carries them out on tokio. It must be used inside a tokio runtime with timers.

mod call;
mod endpoint;
mod kv;
mod lease;
mod link;
mod maintenance;
mod outcome;
mod watch;
mod world;

pub use endpoint::InvalidEndpoint;
pub use lease::HeldLease;
pub use maintenance::Backup;
pub use outcome::{Error, Tried};
pub use synod_session::{
    Backoff, BudgetConfig, CallConfig, LeaseConfig, LossReason, Standing, WatchConfig,
};
pub use watch::{WatchEnded, Watched, Watcher};

use crate::link::{Link, Links};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use synod_env::Instant;
use synod_session::{Endpoint, Session};

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a request may take, connecting and all attempts included.
    pub timeout: Duration,
    /// Bounds on the attempts of one request.
    pub calls: CallConfig,
    /// How long an endpoint that failed is left alone.
    pub backoff: Backoff,
    /// How many attempts beyond the first all requests may make together.
    pub budget: BudgetConfig,
    /// Bounds on watches.
    pub watches: WatchConfig,
    /// How long a watch goes on while no member carries it, from its beginning on. Without a
    /// bound, until it is dropped.
    pub watch_outage_max: Option<Duration>,
    /// How leases are held.
    pub leases: LeaseConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            calls: CallConfig::default(),
            backoff: Backoff::default(),
            budget: BudgetConfig::default(),
            watches: WatchConfig::default(),
            watch_outage_max: None,
            leases: LeaseConfig::default(),
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug)]
pub enum NewError {
    /// There is no endpoint.
    NoEndpoint,
    /// An endpoint cannot be read.
    InvalidEndpoint(InvalidEndpoint),
    /// The machine lacks a clock that counts suspend, or gives no randomness.
    Machine(io::Error),
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("no endpoint is given"),
            Self::InvalidEndpoint(error) => error.fmt(f),
            Self::Machine(error) => write!(
                f,
                "this machine lacks CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW or getrandom: {error}"
            ),
        }
    }
}

impl std::error::Error for NewError {}

/// A client of one cluster; clones share connections and what is known of the members.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    links: Links,
    session: Mutex<Session>,
    config: Config,
}

impl Client {
    /// A client of the cluster with these endpoints, `http://HOST:PORT`, `HOST:PORT` or
    /// `unix://PATH`. It connects when it is first asked for something.
    ///
    /// # Errors
    /// [`NewError`].
    pub fn new<E: Into<String>>(
        endpoints: impl IntoIterator<Item = E>,
        config: Config,
    ) -> Result<Self, NewError> {
        world::check().map_err(NewError::Machine)?;
        let mut addresses = Vec::new();
        for endpoint in endpoints {
            let name = endpoint.into();
            let address = endpoint::address(&name).map_err(NewError::InvalidEndpoint)?;
            addresses.push((name, address));
        }
        if addresses.is_empty() {
            return Err(NewError::NoEndpoint);
        }
        let session = Session::new(
            addresses.len(),
            config.backoff,
            config.budget,
            world::prng(),
        );
        Ok(Self(Arc::new(Inner {
            links: Links::new(addresses),
            session: Mutex::new(session),
            config,
        })))
    }

    /// A connection to an endpoint that was chosen, or what stands in the way.
    async fn link(&self, endpoint: Endpoint, until: Instant) -> Result<Link, String> {
        let doubtful = self.session().endpoints.is_doubtful(endpoint);
        self.0.links.get(endpoint, doubtful, until).await
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
