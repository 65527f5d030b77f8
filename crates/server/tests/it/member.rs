//! One member with its server, on a port that the operating system chose.

use crate::deposed::Deposable;
use futures_util::Stream;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::lease_client::LeaseClient;
use synod_api::etcdserverpb::watch_client::WatchClient;
use synod_api::etcdserverpb::{self as pb, ResponseHeader};
use synod_env::{Env, Limits, MemberId};
use synod_host::{Host, HostOptions};
use synod_node::{Node, Opened, WatchCreate, WatchMessage};
use synod_protocols::Service;
use synod_server::{Config, Listener, Member};
use synod_state::command::Command;
use synod_state::reply::EventKind;
use synod_storage::Founding;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) const CLUSTER_ID: u64 = 0xc1;
pub(crate) const MEMBER: MemberId = MemberId(7);
/// The first election of a fresh cluster of one.
pub(crate) const EPOCH: u64 = 1;

/// A running member. Dropping it stops everything.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<Deposable>,
    pub(crate) node: Node,
    shutdown: Option<oneshot::Sender<()>>,
    served: JoinHandle<usize>,
    // Fields are dropped in order: the directory outlives the host that has it.
    _host: Host,
    _dir: TempDir,
}

/// A directory of a test's own, removed with it.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    /// Names it; whoever needs it makes it.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("synod-server-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _missing = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn config() -> Config {
    let member = Member {
        id: MEMBER,
        name: "solo".into(),
        peer_urls: vec!["http://127.0.0.1:2380".into()],
        client_urls: vec!["http://127.0.0.1:2379".into()],
        learner: false,
    };
    Config::new(CLUSTER_ID, vec![member])
}

pub(crate) async fn start() -> Running {
    start_with(Limits::default(), config()).await
}

pub(crate) async fn start_with(limits: Limits, config: Config) -> Running {
    start_telling(limits, config, Duration::from_secs(600)).await
}

/// Starts a member that listens on these beside its port.
pub(crate) async fn start_also_on(more: Vec<Listener>, config: Config) -> Running {
    start_as(Limits::default(), config, Duration::from_secs(600), more).await
}

/// Starts a member that tells quiet watches how far they are at this interval.
pub(crate) async fn start_telling(
    limits: Limits,
    config: Config,
    watch_progress_interval: Duration,
) -> Running {
    start_as(limits, config, watch_progress_interval, Vec::new()).await
}

async fn start_as(
    limits: Limits,
    config: Config,
    watch_progress_interval: Duration,
    mut listeners: Vec<Listener>,
) -> Running {
    let dir = TempDir::new();
    let host = Host::new(&dir.0, HostOptions::default()).expect("a fresh directory can be used");
    let (engine, node) = member(host.env(), limits, watch_progress_interval).await;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    listeners.push(listener.into());
    let (shutdown, stopping) = oneshot::channel();
    let server = synod_server::serve(node.clone(), listeners, config, async {
        let _dropped = stopping.await;
    });
    Running {
        address,
        engine,
        node,
        shutdown: Some(shutdown),
        served: spawn(server),
        _host: host,
        _dir: dir,
    }
}

/// A member that leads a cluster of its own.
async fn member(
    env: &Env,
    limits: Limits,
    watch_progress_interval: Duration,
) -> (Arc<Deposable>, Node) {
    let raft = synod_raft::Config::new(MEMBER, &limits);
    let config = synod_node::Config {
        limits,
        leader_lease_max: raft.election_max,
        lease_ttl_min: Duration::from_secs(2),
        watch_progress_interval,
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
        let mut opened = opened.expect("a fresh directory can be founded");
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
    let engine = Arc::new(Deposable::new(
        env,
        engine.expect("an empty log can be started on"),
    ));
    let node = prepared.start(
        Arc::clone(&engine) as Arc<dyn synod_log::Engine>,
        peers.port(Service::Node),
    );
    // The first command waits for a leader and its reign. It takes no revision.
    let first = Command::SetQuota {
        bytes: node.limits().state_bytes_max,
    };
    let led = node
        .propose(first, node.now() + Duration::from_secs(60))
        .await;
    led.expect("the only member comes to lead");
    (engine, node)
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

impl Running {
    /// A connection of its own.
    pub(crate) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.expect("an address is an endpoint").connect_lazy()
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel())
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel())
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> pb::PutResponse {
        let request = put(key, value);
        let response = soon(self.kv().put(request)).await;
        response.expect("a put is done").into_inner()
    }

    pub(crate) async fn grant(&self, ttl: i64, id: i64) -> pb::LeaseGrantResponse {
        let request = pb::LeaseGrantRequest { ttl, id };
        let granted = soon(self.lease().lease_grant(request)).await;
        granted.expect("the lease is new").into_inner()
    }

    /// Tells the server to stop.
    pub(crate) fn shut_down(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ended_already = shutdown.send(());
        }
    }

    /// How many connections had to be cut.
    pub(crate) async fn served(self) -> usize {
        soon(self.served).await.expect("the server does not panic")
    }
}

/// Ends once the key has been put, or deleted, at some time.
pub(crate) async fn heard(member: &Running, key: &str, kind: EventKind) {
    let mut stream = member.node.watch().expect("a stream is free");
    stream.requester().create(&WatchCreate {
        key: key.to_owned().into(),
        start_revision: 1,
        no_put: kind == EventKind::Delete,
        no_delete: kind == EventKind::Put,
        ..WatchCreate::default()
    });
    loop {
        match soon(stream.next()).await {
            Some(WatchMessage::Events { .. }) => return,
            Some(_) => {}
            None => panic!("the member stopped before {key} was heard of"),
        }
    }
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

/// The header of this member's answers at a revision.
pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    let (cluster_id, member_id) = (CLUSTER_ID, MEMBER.0);
    Some(ResponseHeader {
        cluster_id,
        member_id,
        revision,
        raft_term: EPOCH,
    })
}

/// Code and text, as etcd's clients compare them.
pub(crate) fn error<T: std::fmt::Debug>(result: Result<T, Status>) -> (tonic::Code, String) {
    let status = result.expect_err("it is refused");
    (status.code(), status.message().to_owned())
}

/// A stream of requests that a test feeds.
pub(crate) fn requests<T: Send + 'static>()
-> (mpsc::Sender<T>, impl Stream<Item = T> + Send + 'static) {
    let (sender, mut receiver) = mpsc::channel(4096);
    (
        sender,
        futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)),
    )
}
