//! The one definition of every option of `synod serve`.
//!
//! A row `listen-client-urls` is at once the flag `--listen-client-urls`, the environment names
//! `SYNOD_LISTEN_CLIENT_URLS` and `ETCD_LISTEN_CLIENT_URLS`, and the key of that name in the
//! configuration file. The help text and `docs/reference/config.md` are printed from these rows.

/// One option.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name: the flag without dashes in front.
    pub(crate) name: &'static str,
    /// What a value looks like, for help.
    pub(crate) form: &'static str,
    /// The value it has when nobody sets it, as a person would write it.
    pub(crate) default: &'static str,
    /// What it does, in one sentence; for options without effect, why.
    pub(crate) help: &'static str,
    /// What Synod makes of it.
    pub(crate) standing: Standing,
    /// Where help lists it.
    pub(crate) group: Group,
}

/// What Synod makes of an option that an etcd operator may have set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what its help says.
    Works,
    /// It may be set to anything and changes nothing; the start says so.
    NoEffect,
    /// Only the values listed here are accepted, because they ask for what happens anyway. Any
    /// other is refused: serving without what was asked for could cost data or secrecy.
    OnlyAs(&'static [&'static str]),
}

/// Chapters of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Name and place of the data.
    Member,
    /// Addresses.
    Addresses,
    /// The first start of a cluster.
    Cluster,
    /// Bounds.
    Limits,
    /// Intervals.
    Timing,
    /// Logs and files for other programs.
    Output,
    /// Accepted for etcd's sake.
    Etcd,
}

impl Group {
    /// The chapter's title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Addresses => "Addresses",
            Self::Cluster => "First start of a cluster",
            Self::Limits => "Limits",
            Self::Timing => "Timing",
            Self::Output => "Output",
            Self::Etcd => "etcd options without effect, or not there yet",
        }
    }
}

impl Definition {
    /// True if a bare flag without a value means `true`.
    pub(crate) fn is_switch(&self) -> bool {
        self.form == "true|false"
    }
}

/// The row of that name.
pub(crate) fn find(name: &str) -> Option<&'static Definition> {
    OPTIONS.iter().find(|option| option.name == name)
}

const fn works(
    group: Group,
    name: &'static str,
    form: &'static str,
    default: &'static str,
    help: &'static str,
) -> Definition {
    Definition {
        name,
        form,
        default,
        help,
        standing: Standing::Works,
        group,
    }
}

const fn no_effect(name: &'static str, form: &'static str, help: &'static str) -> Definition {
    let (default, standing, group) = ("", Standing::NoEffect, Group::Etcd);
    Definition {
        name,
        form,
        default,
        help,
        standing,
        group,
    }
}

const fn only_as(
    name: &'static str,
    form: &'static str,
    accepted: &'static [&'static str],
    help: &'static str,
) -> Definition {
    let (default, group) = ("", Group::Etcd);
    Definition {
        name,
        form,
        default,
        help,
        standing: Standing::OnlyAs(accepted),
        group,
    }
}

const OFF: &[&str] = &["false", ""];
const ON: &[&str] = &["true"];
const UNSET: &[&str] = &[""];
const TLS: &str = "TLS is not there yet; serve on loopback, or behind a proxy that ends TLS";
const DISCOVERY: &str = "discovery is not there yet; name the members in --initial-cluster";
const AUTH: &str = "users and roles are not there yet";
const TRACING: &str = "exporting traces is not there yet";
const ENGINE: &str = "belongs to etcd's storage engine, which Synod does not have";

