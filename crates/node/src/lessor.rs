//! The leader's word on leases: renewals, and what is left.
//!
//! The lease clock ([`crate::leases`]) belongs to a reign. A member that was deposed may not know
//! it yet, and its clock goes on; so it says nothing from that clock before it has proved that it
//! led *after* it was asked ([`prove`]). Why a lease that was renewed then never ends early, by
//! true time, whoever leads next:
//!
//! 1. Let `r` be the reign of the clock, `a` the moment when the renewal arrived, and `m` a later
//!    one at which a quorum followed this member in epoch `r`. A leader of a later epoch is
//!    elected by a quorum, of which one member followed this one at `m`, and so after `m`. Its
//!    reign is applied later still, and its clock begins then ([`crate::leases::LeaseClock::begin`]):
//!    with the whole TTL, since a recorded remainder was cleared through the log before the
//!    renewal was answered, and one that was about to be recorded makes the renewal wait for it.
//!    So it proposes an expiry no earlier than the TTL after `m`, by its own clock, which waits for
//!    the least time that can have passed. The holder counts from before `a`, the most time that
//!    can have passed. Both clocks may be wrong by the declared bound, in either direction.
//! 2. Until then only this member's own clock can end the lease: it counts the TTL from after `m`
//!    too. An expiry that it proposed before is awaited by the renewal, not raced with.
//! 3. An expiry that was proposed in reign `r` and reaches the log after the next reign is dropped
//!    by the state. If it stands before it, it was decided by point 2, and no later leader had
//!    answered a renewal yet: it does so only when its own reign is applied.
//!
//! The next leader adds the longest lease of a former *leader* to all of them
//! (`Config::leader_lease_max`), so that the argument also holds for an engine whose proof of
//! leadership is a promise of its voters that ends by their clocks rather than a round.

use crate::leases::Renewal;
use crate::messages::{LeaseAnswer, Refused, Times};
use crate::reads;
use crate::shared::{Reigning, Shared};
use std::time::Duration;
use synod_env::Instant;
use synod_log::{Engine, Epoch, Index};
use synod_state::command::{Command, LeaseId};

/// Shows that this member led the reign of its lease clock at some moment after this call: the
/// reign, and an index that was fresh then. `None` if it cannot.
///
/// The barrier shows that it led *some* epoch then, whose first entry the index covers. If no
/// entry of a later epoch than the reign's is applied by then, that epoch was the reign's.
async fn prove(shared: &Shared, engine: &dyn Engine, deadline: Instant) -> Option<(u64, Index)> {
    let reign = shared.reigning().as_ref()?.reign;
    let index = match engine.read_lease() {
        Some(index) => index,
        None => {
            let barrier = shared.env.deadline(deadline, engine.read_barrier());
            barrier.await.ok()?.ok()?
        }
    };
    let applied = reads::applied(&shared.env, &shared.roots, index, deadline);
    applied.await.ok()?;
    (shared.applied_epoch() == Epoch(reign)).then_some((reign, index))
}

/// The reign's state, if it still is this member's.
fn of_reign(reigning: &mut Option<Reigning>, reign: u64) -> Option<&mut Reigning> {
    reigning.as_mut().filter(|reigning| reigning.reign == reign)
}

/// Renews a lease, if this member leads; its TTL.
pub(crate) async fn renew(
    shared: &Shared,
    engine: &dyn Engine,
    lease: LeaseId,
    deadline: Instant,
) -> LeaseAnswer<Duration> {
    // From here on the lease does not expire until the renewal has its answer.
    let mut arrived = Arrived::at(shared, lease);
    loop {
        let not_here = LeaseAnswer::Refused(Refused::NotLeading);
        let Some((reign, _)) = prove(shared, engine, deadline).await else {
            return not_here;
        };
        let now = shared.env.clock();
        let renewal = of_reign(&mut shared.reigning(), reign)
            .map(|reigning| reigning.leases.renew(now, lease));
        match renewal {
            None => return not_here,
            Some(Renewal::Unknown) => return LeaseAnswer::Ended,
            Some(Renewal::Renewed(ttl)) => return LeaseAnswer::Lives(ttl),
            Some(Renewal::ClearCheckpoint) => {
                let remaining = vec![(lease, 0)];
                let command = Command::LeaseCheckpoint { remaining };
                if shared.propose(command, deadline).await.is_err() {
                    // It may have been done, which changes nothing for the holder.
                    return LeaseAnswer::Refused(Refused::Overdue);
                }
            }
            Some(Renewal::Wait(outcome)) => {
                let ended = shared.env.deadline(deadline, outcome).await;
                if ended == Err(synod_env::world::DeadlinePassed) {
                    return LeaseAnswer::Refused(Refused::Overdue);
                }
            }
        }
        // The new one counts before the old one is gone.
        drop(std::mem::replace(&mut arrived, Arrived::at(shared, lease)));
    }
}

/// A lease's times, if this member leads.
pub(crate) async fn times(
    shared: &Shared,
    engine: &dyn Engine,
    lease: LeaseId,
    deadline: Instant,
) -> LeaseAnswer<Times> {
    let not_here = LeaseAnswer::Refused(Refused::NotLeading);
    let Some((reign, at)) = prove(shared, engine, deadline).await else {
        return not_here;
    };
    let now = shared.env.clock();
    let times = of_reign(&mut shared.reigning(), reign)
        .map(|reigning| reigning.leases.remaining(now, lease));
    match times {
        None => not_here,
        Some(None) => LeaseAnswer::Ended,
        Some(Some((ttl, left))) => LeaseAnswer::Lives(Times { ttl, left, at }),
    }
}

/// A renewal between its arrival and the end of its quorum round.
struct Arrived<'a> {
    shared: &'a Shared,
    lease: LeaseId,
    /// The reign whose lease clock counts it.
    reign: Option<u64>,
}

impl<'a> Arrived<'a> {
    fn at(shared: &'a Shared, lease: LeaseId) -> Self {
        let reign = shared
            .reigning()
            .as_mut()
            .and_then(|r| r.leases.renewal_arrived(lease).then_some(r.reign));
        Self {
            shared,
            lease,
            reign,
        }
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        if let Some(reigning) = self.shared.reigning().as_mut()
            && Some(reigning.reign) == self.reign
        {
            reigning.leases.renewal_gone(self.lease);
        }
    }
}
