//! Every option of `synod serve`: first those that do something, then those that are etcd's.

use super::definition::Group::{Addresses, Cluster, Etcd, Http, Limits, Member, Output, Timing};
use super::definition::Standing::{NoEffect, OnlyAs, Works};
use super::definition::Value::{
    Bytes, Count, Duration, Members, Millis, Names, OneOf, Path, Seconds, Switch, Text, Urls,
};
use super::definition::{Definition, Standing};

/// What may be logged, from the least important; etcd's higher levels are taken for the last.
pub(super) const LEVELS: &[&str] = &["debug", "info", "warn", "error"];

/// etcd's feature gates, and why none changes anything.
pub(super) static FEATURE_GATES: &[(&str, &str)] = &[
    ("AllAlpha", "none of etcd's features is optional here"),
    ("AllBeta", "none of etcd's features is optional here"),
    ("CompactHashCheck", ALONE),
    (
        "FastLeaseKeepAlive",
        "a lease is kept alive without a write",
    ),
    ("InitialCorruptCheck", ALONE),
    ("LeaseCheckpoint", LEASES),
    ("LeaseCheckpointPersist", LEASES),
    ("PriorityRequest", "requests are admitted by their size"),
    ("SetMemberLocalAddr", LINKS),
    ("StopGRPCServiceOnDefrag", "there is nothing to defragment"),
    ("TxnModeWriteWithSharedBuffer", ENGINE),
];

/// Rows of a name, the form of its value, its default, and what it does.
macro_rules! options {
    ($($group:ident $name:literal $value:expr, $default:literal, $help:expr;)*) => {
        &[$(Definition {
            name: $name,
            value: $value,
            default: $default,
            help: $help,
            standing: Works,
            group: $group,
        }),*]
    };
}

/// The options that do something, in the order of the help text.
pub(super) static OPTIONS: &[Definition] = options! {
    Member "name" Text, "default",
        "This member's name.";
    Member "data-dir" Path, "<name>.synod",
        "Where everything durable is kept; made on the first start.";
    Member "config-file" Path, "",
        "Options from a file, and then from nowhere else: TOML if its name ends in .toml, else YAML.";
    Member "server-threads" Count, "2",
        "Threads that speak with clients. Consensus and disk have their own.";
    Member "api-version" Text, "3.6.4",
        "The version of etcd that clients are told, for those that look at it.";
    Member "feature-gates" Names, "",
        "etcd's, as GATE=true: those that are known change nothing here, others are refused.";

    Addresses "listen-client-urls" Urls, "http://localhost:2379",
        "Where clients are served: http://HOST:PORT or unix://PATH. Port 0 takes a free one.";
    Addresses "advertise-client-urls" Urls, "as listen-client-urls",
        "What clients are told when they list the members.";
    Addresses "listen-metrics-urls" Urls, "",
        "Where metrics and health are served beside the client ports, and nothing else.";
    Addresses "listen-peer-urls" Urls, "http://localhost:2380",
        "Where other members are heard; a single member does not open it.";
    Addresses "socket-reuse-port" Switch, "false",
        "Listens on ports that other processes share. Two members that do answer in turns.";

    Cluster "initial-advertise-peer-urls" Urls, "http://localhost:2380",
        "This member's address for others; its number is made from it.";
    Cluster "initial-cluster" Members, "this member alone",
        "The first members. More than one is not there yet.";
    Cluster "initial-cluster-state" OneOf(&["new", "existing"]), "new",
        "Whether a first start makes a cluster or joins one.";
    Cluster "initial-cluster-token" Text, "etcd-cluster",
        "Keeps clusters with equal addresses apart.";

    Limits "quota-backend-bytes" Bytes, "2GiB",
        "Size of the state, history included; beyond it writes are refused. 0 is the default.";
    Limits "max-request-bytes" Bytes, "1.5MiB",
        "Largest request a client may send.";
    Limits "max-txn-ops" Count, "128",
        "Most operations in one transaction.";
    Limits "max-concurrent-streams" Count, "65536",
        "Most requests and streams at a time on one connection; a larger number counts as this one.";
    Limits "compaction-batch-limit" Count, "1000",
        "Old revisions removed with each applied batch after a compaction.";
    Limits "auto-compaction-retention" Text, "0",
        "How much history is kept by itself: a time, a bare number being hours; 0 for all.";
    Limits "auto-compaction-mode" OneOf(&["periodic", "revision"]), "periodic",
        "With `revision` the retention is a number of revisions instead of a time.";

    Timing "heartbeat-interval" Millis, "100",
        "Milliseconds between a leader's heartbeats.";
    Timing "election-timeout" Millis, "1000",
        "Milliseconds without a leader before an election; at least 5 heartbeats.";
    Timing "watch-progress-notify-interval" Duration, "10m",
        "How often an idle watch that asked for it hears the revision; at least 100ms.";
    Timing "grpc-keepalive-interval" Duration, "2h",
        "How often a quiet connection is asked for a sign of life; at least 1s.";
    Timing "grpc-keepalive-timeout" Duration, "20s",
        "How long that sign may take before the connection is closed; at least 1s.";

    Http "enable-grpc-gateway" Switch, "true",
        "Whether /v3/ is served: the same requests in JSON, for those who do not speak gRPC.";
    Http "cors" Names, "*",
        "Origins whose pages may read answers in a browser; * is all. Not for gRPC.";
    Http "host-whitelist" Names, "*",
        "Names under which HTTP requests are answered, without ports; * is all. Not for gRPC.";

    Output "log-level" OneOf(LEVELS), "info",
        "What is logged.";
    Output "log-format" OneOf(&["text", "json"]), "text",
        "How it is logged: for people, or one JSON object a line as etcd's. console is text.";
    Output "log-outputs" Text, "stderr",
        "Where it is logged: stderr, stdout or files, separated by commas. default is stderr.";
    Output "ports-file" Path, "",
        "Once serving, the addresses in use are written here, one `client=URL` a line.";
};

