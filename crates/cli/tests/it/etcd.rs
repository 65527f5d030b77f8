//! The binary under the name `etcd`, as scripts and units that were written for it start it.

use crate::member::{Dir, Member, failure, program, synod, text_of};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The binary by a link of that name in the directory.
fn etcd(dir: &Dir) -> Command {
    let link = dir.path().join("etcd");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_synod"), &link).unwrap();
    }
    program(&link)
}

/// A member under that name, with etcd's flags.
fn start(dir: &Dir, flags: &[&str]) -> Member {
    let mut command = etcd(dir);
    command.args(["-data-dir", &dir.join("data")]).args(flags);
    Member::run(command, &dir.join("ports"))
}

const ANY_PORT: [&str; 4] = [
    "--listen-client-urls=http://127.0.0.1:0",
    "--advertise-client-urls",
    "http://127.0.0.1:2379",
    "-experimental-watch-progress-notify-interval=5s",
];

/// What a request over HTTP is answered.
fn get(mut stream: impl std::io::Read + std::io::Write, path: &str) -> String {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_version_is_etcds_in_the_first_line_and_can_be_chosen() {
    let dir = Dir::new();
    let first_line = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    for flag in ["--version", "-version"] {
        assert_eq!(first_line(etcd(&dir).arg(flag)), "etcd Version: 3.6.4");
    }
    assert_eq!(
        first_line(etcd(&dir).args(["--api-version=3.5.17", "--version"])),
        "etcd Version: 3.5.17"
    );
    let mut chosen = etcd(&dir);
    chosen.arg("--version").env("ETCD_API_VERSION", "3.7.1");
    assert_eq!(first_line(&mut chosen), "etcd Version: 3.7.1");

    let (code, said) = failure(etcd(&dir).args(["--version", "--frobnicate"]));
    assert_eq!(code, 2, "{said}");
    assert!(said.starts_with("etcd: "), "{said}");
}

#[test]
fn it_logs_as_etcd_and_says_when_it_serves() {
    let dir = Dir::new();
    let member = start(&dir, &ANY_PORT);
    for line in member.said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["level", "ts", "caller", "msg"] {
            assert!(line[key].is_string(), "{key} in {line}");
        }
    }
    let ready = member.said.lines().last().unwrap();
    assert!(
        ready.ends_with(r#""msg":"ready to serve client requests"}"#),
        "{ready}"
    );
    member.output(&["put", "a", "1"]);
    let (status, said) = member.stop();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn the_environment_and_a_file_configure_it_as_they_do_etcd() {
    let dir = Dir::new();
    let mut command = etcd(&dir);
    command
        .env("ETCD_DATA_DIR", dir.join("data"))
        .env("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:0")
        .env("ETCD_LOG_LEVEL", "error");
    let member = Member::run(command, &dir.join("ports"));
    assert_eq!(
        member.said,
        "{\"level\":\"info\",\"msg\":\"ready to serve client requests\"}\n"
    );
    member.output(&["put", "a", "1"]);
    assert!(member.stop().0.success());

    let file = format!(
        "data-dir: {}\nlisten-client-urls: http://127.0.0.1:0\nports-file: {}\n\
         log-outputs: [stderr, {}]\n",
        dir.join("data"),
        dir.join("ports"),
        dir.join("log")
    );
    std::fs::write(dir.join("etcd.conf.yml"), file).unwrap();
    let mut command = etcd(&dir);
    command.args(["--config-file", &dir.join("etcd.conf.yml")]);
    command.args(["--name", "ignored"]);
    let member = Member::run(command, &dir.join("ports"));
    assert!(
        member
            .said
            .contains("excludes flags and environment; ignored: --name"),
        "{}",
        member.said
    );
    assert_eq!(member.output(&["get", "a"]), "a\n1\n");
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    assert!(log.starts_with(&member.said), "{log}");
}

#[test]
fn a_local_socket_is_for_its_owner_and_a_stale_one_is_replaced() {
    let dir = Dir::new();
    let socket = dir.path().join("client.sock");
    let url = format!("unix://{}", socket.display());
    let urls = format!("--listen-client-urls=http://127.0.0.1:0,{url}");
    let put = ["put", "a", "1", "--endpoints", &url];
    let health = || get(UnixStream::connect(&socket).unwrap(), "/health");

    let member = start(&dir, &[&urls]);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert!(health().starts_with("HTTP/1.1 200 OK"));
    let ports = std::fs::read_to_string(dir.join("ports")).unwrap();
    assert!(ports.contains(&format!("client={url}\n")), "{ports}");
    assert!(synod().args(put).output().unwrap().status.success());
    assert_eq!(member.output(&["get", "a"]), "a\n1\n");

    // Another member neither gets it nor takes it away.
    let other = [
        "--data-dir",
        &dir.join("other"),
        "--listen-client-urls",
        &url,
    ];
    let (code, said) = failure(etcd(&dir).args(other));
    assert_eq!(code, 10, "{said}");
    assert!(
        said.contains("is in use") && said.contains("ss -lxp"),
        "{said}"
    );
    assert!(health().starts_with("HTTP/1.1 200 OK"));

    member.kill();
    assert!(socket.exists(), "nobody was there to remove it");
    let member = start(&dir, &[&urls]);
    assert!(health().starts_with("HTTP/1.1 200 OK"));
    assert!(member.stop().0.success());
    assert!(!socket.exists(), "it goes with the member");

    std::fs::write(&socket, "precious").unwrap();
    let (code, said) = failure(etcd(&dir).args(other));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("is a file and no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn monitors_have_a_port_of_their_own() {
    let dir = Dir::new();
    let flags = ["--listen-metrics-urls", "http://127.0.0.1:0"];
    let _member = start(&dir, &[&ANY_PORT[..], &flags].concat());
    let ports = std::fs::read_to_string(dir.join("ports")).unwrap();
    let url = ports
        .lines()
        .find_map(|line| line.strip_prefix("metrics=http://"));
    let ask = |path| get(std::net::TcpStream::connect(url.unwrap()).unwrap(), path);
    assert!(ask("/metrics").contains("\netcd_server_has_leader 1\n"));
    assert!(ask("/v3/kv/range").starts_with("HTTP/1.1 404"));

    let taken = format!("http://{}", url.unwrap());
    let other = ["--data-dir", &dir.join("other"), ANY_PORT[0]];
    let (code, said) = failure(
        etcd(&dir)
            .args(other)
            .args(["--listen-metrics-urls", &taken]),
    );
    assert_eq!(code, 10, "{said}");
    assert!(
        said.contains("listen elsewhere: --listen-metrics-urls"),
        "{said}"
    );
}

#[test]
fn systemd_is_told_when_it_serves() {
    let dir = Dir::new();
    let path = dir.path().join("notify.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut command = etcd(&dir);
    command
        .args(["--data-dir", &dir.join("data")])
        .args(ANY_PORT);
    command.env("NOTIFY_SOCKET", &path);
    let _member = Member::run(command, &dir.join("ports"));
    let mut told = [0; 64];
    let length = supervisor.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1");
}

#[test]
fn data_of_etcd_is_recognized_and_left_alone() {
    let dir = Dir::new();
    std::fs::create_dir_all(dir.path().join("data/member/snap")).unwrap();
    let (code, said) = failure(
        etcd(&dir)
            .args(["--data-dir", &dir.join("data")])
            .args(ANY_PORT),
    );
    assert_eq!(code, 15, "{said}");
    assert!(
        said.contains("holds the data of etcd") && said.contains("moving-from-etcd"),
        "{said}"
    );
    let names: Vec<_> = std::fs::read_dir(dir.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["member"]);
}

#[test]
fn what_it_does_not_have_is_refused_with_a_reason() {
    let dir = Dir::new();
    let cases: [(&[&str], &str); 4] = [
        (&["gateway", "start"], "put a proxy for TCP in front of it"),
        (
            &["grpc-proxy", "start"],
            "put a proxy for TCP in front of it",
        ),
        (&["--cert-file", "x"], "TLS is not there yet"),
        (&["--enable-v2"], "use v3"),
    ];
    for (arguments, reason) in cases {
        let (code, said) = failure(etcd(&dir).args(arguments));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(reason), "{said}");
    }
    let output = etcd(&dir).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: etcd [--OPTION VALUE]"), "{help}");
}

#[test]
fn a_signal_while_it_starts_ends_it_well_at_any_moment() {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = Dir::new();
    let arguments = ["serve", "--data-dir", &dir.join("data")];
    for lines in 0..4 {
        let mut command = synod();
        command.args(arguments).args(&ANY_PORT[..3]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // The more it has said, the further it is.
        let mut stderr = child.stderr.take().unwrap();
        let mut said = Vec::new();
        let mut byte = [0];
        while said.iter().filter(|&&byte| byte == b'\n').count() < lines {
            stderr.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        stderr.read_to_end(&mut said).unwrap();
        let status = child.wait().unwrap();
        // Before it listens for signals, the system ends it.
        assert!(
            status.code() == Some(0) || status.signal() == Some(15),
            "{status}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    Member::start(&dir).output(&["put", "a", "1"]);
}
