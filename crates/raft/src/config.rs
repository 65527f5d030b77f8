//! How the engine is set. Why each setting has its value is in
//! `docs/decisions/0002-openraft-pin.md`.

use crate::serving::requests_max;
use openraft::SnapshotPolicy;
use std::collections::BTreeSet;
use std::time::Duration;
use synod_env::{Limits, MemberId};

/// What the engine must be told. Times are fixed while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who this member is.
    pub member: MemberId,
    /// The founding members, all of them voters, this one included. Every one of them must be
    /// told the same; a member that has a log goes by what that says instead.
    pub members: BTreeSet<MemberId>,
    /// How often a leader shows that it is there.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a member asks for votes.
    pub election_min: Duration,
    /// The longest such time. It is also the lease: how long a leader may count on the answer
    /// of a quorum, and how long a voter that heard a leader refuses other candidates.
    pub election_max: Duration,
    /// Proposals between being made and being applied; beyond it [`ProposeError::Busy`].
    ///
    /// [`ProposeError::Busy`]: synod_log::ProposeError::Busy
    pub proposals_max: usize,
    /// Bytes of all those proposals together, unless one alone is larger. Well below what may
    /// wait for the log's thread ([`synod_storage::Options::queue_bytes_max`]).
    pub proposals_bytes_max: usize,
    /// Bytes of log kept behind a snapshot.
    pub log_keep_bytes: u64,
}

impl Config {
    /// The defaults for `member`, alone in its cluster, within `limits`.
    #[must_use]
    pub fn new(member: MemberId, limits: &Limits) -> Self {
        Self {
            member,
            members: BTreeSet::from([member]),
            heartbeat: Duration::from_millis(40),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            proposals_max: limits.batches_inflight_max + OWN_PROPOSALS_MAX,
            proposals_bytes_max: 4 << 20,
            log_keep_bytes: limits.log_keep_bytes,
        }
    }

    /// The settings of openraft.
    ///
    /// # Errors
    /// What is wrong with the times.
    pub(crate) fn for_openraft(&self) -> Result<openraft::Config, String> {
        let election_max = millis(self.election_max)?;
        let probe = election_max
            .checked_mul(2)
            .ok_or("election time is out of range")?;
        let proposals_max = u64::try_from(self.proposals_max).unwrap_or(u64::MAX);
        let served = requests_max(self.members.len().saturating_sub(1));
        let served = u64::try_from(served).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "synod".to_owned(),
            heartbeat_interval: millis(self.heartbeat)?,
            election_timeout_min: millis(self.election_min)?,
            election_timeout_max: election_max,
            // A member that cannot win must not raise the term of those who can.
            enable_pre_vote: Some(true),
            // A leader cut off from its quorum falls silent at times, so that others may elect.
            quorum_loss_probe_interval: Some(probe),
            // A restarted leader asks for votes like anybody else.
            enable_leader_restore: Some(false),
            // Snapshots and purges happen on our triggers only.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: u64::MAX,
            // Room for every proposal in flight, for what other members ask and for the few other
            // requests, so that none of them waits to be queued: the order of calls is the order
            // of the log.
            api_channel_size: Some(
                proposals_max
                    .saturating_add(OTHER_REQUESTS)
                    .saturating_add(served),
            ),
            // A request is bounded by its bytes.
            max_payload_entries: 1_024,
            ..openraft::Config::default()
        }
        .validate()
        .map_err(|error| error.to_string())
    }
}

/// What a member proposes by itself (its reign, expiries, checkpoints, steps of compaction) comes
/// on top of the batches of its clients' commands.
const OWN_PROPOSALS_MAX: usize = 8;

/// Requests to openraft that are no proposals and may be queued at one time: one barrier round,
/// one snapshot round, start and stop.
const OTHER_REQUESTS: u64 = 64;

/// openraft counts in whole milliseconds.
fn millis(time: Duration) -> Result<u64, String> {
    u64::try_from(time.as_millis()).map_err(|_| format!("{time:?} is out of range"))
}
