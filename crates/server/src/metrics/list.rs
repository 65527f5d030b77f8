//! What is shown, by which name, and where it comes from.

use super::text::{Sample, Series};
use super::{Calls, Outcome};
use crate::maintenance::{alarm_name, indexes};
use crate::methods::{Kind, Method};
use synod_log::Role;
use synod_state::command::Alarm;
use tonic::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) type_: Type,
    /// The names of its labels, if it has any.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) value: Value,
}

/// Where the values of a metric come from.
pub(super) enum Value {
    /// One without labels; `None` if it is not known here.
    One(fn(&Sample<'_>) -> Option<f64>),
    /// Any number of them.
    Many(fn(&Sample<'_>, &mut Series<'_>)),
}

type One = fn(&Sample<'_>) -> Option<f64>;
type Many = fn(&Sample<'_>, &mut Series<'_>);

const fn counter(name: &'static str, help: &'static str, value: One) -> Metric {
    Metric {
        name,
        type_: Type::Counter,
        labels: &[],
        help,
        value: Value::One(value),
    }
}

const fn gauge(name: &'static str, help: &'static str, value: One) -> Metric {
    Metric {
        name,
        type_: Type::Gauge,
        labels: &[],
        help,
        value: Value::One(value),
    }
}

const fn many(
    name: &'static str,
    type_: Type,
    labels: &'static [&'static str],
    help: &'static str,
    values: Many,
) -> Metric {
    Metric {
        name,
        type_,
        labels,
        help,
        value: Value::Many(values),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
const fn number(number: u64) -> Option<f64> {
    Some(number as f64)
}

fn count(count: usize) -> Option<f64> {
    number(u64::try_from(count).expect("a count fits"))
}

fn flag(flag: bool) -> Option<f64> {
    Some(if flag { 1.0 } else { 0.0 })
}

fn signed(number: i64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus knows no other numbers"
    )]
    Some(number as f64)
}

/// Everything that is shown, in the order of the names.
pub(super) const METRICS: &[Metric] = &[
    many(
        "etcd_cluster_version",
        Type::Gauge,
        &["cluster_version"],
        "The API version of the cluster.",
        |s, series| {
            let version = s.server.config.api_version.of_cluster();
            series.one(&[&version.to_string()], 1);
        },
    ),
    counter(
        "etcd_debugging_lease_granted_total",
        "Leases that this member granted to clients.",
        |s| number(s.server.metrics.leases_granted.get()),
    ),
    counter(
        "etcd_debugging_lease_renewed_total",
        "Renewals of leases that this member answered.",
        |s| number(s.server.metrics.leases_renewed.get()),
    ),
    counter(
        "etcd_debugging_lease_revoked_total",
        "Leases that clients of this member revoked.",
        |s| number(s.server.metrics.leases_revoked.get()),
    ),
    gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The oldest readable revision.",
        |s| signed(s.root.compact_revision()),
    ),
    gauge(
        "etcd_debugging_mvcc_current_revision",
        "The store's revision.",
        |s| signed(s.root.revision()),
    ),
    counter(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of keys and values that this member put.",
        |s| number(s.server.metrics.put_bytes.get()),
    ),
    gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Open watch streams.",
        |s| count(s.watch_streams),
    ),
    gauge(
        "etcd_debugging_mvcc_watcher_total",
        "Watchers of all streams.",
        |s| count(s.watchers),
    ),
    many(
        "etcd_debugging_server_alarms",
        Type::Gauge,
        &["server_id", "alarm_type"],
        "Alarms that are raised.",
        |s, series| {
            for Alarm { kind, member } in s.root.alarms() {
                series.one(&[&format!("{:x}", member.0), alarm_name(kind)], 1);
            }
        },
    ),
    many(
        "etcd_disk_backend_commit_duration_seconds",
        Type::Histogram,
        &[],
        "Time to apply to the state what was committed together. The state is in memory: no disk has a part in it.",
        |s, series| series.histogram(&[], &s.server.node.times().apply.counted()),
    ),
    many(
        "etcd_disk_wal_fsync_duration_seconds",
        Type::Histogram,
        &[],
        "Time to make what had gathered for the log durable, failures included.",
        |s, series| series.histogram(&[], &s.server.node.times().log_sync.counted()),
    ),
    gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Size of the state, history included.",
        |s| number(s.root.bytes()),
    ),
    gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Size of the state that compaction has left.",
        |s| number(s.root.bytes()),
    ),
    counter(
        "etcd_mvcc_delete_total",
        "Deletes that this member served.",
        |s| number(s.server.metrics.deletes.get()),
    ),
    counter(
        "etcd_mvcc_put_total",
        "Puts that this member served.",
        |s| number(s.server.metrics.puts.get()),
    ),
    counter(
        "etcd_mvcc_range_total",
        "Ranges that this member served.",
        |s| number(s.server.metrics.ranges.get()),
    ),
    counter(
        "etcd_mvcc_txn_total",
        "Transactions that this member served.",
        |s| number(s.server.metrics.txns.get()),
    ),
    counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of gRPC messages from clients.",
        |s| number(s.server.metrics.received_bytes.get()),
    ),
    counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of gRPC messages to clients.",
        |s| number(s.server.metrics.sent_bytes.get()),
    ),
    gauge(
        "etcd_server_has_leader",
        "Whether this member knows a leader.",
        |s| flag(s.status.leader.is_some()),
    ),
    counter(
        "etcd_server_health_failures",
        "Failed health checks.",
        |s| number(s.server.metrics.health_failures.get()),
    ),
    counter(
        "etcd_server_health_success",
        "Successful health checks.",
        |s| number(s.server.metrics.health_successes.get()),
    ),
    many(
        "etcd_server_healthcheck",
        Type::Gauge,
        &["type", "name"],
        "Whether a check of `/livez` or `/readyz` succeeded when it was last made.",
        |s, series| s.server.metrics.probes.write_latest(series),
    ),
    many(
        "etcd_server_healthchecks_total",
        Type::Counter,
        &["type", "name", "status"],
        "Checks that were made for `/livez` and `/readyz`.",
        |s, series| s.server.metrics.probes.write_totals(series),
    ),
    many(
        "etcd_server_id",
        Type::Gauge,
        &["server_id"],
        "This member's number.",
        |s, series| {
            let id = s.server.node.member();
            series.one(&[&id.to_string()], 1);
        },
    ),
    gauge("etcd_server_is_leader", "Whether this member leads.", |s| {
        flag(s.status.role == Role::Leader)
    }),
    gauge(
        "etcd_server_is_learner",
        "Whether this member follows without a vote.",
        |s| flag(s.status.role == Role::Learner),
    ),
    counter(
        "etcd_server_leader_changes_seen_total",
        "Leaders that this member has seen come.",
        |s| number(s.server.node.leaders_seen()),
    ),
    gauge(
        "etcd_server_proposals_applied_total",
        "The last applied log index.",
        |s| number(indexes(&s.root, &s.status).1),
    ),
    gauge(
        "etcd_server_proposals_committed_total",
        "The last committed log index.",
        |s| number(indexes(&s.root, &s.status).0),
    ),
    counter(
        "etcd_server_proposals_failed_total",
        "Proposals that were not done, or of which nobody knows.",
        |s| number(s.server.metrics.proposals_failed.get()),
    ),
    gauge(
        "etcd_server_proposals_pending",
        "Proposals of this member whose outcome is awaited.",
        |s| count(s.server.node.proposals_pending()),
    ),
    gauge(
        "etcd_server_quota_backend_bytes",
        "The bound on the state's size.",
        |s| number(s.root.quota_bytes()),
    ),
    counter(
        "etcd_server_read_indexes_failed_total",
        "Linearizable reads that this member could not vouch for.",
        |s| number(s.server.metrics.reads_failed.get()),
    ),
    many(
        "etcd_server_version",
        Type::Gauge,
        &["server_version"],
        "The API version of this member.",
        |s, series| {
            let version = s.server.config.api_version;
            series.one(&[&version.to_string()], 1);
        },
    ),
    many(
        "grpc_server_handled_total",
        Type::Counter,
        &["grpc_code", "grpc_method", "grpc_service", "grpc_type"],
        "Calls that ended, by their code.",
        write_handled,
    ),
    many(
        "grpc_server_handling_seconds",
        Type::Histogram,
        &["grpc_method", "grpc_service", "grpc_type"],
        "Time from the first byte of a call to its end, whatever it came to.",
        write_times,
    ),
    many(
        "grpc_server_started_total",
        Type::Counter,
        &["grpc_method", "grpc_service", "grpc_type"],
        "Calls that began, those of the JSON gateway included.",
        write_started,
    ),
    gauge(
        "os_fd_limit",
        "Most file descriptors that may be open.",
        |s| s.process.and_then(|process| number(process.max_fds)),
    ),
    gauge("os_fd_used", "Open file descriptors.", |s| {
        s.process.and_then(|process| number(process.open_fds))
    }),
    counter("process_cpu_seconds_total", "User and system time.", |s| {
        s.process.map(|process| process.cpu_seconds)
    }),
    gauge(
        "process_max_fds",
        "Most file descriptors that may be open.",
        |s| s.process.and_then(|process| number(process.max_fds)),
    ),
    gauge("process_open_fds", "Open file descriptors.", |s| {
        s.process.and_then(|process| number(process.open_fds))
    }),
    gauge(
        "process_resident_memory_bytes",
        "Memory that is not swapped out.",
        |s| s.process.and_then(|process| number(process.resident_bytes)),
    ),
    gauge(
        "process_start_time_seconds",
        "When the process started, since 1970.",
        |s| s.process.map(|process| process.start_time_seconds),
    ),
    gauge(
        "process_virtual_memory_bytes",
        "Address space in use.",
        |s| s.process.and_then(|process| number(process.virtual_bytes)),
    ),
    gauge("synod_leases", "Leases.", |s| count(s.root.lease_count())),
    many(
        "synod_request_seconds",
        Type::Histogram,
        &["outcome"],
        "Time that unary calls took, by what they came to: `done`, `refused`, `timed_out`, `canceled` or `failed`.",
        |s, series| {
            for (outcome, times) in Outcome::ALL.iter().zip(&s.server.metrics.unary_times) {
                series.histogram(&[outcome.name()], &times.counted());
            }
        },
    ),
    gauge(
        "synod_scans",
        "Snapshots and hashes that are being made for clients.",
        |s| count(s.server.scans.under_way()),
    ),
    gauge(
        "synod_versions",
        "Versions of keys, history included.",
        |s| count(s.root.version_count()),
    ),
];

