//! The client commands against a member, and their exit codes.

use crate::member::{Dir, Member, failure, synod, text_of};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};

fn with_input(member: &Member, arguments: &[&str], input: &str) -> String {
    let mut child = member
        .client(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn keys_are_written_read_counted_and_deleted() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    assert_eq!(member.output(&["put", "a", "1"]), "OK\n");
    assert_eq!(with_input(&member, &["put", "b"], "from\nstdin"), "OK\n");
    assert_eq!(member.output(&["put", "a", "2", "--prev-kv"]), "OK\na\n1\n");
    assert_eq!(member.output(&["get", "a", "c"]), "a\n2\nb\nfrom\nstdin\n");
    assert_eq!(member.output(&["get", "a", "--rev", "2"]), "a\n1\n");
    assert_eq!(
        member.output(&["get", "", "--prefix", "--keys-only"]),
        "a\nb\n"
    );
    assert_eq!(
        member.output(&["get", "b", "--from-key", "--count-only"]),
        "1\n"
    );
    let values = [
        "get",
        "",
        "--prefix",
        "--print-value-only",
        "--order",
        "DESCEND",
        "--limit",
        "1",
    ];
    assert_eq!(member.output(&values), "from\nstdin\n");
    assert_eq!(member.output(&["del", "a", "--prev-kv"]), "1\na\n2\n");
    assert_eq!(member.output(&["get", "a"]), "");
}

#[test]
fn json_is_etcdctls() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.output(&["put", "a", "1"]);
    let json: serde_json::Value =
        serde_json::from_str(&member.output(&["get", "a", "-o", "json"])).unwrap();
    assert_eq!(json["kvs"][0]["key"], "YQ==");
    assert_eq!(json["kvs"][0]["mod_revision"], 2);
    assert_eq!(json["header"]["revision"], 2);
    assert_eq!(json["count"], 1);
    let status: serde_json::Value =
        serde_json::from_str(&member.output(&["status", "-o", "json"])).unwrap();
    assert_eq!(status[0]["Endpoint"], member.endpoint);
    assert_eq!(status[0]["Status"]["leader"], json["header"]["member_id"]);
}

#[test]
fn a_watch_prints_past_and_present_changes() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.output(&["put", "a", "1"]);
    let watch = member
        .client(&["watch", "a", "--rev", "2", "--count", "3", "--prev-kv"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    member.output(&["put", "a", "2"]);
    member.output(&["del", "a"]);
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "PUT\na\n1\nPUT\na\n1\na\n2\nDELETE\na\n2\na\n\n");
}

#[test]
fn a_transaction_takes_one_branch() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let create = "create(\"a\") = \"0\"\n\nput a 1\nget a\n\nget a\n\n";
    assert_eq!(
        with_input(&member, &["txn"], create),
        "SUCCESS\n\nOK\n\na\n1\n"
    );
    assert_eq!(with_input(&member, &["txn"], create), "FAILURE\n\na\n1\n");
}

#[test]
fn a_lease_is_granted_renewed_shown_and_revoked() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let granted = "lease 0000000000001234 granted with TTL(100s)\n";
    assert_eq!(
        member.output(&["lease", "grant", "100", "--id", "1234"]),
        granted
    );
    member.output(&["put", "a", "1", "--lease", "1234"]);
    let renewed = "lease 0000000000001234 keepalived with TTL(100)\n";
    assert_eq!(
        member.output(&["lease", "keep-alive", "1234", "--once"]),
        renewed
    );
    let shown = member.output(&["lease", "timetolive", "1234", "--keys"]);
    assert!(shown.ends_with("attached keys([a])\n"), "{shown}");
    assert_eq!(
        member.output(&["lease", "list"]),
        "found 1 leases\n0000000000001234\n"
    );
    assert_eq!(
        member.output(&["lease", "revoke", "1234"]),
        "lease 0000000000001234 revoked\n"
    );
    assert_eq!(member.output(&["get", "a"]), "");
    let gone = "lease 0000000000001234 already expired\n";
    assert_eq!(member.output(&["lease", "timetolive", "1234"]), gone);
}

#[test]
fn history_before_a_compaction_is_refused() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    for value in ["1", "2", "3"] {
        member.output(&["put", "a", value]);
    }
    assert_eq!(
        member.output(&["compact", "3", "--physical"]),
        "compacted revision 3\n"
    );
    let (code, said) = failure(&mut member.client(&["get", "a", "--rev", "2"]));
    assert_eq!(code, 3);
    assert_eq!(
        said,
        "synod: refused: etcdserver: mvcc: required revision has been compacted\n"
    );
    let (code, said) = failure(&mut member.client(&["watch", "a", "--rev", "2"]));
    assert_eq!(code, 3);
    assert!(said.contains("before revision 3 is compacted"), "{said}");
}

#[test]
fn a_lost_answer_is_unknown_for_writes_and_harmless_for_reads() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    member.signal(rustix::process::Signal::STOP);
    let (code, said) = failure(&mut member.client(&["put", "a", "1", "--timeout", "200ms"]));
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("may or may not have happened"), "{said}");
    let (code, said) = failure(&mut member.client(&["get", "a", "--timeout", "200ms"]));
    assert_eq!(code, 5, "{said}");
    member.signal(rustix::process::Signal::CONT);
    assert_eq!(member.output(&["get", "a", "--count-only"]).trim().len(), 1);
}

