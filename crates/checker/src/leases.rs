//! Leases by true time.
//!
//! A lease was renewed at some moment between the sending of an answered request and its answer.
//! So it was promised at least from the *sending* for its time to live: with a granter whose clock
//! is fast by at most `rho`,
//!
//! ```text
//! seen gone  >=  sent + TTL / (1 + rho)                  for every renewal that was answered
//! believed   <=  sent + TTL * (1 + rho_client)           for the believer's own renewals
//! seen alive <=  max(last renewal, healed) + TTL * (1 + rho) + bound
//! ```
//!
//! The first is sound because a lease that somebody saw gone was gone by then, and because the
//! renewal happened after the sending; Gray and Cheriton ("Leases", SOSP 1989) state the same
//! with the other sign for the holder, which is the second. A granter that counts only the time
//! that has certainly passed, and a holder that counts all that may have, keep both with a `rho`
//! of zero, whatever their clocks do within the bounds they declare.

use crate::history::{
    Body, ClientId, KeyValue, LeaseId, OpId, Operation, Outcome, Refusal, Response, Revision,
    TimeNs, TxnOp,
};
use crate::store::Fact;
use crate::verdict::{Property, Violation};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is declared of clocks, and how late a lease may end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How much faster than true time the granter's measure of a time to live may run, in parts
    /// per million.
    pub granter_rate_ppm: u64,
    /// How much slower than true time a holder's measure may run, in parts per million.
    pub holder_rate_ppm: u64,
    /// How long after its time a lease that nobody renews may still be seen in a healed world, in
    /// nanoseconds. None: as long as it likes.
    pub ends_within_ns: Option<u64>,
}

/// Judges leases.
#[derive(Clone, Debug)]
pub(crate) struct LeaseJudge {
    settings: LeaseSettings,
    now: TimeNs,
    leases: BTreeMap<LeaseId, Lease>,
    open: BTreeMap<OpId, Open>,
    healed: Option<TimeNs>,
}

#[derive(Clone, Debug, Default)]
struct Lease {
    /// Grants that were not refused, with the time of their answer.
    grants: BTreeMap<OpId, Option<TimeNs>>,
    /// Revokes that were not refused, with the time of their invocation.
    revokes: BTreeMap<OpId, TimeNs>,
    /// By true time it lives at least until then.
    promised_until: TimeNs,
    /// Which operation's answer promised that.
    promised_by: Option<OpId>,
    /// Until when each client that renewed it may believe in it.
    believers: BTreeMap<ClientId, TimeNs>,
    /// The longest time to live that it was given.
    ttl_ns_max: u64,
    /// No renewal can have happened later, but for those in flight.
    renewed_at_latest: TimeNs,
    renewing: u32,
    /// It was seen gone then.
    gone: Option<(TimeNs, String)>,
    /// Its ends, by the revision at which they had happened.
    ends: Vec<Revision>,
}

#[derive(Clone, Debug)]
struct Open {
    client: ClientId,
    operation: Arc<Operation>,
    invoked: TimeNs,
}

const NS_PER_MS: u64 = 1_000_000;

impl LeaseJudge {
    pub(crate) fn new(settings: LeaseSettings) -> Self {
        Self {
            settings,
            now: TimeNs(0),
            leases: BTreeMap::new(),
            open: BTreeMap::new(),
            healed: None,
        }
    }

    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    pub(crate) fn healed(&mut self) {
        self.healed = Some(self.now);
    }

    pub(crate) fn hurt(&mut self) {
        self.healed = None;
    }

    fn violation(&self, property: Property, witness: String) -> Violation {
        Violation {
            property,
            at: self.now,
            witness,
        }
    }

    pub(crate) fn invoked(&mut self, op: OpId, client: ClientId, operation: &Arc<Operation>) {
        let now = self.now;
        match &**operation {
            Operation::LeaseGrant { id, ttl_ms } => {
                let lease = self.leases.entry(*id).or_default();
                lease.grants.insert(op, None);
                lease.ttl_ns_max = lease.ttl_ns_max.max(ttl_ms.saturating_mul(NS_PER_MS));
                lease.renewing += 1;
            }
            Operation::LeaseRevoke { id } => {
                self.leases.entry(*id).or_default().revokes.insert(op, now);
            }
            Operation::LeaseKeepAlive { id } => {
                self.leases.entry(*id).or_default().renewing += 1;
            }
            Operation::LeaseTimeToLive { .. } => {}
            Operation::Put(_) | Operation::Txn(_) => {
                if leases_named(operation).is_empty() {
                    return;
                }
            }
            Operation::Range(_) => {}
            Operation::DeleteRange(_) | Operation::Compact { .. } => return,
        }
        let open = Open {
            client,
            operation: Arc::clone(operation),
            invoked: now,
        };
        self.open.insert(op, open);
    }

    pub(crate) fn returned(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let Some(open) = self.open.remove(&op) else {
            return Ok(());
        };
        if let Operation::LeaseGrant { id, .. } | Operation::LeaseKeepAlive { id } = *open.operation
        {
            let lease = self
                .leases
                .get_mut(&id)
                .expect("it was noted with the operation");
            lease.renewing -= 1;
            lease.renewed_at_latest = self.now;
        }
        match outcome {
            Outcome::Unknown => Ok(()),
            Outcome::Refused(refusal) => self.refused(op, &open, *refusal),
            Outcome::Done(response) => self.answered(op, &open, response),
        }
    }

