//! One member with its server, on a port that the operating system chose; it can be started again
//! on that port.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_client::{CallConfig, Client, Config};
use synod_env::{Env, Limits, MemberId};
use synod_host::{Host, HostOptions};
use synod_node::{Node, Opened};
use synod_protocols::Service;
use synod_storage::Founding;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const CLUSTER_ID: u64 = 0xc1;
const MEMBER: MemberId = MemberId(7);

/// A directory of a test's own, removed with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("synod-client-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _missing = std::fs::remove_dir_all(&self.0);
    }
}

/// A running member.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<usize>,
    host: Host,
}

impl Member {
    pub(crate) async fn start(dir: &Dir) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(dir, any_port).await
    }

    pub(crate) async fn start_at(dir: &Dir, address: SocketAddr) -> Self {
        let host = Host::new(&dir.0, HostOptions::default()).expect("the directory can be used");
        let node = lead(host.env()).await;
        let bound = TcpListener::bind(address).await;
        let listener = bound.expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let (shutdown, stopping) = oneshot::channel();
        let member = synod_server::Member {
            id: MEMBER,
            name: "solo".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            learner: false,
        };
        let config = synod_server::Config::new(CLUSTER_ID, vec![member]);
        let server = synod_server::serve(node, vec![listener.into()], config, async {
            let _dropped = stopping.await;
        });
        Self {
            address,
            shutdown,
            served: spawn(server),
            host,
        }
    }

    /// Stops serving, then everything else. Gives its address.
    pub(crate) async fn stop(self) -> SocketAddr {
        drop(self.shutdown);
        soon(self.served).await.expect("the server does not panic");
        self.host.shutdown().expect("its threads end");
        self.address
    }

    pub(crate) fn client(&self) -> Client {
        client([self.address])
    }
}

/// The only member of a cluster.
async fn lead(env: &Env) -> Node {
    let limits = Limits::default();
    let raft = synod_raft::Config::new(MEMBER, &limits);
    let config = synod_node::Config {
        limits,
        leader_lease_max: raft.election_max,
        lease_ttl_min: Duration::from_secs(2),
        watch_progress_interval: Duration::from_secs(600),
    };
    let founding = Founding {
        cluster_id: CLUSTER_ID,
        member_id: MEMBER.0,
        token: "test".into(),
    };
    // Opening blocks on the disk, so it has a thread of its own.
    let (done, opened) = oneshot::channel();
    let (within, members) = (env.clone(), raft.members.clone());
    env.spawn_dedicated("open", async move {
        let opened = synod_node::open(&within, config, &founding).await;
        let mut opened = opened.expect("the directory can be opened");
        let linked = opened.link(&within, &members).await;
        let _given_up = done.send((opened, linked.expect("it is alone")));
    });
    let (opened, peers) = soon(opened).await.expect("opening does not panic");
    let Opened {
        prepared,
        machine,
        log,
        recovered,
        position,
        identity: _,
    } = opened;
    let port = peers.port(Service::Engine);
    let engine =
        synod_raft::start(env.clone(), raft, log, recovered, position, machine, port).await;
    let engine: Arc<dyn synod_log::Engine> = engine.expect("the log can be started on");
    prepared.start(engine, peers.port(Service::Node))
}

/// A client that waits as long as it takes, but not for a member that hangs.
pub(crate) fn client(endpoints: impl IntoIterator<Item = SocketAddr>) -> Client {
    let config = Config {
        timeout: Duration::from_secs(30),
        calls: CallConfig {
            attempt_patience: Duration::from_millis(200),
            ..CallConfig::default()
        },
        ..Config::default()
    };
    client_with(endpoints, config)
}

pub(crate) fn client_with(
    endpoints: impl IntoIterator<Item = SocketAddr>,
    config: Config,
) -> Client {
    let endpoints = endpoints.into_iter().map(|address| address.to_string());
    Client::new(endpoints, config).expect("addresses are endpoints")
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    listener.local_addr().expect("it is bound")
}

pub(crate) fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..pb::PutRequest::default()
    }
}

pub(crate) fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.to_owned().into(),
        ..pb::RangeRequest::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "tests live in the real world")]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Ends a wait that would never end otherwise; no test passes by it.
#[expect(clippy::disallowed_methods, reason = "tests live in the real world")]
pub(crate) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.expect("what is waited for comes at once, on an idle machine")
}