/// Every option, in the order of the help text.
pub(crate) static OPTIONS: &[Definition] = &[
    works(
        Group::Member,
        "name",
        "<text>",
        "default",
        "This member's name.",
    ),
    works(
        Group::Member,
        "data-dir",
        "<path>",
        "<name>.synod",
        "Where everything durable is kept; made on the first start.",
    ),
    works(
        Group::Member,
        "config-file",
        "<path>",
        "",
        "Options from a file: TOML if its name ends in .toml, else YAML.",
    ),
    works(
        Group::Member,
        "server-threads",
        "<count>",
        "2",
        "Threads that speak with clients. Consensus and disk have their own.",
    ),
    works(
        Group::Addresses,
        "listen-client-urls",
        "<url,…>",
        "http://localhost:2379",
        "Where clients are served. Port 0 takes a free one.",
    ),
    works(
        Group::Addresses,
        "advertise-client-urls",
        "<url,…>",
        "as listen-client-urls",
        "What clients are told when they list the members.",
    ),
    works(
        Group::Addresses,
        "listen-peer-urls",
        "<url,…>",
        "http://localhost:2380",
        "Where other members are heard; a single member does not open it.",
    ),
    works(
        Group::Cluster,
        "initial-advertise-peer-urls",
        "<url,…>",
        "http://localhost:2380",
        "This member's address for others; its number is made from it.",
    ),
    works(
        Group::Cluster,
        "initial-cluster",
        "<name=url,…>",
        "this member alone",
        "The first members. More than one is not there yet.",
    ),
    works(
        Group::Cluster,
        "initial-cluster-state",
        "new|existing",
        "new",
        "Whether a first start makes a cluster or joins one.",
    ),
    works(
        Group::Cluster,
        "initial-cluster-token",
        "<text>",
        "etcd-cluster",
        "Keeps clusters with equal addresses apart.",
    ),
    works(
        Group::Limits,
        "quota-backend-bytes",
        "<bytes>",
        "2GiB",
        "Size of the state, history included; beyond it writes are refused.",
    ),
    works(
        Group::Limits,
        "max-request-bytes",
        "<bytes>",
        "1.5MiB",
        "Largest request a client may send.",
    ),
    works(
        Group::Limits,
        "max-txn-ops",
        "<count>",
        "128",
        "Most operations in one transaction.",
    ),
    works(
        Group::Limits,
        "compaction-batch-limit",
        "<count>",
        "1000",
        "Old revisions removed with each applied batch after a compaction.",
    ),
    works(
        Group::Timing,
        "heartbeat-interval",
        "<ms>",
        "100",
        "Milliseconds between a leader's heartbeats.",
    ),
    works(
        Group::Timing,
        "election-timeout",
        "<ms>",
        "1000",
        "Milliseconds without a leader before an election; at least 5 heartbeats.",
    ),
    works(
        Group::Timing,
        "watch-progress-notify-interval",
        "<duration>",
        "10m",
        "How often an idle watch that asked for it hears the revision; at least 100ms.",
    ),
    works(
        Group::Output,
        "log-level",
        "debug|info|warn|error",
        "info",
        "What is logged to stderr.",
    ),
    works(
        Group::Output,
        "log-format",
        "text|json",
        "text",
        "How it is logged.",
    ),
    works(
        Group::Output,
        "ports-file",
        "<path>",
        "",
        "Once serving, the addresses in use are written here, one `client=URL` a line.",
    ),
    // What follows is etcd's. Whatever only tunes etcd's inside is accepted, so that a unit file
    // written for etcd starts Synod; whatever asks for protection that is not there is refused.
    no_effect(
        "snapshot-count",
        "<count>",
        "snapshots follow the bytes written, not a count",
    ),
    no_effect(
        "snapshot-catchup-entries",
        "<count>",
        "the log kept is measured in bytes",
    ),
    no_effect(
        "max-snapshots",
        "<count>",
        "old snapshots are removed when no longer needed",
    ),
    no_effect(
        "max-wals",
        "<count>",
        "log segments are recycled when no longer needed",
    ),
    no_effect("backend-bbolt-freelist-type", "<text>", ENGINE),
    no_effect("backend-batch-interval", "<duration>", ENGINE),
    no_effect("backend-batch-limit", "<count>", ENGINE),
    no_effect("bootstrap-defrag-threshold-megabytes", "<count>", ENGINE),
    no_effect(
        "compaction-sleep-interval",
        "<duration>",
        "compaction follows the applied batches",
    ),
    no_effect(
        "compact-hash-check-time",
        "<duration>",
        "members compare hashes as they apply",
    ),
    no_effect(
        "downgrade-check-time",
        "<duration>",
        "members agree on a level in the log",
    ),
    no_effect(
        "initial-election-tick-advance",
        "true|false",
        "a member alone is elected at once",
    ),
    no_effect(
        "raft-read-timeout",
        "<duration>",
        "links between members time out by themselves",
    ),
    no_effect(
        "raft-write-timeout",
        "<duration>",
        "links between members time out by themselves",
    ),
    no_effect(
        "warning-apply-duration",
        "<duration>",
        "slow steps are counted in /metrics",
    ),
    no_effect(
        "warning-unary-request-duration",
        "<duration>",
        "slow requests are in /metrics",
    ),
    no_effect("max-learners", "<count>", "one member has no learners"),
    no_effect("bcrypt-cost", "<count>", AUTH),
    no_effect("auth-token-ttl", "<seconds>", AUTH),
    no_effect(
        "grpc-keepalive-min-time",
        "<duration>",
        "clients may ping as often as they like",
    ),
    no_effect(
        "grpc-keepalive-interval",
        "<duration>",
        "the server does not ping clients yet",
    ),
    no_effect(
        "grpc-keepalive-timeout",
        "<duration>",
        "the server does not ping clients yet",
    ),
    no_effect(
        "max-concurrent-streams",
        "<count>",
        "streams are bounded by the member's limits",
    ),
    no_effect("tls-min-version", "<text>", TLS),
    no_effect("tls-max-version", "<text>", TLS),
    no_effect("self-signed-cert-validity", "<years>", TLS),
    only_as(
        "auto-compaction-mode",
        "<text>",
        &["periodic", ""],
        "automatic compaction is not there yet; run `synod compact` from a timer",
    ),
    only_as(
        "auto-compaction-retention",
        "<text>",
        &["0", "0s", "0h", ""],
        "automatic compaction is not there yet; run `synod compact` from a timer",
    ),
    only_as("auth-token", "<text>", &["simple", ""], AUTH),
    only_as("cert-file", "<path>", UNSET, TLS),
    only_as("key-file", "<path>", UNSET, TLS),
    only_as("trusted-ca-file", "<path>", UNSET, TLS),
    only_as("client-cert-auth", "true|false", OFF, TLS),
    only_as("client-cert-file", "<path>", UNSET, TLS),
    only_as("client-key-file", "<path>", UNSET, TLS),
    only_as("client-crl-file", "<path>", UNSET, TLS),
    only_as("client-cert-allowed-hostname", "<text>", UNSET, TLS),
    only_as("auto-tls", "true|false", OFF, TLS),
    only_as("peer-cert-file", "<path>", UNSET, TLS),
    only_as("peer-key-file", "<path>", UNSET, TLS),
    only_as("peer-trusted-ca-file", "<path>", UNSET, TLS),
    only_as("peer-client-cert-auth", "true|false", OFF, TLS),
    only_as("peer-client-cert-file", "<path>", UNSET, TLS),
    only_as("peer-client-key-file", "<path>", UNSET, TLS),
    only_as("peer-cert-allowed-cn", "<text>", UNSET, TLS),
    only_as("peer-cert-allowed-hostname", "<text>", UNSET, TLS),
    only_as("peer-skip-client-san-verification", "true|false", OFF, TLS),
    only_as("peer-auto-tls", "true|false", OFF, TLS),
    only_as("peer-crl-file", "<path>", UNSET, TLS),
    only_as("cipher-suites", "<text>", UNSET, TLS),
    only_as(
        "cors",
        "<text>",
        &["*", ""],
        "cross-origin rules are not there yet",
    ),
    only_as(
        "host-whitelist",
        "<text>",
        &["*", ""],
        "host rules are not there yet",
    ),
    only_as(
        "wal-dir",
        "<path>",
        UNSET,
        "the log is kept inside --data-dir",
    ),
    only_as(
        "memory-mlock",
        "true|false",
        OFF,
        "locking memory is not there yet",
    ),
    only_as(
        "socket-reuse-port",
        "true|false",
        OFF,
        "sharing a port would hide a second member",
    ),
    only_as(
        "socket-reuse-address",
        "true|false",
        OFF,
        "the listener sets what it needs itself",
    ),
    only_as(
        "enable-grpc-gateway",
        "true|false",
        OFF,
        "the JSON gateway is not there yet",
    ),
    only_as(
        "listen-client-http-urls",
        "<url,…>",
        UNSET,
        "one client port serves gRPC and HTTP",
    ),
    only_as(
        "listen-metrics-urls",
        "<url,…>",
        UNSET,
        "/metrics is on the client port; a port of its own is not there yet",
    ),
    only_as(
        "metrics",
        "basic|extensive",
        &["basic", ""],
        "extensive metrics are not there yet",
    ),
    only_as(
        "enable-pprof",
        "true|false",
        OFF,
        "profiles over HTTP are not there yet",
    ),
    only_as(
        "logger",
        "<text>",
        &["zap", ""],
        "there is one logger; see --log-format",
    ),
    only_as(
        "log-outputs",
        "<text>",
        &["default", "stderr", ""],
        "logs go to stderr; redirect it",
    ),
    only_as(
        "enable-log-rotation",
        "true|false",
        OFF,
        "logs go to stderr; rotate them there",
    ),
    only_as(
        "log-rotation-config-json",
        "<text>",
        UNSET,
        "logs go to stderr; rotate them there",
    ),
    only_as(
        "feature-gates",
        "<text>",
        UNSET,
        "there are no feature gates",
    ),
    only_as(
        "initial-corrupt-check",
        "true|false",
        OFF,
        "hashes are checked whenever a snapshot is loaded; comparing members is not there yet",
    ),
    only_as(
        "corrupt-check-time",
        "<duration>",
        &["0", "0s", ""],
        "comparing members is not there yet",
    ),
    only_as(
        "strict-reconfig-check",
        "true|false",
        ON,
        "this check cannot be turned off",
    ),
    only_as(
        "pre-vote",
        "true|false",
        ON,
        "pre-vote cannot be turned off",
    ),
    only_as("discovery", "<url>", UNSET, DISCOVERY),
    only_as("discovery-token", "<text>", UNSET, DISCOVERY),
    only_as("discovery-endpoints", "<url,…>", UNSET, DISCOVERY),
    only_as("discovery-srv", "<text>", UNSET, DISCOVERY),
    only_as("discovery-srv-name", "<text>", UNSET, DISCOVERY),
    only_as("discovery-proxy", "<url>", UNSET, DISCOVERY),
    only_as("discovery-fallback", "<text>", &["exit", ""], DISCOVERY),
    only_as("distributed-tracing-address", "<text>", UNSET, TRACING),
    only_as("enable-distributed-tracing", "true|false", OFF, TRACING),
    only_as(
        "force-new-cluster",
        "true|false",
        OFF,
        "recovering a lost quorum is not there yet; it will be an audited command, not a flag",
    ),
    only_as(
        "unsafe-no-fsync",
        "true|false",
        OFF,
        "an acknowledged write is durable, always",
    ),
];
