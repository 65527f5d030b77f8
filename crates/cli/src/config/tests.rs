//! What wins, what is refused, and in which words.

use super::{
    Address, Config, Dialect, Listen, LogOutput, Problem, Resolved, Sources, definition, manual,
    options, values,
};
use std::io;
use std::time::Duration;
use synod_env::HistoryKeep;

fn resolve(
    arguments: &str,
    environment: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Resolved, Vec<Problem>> {
    resolve_as(Dialect::Synod, arguments, environment, files)
}

fn resolve_as(
    dialect: Dialect,
    arguments: &str,
    environment: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Resolved, Vec<Problem>> {
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let environment: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    let read_file = |path: &str| {
        files
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    Config::from_sources(&Sources {
        dialect,
        arguments: &arguments,
        environment: &environment,
        read_file: &read_file,
    })
}

fn config(arguments: &str) -> Config {
    resolve(arguments, &[], &[]).unwrap().config
}

/// The problems, one a line.
fn refused(arguments: &str) -> String {
    let problems = resolve(arguments, &[], &[]).unwrap_err();
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn without_any_setting_it_is_a_loopback_member() {
    let config = config("");
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir.to_str(), Some("default.synod"));
    assert!(config.data_dir_is_default);
    assert_eq!(config.listen_client.len(), 1);
    assert_eq!(ports(&config), ["127.0.0.1:2379"]);
    assert_eq!(config.election_timeout, Duration::from_secs(1));
    assert_eq!(config.limits, synod_env::Limits::default());
}

#[test]
fn flag_wins_over_synod_over_etcd() {
    let etcd = ("ETCD_NAME", "from-etcd");
    let synod = ("SYNOD_NAME", "from-synod");
    let named = |arguments: &str, environment: &[(&str, &str)]| {
        resolve(arguments, environment, &[]).unwrap().config.name
    };
    assert_eq!(named("", &[etcd]), "from-etcd");
    assert_eq!(named("", &[etcd, synod]), "from-synod");
    assert_eq!(named("--name f", &[etcd, synod]), "f");
    assert_eq!(named("", &[("SYNOD_NAME", ""), etcd]), "from-etcd");
}

#[test]
fn a_file_excludes_all_else_and_the_start_says_what_it_ignored() {
    let file = ("member.yaml", "name: from-file\n");
    let environment = [
        ("ETCD_CONFIG_FILE", "member.yaml"),
        ("ETCD_MAX_TXN_OPS", "7"),
    ];
    for arguments in ["", "--config-file member.yaml"] {
        let arguments = format!("{arguments} --name f --snapshot-count 5");
        let Resolved { config, notes } = resolve(&arguments, &environment, &[file]).unwrap();
        assert_eq!(config.name, "from-file");
        assert_eq!(config.limits, synod_env::Limits::default());
        assert_eq!(
            notes,
            [
                "`member.yaml` excludes flags and environment; ignored: ETCD_MAX_TXN_OPS \
                 (environment), --name, --snapshot-count"
            ]
        );
    }
    // What was written by mistake is refused all the same, as etcd does.
    let problems = resolve("--config-file member.yaml --nmae f", &[], &[file]).unwrap_err();
    assert_eq!(problems.len(), 1);
}

#[test]
fn the_name_etcd_changes_defaults_and_nothing_else() {
    let of = |arguments: &str| {
        let resolved = resolve_as(Dialect::Etcd, arguments, &[], &[]);
        resolved.unwrap().config
    };
    let etcd = of("");
    assert_eq!(etcd.data_dir.to_str(), Some("default.etcd"));
    assert!(etcd.log.json);
    let arguments = "--data-dir d --log-format text";
    let expected = Config {
        dialect: Dialect::Etcd,
        ..config(arguments)
    };
    assert_eq!(of(arguments), expected);
    let problems = resolve_as(Dialect::Etcd, "--frobnicate", &[], &[]).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "--frobnicate: no such option; see `etcd --help`"
    );
}

#[test]
fn every_flag_of_etcd_is_known_and_its_default_accepted() {
    let recorded = include_str!("../../testdata/etcd-flags.txt");
    let mut count = 0;
    let flags = recorded
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in flags {
        let (_versions, flag) = line.split_once("--").unwrap();
        let (name, default) = flag.split_once(' ').unwrap_or((flag, ""));
        assert!(definition::find(name).is_some(), "--{name}");
        count += 1;
        if name == "log-rotation-config-json" {
            assert_eq!(definition::find(name).unwrap().default, default);
            continue;
        }
        let set = format!("--{name}={default}");
        let refused = resolve(&set, &[], &[]).err();
        assert_eq!(refused, None, "{set}");
    }
    assert!(count > 150, "{count}");
}

#[test]
fn feature_gates_are_etcds() {
    let gates = "--feature-gates=InitialCorruptCheck=true,LeaseCheckpoint=false";
    let resolved = resolve(gates, &[], &[]).unwrap();
    assert_eq!(
        resolved.notes,
        [
            "--feature-gates: `InitialCorruptCheck=true`: no effect: compares members with each \
             other, and there is one",
            "--feature-gates: `LeaseCheckpoint=false`: no effect: what is left of a long lease is \
             always replicated",
        ]
    );
    assert_eq!(
        refused("--feature-gates=LeaseCheckpint=true,LeaseCheckpoint"),
        "--feature-gates: `LeaseCheckpint` is no feature gate of etcd; did you mean \
         `LeaseCheckpoint`?\n\
         --feature-gates: `LeaseCheckpoint` is not of the form LeaseCheckpoint=true"
    );
}

/// What etcd's own sample of a configuration file sets, but for what Synod refuses.
#[test]
fn a_file_that_was_written_for_etcd_is_read() {
    let file = "\
name: 'default'
data-dir:
wal-dir:
snapshot-count: 10000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379,unix:///run/s.sock
cors:
discovery:
discovery-fallback: 'proxy'
initial-cluster:
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
socket-options:
  reuse-port: true
client-transport-security:
  cert-file:
  client-cert-auth: false
  auto-tls: false
peer-transport-security:
  trusted-ca-file:
  allowed-cn:
  allowed-hostname:
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr, /var/log/synod.log]
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
watch-progress-notify-interval: 5000000000
";
    let Resolved { config, notes } =
        resolve("--config-file m.yaml", &[], &[("m.yaml", file)]).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("default.synod"));
    assert_eq!(
        config.listen_client[1],
        Listen::Socket("/run/s.sock".into())
    );
    assert!(config.reuse_port);
    assert_eq!(config.watch_progress_interval, Duration::from_secs(5));
    assert_eq!(
        config.log.outputs,
        [
            LogOutput::Stderr,
            LogOutput::File("/var/log/synod.log".into())
        ]
    );
    let without_effect: Vec<&str> = notes
        .iter()
        .filter_map(|note| note.split_once(": no effect").map(|(place, _)| place))
        .collect();
    assert_eq!(
        without_effect,
        [
            "m.yaml:29 (cipher-suites)",
            "m.yaml:10 (discovery-fallback)",
            "m.yaml:13 (enable-pprof)",
            "m.yaml:12 (strict-reconfig-check)",
            "m.yaml:34 (tls-max-version)",
        ]
    );
}

