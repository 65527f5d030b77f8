//! Reads: which root is fresh enough.
//!
//! A linearizable read needs a root that holds everything acknowledged before the read began.
//! With a lease the engine can say so at once; otherwise a quorum round can, which the engine
//! shares among all reads that wait when it begins. A read that arrives while a round is under
//! way waits for the next one: what that round proves was proved too early for it (etcd#20418).

use crate::failure::Failure;
use crate::roots::Roots;
use std::time::Duration;
use synod_env::world::DeadlinePassed;
use synod_env::{Env, Instant, oneshot};
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

/// A root for a linearizable read that begins now. Without a leader it waits for one.
pub(crate) async fn linearizable(
    env: &Env,
    engine: &dyn Engine,
    roots: &Roots,
    deadline: Instant,
) -> Result<Root, Failure> {
    let index = loop {
        if let Some(index) = engine.read_lease() {
            break index;
        }
        match env.deadline(deadline, engine.read_barrier()).await {
            Ok(Ok(index)) => break index,
            Ok(Err(BarrierError::NotLeader(_) | BarrierError::NoQuorum)) => {
                if env.now() >= deadline {
                    return Err(Failure::NoLeader);
                }
                env.sleep_until(deadline.min(env.now() + ASK_AGAIN)).await;
            }
            Ok(Err(BarrierError::Stopped)) => return Err(Failure::Stopped),
            Err(DeadlinePassed) => return Err(Failure::TimedOut),
        }
    };
    applied(env, roots, index, deadline).await
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
