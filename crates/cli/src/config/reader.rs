//! From settings to a valid configuration, one option at a time.

use super::address::{self, Address, HttpUrl, url};
use super::options::{FEATURE_GATES, LEVELS};
use super::sources::{Gathered, Problem, Setting, Sources};
use super::values::{self, duration};
use super::{Config, Dialect, Listen, LogOptions, LogOutput, history};
use std::path::PathBuf;
use std::time::Duration;
use synod_env::{HistoryKeep, Limits};

/// Most requests and streams on one connection, whatever is asked for.
const STREAMS_MAX: u32 = 65_536;

/// Takes settings one by one and collects what is wrong with them.
pub(super) struct Reader {
    dialect: Dialect,
    gathered: Gathered,
}

impl Reader {
    /// What the sources say, and what is to be said about them.
    pub(super) fn read(sources: &Sources<'_>) -> (Config, Gathered) {
        let mut reader = Self {
            dialect: sources.dialect,
            gathered: Gathered::from(sources),
        };
        (reader.config(), reader.gathered)
    }

    /// The configuration; it means something only if no problem was found on the way.
    fn config(&mut self) -> Config {
        let name = self.text("name", "default");
        if name.is_empty() || name.contains(['/', '=', ',']) {
            self.gathered.problems.push(Problem::new(format!(
                "--name: `{name}` must not be empty nor contain `/`, `=` or `,`"
            )));
        }
        let chosen_dir = self.gathered.take("data-dir");
        let data_dir_is_default = chosen_dir.is_none();
        let data_dir = match chosen_dir {
            Some(setting) => PathBuf::from(setting.value),
            None => PathBuf::from(match self.dialect {
                Dialect::Synod => format!("{name}.synod"),
                Dialect::Etcd => format!("{name}.etcd"),
            }),
        };
        let peers = |text: &str| address::list(text, url);
        let advertise_peer = self
            .parsed("initial-advertise-peer-urls", peers)
            .or_else(|| peers("http://localhost:2380").ok())
            .unwrap_or_default();
        self.parsed("listen-peer-urls", peers);
        self.initial_cluster(&name, &advertise_peer);
        let (heartbeat_interval, election_timeout) = self.timing();
        self.feature_gates();
        Config {
            dialect: self.dialect,
            data_dir,
            data_dir_is_default,
            listen_client: self
                .parsed("listen-client-urls", listen)
                .or_else(|| listen("http://localhost:2379").ok())
                .unwrap_or_default(),
            listen_metrics: self
                .parsed("listen-metrics-urls", listen)
                .unwrap_or_default(),
            reuse_port: self.switch("socket-reuse-port", false),
            advertise_client: self.parsed("advertise-client-urls", |text| {
                address::list(text, address::address)
            }),
            cluster_token: self.text("initial-cluster-token", "etcd-cluster"),
            join_existing: self
                .parsed("initial-cluster-state", |text| match text {
                    "new" => Ok(false),
                    "existing" => Ok(true),
                    other => Err(format!("`{other}` is neither `new` nor `existing`")),
                })
                .unwrap_or(false),
            api_version: self
                .parsed("api-version", |text| {
                    text.parse().map_err(|error| format!("`{text}` is {error}"))
                })
                .unwrap_or_default(),
            limits: self.limits(),
            connection_streams_max: self
                .number("max-concurrent-streams", 1, u64::from(u32::MAX))
                .map_or(STREAMS_MAX, |streams| {
                    u32::try_from(streams).map_or(STREAMS_MAX, |streams| streams.min(STREAMS_MAX))
                }),
            heartbeat_interval,
            election_timeout,
            watch_progress_interval: self.duration(
                "watch-progress-notify-interval",
                Duration::from_secs(600),
                Duration::from_millis(100),
            ),
            keep_alive_interval: self.duration(
                "grpc-keepalive-interval",
                Duration::from_secs(2 * 60 * 60),
                Duration::from_secs(1),
            ),
            keep_alive_timeout: self.duration(
                "grpc-keepalive-timeout",
                Duration::from_secs(20),
                Duration::from_secs(1),
            ),
            gateway: self.switch("enable-grpc-gateway", true),
            cors: self.names("cors"),
            host_whitelist: self.names("host-whitelist"),
            server_threads: self.number("server-threads", 1, 256).unwrap_or(2),
            log: self.log(),
            ports_file: self
                .gathered
                .take("ports-file")
                .map(|file| PathBuf::from(file.value)),
            name,
            advertise_peer,
        }
    }

