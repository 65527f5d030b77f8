//! The engine's state in the seam's words.

use crate::engine::Handle;
use crate::runtime::{Instant, Runtime};
use crate::types::{Types, is_sole_voter, seam_index, seam_index_of};
use openraft::errors::Fatal;
use openraft::{AsyncRuntime as _, RaftMetrics, ServerState};
use openraft_rt::{Select2, WatchReceiver as _};
use std::time::Duration;
use synod_env::{Env, MemberId, watch};
use synod_log::{Epoch, Index, Progress, Role, Status};
use synod_storage::Health;

/// Translates what openraft reports from now on.
///
/// A change of role, epoch, leader or membership is passed on at once. Indices change with each
/// write, several times; they are passed on at once after a pause and then every `pace`, so that
/// a busy engine does not wake observers for each step of each write.
///
/// What has stopped the log has stopped the engine, whether openraft has noticed or not.
pub(crate) fn feed(
    env: &Env,
    raft: &Handle,
    health: watch::Receiver<Health>,
    pace: Duration,
) -> watch::Receiver<Status> {
    let all = raft.metrics();
    let mut cluster = raft.server_metrics();
    let mut indices = raft.data_metrics();
    let (sender, receiver) = watch::channel(translate(&all.borrow_watched()));
    env.spawn("raft-status", async move {
        let publish = || {
            let mut status = translate(&all.borrow_watched());
            if status.fatal.is_none() {
                status.fatal.clone_from(&health.borrow().fatal);
            }
            sender.send_if(|held| {
                let differs = *held != status;
                *held = status;
                differs
            });
        };
        let mut ended = false;
        while !ended {
            let changed = match Runtime::select2(cluster.changed(), indices.changed()).await {
                Select2::First(changed) | Select2::Second(changed) => changed,
            };
            publish();
            ended = changed.is_err();
            while !ended {
                match Runtime::select2(cluster.changed(), Runtime::sleep(pace)).await {
                    Select2::First(changed) => {
                        publish();
                        ended = changed.is_err();
                    }
                    Select2::Second(()) => break,
                }
            }
        }
        // openraft's core is gone. If it went without saying why, it panicked.
        sender.send_if(|held| {
            let unexplained = held.fatal.is_none() && all.borrow_watched().running_state.is_ok();
            if unexplained {
                held.fatal = Some("engine ended without saying why".to_owned());
            }
            unexplained
        });
    });
    receiver
}

fn translate(metrics: &RaftMetrics<Types>) -> Status {
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let members = membership
        .nodes()
        .map(|(member, ())| Progress {
            member: MemberId(*member),
            voter: voters.contains(member),
            matched: metrics
                .replication
                .as_ref()
                .and_then(|progress| progress.get(member))
                .map(|matched| seam_index_of(matched.as_ref())),
        })
        .collect();
    Status {
        epoch: Epoch(metrics.current_term),
        leader: metrics.current_leader.map(MemberId),
        role: match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Follower | ServerState::Shutdown => Role::Follower,
        },
        last: metrics.last_log_index.map_or(Index(0), seam_index),
        committed: seam_index_of(metrics.local_committed.as_ref()),
        applied: seam_index_of(metrics.last_applied.as_ref()),
        snapshot: seam_index_of(metrics.snapshot.as_ref()),
        members,
        quorum_contact: quorum_contact(metrics),
        fatal: match &metrics.running_state {
            Ok(()) | Err(Fatal::Stopped) => None,
            Err(error @ (Fatal::StorageError(_) | Fatal::Panicked)) => Some(error.to_string()),
        },
    }
}

fn quorum_contact(metrics: &RaftMetrics<Types>) -> Option<Duration> {
    if metrics.state != ServerState::Leader {
        return None;
    }
    if is_sole_voter(metrics.membership_config.membership(), metrics.id) {
        return Some(Duration::ZERO);
    }
    metrics
        .last_quorum_acked
        .map(|at| <Instant as openraft::Instant>::now() - *at)
}