fn calls<'a>(sample: &'a Sample<'_>) -> impl Iterator<Item = ([&'static str; 3], &'a Calls)> {
    Method::ALL.iter().filter_map(|method| {
        let calls = sample.server.metrics.calls(*method);
        (calls.started.get() > 0).then(|| (method_labels(*method), calls))
    })
}

fn write_started(sample: &Sample<'_>, series: &mut Series<'_>) {
    for (labels, calls) in calls(sample) {
        series.one(&labels, calls.started.get());
    }
}

fn write_handled(sample: &Sample<'_>, series: &mut Series<'_>) {
    for (labels, calls) in calls(sample) {
        for (code, handled) in (0..).zip(&calls.handled) {
            let handled = handled.get();
            if handled > 0 {
                let code = code_name(Code::from_i32(code));
                let [method, service, kind] = labels;
                series.one(&[code, method, service, kind], handled);
            }
        }
    }
}

fn write_times(sample: &Sample<'_>, series: &mut Series<'_>) {
    for (labels, calls) in calls(sample) {
        series.histogram(&labels, &calls.times.counted());
    }
}

fn method_labels(method: Method) -> [&'static str; 3] {
    let kind = match method.kind() {
        Kind::Unary => "unary",
        Kind::ServerStream => "server_stream",
        Kind::BidiStream => "bidi_stream",
    };
    [method.name(), method.service(), kind]
}

/// As the Go libraries spell it, because dashboards do.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
