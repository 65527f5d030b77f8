//! What wins, what is refused, and in which words.

use super::{Config, Problem, Resolved, Sources, definition, manual, values};
use std::io;
use std::time::Duration;

fn resolve(
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
    assert_eq!(
        config.listen_client[0].address.to_string(),
        "127.0.0.1:2379"
    );
    assert_eq!(config.election_timeout, Duration::from_secs(1));
    assert_eq!(config.limits, synod_env::Limits::default());
}

#[test]
fn flag_wins_over_synod_over_etcd_over_file() {
    let file = ("member.yaml", "name: from-file\n");
    let etcd = ("ETCD_NAME", "from-etcd");
    let synod = ("SYNOD_NAME", "from-synod");
    let named = |arguments: &str, environment: &[(&str, &str)]| {
        resolve(arguments, environment, &[file])
            .unwrap()
            .config
            .name
    };
    assert_eq!(named("--config-file member.yaml", &[]), "from-file");
    assert_eq!(
        named("", &[("ETCD_CONFIG_FILE", "member.yaml")]),
        "from-file"
    );
    assert_eq!(named("--config-file member.yaml", &[etcd]), "from-etcd");
    assert_eq!(
        named("--config-file member.yaml", &[etcd, synod]),
        "from-synod"
    );
    assert_eq!(
        named("--config-file member.yaml --name f", &[etcd, synod]),
        "f"
    );
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
    assert_eq!(config.listen_client[1].address.to_string(), "[::1]:1");
    assert_eq!(config.watch_progress_interval, Duration::from_secs(5));
}

#[test]
fn flags_are_written_as_for_etcd() {
    for arguments in ["--name a", "--name=a", "-name a", "-name=a"] {
        assert_eq!(config(arguments).name, "a", "{arguments}");
    }
    // Tuning of etcd's inside, and asking for what happens anyway.
    let quiet = "--snapshot-count 10000 --pre-vote --client-cert-auth=false --logger zap \
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
            "`member1`: not a flag; write --name VALUE or --name=VALUE",
        ),
        ("--name", "--name: needs a value"),
        (
            "--name a --name b",
            "--name: given twice, as `a` and as `b`; keep one",
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
            "--unsafe-no-fsync: `true` refused: an acknowledged write is durable, always",
        ),
        (
            "--auto-compaction-retention 1h",
            "--auto-compaction-retention: `1h` refused: automatic compaction is not there yet; run `synod compact` from a timer",
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
    let problems = resolve(
        "--config-file m.yaml --server-threads 0",
        &environment,
        &[file],
    );
    let text: Vec<String> = problems
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "m.yaml:4 (nmae): no such option; did you mean `name`?",
            "ETCD_CERT_FILE (environment): `x.pem` refused: TLS is not there yet; serve on \
             loopback, or behind a proxy that ends TLS",
            "m.yaml:3 (max-txn-ops): `many` is not a whole number from 1 to 65536",
            "--server-threads: `0` is not a whole number from 1 to 256",
            "SYNOD_LOG_FORMAT (environment): `xml` is neither `text` nor `json`",
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
    let names = || definition::OPTIONS.iter().map(|option| option.name);
    assert_eq!(values::closest("data_dir", names()), Some("data-dir"));
    assert_eq!(
        values::closest("heartbeat-intervall", names()),
        Some("heartbeat-interval")
    );
    assert_eq!(values::closest("zzzzzz", names()), None);
}

#[test]
fn option_names_are_unique_and_help_fits_the_screen() {
    let mut names: Vec<_> = definition::OPTIONS
        .iter()
        .map(|option| option.name)
        .collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    for line in manual::help().lines() {
        assert!(line.chars().count() <= 80, "{line}");
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