    fn answered(&mut self, op: OpId, open: &Open, response: &Response) -> Result<(), Violation> {
        match (&*open.operation, &response.body) {
            (Operation::LeaseGrant { id, .. }, Body::LeaseGrant { ttl_ms, .. }) => {
                self.granted(op, open, *id, *ttl_ms)
            }
            (Operation::LeaseKeepAlive { id }, Body::LeaseKeepAlive { ttl_ms }) => match ttl_ms {
                Some(ttl_ms) => self.renewed(op, open, *id, *ttl_ms),
                None => self.denied(op, open, *id),
            },
            (Operation::LeaseTimeToLive { id }, Body::LeaseTimeToLive { remaining_ms, .. }) => {
                match remaining_ms {
                    Some(_) => self.alive(op, open, *id),
                    None => self.denied(op, open, *id),
                }
            }
            (Operation::LeaseRevoke { id }, _) => {
                let lease = self.leases.entry(*id).or_default();
                lease.ends.push(response.revision);
                Ok(())
            }
            (Operation::Range(range), Body::Range { kvs, .. }) => {
                if range.serializable || range.revision > 0 {
                    return Ok(());
                }
                let hang = |kv: &KeyValue| (kv.lease != 0).then_some(kv.lease);
                let mut leases: Vec<_> = kvs.iter().filter_map(hang).collect();
                leases.dedup();
                leases
                    .into_iter()
                    .try_for_each(|id| self.alive(op, open, id))
            }
            _ => Ok(()),
        }
    }

    fn granted(
        &mut self,
        op: OpId,
        open: &Open,
        id: LeaseId,
        ttl_ms: u64,
    ) -> Result<(), Violation> {
        let lease = self.leases.entry(id).or_default();
        let is_again = lease.grants.values().any(Option::is_some);
        lease.grants.insert(op, Some(self.now));
        if is_again && lease.revokes.is_empty() && open.invoked < lease.promised_until {
            let until = lease.promised_until;
            if self.now < until {
                let witness = format!(
                    "#{} ({}) was granted, but a lease of that number was to live until {until}",
                    op.0, open.operation
                );
                return Err(self.violation(Property::LeaseTable, witness));
            }
        }
        self.renewed(op, open, id, ttl_ms)
    }

    /// The service promised a time to live.
    fn renewed(
        &mut self,
        op: OpId,
        open: &Open,
        id: LeaseId,
        ttl_ms: u64,
    ) -> Result<(), Violation> {
        let ttl_ns = ttl_ms.saturating_mul(NS_PER_MS);
        let least_ns = scaled(
            ttl_ns,
            1_000_000,
            1_000_000 + self.settings.granter_rate_ppm,
        );
        let most_ns = scaled(ttl_ns, 1_000_000 + self.settings.holder_rate_ppm, 1_000_000);
        let lease = self.leases.entry(id).or_default();
        let until = open.invoked.after(least_ns);
        if until > lease.promised_until {
            lease.promised_until = until;
            lease.promised_by = Some(op);
        }
        lease.ttl_ns_max = lease.ttl_ns_max.max(ttl_ns);
        let believer = lease.believers.entry(open.client).or_default();
        *believer = open.invoked.after(most_ns).max(*believer);
        let Some((at, how)) = &lease.gone else {
            return Ok(());
        };
        if lease.grants.len() > 1 || until <= *at {
            return Ok(());
        }
        let witness = format!(
            "#{} ({}) of {} was answered with {ttl_ms} ms, so lease {id} lives until {until} at \
             least, but it was gone by {at}: {how}",
            op.0, open.operation, open.invoked
        );
        Err(self.violation(Property::LeaseNotEarly, witness))
    }

    /// An answer says that a lease is not there.
    fn denied(&mut self, op: OpId, open: &Open, id: LeaseId) -> Result<(), Violation> {
        let how = format!("#{} ({}) was told so", op.0, open.operation);
        let lease = self.leases.entry(id).or_default();
        let was_there = |at: &Option<TimeNs>| at.is_some_and(|at| at < open.invoked);
        if lease.grants.values().any(was_there) {
            self.gone(id, self.now, how)
        } else {
            Ok(())
        }
    }

    /// A lease was seen gone at a time, for whatever reason.
    fn gone(&mut self, id: LeaseId, at: TimeNs, how: String) -> Result<(), Violation> {
        let lease = self.leases.entry(id).or_default();
        // A number that was granted again says little: which of its leases is gone?
        let is_one = lease.grants.len() == 1;
        let is_revoked = lease.revokes.values().any(|invoked| *invoked <= at);
        if !is_one || is_revoked {
            return Ok(());
        }
        if at < lease.promised_until {
            let by = lease.promised_by.map_or(0, |op| op.0);
            let witness = format!(
                "lease {id} was gone by {at} ({how}), but the answer to #{by} promises it until {} \
                 at least",
                lease.promised_until
            );
            return Err(self.violation(Property::LeaseNotEarly, witness));
        }
        if lease.gone.as_ref().is_none_or(|(before, _)| at < *before) {
            lease.gone = Some((at, how));
        }
        Ok(())
    }