#[test]
fn addresses_may_be_sockets_and_what_is_advertised_may_be_a_proxy() {
    let config = config(
        "--listen-client-urls unix:///run/s.sock,http://127.0.0.1:1 \
         --listen-metrics-urls http://[::1]:2 --advertise-client-urls https://db.example:443",
    );
    assert_eq!(
        config.listen_client[0],
        Listen::Socket("/run/s.sock".into())
    );
    assert_eq!(ports(&config), ["127.0.0.1:1"]);
    assert_eq!(config.listen_metrics[0].to_string(), "http://[::1]:2");
    let advertised = config.advertise_client.unwrap();
    assert!(matches!(&advertised[0], Address::Https(_)));
    assert_eq!(advertised[0].to_string(), "https://db.example:443");
}

#[test]
fn bounds_and_intervals_reach_the_configuration() {
    let config = config(
        "--max-concurrent-streams 4294967295 --grpc-keepalive-interval 10s \
         --grpc-keepalive-timeout 3s --cors a,b --host-whitelist c --enable-grpc-gateway=false \
         --api-version 3.5.17 --quota-backend-bytes 8589934592",
    );
    assert_eq!(config.connection_streams_max, 65_536);
    assert_eq!(config.keep_alive_interval, Duration::from_secs(10));
    assert_eq!(config.keep_alive_timeout, Duration::from_secs(3));
    assert_eq!(config.cors, ["a", "b"]);
    assert_eq!(config.host_whitelist, ["c"]);
    assert!(!config.gateway);
    assert_eq!(config.api_version.to_string(), "3.5.17");
    assert_eq!(config.limits.state_bytes_max, 8 << 30);
}

