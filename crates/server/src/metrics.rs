//! What the server counts, and everything it shows to Prometheus: one list, [`METRICS`].
//!
//! Names are etcd's where the meaning is, so that its dashboards and alerts go on working.

use crate::Server;
use crate::maintenance::indexes;
use crate::methods::{Kind, Method};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use synod_log::{Role, Status};
use synod_state::Root;
use tonic::Code;

/// Counts up; read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// gRPC codes are numbered from 0 to 16.
const CODE_COUNT: usize = 17;

/// How calls of one method began and ended.
#[derive(Debug, Default)]
struct Calls {
    started: Counter,
    handled: [Counter; CODE_COUNT],
}

/// What the server counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) puts: Counter,
    pub(crate) ranges: Counter,
    pub(crate) deletes: Counter,
    pub(crate) txns: Counter,
    pub(crate) proposals_failed: Counter,
    pub(crate) health_successes: Counter,
    pub(crate) health_failures: Counter,
    /// By the method's number.
    calls: Vec<Calls>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            puts: Counter::default(),
            ranges: Counter::default(),
            deletes: Counter::default(),
            txns: Counter::default(),
            proposals_failed: Counter::default(),
            health_successes: Counter::default(),
            health_failures: Counter::default(),
            calls: Method::ALL.iter().map(|_| Calls::default()).collect(),
        }
    }

    fn calls(&self, method: Method) -> &Calls {
        &self.calls[method as usize]
    }
}

/// Counts a call when it begins and, with its code, when it ends. A call that is dropped before
/// it ends was canceled.
#[derive(Debug)]
pub(crate) struct Handling {
    metrics: Arc<Metrics>,
    method: Method,
    code: Code,
}

impl Handling {
    pub(crate) fn begin(metrics: &Arc<Metrics>, method: Method) -> Self {
        metrics.calls(method).started.add(1);
        Self {
            metrics: Arc::clone(metrics),
            method,
            code: Code::Cancelled,
        }
    }

    pub(crate) fn end(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let code = usize::try_from(i32::from(self.code)).expect("codes are not negative");
        self.metrics.calls(self.method).handled[code].add(1);
    }
}

/// What the operating system says about the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// User and system time since the start, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is not swapped out, in bytes.
    pub resident_bytes: u64,
    /// Address space in use, in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most file descriptors that may be open.
    pub max_fds: u64,
    /// When the process started, in seconds since 1970.
    pub start_time_seconds: f64,
}

/// What a scrape sees: everything as of one moment.
struct Sample<'a> {
    server: &'a Server,
    root: Root,
    status: Status,
    watch_streams: usize,
    watchers: usize,
    process: Option<ProcessUsage>,
}

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
}

/// One metric without labels, or whose labels never change.
struct Metric {
    name: &'static str,
    labels: fn(&Sample<'_>) -> String,
    type_: Type,
    help: &'static str,
    /// `None` if it is not known here.
    value: fn(&Sample<'_>) -> Option<f64>,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    value: fn(&Sample<'_>) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        labels: |_| String::new(),
        type_: Type::Counter,
        help,
        value,
    }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    value: fn(&Sample<'_>) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        labels: |_| String::new(),
        type_: Type::Gauge,
        help,
        value,
    }
}

const fn label(
    name: &'static str,
    help: &'static str,
    labels: fn(&Sample<'_>) -> String,
) -> Metric {
    Metric {
        name,
        labels,
        type_: Type::Gauge,
        help,
        value: |_| Some(1.0),
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

/// Everything but the gRPC calls, whose labels make them a table of their own.
const METRICS: &[Metric] = &[
    label(
        "etcd_cluster_version",
        "The API version of the cluster.",
        |s| {
            let version = s.server.config.api_version.of_cluster();
            format!("cluster_version=\"{version}\"")
        },
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
    counter(
        "etcd_mvcc_delete_total",
        "Deletes that this member served.",
        |s| number(s.server.metrics.deletes.get()),
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
    label("etcd_server_id", "This member's number.", |s| {
        format!("server_id=\"{}\"", s.server.node.member())
    }),
    gauge("etcd_server_is_leader", "Whether this member leads.", |s| {
        flag(s.status.role == Role::Leader)
    }),
    gauge(
        "etcd_server_is_learner",
        "Whether this member follows without a vote.",
        |s| flag(s.status.role == Role::Learner),
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
        "etcd_server_quota_backend_bytes",
        "The bound on the state's size.",
        |s| number(s.root.quota_bytes()),
    ),
    label(
        "etcd_server_version",
        "The API version of this member.",
        |s| format!("server_version=\"{}\"", s.server.config.api_version),
    ),
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
    gauge(
        "synod_versions",
        "Versions of keys, history included.",
        |s| count(s.root.version_count()),
    ),
];

/// Everything in Prometheus' text format.
pub(crate) fn render(server: &Server) -> String {
    let (watch_streams, watchers) = server.node.watch_counts();
    let sample = Sample {
        server,
        root: server.node.root(),
        status: server.node.status(),
        watch_streams,
        watchers,
        process: server.config.process_usage.map(|usage| usage()),
    };
    let mut text = String::new();
    for metric in METRICS {
        let Some(value) = (metric.value)(&sample) else {
            continue;
        };
        head(&mut text, metric.name, metric.type_, metric.help);
        line(&mut text, metric.name, &(metric.labels)(&sample), value);
    }
    render_calls(&mut text, &server.metrics);
    text
}

fn render_calls(text: &mut String, metrics: &Metrics) {
    const STARTED: &str = "grpc_server_started_total";
    const HANDLED: &str = "grpc_server_handled_total";

    head(text, STARTED, Type::Counter, "Calls that began.");
    for method in Method::ALL {
        let started = metrics.calls(*method).started.get();
        if started > 0 {
            line(text, STARTED, &method_labels(*method), started);
        }
    }
    head(
        text,
        HANDLED,
        Type::Counter,
        "Calls that ended, by their code.",
    );
    for method in Method::ALL {
        for (code, handled) in (0..).zip(&metrics.calls(*method).handled) {
            let handled = handled.get();
            if handled > 0 {
                let code = code_name(Code::from_i32(code));
                let labels = format!("grpc_code=\"{code}\",{}", method_labels(*method));
                line(text, HANDLED, &labels, handled);
            }
        }
    }
}

fn method_labels(method: Method) -> String {
    let kind = match method.kind() {
        Kind::Unary => "unary",
        Kind::ServerStream => "server_stream",
        Kind::BidiStream => "bidi_stream",
    };
    let (name, service) = (method.name(), method.service());
    format!("grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"")
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

fn head(text: &mut String, name: &str, type_: Type, help: &str) {
    let type_ = match type_ {
        Type::Counter => "counter",
        Type::Gauge => "gauge",
    };
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}").expect(STRINGS_GROW);
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    if labels.is_empty() {
        writeln!(text, "{name} {value}").expect(STRINGS_GROW);
    } else {
        writeln!(text, "{name}{{{labels}}} {value}").expect(STRINGS_GROW);
    }
}

const STRINGS_GROW: &str = "a string takes all that is written to it";