    fn log(&mut self) -> LogOptions {
        let as_etcd = self.dialect == Dialect::Etcd;
        LogOptions {
            level: self
                .parsed("log-level", level)
                .unwrap_or(tracing::Level::INFO),
            json: self
                .parsed("log-format", |text| match text {
                    "text" | "console" => Ok(false),
                    "json" => Ok(true),
                    other => Err(format!("`{other}` is neither `text` nor `json`")),
                })
                .unwrap_or(as_etcd),
            outputs: self
                .parsed("log-outputs", |text| address::list(text, log_output))
                .unwrap_or_else(|| vec![LogOutput::Stderr]),
        }
    }

    /// etcd's guard: the list of first members must name this one as it names itself.
    fn initial_cluster(&mut self, name: &str, advertise_peer: &[HttpUrl]) {
        let Some(setting) = self.gathered.take("initial-cluster") else {
            return;
        };
        let mut own = Vec::new();
        for pair in setting
            .value
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let url = match pair.split_once('=').map(|(who, at)| (who, url(at))) {
                Some((who, Ok(url))) if who == name => url,
                Some((who, Ok(_))) => {
                    self.gathered.problems.push(setting.problem(format!(
                        "names `{who}` beside this member `{name}`; clusters of several members \
                         are not there yet: start one, or correct --name"
                    )));
                    return;
                }
                Some((_, Err(what))) => {
                    self.gathered.problems.push(setting.problem(what));
                    return;
                }
                None => {
                    let what = format!("`{pair}` is not of the form NAME=http://HOST:PORT");
                    self.gathered.problems.push(setting.problem(what));
                    return;
                }
            };
            own.push(url);
        }
        own.sort();
        let mut advertised = advertise_peer.to_vec();
        advertised.sort();
        if own != advertised {
            let list = |urls: &[HttpUrl]| {
                urls.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            };
            self.gathered.problems.push(setting.problem(format!(
                "gives `{name}` the address `{}`, but --initial-advertise-peer-urls is `{}`; make \
                 them equal",
                list(&own),
                list(&advertised)
            )));
        }
    }

    /// None of etcd's gates changes anything here; one that it does not have is a slip.
    fn feature_gates(&mut self) {
        let Some(setting) = self.gathered.take("feature-gates") else {
            return;
        };
        for gate in setting.value.split(',').map(str::trim) {
            let (name, value) = gate.split_once('=').unwrap_or((gate, ""));
            let known = FEATURE_GATES.iter().find(|(known, _)| *known == name);
            match (known, values::switch(value)) {
                (Some((_, why)), Ok(_)) => {
                    let place = setting.place();
                    let note = format!("{place}: `{gate}`: no effect: {why}");
                    self.gathered.notes.push(note);
                }
                (Some(_), Err(_)) => {
                    let what = format!("`{gate}` is not of the form {name}=true");
                    self.gathered.problems.push(setting.problem(what));
                }
                (None, _) => {
                    let known = FEATURE_GATES.iter().map(|(known, _)| *known);
                    let advice = match values::closest(name, known) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => "leave it out".to_owned(),
                    };
                    let what = format!("`{name}` is no feature gate of etcd; {advice}");
                    self.gathered.problems.push(setting.problem(what));
                }
            }
        }
    }

    fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        if let Some(quota) = self.parsed("quota-backend-bytes", |text| {
            if text.starts_with('-') {
                return Err(format!(
                    "`{text}` asks for no limit; name one, for example 8GiB"
                ));
            }
            values::bytes(text)
        }) && quota > 0
        {
            limits.state_bytes_max = quota;
        }
        if let Some(bytes) = self.parsed("max-request-bytes", |text| {
            let most = 64 << 20;
            match values::bytes(text)? {
                0 => Err("`0` would refuse every request".to_owned()),
                bytes if bytes > most => Err(format!("`{text}` is above 64MiB, the most allowed")),
                bytes => usize::try_from(bytes).map_err(|error| error.to_string()),
            }
        }) {
            limits.request_bytes_max = bytes;
            limits.watch_response_bytes_max = bytes + (512 << 10);
        }
        if let Some(ops) = self.number("max-txn-ops", 1, 65_536) {
            limits.txn_ops_max = ops;
        }
        if let Some(records) = self.number("compaction-batch-limit", 1, 1_000_000) {
            limits.compaction_batch_max = records;
        }
        limits.history_keep = self.history_keep();
        limits
    }

    /// etcd's two options: what the second means, the first says.
    fn history_keep(&mut self) -> HistoryKeep {
        let by_revision = self.parsed("auto-compaction-mode", |text| match text {
            "periodic" | "" => Ok(false),
            "revision" => Ok(true),
            other => Err(format!("`{other}` is neither `periodic` nor `revision`")),
        });
        let by_revision = by_revision.unwrap_or(false);
        let keep = self.parsed("auto-compaction-retention", |text| {
            history::keep(text, by_revision)
        });
        keep.unwrap_or(HistoryKeep::Everything)
    }

    /// etcd's guard: an election must outlast several lost heartbeats, and end within a minute.
    fn timing(&mut self) -> (Duration, Duration) {
        let heartbeat = self.gathered.take("heartbeat-interval");
        let election = self.gathered.take("election-timeout");
        let heartbeat_ms = self.milliseconds(heartbeat.as_ref(), 100);
        let election_ms = self.milliseconds(election.as_ref(), 1_000);
        if election_ms < 5 * heartbeat_ms {
            self.gathered.problems.push(Problem::new(format!(
                "--election-timeout {election_ms} is less than 5 times --heartbeat-interval \
                 {heartbeat_ms}; raise it to {}",
                5 * heartbeat_ms
            )));
        }
        (
            Duration::from_millis(heartbeat_ms),
            Duration::from_millis(election_ms),
        )
    }

    fn milliseconds(&mut self, setting: Option<&Setting>, default: u64) -> u64 {
        let Some(setting) = setting else {
            return default;
        };
        values::count(&setting.value, 1, 50_000).unwrap_or_else(|what| {
            self.gathered
                .problems
                .push(setting.problem(format!("{what} (milliseconds)")));
            default
        })
    }

    fn switch(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, values::switch).unwrap_or(default)
    }

    fn duration(&mut self, name: &str, default: Duration, least: Duration) -> Duration {
        self.parsed(name, |text| {
            let given = duration(text)?;
            if given < least {
                return Err(format!("`{text}` is below {least:?}, the least allowed"));
            }
            Ok(given)
        })
        .unwrap_or(default)
    }

    /// Names separated by commas; without any, all.
    fn names(&mut self, name: &str) -> Vec<String> {
        self.text(name, "*")
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect()
    }

    fn text(&mut self, name: &str, default: &str) -> String {
        self.gathered
            .take(name)
            .map_or_else(|| default.to_owned(), |setting| setting.value)
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Option<usize> {
        self.parsed(name, |text| {
            let number = values::count(text, least, most)?;
            usize::try_from(number).map_err(|error| error.to_string())
        })
    }

    /// The value of a set option, or `None` if it is not set or wrong (then with a problem).
    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let setting = self.gathered.take(name)?;
        match parse(&setting.value) {
            Ok(value) => Some(value),
            Err(what) => {
                self.gathered.problems.push(setting.problem(what));
                None
            }
        }
    }
}