#[test]
fn the_defaults_that_are_printed_are_those_that_hold() {
    for option in options::OPTIONS {
        // These are told in words.
        if matches!(
            option.name,
            "data-dir" | "advertise-client-urls" | "initial-cluster"
        ) {
            continue;
        }
        let set = format!("--{}={}", option.name, option.default);
        assert_eq!(config(&set), config(""), "{set}");
    }
}

/// The ports that clients reach.
fn ports(config: &Config) -> Vec<String> {
    config
        .listen_client
        .iter()
        .filter_map(|listen| match listen {
            Listen::Port { url: _, address } => Some(address.to_string()),
            Listen::Socket(_) => None,
        })
        .collect()
}

#[test]
fn both_file_formats_say_the_same() {
    let yaml = "\
# a member
name: alpha
max-txn-ops: 256
quota-backend-bytes: 1GiB
listen-client-urls:
  - http://127.0.0.1:1
  - http://[::1]:1
watch-progress-notify-interval: 5000000000
client-transport-security:
  client-cert-auth: false
";
    let toml = "\
# a member
name = 'alpha'
max-txn-ops = 256
quota-backend-bytes = '1GiB'
listen-client-urls = ['http://127.0.0.1:1', 'http://[::1]:1']
watch-progress-notify-interval = '5s'
[client-transport-security]
client-cert-auth = false
";
    let files = [("m.yaml", yaml), ("m.toml", toml)];
    let from = |path: &str| {
        resolve(&format!("--config-file {path}"), &[], &files)
            .unwrap()
            .config
    };
    assert_eq!(from("m.yaml"), from("m.toml"));
    let config = from("m.yaml");
    assert_eq!(config.limits.txn_ops_max, 256);
    assert_eq!(config.limits.state_bytes_max, 1 << 30);
    assert_eq!(ports(&config), ["127.0.0.1:1", "[::1]:1"]);
    assert_eq!(config.watch_progress_interval, Duration::from_secs(5));
}

#[test]
fn flags_are_written_as_for_etcd() {
    for arguments in ["--name a", "--name=a", "-name a", "-name=a"] {
        assert_eq!(config(arguments).name, "a", "{arguments}");
    }
    // Tuning of etcd's inside, and asking for what happens anyway.
    let quiet = "--snapshot-count 100000 --pre-vote --client-cert-auth=false --logger zap \
                 --auto-compaction-retention 0 --experimental-watch-progress-notify-interval 5s";
    let resolved = resolve(quiet, &[], &[]).unwrap();
    assert_eq!(
        resolved.config.watch_progress_interval,
        Duration::from_secs(5)
    );
    assert_eq!(
        resolved.notes,
        ["--snapshot-count: no effect: snapshots follow the bytes written, not a count"]
    );
}

#[test]
fn history_is_kept_by_time_or_by_revisions() {
    let keep = |arguments: &str| config(arguments).limits.history_keep;
    let hour = HistoryKeep::For(Duration::from_secs(3_600));
    assert_eq!(keep(""), HistoryKeep::Everything);
    assert_eq!(keep("--auto-compaction-retention 1"), hour);
    assert_eq!(keep("--auto-compaction-retention 1h"), hour);
    let minutes = "--auto-compaction-mode periodic --auto-compaction-retention 30m";
    assert_eq!(keep(minutes), HistoryKeep::For(Duration::from_secs(1_800)));
    let revisions = "--auto-compaction-mode revision --auto-compaction-retention 1000";
    assert_eq!(keep(revisions), HistoryKeep::Revisions(1_000));
    for zero in ["0", "0s"] {
        let off = format!("--auto-compaction-retention {zero}");
        assert_eq!(keep(&off), HistoryKeep::Everything);
    }
}