/// Rows of a name, the form of its value, etcd's default, what becomes of it, and why.
macro_rules! of_etcd {
    ($($name:literal $value:expr, $default:literal, $standing:expr, $help:expr;)*) => {
        &[$(Definition {
            name: $name,
            value: $value,
            default: $default,
            help: $help,
            standing: $standing,
            group: Etcd,
        }),*]
    };
}

/// Accepted only with its default.
const NOT_THERE: Standing = OnlyAs(&[]);

const TLS: &str = "TLS is not there yet; serve on loopback, or behind a proxy that ends TLS";
const DISCOVERY: &str = "discovery is not there yet; name the members in --initial-cluster";
const OF_DISCOVERY: &str = "belongs to discovery, which is not there yet";
const AUTH: &str = "users and roles are not there yet; whoever reaches the port may do everything";
const TRACING: &str = "exporting traces is not there yet; see /metrics";
const ENGINE: &str = "belongs to etcd's storage engine, which Synod does not have";
const LINKS: &str = "links between members time out by themselves";
const ROTATION: &str = "log lines are appended: let the journal or logrotate (copytruncate) rotate";
const V2: &str = "belongs to etcd's v2 interface, which Synod does not have; use v3";
const PROXY: &str = "etcd removed its v2 proxy; point clients at the member itself";
const LEASES: &str = "what is left of a long lease is always replicated";
const IGNORED: &str = "etcd has ignored it since version 2";
const ALONE: &str = "compares members with each other, and there is one";

