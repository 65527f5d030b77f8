//! Every bound of a member in one place, so that tests can shrink them all.

use std::time::Duration;

/// Bounds on queues, batches, sizes and counts. Defaults are for production; the simulator draws
/// them from 1 upwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest encoded request, in bytes (etcd `--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Most operations in one branch of a transaction (etcd `--max-txn-ops`).
    pub txn_ops_max: usize,
    /// Commands waiting for the proposer; beyond it a request is refused as too many.
    pub proposals_waiting_max: usize,
    /// Commands in one log entry.
    pub batch_commands_max: usize,
    /// Encoded bytes in one log entry, unless one command alone is larger.
    pub batch_bytes_max: usize,
    /// Log entries proposed and not yet applied.
    pub batches_inflight_max: usize,
    /// Bytes of live and historical records plus leases (etcd `--quota-backend-bytes`).
    pub state_bytes_max: u64,
    /// Records removed by compaction with each applied batch.
    pub compaction_batch_max: usize,
    /// What a leader has the cluster forget by itself (etcd `--auto-compaction-mode` and
    /// `--auto-compaction-retention`).
    pub history_keep: HistoryKeep,
    /// Encoded events waiting in one watch stream before its watchers fall back to replay.
    pub watch_stream_bytes_max: usize,
    /// Revisions replayed to a catching-up watcher at a time.
    pub watch_replay_revisions_max: usize,
    /// Events one watch response may hold before it is cut (only with `fragment`), in bytes.
    pub watch_response_bytes_max: usize,
    /// Watch streams of one member.
    pub watch_streams_max: usize,
    /// Watchers of one member.
    pub watchers_max: usize,
    /// Leases expired by one command.
    pub lease_expire_batch_max: usize,
    /// Log bytes kept behind the last snapshot, so that a short restart needs none.
    pub log_keep_bytes: u64,
    /// Size of one log segment in bytes.
    pub log_segment_bytes: u64,
    /// Target size of a snapshot chunk in bytes.
    pub snapshot_chunk_bytes: usize,
    /// How long a request without a deadline of its own may take.
    pub request_timeout: Duration,
    /// How often a member says hello to another that it is not linked with.
    pub peer_hello_interval: Duration,
    /// Messages of other members that wait in one lane of one service; more are dropped.
    pub peer_messages_waiting_max: usize,
    /// Bytes that wait in one lane of one service, unless a single message is larger.
    pub peer_bytes_waiting_max: usize,
    /// Requests of this member to others that wait for an answer; more are not sent.
    pub peer_asks_max: usize,
}

/// How much of its history a cluster keeps. What is older is forgotten from time to time, not at
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryKeep {
    /// All of it, until somebody compacts.
    Everything,
    /// That many revisions.
    Revisions(u64),
    /// What was the present at any time within so long; not zero.
    For(Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 1_572_864,
            txn_ops_max: 128,
            proposals_waiting_max: 16_384,
            batch_commands_max: 1_024,
            batch_bytes_max: 1 << 20,
            batches_inflight_max: 8,
            state_bytes_max: 2 << 30,
            compaction_batch_max: 1_000,
            history_keep: HistoryKeep::Everything,
            watch_stream_bytes_max: 4 << 20,
            watch_replay_revisions_max: 1_000,
            watch_response_bytes_max: 2_097_152,
            watch_streams_max: 100_000,
            watchers_max: 1_000_000,
            lease_expire_batch_max: 1_000,
            log_keep_bytes: 64 << 20,
            log_segment_bytes: 64 << 20,
            snapshot_chunk_bytes: 1 << 20,
            request_timeout: Duration::from_secs(7),
            peer_hello_interval: Duration::from_millis(100),
            peer_messages_waiting_max: 1_024,
            peer_bytes_waiting_max: 64 << 20,
            peer_asks_max: 16_384,
        }
    }
}