#[test]
fn each_problem_names_its_place_and_its_remedy() {
    let cases = [
        (
            "--listen-client-url x",
            "--listen-client-url: no such option; did you mean `listen-client-urls`?",
        ),
        (
            "--frobnicate",
            "--frobnicate: no such option; see `synod serve --help`",
        ),
        (
            "member1",
            "`member1`: not a flag; write --OPTION VALUE or --OPTION=VALUE",
        ),
        ("--name", "--name: needs a value"),
        (
            "--pre-vote false",
            "`false`: not a flag; write --OPTION=false",
        ),
        (
            "--max-wals many",
            "--max-wals: `many` is not a whole number",
        ),
        (
            "--log-level loud --log-level quiet",
            "--log-level: `quiet` is none of debug, info, warn, error",
        ),
        (
            "--name a/b",
            "--name: `a/b` must not be empty nor contain `/`, `=` or `,`",
        ),
        (
            "--cert-file x.pem",
            "--cert-file: `x.pem` refused: TLS is not there yet; serve on loopback, or behind a proxy that ends TLS",
        ),
        (
            "--unsafe-no-fsync",
            "--unsafe-no-fsync: `true` refused: an acknowledged write is durable, always; for tests put --data-dir on a tmpfs",
        ),
        (
            "--auto-compaction-mode revision --auto-compaction-retention 1h",
            "--auto-compaction-retention: `1h` is not a number of revisions",
        ),
        (
            "--listen-client-urls https://127.0.0.1:2379",
            "--listen-client-urls: `https://127.0.0.1:2379` asks for TLS, which is not there yet: use http://",
        ),
        (
            "--listen-client-urls 127.0.0.1:2379",
            "--listen-client-urls: `127.0.0.1:2379` is not a URL: write http://HOST:PORT",
        ),
        (
            "--listen-client-urls http://db1:2379",
            "--listen-client-urls: `db1` is a name: listen on an IP address or on localhost",
        ),
        (
            "--listen-client-urls http://127.0.0.1",
            "--listen-client-urls: `http://127.0.0.1` has no port: write http://HOST:PORT",
        ),
        (
            "--listen-client-urls http://127.0.0.1:66000",
            "--listen-client-urls: `66000` is not a port, 0 to 65535",
        ),
        (
            "--listen-client-urls unixs:///run/s.sock",
            "--listen-client-urls: `unixs:///run/s.sock` asks for TLS, which is not there yet: use unix://, which only this user reaches",
        ),
        (
            "--listen-metrics-urls https://127.0.0.1:2381",
            "--listen-metrics-urls: `https://127.0.0.1:2381` asks for TLS, which is not there yet: use http://",
        ),
        (
            "--initial-advertise-peer-urls unix:///s",
            "--initial-advertise-peer-urls: `unix:///s` is a socket of one machine: use http://HOST:PORT",
        ),
        (
            "--api-version 4.0.0",
            "--api-version: `4.0.0` is not a version that etcd's clients read: write 3.MINOR.PATCH, as 3.6.4",
        ),
        (
            "--grpc-keepalive-interval 0s",
            "--grpc-keepalive-interval: `0s` is below 1s, the least allowed",
        ),
        (
            "--log-outputs systemd/journal",
            "--log-outputs: `systemd/journal`: write stderr, which a unit of systemd sends to the journal",
        ),
        (
            "--election-timeout 300",
            "--election-timeout 300 is less than 5 times --heartbeat-interval 100; raise it to 500",
        ),
        (
            "--election-timeout 60000",
            "--election-timeout: `60000` is not a whole number from 1 to 50000 (milliseconds)",
        ),
        (
            "--quota-backend-bytes -1",
            "--quota-backend-bytes: `-1` asks for no limit; name one, for example 8GiB",
        ),
        (
            "--quota-backend-bytes 2GB",
            "--quota-backend-bytes: `2GB` is not a number of bytes: write 1048576, 512MiB or 2GiB",
        ),
        (
            "--watch-progress-notify-interval 5",
            "--watch-progress-notify-interval: `5` is not a length of time: write 300ms, 5s, 10m or 1h30m",
        ),
        (
            "--watch-progress-notify-interval 5ms",
            "--watch-progress-notify-interval: `5ms` is below 100ms, the least allowed",
        ),
        (
            "--log-level loud",
            "--log-level: `loud` is none of debug, info, warn, error",
        ),
        (
            "--initial-cluster default=http://localhost:1",
            "--initial-cluster: gives `default` the address `http://localhost:1`, but --initial-advertise-peer-urls is `http://localhost:2380`; make them equal",
        ),
        (
            "--name a --initial-cluster a=http://localhost:2380,b=http://h:1",
            "--initial-cluster: names `b` beside this member `a`; clusters of several members are not there yet: start one, or correct --name",
        ),
        (
            "--config-file gone.yaml",
            "--config-file: cannot read `gone.yaml`: entity not found",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(refused(arguments), expected, "for {arguments}");
    }
}

#[test]
fn all_problems_are_reported_at_once_wherever_they_come_from() {
    let file = ("m.yaml", "name: a\n\nmax-txn-ops: many\nnmae: b\n");
    let environment = [("ETCD_CERT_FILE", "x.pem"), ("SYNOD_LOG_FORMAT", "xml")];
    let problems = resolve("--server-threads 0", &environment, &[]);
    let with_file = resolve("--config-file m.yaml --frobnicate", &[], &[file]);
    let text: Vec<String> = problems
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "ETCD_CERT_FILE (environment): `x.pem` refused: TLS is not there yet; serve on \
             loopback, or behind a proxy that ends TLS",
            "--server-threads: `0` is not a whole number from 1 to 256",
            "SYNOD_LOG_FORMAT (environment): `xml` is neither `text` nor `json`",
        ]
    );
    let text: Vec<String> = with_file
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "--frobnicate: no such option; see `synod serve --help`",
            "m.yaml:4 (nmae): no such option; did you mean `name`?",
            "m.yaml:3 (max-txn-ops): `many` is not a whole number from 1 to 65536",
        ]
    );
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    for (file, expected) in [
        (("m.yaml", "name: a\n- b\n"), "m.yaml:2: "),
        (
            ("m.yaml", "name:\n  first: a\n"),
            "m.yaml:2 (name.first): no such option",
        ),
        (("m.toml", "name = 'a'\nmax-txn-ops 3\n"), "m.toml:2: "),
        (
            ("m.yaml", "just words\n"),
            "m.yaml:1: expected lines of the form `key: value`",
        ),
    ] {
        let problems = resolve(&format!("--config-file {}", file.0), &[], &[file]).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].to_string().starts_with(expected),
            "{}",
            problems[0]
        );
    }
    let empty = resolve("--config-file m.yaml", &[], &[("m.yaml", "# nothing\n")]).unwrap();
    assert_eq!(empty.config.name, "default");
}

