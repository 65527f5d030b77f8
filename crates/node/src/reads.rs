//! Reads: which root is fresh enough.
//!
//! A linearizable read needs a root that holds everything acknowledged before the read began.
//! With a lease the engine can say so at once; otherwise a quorum round of the leader can, which
//! is shared among all reads that wait when it begins. A read that arrives while a round is under
//! way waits for the next one: what that round proves was proved too early for it (etcd#20418).
//! A member that does not lead asks the leader, see [`crate::barriers`].

use crate::barriers::Barriers;
use crate::failure::Failure;
use crate::roots::Roots;
use std::time::Duration;
use synod_env::world::DeadlinePassed;
use synod_env::{Bug, Env, Instant, oneshot, planted};
use synod_log::{BarrierError, Engine, Index};
use synod_state::Root;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees every write acknowledged before it began.
    Linearizable,
    /// It sees some recent state of this member, at once, even without a leader.
    Serializable,
}

/// How long a request waits before it asks again whether there is a leader.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(20);

/// An index such that a root which has applied it is fresh for a read that begins now. Without a
/// leader it waits for one.
pub(crate) async fn barrier(
    env: &Env,
    engine: &dyn Engine,
    barriers: &Barriers,
    leads: bool,
    deadline: Instant,
) -> Result<Index, Failure> {
    if planted(Bug::SkipReadBarrier) {
        return Ok(Index(0));
    }
    if let Some(index) = engine.read_lease() {
        return Ok(index);
    }
    if leads {
        match env.deadline(deadline, engine.read_barrier()).await {
            Ok(Ok(index)) => return Ok(index),
            // Somebody else leads, or will.
            Ok(Err(BarrierError::NotLeader(_) | BarrierError::NoQuorum)) => {}
            Ok(Err(BarrierError::Stopped)) => return Err(Failure::Stopped),
            Err(DeadlinePassed) => return Err(Failure::TimedOut),
        }
    }
    match env.deadline(deadline, barriers.ask()).await {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(Failure::Stopped),
        Err(DeadlinePassed) => Err(Failure::TimedOut),
    }
}

/// The first root that has applied `index`, or a later one.
pub(crate) async fn applied(
    env: &Env,
    roots: &Roots,
    index: Index,
    deadline: Instant,
) -> Result<Root, Failure> {
    match roots.at(index) {
        Ok(root) => Ok(root),
        Err(later) => match env.deadline(deadline, later).await {
            Ok(Ok(root)) => Ok(root),
            Ok(Err(oneshot::Dropped)) => Err(Failure::Stopped),
            Err(DeadlinePassed) => Err(Failure::TimedOut),
        },
    }
}