#[test]
fn where_nobody_listens_nothing_is_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, said) = failure(synod().args(["put", "a", "1", "--endpoints", &free.to_string()]));
    assert_eq!(code, 5);
    assert!(
        said.contains("nothing was sent") && said.contains("synod serve"),
        "{said}"
    );
}

#[test]
fn another_endpoint_is_tried_when_the_first_is_not_there() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let both = format!("{free},{}", member.endpoint);
    assert_eq!(
        member.output(&["put", "a", "1", "--endpoints", &both]),
        "OK\n"
    );
}

/// A listener that accepts nothing: connections stand, and nobody answers on them.
fn hanging() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn another_endpoint_is_tried_when_the_first_hangs() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let (_listener, hanging) = hanging();
    // The order is drawn at random: in so many commands, the one that hangs comes first.
    for key in ["a", "b", "c", "d"] {
        let both = format!("{hanging},{}", member.endpoint);
        let with_both = |arguments: &[&str]| {
            let given = ["--endpoints", both.as_str(), "--timeout", "1s"];
            member.output(&[arguments, given.as_slice()].concat())
        };
        assert_eq!(with_both(&["put", key, "1"]), "OK\n");
        assert_eq!(with_both(&["get", key]), format!("{key}\n1\n"));
        let watch = ["watch", key, "--rev", "2", "--count", "1"];
        assert_eq!(with_both(&watch), format!("PUT\n{key}\n1\n"));
    }
}

#[test]
fn where_everybody_hangs_nothing_was_sent() {
    let ((_one, first), (_two, second)) = (hanging(), hanging());
    let both = format!("{first},{second}");
    let arguments = ["put", "a", "1", "--endpoints", &both, "--timeout", "200ms"];
    let (code, said) = failure(synod().args(arguments));
    assert_eq!(code, 5, "{said}");
    for endpoint in [first, second] {
        let line = format!("  {endpoint}: no connection in time\n");
        assert!(said.contains(&line), "{said}");
    }
}

/// A command that goes on, read line by line; killed when dropped.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Following {
    fn start(member: &Member, arguments: &[&str]) -> Self {
        let mut command = member.client(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for that many lines.
    fn read(&mut self, lines: usize) -> String {
        let mut text = String::new();
        for _ in 0..lines {
            let length = self.lines.read_line(&mut text).unwrap();
            assert!(length > 0, "the command ended after {text:?}");
        }
        text
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Kills a member and starts it again where it was.
fn restart(dir: &Dir, member: Member) -> Member {
    let endpoint = member.endpoint.clone();
    member.kill();
    let mut command = synod();
    command.args(["serve", "--data-dir", &dir.join("data")]);
    command.args(["--listen-client-urls", &endpoint]);
    Member::run(command, &dir.join("ports"))
}

#[test]
fn a_watch_goes_on_after_its_member_was_killed() {
    let dir = Dir::new();
    let mut member = Member::start(&dir);
    let mut watch = Following::start(&member, &["watch", "a", "--rev", "2", "--count", "3"]);
    for value in ["1", "2"] {
        member.output(&["put", "a", value]);
        assert_eq!(watch.read(3), format!("PUT\na\n{value}\n"));
        member = restart(&dir, member);
    }
    member.output(&["put", "a", "3"]);
    assert_eq!(watch.read(3), "PUT\na\n3\n");
    assert!(watch.child.wait().unwrap().success());
}

#[test]
fn a_lease_is_kept_alive_over_the_end_of_its_member() {
    let dir = Dir::new();
    let mut member = Member::start(&dir);
    member.output(&["lease", "grant", "6", "--id", "1234"]);
    let mut keeper = Following::start(&member, &["lease", "keep-alive", "1234"]);
    let renewed = "lease 0000000000001234 keepalived with TTL(6)\n";
    assert_eq!(keeper.read(1), renewed);
    member = restart(&dir, member);
    assert_eq!(keeper.read(1), renewed);
    member.output(&["lease", "revoke", "1234"]);
    let ended = keeper.child.wait().unwrap();
    assert_eq!(ended.code(), Some(3));
}

#[test]
fn help_fits_eighty_columns() {
    let verbs: [&[&str]; 24] = [
        &[],
        &["serve"],
        &["put"],
        &["get"],
        &["del"],
        &["watch"],
        &["txn"],
        &["lease"],
        &["lease", "grant"],
        &["compact"],
        &["status"],
        &["alarm"],
        &["limits"],
        &["limits", "set"],
        &["limits", "reset"],
        &["snapshot"],
        &["snapshot", "save"],
        &["snapshot", "status"],
        &["snapshot", "restore"],
        &["import"],
        &["tour"],
        &["bench"],
        &["bench", "put"],
        &["bench", "floor"],
    ];
    for verb in verbs {
        let output = synod().args(verb).arg("--help").output().unwrap();
        assert!(output.status.success(), "{verb:?}: {}", text_of(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{verb:?}: {line}");
        }
    }
}