#[test]
fn an_unknown_environment_name_is_a_note() {
    let environment = [("SYNOD_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")];
    assert_eq!(
        resolve("", &environment, &[]).unwrap().notes,
        ["SYNOD_SERVICE_HOST (environment): no such option; ignored"]
    );
}

#[test]
fn plain_http_beyond_loopback_is_warned_about() {
    let notes = resolve("--listen-client-urls http://0.0.0.0:2379", &[], &[])
        .unwrap()
        .notes;
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("http://0.0.0.0:2379 is open to the network"),
        "{}",
        notes[0]
    );
    assert_eq!(
        resolve("--listen-client-urls http://[::1]:2379", &[], &[])
            .unwrap()
            .notes,
        [""; 0]
    );
}

#[test]
fn values_are_read_as_go_writes_them() {
    for (text, millis) in [
        ("300ms", 300),
        ("1h30m", 5_400_000),
        ("1.5s", 1_500),
        ("0", 0),
    ] {
        assert_eq!(
            values::duration(text),
            Ok(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in ["", "5", "s", "5 s", "-1s", "1d", "1..5s"] {
        assert!(values::duration(text).is_err(), "{text}");
    }
    for (text, bytes) in [
        ("0", 0),
        ("1572864", 1_572_864),
        ("1.5MiB", 1_572_864),
        ("2GiB", 2 << 30),
    ] {
        assert_eq!(values::bytes(text), Ok(bytes), "{text}");
    }
    for text in [
        "",
        "-1",
        "2GB",
        "1.GB",
        "99999999999999999999",
        "99999999TiB",
    ] {
        assert!(values::bytes(text).is_err(), "{text}");
    }
}

#[test]
fn suggestions_are_close_or_absent() {
    let names = || definition::all().map(|option| option.name);
    assert_eq!(values::closest("data_dir", names()), Some("data-dir"));
    assert_eq!(
        values::closest("heartbeat-intervall", names()),
        Some("heartbeat-interval")
    );
    assert_eq!(values::closest("zzzzzz", names()), None);
}

#[test]
fn option_names_are_unique_and_help_fits_the_screen() {
    let mut names: Vec<_> = definition::all().map(|option| option.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    for dialect in [Dialect::Synod, Dialect::Etcd] {
        for line in manual::help(dialect).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page lies beside the source, not in a member"
)]
fn the_reference_page_is_the_definition() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/config.md"
    );
    let page = manual::reference_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/config.md is old: UPDATE=1 cargo test -p synod-cli"
    );
}
