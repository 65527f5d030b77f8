//! What clients ask about leases, on whichever member.

use crate::failure::Failure;
use crate::lessor;
use crate::messages::{Ask, LeaseAnswer, Life, Refused, Times};
use crate::reads::{self, Consistency};
use crate::{Node, latest};
use bytes::Bytes;
use std::time::Duration;
use synod_env::{Instant, Lane, MemberId};
use synod_state::command::{Command, LeaseId};
use synod_state::reply::Reply;

/// Longest TTL that a lease may ask for, in seconds (etcd's bound).
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// How long the answer to one question is awaited before it is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A lease's times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// The TTL it was granted, in seconds.
    pub granted_s: i64,
    /// What is left of it, at least, in seconds.
    pub remaining_s: i64,
    /// Keys that hang on it, sorted; only if asked for.
    pub keys: Vec<Bytes>,
}

/// Whom to ask about a lease.
enum Lessor {
    Here,
    Other(MemberId),
    Nobody,
}

impl Node {
    /// Makes a lease; `lease` 0 has one chosen. Answers with the TTL granted, in seconds.
    ///
    /// # Errors
    /// As [`Node::propose`], and `TtlTooLarge`.
    pub async fn lease_grant(
        &self,
        lease: LeaseId,
        ttl_s: i64,
        deadline: Instant,
    ) -> Result<(Reply, i64), Failure> {
        if ttl_s > LEASE_TTL_S_MAX {
            return Err(Failure::TtlTooLarge);
        }
        let asked = Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0));
        let ttl = asked.max(self.shared.config.lease_ttl_min);
        let ttl_ms = u64::try_from(ttl.as_millis()).expect("a bounded TTL fits");
        let lease = if lease == 0 {
            self.choose_lease()
        } else {
            lease
        };
        let reply = self
            .propose(Command::LeaseGrant { lease, ttl_ms }, deadline)
            .await?;
        Ok((reply, whole_seconds(ttl)))
    }

    /// A positive number that no lease has, as far as this member knows.
    fn choose_lease(&self) -> LeaseId {
        let root = self.root();
        loop {
            let lease = (self.shared.env.random() >> 1).cast_signed();
            if lease > 0 && root.lease(lease).is_none() {
                return lease;
            }
        }
    }

    /// Renews a lease; answers with its TTL in seconds, or `None` if there is no such lease.
    ///
    /// # Errors
    /// `NoLeader`, `TimedOut`, `Stopped`; the lease may have been renewed all the same, which
    /// nobody can rely on.
    pub async fn lease_keep_alive(
        &self,
        lease: LeaseId,
        deadline: Instant,
    ) -> Result<Option<i64>, Failure> {
        loop {
            let asked = self.now();
            let answer = match self.lessor() {
                Lessor::Here => lessor::renew(&self.shared, &*self.engine, lease, deadline).await,
                Lessor::Other(leader) => {
                    let within = deadline.saturating_since(asked);
                    self.ask(leader, Ask::KeepAlive { lease, within }, deadline)
                        .await
                }
                Lessor::Nobody => LeaseAnswer::Refused(Refused::NotLeading),
            };
            match answer {
                LeaseAnswer::Lives(ttl) => return Ok(Some(whole_seconds(ttl))),
                LeaseAnswer::Ended => return Ok(None),
                LeaseAnswer::Refused(_) => self.pause(deadline).await?,
            }
        }
    }

    /// A lease's times, and with `keys` what hangs on it; `None` if there is no such lease.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub async fn lease_time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
        deadline: Instant,
    ) -> Result<Option<TimeToLive>, Failure> {
        let times = loop {
            let asked = self.now();
            let answer = match self.lessor() {
                Lessor::Here => lessor::times(&self.shared, &*self.engine, lease, deadline).await,
                Lessor::Other(leader) => {
                    let within = deadline.saturating_since(asked);
                    self.ask(leader, Ask::TimeToLive { lease, within }, deadline)
                        .await
                }
                Lessor::Nobody => LeaseAnswer::Refused(Refused::NotLeading),
            };
            match answer {
                LeaseAnswer::Lives(times) => break times,
                LeaseAnswer::Ended => return Ok(None),
                LeaseAnswer::Refused(_) => self.pause(deadline).await?,
            }
        };
        let Times { ttl, left, at } = times;
        let root = reads::applied(&self.shared.env, &self.shared.roots, at, deadline).await?;
        if root.lease(lease).is_none() {
            return Ok(None);
        }
        let keys = if keys {
            root.lease_keys(lease).collect()
        } else {
            Vec::new()
        };
        Ok(Some(TimeToLive {
            granted_s: whole_seconds(ttl),
            remaining_s: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            keys,
        }))
    }

    /// All leases, sorted.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub async fn leases(&self, deadline: Instant) -> Result<Vec<LeaseId>, Failure> {
        let root = self.read(Consistency::Linearizable, deadline).await?;
        Ok(root.leases().map(|lease| lease.id).collect())
    }

    fn lessor(&self) -> Lessor {
        let leadership = self.leadership.borrow();
        match leadership.leader {
            _ if leadership.leads => Lessor::Here,
            Some(leader) if leader != self.member() => Lessor::Other(leader),
            Some(_) | None => Lessor::Nobody,
        }
    }

    /// Asks the leader about a lease. Both questions can be repeated without harm, so silence
    /// counts as a refusal.
    async fn ask<T: Life>(&self, leader: MemberId, ask: Ask, deadline: Instant) -> LeaseAnswer<T> {
        let until = deadline.min(self.now() + ANSWER_MAX);
        let answer = self.port.ask(leader, Lane::Append, ask.encode(), until);
        match answer.await.map(LeaseAnswer::decode) {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => LeaseAnswer::Refused(Refused::NotLeading),
        }
    }

    /// Gives the next leader a moment, or this one a moment to have its reign applied.
    async fn pause(&self, deadline: Instant) -> Result<(), Failure> {
        if self.shared.is_stopping() {
            return Err(Failure::Stopped);
        }
        let now = self.now();
        if now >= deadline {
            return Err(match self.lessor() {
                Lessor::Here | Lessor::Other(_) => Failure::TimedOut,
                Lessor::Nobody => Failure::NoLeader,
            });
        }
        let next = deadline.min(now + reads::ASK_AGAIN);
        let mut leadership = self.leadership.clone();
        drop(leadership.borrow_seen());
        let changed = self.shared.env.deadline(next, leadership.changed()).await;
        if changed == Ok(Err(latest::Closed)) {
            return Err(Failure::Stopped);
        }
        Ok(())
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