    /// An answer to something invoked at a time says that a lease is there.
    fn alive(&mut self, op: OpId, open: &Open, id: LeaseId) -> Result<(), Violation> {
        let (Some(healed), Some(bound_ns)) = (self.healed, self.settings.ends_within_ns) else {
            return Ok(());
        };
        let lease = self.leases.entry(id).or_default();
        if lease.renewing > 0 {
            return Ok(());
        }
        let rate = 1_000_000 + self.settings.granter_rate_ppm;
        let ttl_ns = scaled(lease.ttl_ns_max, rate, 1_000_000);
        let since = lease.renewed_at_latest.max(healed);
        let until = since.after(ttl_ns).after(bound_ns);
        if open.invoked <= until {
            return Ok(());
        }
        let witness = format!(
            "#{} ({}) of {} shows lease {id}, which nobody has renewed since {}: it had to be gone \
             by {until}",
            op.0, open.operation, open.invoked, lease.renewed_at_latest
        );
        Err(self.violation(Property::LeaseEnds, witness))
    }

    fn refused(&mut self, op: OpId, open: &Open, refusal: Refusal) -> Result<(), Violation> {
        if let Operation::LeaseGrant { id, .. } | Operation::LeaseRevoke { id } = *open.operation {
            let lease = self
                .leases
                .get_mut(&id)
                .expect("it was noted with the operation");
            lease.grants.remove(&op);
            lease.revokes.remove(&op);
        }
        let wrongly = |judge: &Self, why: &str| {
            let witness = format!(
                "#{} ({}) was refused as {refusal}, but {why}",
                op.0, open.operation
            );
            Err(judge.violation(Property::LeaseTable, witness))
        };
        match refusal {
            Refusal::Compacted | Refusal::FutureRevision | Refusal::NotDone => Ok(()),
            Refusal::LeaseExists => {
                let is_granted = matches!(
                    *open.operation,
                    Operation::LeaseGrant { id, .. } if !self.leases[&id].grants.is_empty()
                );
                if is_granted {
                    Ok(())
                } else {
                    wrongly(self, "nobody else has asked for that lease")
                }
            }
            Refusal::LeaseNotFound => match leases_named(&open.operation)[..] {
                [] => wrongly(self, "it names no lease"),
                [id] => self.denied(op, open, id),
                // Any of them may be the one.
                _ => Ok(()),
            },
        }
    }

    /// What the replay has shown.
    pub(crate) fn learn(&mut self, fact: Fact) -> Result<(), Violation> {
        match fact {
            Fact::Expired {
                lease: id,
                revision,
                seen,
            } => {
                self.leases.entry(id).or_default().ends.push(revision);
                let how = format!("its keys were gone with revision {revision}");
                self.gone(id, seen, how)
            }
            Fact::Attached {
                lease: id,
                revision,
            } => {
                let lease = self.leases.entry(id).or_default();
                let ended = lease.ends.iter().filter(|end| **end < revision).count();
                if ended < lease.grants.len() {
                    return Ok(());
                }
                let witness = format!(
                    "revision {revision} attached a key to lease {id}, which was granted {} times \
                     and had ended {ended} times by then",
                    lease.grants.len()
                );
                Err(self.violation(Property::LeaseTable, witness))
            }
        }
    }

    pub(crate) fn believed(&mut self, client: ClientId, id: LeaseId) -> Result<(), Violation> {
        let lease = self.leases.entry(id).or_default();
        let until = lease.believers.get(&client).copied();
        if until.is_some_and(|until| self.now <= until) {
            return Ok(());
        }
        let why = match until {
            Some(until) => format!("what it was promised may have ended at {until}"),
            None => "nobody has promised it anything".into(),
        };
        let witness = format!("client {} believes in lease {id}, but {why}", client.0);
        Err(self.violation(Property::LeaseBelief, witness))
    }
}

/// `value * numerator / denominator`, rounded down, or the most there is.
fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The leases that an operation needs to be there.
fn leases_named(operation: &Operation) -> Vec<LeaseId> {
    let mut leases = match operation {
        Operation::Put(put) => vec![put.lease],
        Operation::Txn(txn) => {
            let ops = txn.then.iter().chain(&txn.otherwise);
            ops.map(|op| match op {
                TxnOp::Put(put) => put.lease,
                TxnOp::DeleteRange(_) | TxnOp::Range(_) => 0,
            })
            .collect()
        }
        Operation::LeaseRevoke { id }
        | Operation::LeaseKeepAlive { id }
        | Operation::LeaseTimeToLive { id } => vec![*id],
        Operation::LeaseGrant { .. }
        | Operation::DeleteRange(_)
        | Operation::Range(_)
        | Operation::Compact { .. } => Vec::new(),
    };
    leases.retain(|id| *id != 0);
    leases.sort_unstable();
    leases.dedup();
    leases
}
