//! The smallest engine behind the seam: one member whose log is in memory.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::{BoxFuture, MemberId, watch};
use synod_log::{
    BarrierError, Capabilities, Engine, Entry, Epoch, Index, Machine, ProposeError, Role, Status,
};

pub(crate) const MEMBER: MemberId = MemberId(7);
pub(crate) const EPOCH: Epoch = Epoch(3);

/// Leads from the start until told otherwise.
pub(crate) struct Solo(Arc<Shared>);

struct Shared {
    log: Mutex<Log>,
    machine: Mutex<Box<dyn Machine>>,
    status: watch::Sender<Status>,
}

#[derive(Default)]
struct Log {
    last: Index,
    unapplied: VecDeque<Entry>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Solo {
    pub(crate) fn new(machine: Box<dyn Machine>) -> Self {
        let (status, _) = watch::channel(Status {
            epoch: EPOCH,
            leader: Some(MEMBER),
            role: Role::Leader,
            ..Status::default()
        });
        Self(Arc::new(Shared {
            log: Mutex::default(),
            machine: Mutex::new(machine),
            status,
        }))
    }

    /// No leader is known from here on.
    pub(crate) fn depose(&self) {
        self.0.status.send_if(|status| {
            status.leader = None;
            status.role = Role::Follower;
            true
        });
    }

    fn leads(&self) -> bool {
        self.0.status.borrow().role == Role::Leader
    }
}

impl Shared {
    /// Applies what is in the log, in order.
    fn apply(&self) {
        let mut machine = lock(&self.machine);
        let entries: Vec<Entry> = lock(&self.log).unapplied.drain(..).collect();
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return;
        };
        machine.apply(entries);
        self.status.send_if(|status| {
            status.last = last;
            status.committed = last;
            status.applied = last;
            true
        });
    }
}

impl Engine for Solo {
    fn propose(&self, batch: Bytes) -> BoxFuture<'static, Result<Index, ProposeError>> {
        if !self.leads() {
            return Box::pin(async { Err(ProposeError::NotLeader(None)) });
        }
        let index = {
            let mut log = lock(&self.0.log);
            log.last = Index(log.last.0 + 1);
            let index = log.last;
            log.unapplied.push_back(Entry {
                index,
                epoch: EPOCH,
                batch,
            });
            index
        };
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            shared.apply();
            Ok(index)
        })
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<Index, BarrierError>> {
        let barrier = if self.leads() {
            Ok(lock(&self.0.log).last)
        } else {
            Err(BarrierError::NotLeader(None))
        };
        Box::pin(async move { barrier })
    }

    fn read_lease(&self) -> Option<Index> {
        None
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    fn snapshot_now(&self) -> BoxFuture<'static, io::Result<Index>> {
        let last = lock(&self.0.log).last;
        Box::pin(async move { Ok(last) })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
