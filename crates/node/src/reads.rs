//! Reads: which root is fresh enough.
//!
//! A linearizable read needs a root that holds everything acknowledged before the read began.
//! With a lease the engine can say so at once; otherwise a quorum round can, and one round serves
//! every read that waits when it begins. A read that arrives while a round is under way waits for
//! the next one: what that round proves was proved too early for it (etcd#20418).

use crate::failure::Failure;
use crate::roots::Roots;
use std::sync::Arc;
use synod_env::{oneshot, queue};
use synod_log::{BarrierError, Engine};
use synod_state::Root;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees every write acknowledged before it began.
    Linearizable,
    /// It sees some recent state of this member, at once, even without a leader.
    Serializable,
}

/// A read that waits for a round.
pub(crate) type Waiting = oneshot::Sender<Result<Root, Failure>>;

/// Runs rounds as long as reads wait. One task per member.
pub(crate) async fn run_rounds(
    engine: Arc<dyn Engine>,
    roots: Arc<Roots>,
    mut queue: queue::Receiver<Waiting>,
) {
    while let Some(first) = queue.receive().await {
        let mut reads = vec![first];
        let others = queue.waiting();
        queue.drain(&mut reads, others);
        let answer = round(&*engine, &roots).await;
        for read in reads {
            // Whoever gave up does not want the root any more.
            drop(read.send(answer.clone()));
        }
    }
}

async fn round(engine: &dyn Engine, roots: &Roots) -> Result<Root, Failure> {
    let index = match engine.read_barrier().await {
        Ok(index) => index,
        Err(BarrierError::NotLeader(_) | BarrierError::NoQuorum) => return Err(Failure::NoLeader),
        Err(BarrierError::Stopped) => return Err(Failure::Stopped),
    };
    match roots.at(index) {
        Ok(root) => Ok(root),
        Err(later) => later.await.map_err(|oneshot::Dropped| Failure::Stopped),
    }
}
