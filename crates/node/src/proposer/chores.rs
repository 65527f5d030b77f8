//! What a proposer does without being asked: lease expiry, checkpoints, compaction, snapshots.

use super::{OWN_MAX, Own, OwnUnderWay, Proposer, Route, SNAPSHOT_AGAIN, Whose};
use crate::shared::Reigning;
use std::io;
use synod_env::{Bug, Instant, oneshot, planted};
use synod_log::{Epoch, Index};
use synod_state::Root;
use synod_state::command::{Command, LeaseId, Revision};
use synod_state::limit::LimitKind;
use synod_state::reply::Outcome;

/// The log to be applied after a restart may weigh this part of the state.
const REPLAY_SHARE: u64 = 8;

impl Proposer {
    /// Proposes a command of the member's own and awaits its answer beside the others.
    fn propose_own(&mut self, own: Own, command: Command) {
        let (sender, answer) = oneshot::channel();
        let (reign, sequence) = match self.route() {
            Route::Here { reign } => {
                let waiters = vec![(Instant::NEVER, sender)];
                (reign, self.propose(reign, vec![command], waiters))
            }
            Route::Leader { leader, reign } if planted(Bug::DeposedLeaderExpires) => {
                let until = self.shared.env.now() + self.limits().request_timeout;
                self.forward(leader, reign, vec![command], vec![(until, sender)]);
                (reign, self.sequence)
            }
            Route::Leader { .. } | Route::Nowhere => return,
        };
        self.own.push(OwnUnderWay {
            own,
            reign,
            sequence,
            answer,
        });
    }

    /// What this member proposed in `reign` was applied, with this outcome, or came to nothing.
    /// The lease clock of a later reign knows nothing of it.
    pub(super) fn own_settled(&mut self, reign: u64, own: Own, outcome: Option<&Outcome>) {
        if let (Own::Compact(revision), Some(outcome)) = (&own, outcome) {
            self.compacted(*revision, outcome);
        }
        if outcome.is_some() {
            return;
        }
        let now = self.shared.env.clock();
        let mut reigning = self.shared.reigning();
        let Some(reigning) = reigning.as_mut().filter(|r| r.reign == reign) else {
            return;
        };
        match own {
            Own::Expire(leases) => reigning.leases.expiry_failed(now, &leases),
            Own::Checkpoint(leases) => reigning.leases.checkpoint_failed(&leases),
            // It stays due.
            Own::Compact(_) | Own::Quota => {}
        }
    }

    pub(super) fn tick_leases(&mut self) {
        let now = self.shared.env.clock();
        let most = self.limits().lease_expire_batch_max;
        let (expired, checkpoints) = {
            let mut reigning = self.shared.reigning();
            let leads = self.leads;
            // A reign that was applied late is not this member's any more.
            let its_own = |reigning: &&mut Reigning| {
                leads == Some(Epoch(reigning.reign)) || planted(Bug::DeposedLeaderExpires)
            };
            let Some(reigning) = reigning.as_mut().filter(its_own) else {
                return;
            };
            if let Some(gap) = reigning.leases.tick(now) {
                let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(gap_ms, "the member stalled: all leases live longer by that");
            }
            if self.own.len() >= OWN_MAX {
                // The log stalls. What is due stays due.
                return;
            }
            // A lease that is granted anew by a batch under way is not the one that is due.
            let inflight = self.shared.inflight();
            let anew = |id| inflight.grants(id) || self.is_granted_for_others(id);
            let leases = &mut reigning.leases;
            (
                leases.take_due(now, most, anew),
                leases.take_checkpoints(now, most, anew),
            )
        };
        if !expired.is_empty() {
            let command = Command::LeaseExpire {
                leases: expired.clone(),
            };
            self.propose_own(Own::Expire(expired), command);
        }
        if !checkpoints.is_empty() {
            let leases = checkpoints.iter().map(|(id, _)| *id).collect();
            let remaining = checkpoints
                .into_iter()
                .map(|(id, left)| {
                    (
                        id,
                        u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
                    )
                })
                .collect();
            let command = Command::LeaseCheckpoint { remaining };
            self.propose_own(Own::Checkpoint(leases), command);
        }
    }

