//! One life of a member: from its disk to the end of its process.

use crate::audit::{Audit, Audited};
use crate::record::Record;
use crate::server;
use crate::wire::Parcels;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use synod_checker::MemberEvent;
use synod_env::{Env, Limits, MemberId, Net, watch};
use synod_node::{LinkError, Node, OpenError, Opened};
use synod_protocols::Service;
use synod_raft::StartError;
use synod_storage::StorageError;
use synod_storage::identity::Founding;

const CLUSTER_ID: u64 = 7;

/// The shortest TTL of a lease: well below a run, so that leases end in it.
const LEASE_TTL_MIN: Duration = Duration::from_secs(1);

/// How often watches that ask for it are told how far they are.
const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How far a life has come.
pub(crate) enum Stage {
    /// It reads its disk, or waits for the others to be founded.
    Starting,
    /// It serves.
    Serving(Node),
    /// It stopped by itself, and might fare better the next time.
    Stopped(String),
    /// It says that it cannot take part with this disk, ever.
    Unfit(String),
}

/// What every life of a member begins with.
#[derive(Clone)]
pub(crate) struct Birth {
    pub(crate) member: MemberId,
    pub(crate) members: BTreeSet<MemberId>,
    pub(crate) limits: Limits,
    pub(crate) clients: u32,
    pub(crate) parcels: Parcels,
    pub(crate) record: Record,
    pub(crate) audit: Audit,
    /// Its starts are told to the judges.
    pub(crate) is_judged: bool,
}

/// Where a life says how far it has come.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Stage>>);

impl Progress {
    /// Of a life that begins.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Stage::Starting)))
    }

    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Stage) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Begins a life of a member in its world; `clients` is where it serves clients.
pub(crate) fn begin(env: &Env, clients: Arc<dyn Net>, birth: Birth) -> Progress {
    let progress = Progress::new();
    let (within, told) = (env.clone(), progress.clone());
    env.spawn("member", async move {
        let end = live(&within, clients, birth, &told).await;
        told.set(end);
    });
    progress
}

/// Lives until the member stops by itself; says how.
async fn live(env: &Env, clients: Arc<dyn Net>, birth: Birth, progress: &Progress) -> Stage {
    let founding = Founding {
        cluster_id: CLUSTER_ID,
        member_id: birth.member.0,
        token: "simulated".into(),
    };
    let timing = synod_raft::Config {
        members: birth.members.clone(),
        ..synod_raft::Config::new(birth.member, &birth.limits)
    };
    let config = synod_node::Config {
        limits: birth.limits.clone(),
        leader_lease_max: timing.election_max,
        lease_ttl_min: LEASE_TTL_MIN,
        watch_progress_interval: WATCH_PROGRESS_INTERVAL,
    };
    let mut opened = match synod_node::open(env, config, &founding).await {
        Ok(opened) => opened,
        Err(error) => return cannot_open(&error),
    };
    let incarnation = opened.identity.incarnation;
    let started = MemberEvent::Started { incarnation };
    if birth.is_judged {
        birth.record.member(birth.member, started);
    }

    let peers = match opened.link(env, &birth.members).await {
        Ok(peers) => peers,
        Err(LinkError::Refused(refused)) => return Stage::Unfit(refused.to_string()),
        Err(error @ LinkError::Members(_)) => return Stage::Unfit(in_full(&error)),
        Err(LinkError::Storage(error)) => return Stage::Stopped(in_full(&error)),
    };
    let Opened {
        prepared,
        machine,
        log,
        recovered,
        position,
        identity: _,
    } = opened;
    let port = peers.port(Service::Engine);
    let followed = Arc::new(OnceLock::new());
    let (audit, record) = (birth.audit.clone(), birth.record.clone());
    let machine = Box::new(Audited::new(
        birth.member,
        machine,
        Arc::clone(&followed),
        audit,
        record,
    ));
    let engine = synod_raft::start(env.clone(), timing, log, recovered, position, machine, port);
    let engine = match engine.await {
        Ok(engine) => engine,
        // What openraft could not read now it may read the next time.
        Err(error @ StartError::Engine(_)) => return Stage::Stopped(in_full(&error)),
        Err(error) => return Stage::Unfit(in_full(&error)),
    };
    let node = prepared.start(engine, peers.port(Service::Node));
    drop(followed.set(node.clone()));
    progress.set(Stage::Serving(node.clone()));
    let serving = server::serve(node.clone(), clients, birth.parcels, birth.clients);
    env.spawn("serve clients", serving);
    let mut refused = peers.refused();
    let ended = first(node.failed(), refused_at_last(&mut refused)).await;
    match ended {
        First::One(reason) => Stage::Stopped(reason),
        First::Other(why) => Stage::Unfit(why),
    }
}

/// Ends when the other members refuse this one, with the reason.
async fn refused_at_last(refused: &mut watch::Receiver<Option<String>>) -> String {
    loop {
        if let Some(why) = refused.borrow_seen().clone() {
            return why;
        }
        if refused.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

enum First<A, B> {
    One(A),
    Other(B),
}

/// Whichever ends first.
async fn first<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> First<A, B> {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(move |cx| {
        if let std::task::Poll::Ready(ended) = one.as_mut().poll(cx) {
            return std::task::Poll::Ready(First::One(ended));
        }
        other.as_mut().poll(cx).map(First::Other)
    })
    .await
}

/// Whether a member that cannot open its disk may try again.
fn cannot_open(error: &OpenError) -> Stage {
    let storage = match error {
        OpenError::Storage(error) => Some(error),
        OpenError::Restore(synod_node::RestoreError::Storage(error)) => Some(error),
        OpenError::Restore(
            synod_node::RestoreError::Load(_) | synod_node::RestoreError::Stopped,
        ) => None,
    };
    let text = in_full(error);
    match storage {
        Some(StorageError::Io { .. }) => Stage::Stopped(text),
        Some(
            StorageError::Corrupt(_)
            | StorageError::Newer { .. }
            | StorageError::Older { .. }
            | StorageError::Foreign { .. }
            | StorageError::Missing { .. }
            | StorageError::Mismatch { .. }
            | StorageError::Occupied { .. }
            | StorageError::Unfinished { .. }
            | StorageError::Purged { .. },
        )
        | None => Stage::Unfit(text),
    }
}

/// An error with all its causes.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
