//! Bounds of a member that a scenario can set.

use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::{HistoryKeep, Limits};

/// Which bound. What each means is said at [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// [`Limits::request_bytes_max`].
    RequestBytes,
    /// [`Limits::proposals_waiting_max`].
    ProposalsWaiting,
    /// [`Limits::batch_commands_max`].
    BatchCommands,
    /// [`Limits::batch_bytes_max`].
    BatchBytes,
    /// [`Limits::batches_inflight_max`].
    BatchesInflight,
    /// [`Limits::state_bytes_max`].
    StateBytes,
    /// [`Limits::compaction_batch_max`].
    CompactionBatch,
    /// [`Limits::watch_stream_bytes_max`].
    WatchStreamBytes,
    /// [`Limits::watch_replay_revisions_max`].
    WatchReplayRevisions,
    /// [`Limits::watch_response_bytes_max`].
    WatchResponseBytes,
    /// [`Limits::lease_expire_batch_max`].
    LeaseExpireBatch,
    /// [`Limits::log_keep_bytes`].
    LogKeepBytes,
    /// [`Limits::log_segment_bytes`].
    LogSegmentBytes,
    /// [`Limits::snapshot_chunk_bytes`].
    SnapshotChunkBytes,
    /// [`Limits::history_keep`], by time in milliseconds.
    HistoryKeepMs,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::RequestBytes,
        Self::ProposalsWaiting,
        Self::BatchCommands,
        Self::BatchBytes,
        Self::BatchesInflight,
        Self::StateBytes,
        Self::CompactionBatch,
        Self::WatchStreamBytes,
        Self::WatchReplayRevisions,
        Self::WatchResponseBytes,
        Self::LeaseExpireBatch,
        Self::LogKeepBytes,
        Self::LogSegmentBytes,
        Self::SnapshotChunkBytes,
        Self::HistoryKeepMs,
    ];

    /// Its name in a scenario file: that of the field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestBytes => "request_bytes_max",
            Self::ProposalsWaiting => "proposals_waiting_max",
            Self::BatchCommands => "batch_commands_max",
            Self::BatchBytes => "batch_bytes_max",
            Self::BatchesInflight => "batches_inflight_max",
            Self::StateBytes => "state_bytes_max",
            Self::CompactionBatch => "compaction_batch_max",
            Self::WatchStreamBytes => "watch_stream_bytes_max",
            Self::WatchReplayRevisions => "watch_replay_revisions_max",
            Self::WatchResponseBytes => "watch_response_bytes_max",
            Self::LeaseExpireBatch => "lease_expire_batch_max",
            Self::LogKeepBytes => "log_keep_bytes",
            Self::LogSegmentBytes => "log_segment_bytes",
            Self::SnapshotChunkBytes => "snapshot_chunk_bytes",
            Self::HistoryKeepMs => "history_keep_ms",
        }
    }

    fn set(self, limits: &mut Limits, value: u64) {
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        match self {
            Self::RequestBytes => limits.request_bytes_max = count,
            Self::ProposalsWaiting => limits.proposals_waiting_max = count,
            Self::BatchCommands => limits.batch_commands_max = count,
            Self::BatchBytes => limits.batch_bytes_max = count,
            Self::BatchesInflight => limits.batches_inflight_max = count,
            Self::StateBytes => limits.state_bytes_max = value,
            Self::CompactionBatch => limits.compaction_batch_max = count,
            Self::WatchStreamBytes => limits.watch_stream_bytes_max = count,
            Self::WatchReplayRevisions => limits.watch_replay_revisions_max = count,
            Self::WatchResponseBytes => limits.watch_response_bytes_max = count,
            Self::LeaseExpireBatch => limits.lease_expire_batch_max = count,
            Self::LogKeepBytes => limits.log_keep_bytes = value,
            Self::LogSegmentBytes => limits.log_segment_bytes = value,
            Self::SnapshotChunkBytes => limits.snapshot_chunk_bytes = count,
            Self::HistoryKeepMs => {
                limits.history_keep = HistoryKeep::For(Duration::from_millis(value));
            }
        }
    }
}

/// What a simulated member is bound by where a scenario says nothing: as in production, but with
/// a log of small segments, since every crash looks through all of them.
#[must_use]
pub fn limits(changed: &BTreeMap<Limit, u64>) -> Limits {
    let mut limits = Limits {
        log_segment_bytes: 1 << 20,
        log_keep_bytes: 1 << 20,
        batch_bytes_max: 16 << 10,
        request_bytes_max: 16 << 10,
        request_timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    for (limit, value) in changed {
        limit.set(&mut limits, *value);
    }
    limits
}