    /// Proposes to forget what nobody wants to keep, if this member leads. Whoever follows looks
    /// too, so that a new leader knows how old each revision is.
    pub(super) fn forget_history(&mut self) {
        let leads = matches!(self.route(), Route::Here { .. }) && self.own.len() < OWN_MAX;
        let root = self.shared.roots.latest();
        let keep = root.history_keep();
        let keep = keep.unwrap_or(self.limits().history_keep);
        let now = self.shared.env.now();
        if let Some(revision) = self.history.tick(now, keep, root.revision(), leads) {
            self.propose_own(Own::Compact(revision), Command::Compact { revision });
        }
    }

    /// The quota that this member was started with, if it ought to hold and does not.
    pub(super) fn own_quota(&self, root: &Root) -> Option<u64> {
        let bytes = self.limits().state_bytes_max;
        let is_ours = root.limit(LimitKind::QuotaBytes).is_none();
        (is_ours && root.quota_bytes() != bytes).then_some(bytes)
    }

    /// A quota that was set for the cluster and given back is that of the leader again.
    pub(super) fn restore_quota(&mut self) {
        if !matches!(self.route(), Route::Here { .. }) || !self.own.is_empty() {
            return;
        }
        if let Some(bytes) = self.own_quota(&self.shared.roots.latest()) {
            self.propose_own(Own::Quota, Command::SetQuota { bytes });
        }
    }

    fn compacted(&mut self, revision: Revision, outcome: &Outcome) {
        match outcome {
            Ok(_) => tracing::info!(revision, "forgot the history before"),
            Err(refusal) => tracing::debug!(revision, ?refusal, "nothing to forget"),
        }
        // If it was refused, somebody else has compacted at least as far.
        self.history.forgotten(self.shared.env.now(), revision);
    }

    /// A compaction goes on with each batch; when none comes, with an empty one.
    pub(super) fn compact_on(&mut self) {
        let route = self.route();
        let idle = self.proposed.is_empty() && self.has_room(route) && !self.shared.is_stopping();
        if !idle || self.compaction_held || self.shared.roots.compaction_finished() {
            return;
        }
        if let Route::Here { reign } = route {
            self.propose(reign, Vec::new(), Vec::new());
        }
    }

    /// Begins a snapshot when the log since the last one would take longer to apply again than the
    /// state to load: byte by byte, that takes about eight times as long.
    pub(super) fn start_snapshot(&mut self) {
        if self.snapshotting.is_some() || self.shared.env.now() < self.snapshot_not_before {
            return;
        }
        let state_bytes = self.shared.roots.latest().bytes();
        let log_bytes = self.shared.log_bytes();
        if log_bytes >= self.limits().log_keep_bytes.max(state_bytes / REPLAY_SHARE) {
            self.snapshotting = Some(self.engine.snapshot_now());
        }
    }

    /// True if a batch of another member that is not settled makes this lease.
    fn is_granted_for_others(&self, lease: LeaseId) -> bool {
        let under_way = self.proposed.iter().any(|proposed| match &proposed.whose {
            Whose::Own(_) => false,
            Whose::Other { forwarded, .. } => forwarded.grants.contains(&lease),
        });
        under_way || self.intake.grants(lease)
    }

    pub(super) fn snapshot_ended(&mut self, result: io::Result<Index>) {
        match result {
            Ok(index) => tracing::info!(%index, "snapshot written"),
            Err(error) => {
                tracing::warn!(%error, "failed to write a snapshot; it is tried again");
                self.shared.snapshot_failed();
                self.snapshot_not_before = self.shared.env.now() + SNAPSHOT_AGAIN;
            }
        }
    }
}
