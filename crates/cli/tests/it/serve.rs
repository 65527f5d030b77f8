//! Starting and stopping, and every way in which a start can be refused.

use crate::member::{Dir, Member, failure, synod};

fn serve(arguments: &[&str]) -> (i32, String) {
    failure(synod().arg("serve").args(arguments))
}

#[test]
fn a_start_says_where_it_is_and_what_to_try() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let endpoint = &member.endpoint;
    assert!(
        member.said.contains(&format!("Data: {}", dir.join("data"))),
        "{}",
        member.said
    );
    for example in ["put greeting hello", "get greeting", "watch greeting"] {
        let line = format!("synod {example} --endpoints {endpoint}");
        assert!(member.said.contains(&line), "{line} in {}", member.said);
    }
}

#[test]
fn a_term_signal_ends_it_well_and_what_was_written_is_there_again() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.output(&["put", "a", "1"]);
    let (status, said) = member.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopped by SIGTERM"), "{said}");
    let member = Member::start(&dir);
    assert_eq!(member.output(&["get", "a"]), "a\n1\n");
}

#[test]
fn a_stop_does_not_wait_for_watchers() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.output(&["put", "a", "1"]);
    let mut watch = member.client(&["watch", "a", "--rev", "1"]);
    let mut watch = watch
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    std::io::Read::read_exact(watch.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"PUT\n");
    let (status, said) = member.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        matches!(watch.wait().unwrap().code(), Some(3 | 5)),
        "the watch ends too"
    );
}

#[test]
fn logs_are_json_if_asked_for() {
    let dir = Dir::new();
    let member = Member::start_with(&dir, &["--log-format", "json"]);
    for line in member.said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["level"].is_string() && line["ts"].is_string() && line["msg"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn the_log_of_a_start_is_short_and_debug_tells_more() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let lines = member
        .said
        .lines()
        .filter(|line| line.contains(" INFO "))
        .count();
    assert!((1..=6).contains(&lines), "{}", member.said);
    assert!(member.stop().0.success());
    let member = Member::start_with(&dir, &["--log-level", "debug"]);
    assert!(member.said.contains("DEBUG"), "{}", member.said);
}

#[test]
fn the_ready_line_is_there_at_any_log_level() {
    let dir = Dir::new();
    let member = Member::start_with(&dir, &["--log-level", "error"]);
    assert!(!member.said.contains("INFO"), "{}", member.said);
}

#[test]
fn wrong_flags_are_all_reported_and_nothing_is_made() {
    let dir = Dir::new();
    let data = dir.join("data");
    let wrong = [
        "--data-dir",
        &data,
        "--max-txn-op",
        "1",
        "--cert-file",
        "x",
        "--log-level",
        "loud",
    ];
    let (code, said) = serve(&wrong);
    assert_eq!(code, 2);
    assert_eq!(
        said,
        "synod: 3 problems with the configuration; nothing was started\n  \
         --max-txn-op: no such option; did you mean `max-txn-ops`?\n  \
         --cert-file: `x` refused: TLS is not there yet; serve on loopback, or behind a proxy that \
         ends TLS\n  \
         --log-level: `loud` is none of debug, info, warn, error\n"
    );
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn a_port_in_use_is_told_apart_and_the_directory_is_not_touched() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    let dir = Dir::new();
    let data = dir.join("data");
    let (code, said) = serve(&["--data-dir", &data, "--listen-client-urls", &url]);
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("most likely by etcd"), "{said}");
    assert!(
        said.contains("ss -ltnp") && said.contains("--listen-client-urls"),
        "{said}"
    );
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let second = [
        "--data-dir",
        &dir.join("data"),
        "--listen-client-urls",
        "http://127.0.0.1:0",
    ];
    let (code, said) = serve(&second);
    assert_eq!(code, 11, "{said}");
    assert!(
        said.contains(&format!("process {}", member.pid())),
        "{said}"
    );
    member.output(&["put", "a", "1"]);
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let dir = Dir::new();
    std::fs::write(dir.path().join("file"), "not a directory").unwrap();
    for path in ["file", "file/data"] {
        let arguments = [
            "--data-dir",
            &dir.join(path),
            "--listen-client-urls",
            "http://127.0.0.1:0",
        ];
        let (code, said) = serve(&arguments);
        assert_eq!(code, 12, "{said}");
        assert!(said.contains("--data-dir chooses the directory"), "{said}");
    }
}

/// A directory in which a member has lived, stopped.
fn used() -> Dir {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.output(&["put", "a", "1"]);
    assert!(member.stop().0.success());
    dir
}

fn again(dir: &Dir, flags: &[&str]) -> (i32, String) {
    let mut arguments = vec![
        "--data-dir".to_owned(),
        dir.join("data"),
        "--listen-client-urls".to_owned(),
    ];
    arguments.push("http://127.0.0.1:0".to_owned());
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    failure(synod().arg("serve").args(arguments))
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let dir = used();
    let (code, said) = again(&dir, &["--initial-cluster-token", "other"]);
    assert_eq!(code, 15, "{said}");
    assert!(said.contains("cluster token"), "{said}");
    assert_eq!(Member::start(&dir).output(&["get", "a"]), "a\n1\n");
}

#[test]
fn a_damaged_file_is_named_and_refused() {
    let dir = used();
    let path = dir.path().join("data/member");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, said) = again(&dir, &[]);
    assert_eq!(code, 14, "{said}");
    assert!(said.contains("data/member at byte"), "{said}");
    assert_eq!(
        said.matches("Keep a copy of the data directory").count(),
        1,
        "{said}"
    );
}

#[test]
fn joining_a_cluster_that_cannot_be_joined_yet_is_refused() {
    let dir = Dir::new();
    let (code, said) = again(&dir, &["--initial-cluster-state", "existing"]);
    assert_eq!(code, 2, "{said}");
    // A member that is already in is not joining.
    let dir = used();
    let member = Member::start_with(&dir, &["--initial-cluster-state", "existing"]);
    assert_eq!(member.output(&["get", "a"]), "a\n1\n");
}