fn level(text: &str) -> Result<tracing::Level, String> {
    match text {
        "debug" => Ok(tracing::Level::DEBUG),
        "info" => Ok(tracing::Level::INFO),
        "warn" => Ok(tracing::Level::WARN),
        // etcd's higher levels: whoever asks for them wants errors at least.
        "error" | "dpanic" | "panic" | "fatal" => Ok(tracing::Level::ERROR),
        other => Err(format!("`{other}` is none of {}", LEVELS.join(", "))),
    }
}

/// Places to listen on, separated by commas.
fn listen(text: &str) -> Result<Vec<Listen>, String> {
    address::list(text, |one| match address::to_listen(one)? {
        Address::Http(url) => Ok(Listen::Port {
            address: url.listen_address()?,
            url,
        }),
        Address::Unix(path) => Ok(Listen::Socket(path)),
        Address::Https(url) => unreachable!("{url} is refused where TLS is not there"),
    })
}

fn log_output(text: &str) -> Result<LogOutput, String> {
    match text {
        "" => Err("names an output without a name; write stderr, stdout or a file".to_owned()),
        "default" | "stderr" => Ok(LogOutput::Stderr),
        "stdout" => Ok(LogOutput::Stdout),
        "systemd/journal" => Err(
            "`systemd/journal`: write stderr, which a unit of systemd sends to the journal"
                .to_owned(),
        ),
        path => Ok(LogOutput::File(PathBuf::from(path))),
    }
}