/// The options of etcd 3.5, 3.6 and 3.7 that do nothing here. Whatever only tunes etcd's inside is
/// accepted, so that a unit file written for etcd starts Synod; whatever asks for protection that
/// is not there is refused.
pub(super) static OF_ETCD: &[Definition] = of_etcd! {
    "snapshot-count" Count, "10000", NoEffect, "snapshots follow the bytes written, not a count";
    "snapshot-catchup-entries" Count, "5000", NoEffect, "the log kept is measured in bytes";
    "max-snapshots" Count, "5", NoEffect, "old snapshots are removed when no longer needed";
    "max-wals" Count, "5", NoEffect, "log segments are recycled when no longer needed";
    "backend-bbolt-freelist-type" Text, "map", NoEffect, ENGINE;
    "backend-batch-interval" Duration, "0s", NoEffect, ENGINE;
    "backend-batch-limit" Count, "0", NoEffect, ENGINE;
    "bootstrap-defrag-threshold-megabytes" Count, "0", NoEffect, ENGINE;
    "txn-mode-write-with-shared-buffer" Switch, "true", NoEffect, ENGINE;
    "stop-grpc-service-on-defrag" Switch, "false", NoEffect, "there is nothing to defragment";
    "compaction-sleep-interval" Duration, "0s", NoEffect, "compaction follows the applied batches";
    "compact-hash-check-enabled" Switch, "false", NoEffect, ALONE;
    "compact-hash-check-time" Duration, "1m", NoEffect, ALONE;
    "initial-corrupt-check" Switch, "false", NoEffect,
        "compares members with each other, and there is one; what is read from disk is always checked";
    "corrupt-check-time" Duration, "0s", NoEffect, ALONE;
    "strict-reconfig-check" Switch, "true", NoEffect, "this check cannot be turned off";
    "pre-vote" Switch, "true", NoEffect, "pre-vote cannot be turned off";
    "initial-election-tick-advance" Switch, "true", NoEffect, "a member alone is elected at once";
    "downgrade-check-time" Duration, "5s", NoEffect, "members agree on a level in the log";
    "raft-read-timeout" Duration, "5s", NoEffect, LINKS;
    "raft-write-timeout" Duration, "5s", NoEffect, LINKS;
    "set-member-localaddr" Switch, "false", NoEffect, LINKS;
    "max-learners" Count, "1", NoEffect, "one member has no learners";
    "wait-cluster-ready-timeout" Duration, "5s", NoEffect, "a member serves once it can answer";
    "enable-lease-checkpoint" Switch, "false", NoEffect, LEASES;
    "enable-lease-checkpoint-persist" Switch, "false", NoEffect, LEASES;
    "warning-apply-duration" Duration, "100ms", NoEffect, "slow steps are counted in /metrics";
    "warning-unary-request-duration" Duration, "300ms", NoEffect,
        "slow requests are counted in /metrics";
    "grpc-keepalive-min-time" Duration, "5s", NoEffect, "clients may ping as often as they like";
    "socket-reuse-address" Switch, "false", NoEffect,
        "a port that lingers after its process has ended is always taken";
    "metrics" OneOf(&["basic", "extensive"]), "basic", NoEffect,
        "there is one list of metrics, and the times of calls are in it";
    "enable-pprof" Switch, "false", NoEffect, "there are no profiles over HTTP; use perf";
    "bcrypt-cost" Count, "10", NoEffect, AUTH;
    "auth-token-ttl" Seconds, "300", NoEffect, AUTH;
    "tls-min-version" OneOf(&["TLS1.2", "TLS1.3"]), "TLS1.2", NoEffect, TLS;
    "tls-max-version" OneOf(&["TLS1.2", "TLS1.3", ""]), "", NoEffect, TLS;
    "cipher-suites" Names, "", NoEffect, TLS;
    "self-signed-cert-validity" Count, "1", NoEffect, TLS;
    "v2-deprecation" Text, "write-only-drop-data", NoEffect, V2;
    "proxy-failure-wait" Millis, "5000", NoEffect, PROXY;
    "proxy-refresh-interval" Millis, "30000", NoEffect, PROXY;
    "proxy-dial-timeout" Millis, "1000", NoEffect, PROXY;
    "proxy-write-timeout" Millis, "5000", NoEffect, PROXY;
    "proxy-read-timeout" Millis, "0", NoEffect, PROXY;
    "discovery-dial-timeout" Duration, "2s", NoEffect, OF_DISCOVERY;
    "discovery-request-timeout" Duration, "5s", NoEffect, OF_DISCOVERY;
    "discovery-keepalive-time" Duration, "2s", NoEffect, OF_DISCOVERY;
    "discovery-keepalive-timeout" Duration, "6s", NoEffect, OF_DISCOVERY;
    "discovery-insecure-transport" Switch, "true", NoEffect, OF_DISCOVERY;
    "discovery-insecure-skip-tls-verify" Switch, "false", NoEffect, OF_DISCOVERY;
    "discovery-fallback" OneOf(&["exit", "proxy"]), "exit", NoEffect, OF_DISCOVERY;
    "distributed-tracing-address" Text, "localhost:4317", NoEffect, TRACING;
    "distributed-tracing-service-name" Text, "etcd", NoEffect, TRACING;
    "distributed-tracing-instance-id" Text, "", NoEffect, TRACING;
    "distributed-tracing-sampling-rate" Count, "0", NoEffect, TRACING;

    "cluster-active-size" Switch, "", NoEffect, IGNORED;
    "cluster-remove-delay" Switch, "", NoEffect, IGNORED;
    "cluster-sync-interval" Switch, "", NoEffect, IGNORED;
    "config" Switch, "", NoEffect, IGNORED;
    "force" Switch, "", NoEffect, IGNORED;
    "max-result-buffer" Switch, "", NoEffect, IGNORED;
    "max-retry-attempts" Switch, "", NoEffect, IGNORED;
    "peer-election-timeout" Switch, "", NoEffect, IGNORED;
    "peer-heartbeat-interval" Switch, "", NoEffect, IGNORED;
    "retry-interval" Switch, "", NoEffect, IGNORED;
    "snapshot" Switch, "", NoEffect, IGNORED;
    "v" Switch, "", NoEffect, IGNORED;
    "vv" Switch, "", NoEffect, IGNORED;

    "auth-token" Text, "simple", NOT_THERE, AUTH;
    "cert-file" Path, "", NOT_THERE, TLS;
    "key-file" Path, "", NOT_THERE, TLS;
    "trusted-ca-file" Path, "", NOT_THERE, TLS;
    "client-cert-auth" Switch, "false", NOT_THERE, TLS;
    "client-cert-file" Path, "", NOT_THERE, TLS;
    "client-key-file" Path, "", NOT_THERE, TLS;
    "client-crl-file" Path, "", NOT_THERE, TLS;
    "client-cert-allowed-cn" Names, "", NOT_THERE, TLS;
    "client-cert-allowed-hostname" Names, "", NOT_THERE, TLS;
    "auto-tls" Switch, "false", NOT_THERE, TLS;
    "peer-cert-file" Path, "", NOT_THERE, TLS;
    "peer-key-file" Path, "", NOT_THERE, TLS;
    "peer-trusted-ca-file" Path, "", NOT_THERE, TLS;
    "peer-client-cert-auth" Switch, "false", NOT_THERE, TLS;
    "peer-client-cert-file" Path, "", NOT_THERE, TLS;
    "peer-client-key-file" Path, "", NOT_THERE, TLS;
    "peer-cert-allowed-cn" Names, "", NOT_THERE, TLS;
    "peer-cert-allowed-hostname" Names, "", NOT_THERE, TLS;
    "peer-skip-client-san-verification" Switch, "false", NOT_THERE, TLS;
    "peer-auto-tls" Switch, "false", NOT_THERE, TLS;
    "peer-crl-file" Path, "", NOT_THERE, TLS;
    "wal-dir" Path, "", NOT_THERE, "the log is kept inside --data-dir; put that on the fast disk";
    "memory-mlock" Switch, "false", NOT_THERE,
        "locking memory is not there yet; turn swap off for the service (MemorySwapMax=0)";
    "listen-client-http-urls" Urls, "", NOT_THERE,
        "one port serves gRPC and HTTP; name it in --listen-client-urls";
    "logger" Text, "zap", NOT_THERE, "there is one logger; see --log-format";
    "enable-log-rotation" Switch, "false", NOT_THERE, ROTATION;
    "log-rotation-config-json" Text,
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        NoEffect, ROTATION;
    "discovery" Urls, "", NOT_THERE, DISCOVERY;
    "discovery-token" Text, "", NOT_THERE, DISCOVERY;
    "discovery-endpoints" Urls, "", NOT_THERE, DISCOVERY;
    "discovery-srv" Text, "", NOT_THERE, DISCOVERY;
    "discovery-srv-name" Text, "", NOT_THERE, DISCOVERY;
    "discovery-proxy" Text, "", NOT_THERE, DISCOVERY;
    "discovery-cert" Path, "", NOT_THERE, DISCOVERY;
    "discovery-key" Path, "", NOT_THERE, DISCOVERY;
    "discovery-cacert" Path, "", NOT_THERE, DISCOVERY;
    "discovery-user" Text, "", NOT_THERE, DISCOVERY;
    "discovery-password" Text, "", NOT_THERE, DISCOVERY;
    "enable-distributed-tracing" Switch, "false", NOT_THERE, TRACING;
    "enable-v2" Switch, "false", NOT_THERE, V2;
    "enable-v2v3" Text, "", NOT_THERE, V2;
    "proxy" Text, "off", NOT_THERE, PROXY;
    "force-new-cluster" Switch, "false", NOT_THERE,
        "a member alone needs no recovery of a lost quorum; start it without";
    "unsafe-no-fsync" Switch, "false", NOT_THERE,
        "an acknowledged write is durable, always; for tests put --data-dir on a tmpfs";
};
