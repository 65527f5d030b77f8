//! An engine whose leader can be made to vanish.

use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use synod_env::{BoxFuture, Env, watch};
use synod_log::{BarrierError, Capabilities, Engine, Index, ProposeError, Role, Status};

/// Another engine, until it is told to know no leader any more.
pub(crate) struct Deposable {
    engine: Arc<dyn Engine>,
    status: watch::Sender<Status>,
    deposed: Arc<AtomicBool>,
}

impl Deposable {
    pub(crate) fn new(env: &Env, engine: Arc<dyn Engine>) -> Self {
        let mut original = engine.status();
        let (status, _) = watch::channel(original.borrow_seen().clone());
        let deposed = Arc::new(AtomicBool::new(false));
        let (copy, stop) = (status.clone(), Arc::clone(&deposed));
        env.spawn("copy status", async move {
            while original.changed().await.is_ok() && !stop.load(Ordering::SeqCst) {
                copy.send(original.borrow_seen().clone());
            }
        });
        Self {
            engine,
            status,
            deposed,
        }
    }

    /// No leader is known from here on.
    pub(crate) fn depose(&self) {
        self.deposed.store(true, Ordering::SeqCst);
        self.status.send_if(|status| {
            status.leader = None;
            status.role = Role::Follower;
            true
        });
    }

    fn is_deposed(&self) -> bool {
        self.deposed.load(Ordering::SeqCst)
    }
}

impl Engine for Deposable {
    fn propose(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        if self.is_deposed() {
            return Box::pin(async { Err(ProposeError::NotLeader(None)) });
        }
        self.engine.propose(batch)
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<Index, BarrierError>> {
        if self.is_deposed() {
            return Box::pin(async { Err(BarrierError::NotLeader(None)) });
        }
        self.engine.read_barrier()
    }

    fn read_lease(&self) -> Option<Index> {
        if self.is_deposed() {
            return None;
        }
        self.engine.read_lease()
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    fn snapshot_now(&self) -> BoxFuture<'static, io::Result<Index>> {
        self.engine.snapshot_now()
    }

    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        self.engine.stop()
    }
}
