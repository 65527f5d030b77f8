//! What `synod serve` is told, turned into a [`Config`] that is valid by construction.

mod definition;
mod file;
mod manual;
mod sources;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use manual::help;
pub(crate) use sources::{Problem, Sources};
pub(crate) use values::{HttpUrl, duration, url};

use sources::{Gathered, Setting};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use synod_env::Limits;

/// A valid configuration of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Its name.
    pub(crate) name: String,
    /// Where everything durable is.
    pub(crate) data_dir: PathBuf,
    /// True if nobody chose `data_dir`: the start then says where it is.
    pub(crate) data_dir_is_default: bool,
    /// Where clients are served.
    pub(crate) listen_client: Vec<Listen>,
    /// What clients are told; `None`: where they are served, with the ports in use.
    pub(crate) advertise_client: Option<Vec<HttpUrl>>,
    /// What other members are told.
    pub(crate) advertise_peer: Vec<HttpUrl>,
    /// Keeps clusters with equal addresses apart.
    pub(crate) cluster_token: String,
    /// A first start joins a cluster instead of making one.
    pub(crate) join_existing: bool,
    /// Bounds of the member.
    pub(crate) limits: Limits,
    /// Between a leader's heartbeats.
    pub(crate) heartbeat_interval: Duration,
    /// Without a leader before an election.
    pub(crate) election_timeout: Duration,
    /// Between progress notifications of an idle watch.
    pub(crate) watch_progress_interval: Duration,
    /// Threads that speak with clients.
    pub(crate) server_threads: usize,
    /// What is logged, and how.
    pub(crate) log: LogOptions,
    /// Where the addresses in use are written once the member serves.
    pub(crate) ports_file: Option<PathBuf>,
}

/// An address to listen on, as written and as the system takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// As written.
    pub(crate) url: HttpUrl,
    /// As the system takes it.
    pub(crate) address: SocketAddr,
}

/// How the log on stderr looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogOptions {
    /// The least important level shown.
    pub(crate) level: tracing::Level,
    /// One JSON object a line.
    pub(crate) json: bool,
}

/// A configuration, and what the operator should know about it.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Valid.
    pub(crate) config: Config,
    /// Sentences for the log.
    pub(crate) notes: Vec<String>,
}

impl Config {
    /// Reads every source and makes a configuration of them, or says everything that is wrong.
    ///
    /// # Errors
    /// All problems at once, each with its origin and its remedy.
    pub(crate) fn from_sources(sources: &Sources<'_>) -> Result<Resolved, Vec<Problem>> {
        let mut reader = Reader {
            gathered: Gathered::from(sources),
        };
        let config = reader.config();
        let Gathered {
            problems,
            mut notes,
            ..
        } = reader.gathered;
        if !problems.is_empty() {
            return Err(problems);
        }
        for listen in &config.listen_client {
            if !listen.address.ip().is_loopback() {
                notes.push(format!(
                    "{} is open to the network without TLS or passwords: whoever reaches it can \
                     read and change everything",
                    listen.url
                ));
            }
        }
        Ok(Resolved { config, notes })
    }
}

/// Takes settings one by one and collects what is wrong with them.
struct Reader {
    gathered: Gathered,
}

impl Reader {
    /// The configuration; it means something only if no problem was found on the way.
    fn config(&mut self) -> Config {
        let name = self.text("name", "default");
        if name.is_empty() || name.contains(['/', '=', ',']) {
            self.gathered.problems.push(Problem::new(format!(
                "--name: `{name}` must not be empty nor contain `/`, `=` or `,`"
            )));
        }
        let chosen_dir = self
            .gathered
            .take("data-dir")
            .filter(|dir| !dir.value.is_empty());
        let data_dir_is_default = chosen_dir.is_none();
        let data_dir = match chosen_dir {
            Some(setting) => PathBuf::from(setting.value),
            None => PathBuf::from(format!("{name}.synod")),
        };
        let advertise_peer = self
            .parsed("initial-advertise-peer-urls", values::urls)
            .or_else(|| values::urls("http://localhost:2380").ok())
            .unwrap_or_default();
        self.parsed("listen-peer-urls", values::urls);
        self.initial_cluster(&name, &advertise_peer);
        let (heartbeat_interval, election_timeout) = self.timing();
        Config {
            data_dir,
            data_dir_is_default,
            listen_client: self.listen_client(),
            advertise_client: self.parsed("advertise-client-urls", values::urls),
            cluster_token: self.text("initial-cluster-token", "etcd-cluster"),
            join_existing: self
                .parsed("initial-cluster-state", |text| match text {
                    "new" => Ok(false),
                    "existing" => Ok(true),
                    other => Err(format!("`{other}` is neither `new` nor `existing`")),
                })
                .unwrap_or(false),
            limits: self.limits(),
            heartbeat_interval,
            election_timeout,
            watch_progress_interval: self
                .parsed("watch-progress-notify-interval", |text| {
                    let interval = duration(text)?;
                    if interval < Duration::from_millis(100) {
                        return Err(format!("`{text}` is below 100ms, the least allowed"));
                    }
                    Ok(interval)
                })
                .unwrap_or(Duration::from_secs(600)),
            server_threads: self.number("server-threads", 1, 256).unwrap_or(2),
            log: LogOptions {
                level: self
                    .parsed("log-level", level)
                    .unwrap_or(tracing::Level::INFO),
                json: self
                    .parsed("log-format", |text| match text {
                        "text" | "console" => Ok(false),
                        "json" => Ok(true),
                        other => Err(format!("`{other}` is neither `text` nor `json`")),
                    })
                    .unwrap_or(false),
            },
            ports_file: self
                .gathered
                .take("ports-file")
                .filter(|file| !file.value.is_empty())
                .map(|file| PathBuf::from(file.value)),
            name,
            advertise_peer,
        }
    }

    fn listen_client(&mut self) -> Vec<Listen> {
        let listen = |text: &str| -> Result<Vec<Listen>, String> {
            values::urls(text)?
                .into_iter()
                .map(|url| {
                    Ok(Listen {
                        address: url.listen_address()?,
                        url,
                    })
                })
                .collect()
        };
        self.parsed("listen-client-urls", listen)
            .or_else(|| listen("http://localhost:2379").ok())
            .unwrap_or_default()
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
        limits
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
        // etcd's two higher levels: whoever asks for them wants errors at least.
        "error" | "dpanic" | "panic" | "fatal" => Ok(tracing::Level::ERROR),
        other => Err(format!("`{other}` is none of debug, info, warn, error")),
    }
}
