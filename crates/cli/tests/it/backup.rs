//! Backups: saved from a member, verified, and a new member from each.

use crate::member::{Dir, Member, failure, synod, text_of};
use std::process::Command;

/// Runs a command that must succeed; gives its standard output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A member with a few keys, and a backup of it.
fn saved(dir: &Dir) -> (Member, String) {
    let member = Member::start(dir);
    for value in ["1", "2", "3"] {
        member.output(&["put", "a", value]);
    }
    member.output(&["lease", "grant", "100", "--id", "1234"]);
    member.output(&["put", "b", "leased", "--lease", "1234"]);
    let file = dir.join("backup");
    let said = member.output(&["snapshot", "save", &file]);
    assert_eq!(said, format!("Snapshot saved at {file}\n"));
    (member, file)
}

#[test]
fn flags_that_a_file_would_exclude_are_not_ignored_in_silence() {
    let arguments = [
        "backup",
        "--config-file",
        "member.yaml",
        "--data-dir",
        "data",
    ];
    let (code, said) = failure(synod().args(["snapshot", "restore"]).args(arguments));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn a_restored_member_has_all_keys_and_a_higher_revision() {
    let dir = Dir::new();
    let (member, file) = saved(&dir);
    member.output(&["put", "a", "after the backup"]);
    member.stop();

    let status = output(synod().args(["snapshot", "status", &file, "-o", "json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status["revision"], &status["totalKey"]),
        (&5.into(), &2.into())
    );
    assert_eq!(status["totalSize"], std::fs::metadata(&file).unwrap().len());

    let data = dir.join("restored/data");
    let restored = output(synod().args(["snapshot", "restore", &file, "--data-dir", &data]));
    let expected =
        format!("restored 2 keys and 1 leases (218 B) at revision 1000000005 into {data}\n");
    assert!(restored.starts_with(&expected), "{restored}");

    let mut serve = synod();
    serve.args(["serve", "--data-dir", &data]);
    serve.args(["--listen-client-urls", "http://127.0.0.1:0"]);
    let member = Member::run(serve, &dir.join("ports"));
    assert_eq!(member.output(&["get", "", "--prefix"]), "a\n3\nb\nleased\n");
    let shown = member.output(&["lease", "timetolive", "1234", "--keys"]);
    assert!(shown.contains("granted with TTL(100s)"), "{shown}");
    assert!(shown.ends_with("attached keys([b])\n"), "{shown}");
    // Whoever watches from where the old member was is told that its history is gone.
    let (code, said) = failure(&mut member.client(&["watch", "a", "--rev", "6"]));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("compacted"), "{said}");
    let put: serde_json::Value =
        serde_json::from_str(&member.output(&["put", "a", "4", "-o", "json"])).unwrap();
    assert_eq!(put["header"]["revision"], 1_000_000_006);
}

#[test]
fn history_is_restored_for_whoever_asks_for_it() {
    let dir = Dir::new();
    let (member, file) = saved(&dir);
    member.stop();
    let data = dir.join("restored");
    let mut restore = synod();
    restore.args(["snapshot", "restore", &file, "--data-dir", &data]);
    output(restore.args(["--bump-revision", "0", "--mark-compacted=false"]));
    let mut serve = synod();
    serve.args(["serve", "--data-dir", &data]);
    serve.args(["--listen-client-urls", "http://127.0.0.1:0"]);
    let member = Member::run(serve, &dir.join("ports"));
    assert_eq!(member.output(&["get", "a", "--rev", "2"]), "a\n1\n");
}

#[test]
fn nothing_is_overwritten() {
    let dir = Dir::new();
    let (member, file) = saved(&dir);
    let before = std::fs::read(&file).unwrap();
    let (code, said) = failure(&mut member.client(&["snapshot", "save", &file]));
    assert_eq!(code, 2);
    assert!(said.contains("exists"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    member.stop();
    for (place, expected) in [("data", "not empty"), ("", "not empty")] {
        let data = dir.join(place);
        let mut restore = synod();
        restore.args(["snapshot", "restore", &file, "--data-dir", &data]);
        let (code, said) = failure(&mut restore);
        assert_eq!(code, 15, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_written() {
    let dir = Dir::new();
    let (_member, file) = saved(&dir);
    let whole = std::fs::read(&file).unwrap();
    let damaged = dir.join("damaged");
    let mut flipped = whole.clone();
    flipped[200] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1], &whole[..40]] {
        std::fs::write(&damaged, bytes).unwrap();
        let data = dir.join("restored");
        let mut restore = synod();
        restore.args(["snapshot", "restore", &damaged, "--data-dir", &data]);
        let (code, said) = failure(&mut restore);
        assert_eq!(code, 14, "{said}");
        assert!(said.contains("digest"), "{said}");
        assert!(!std::path::Path::new(&data).exists());
    }
    std::fs::write(&damaged, "something else").unwrap();
    let (code, said) = failure(synod().args(["snapshot", "status", &damaged]));
    assert_eq!(code, 2, "{said}");
}

#[test]
fn an_alarm_is_shown_and_cleared() {
    let dir = Dir::new();
    let member = Member::start_with(&dir, &["--quota-backend-bytes", "200"]);
    assert_eq!(member.output(&["alarm", "list"]), "");
    let large = "v".repeat(300);
    let (code, said) = failure(&mut member.client(&["put", "a", &large]));
    assert_eq!(code, 3, "{said}");
    let raised = member.output(&["alarm", "list"]);
    assert!(
        raised.starts_with("memberID:") && raised.ends_with(" alarm:NOSPACE \n"),
        "{raised}"
    );
    assert_eq!(member.output(&["alarm", "disarm"]), raised);
    assert_eq!(member.output(&["alarm", "list"]), "");
    assert_eq!(member.output(&["put", "a", "small"]), "OK\n");
}

/// A snapshot that a real etcd wrote.
const OF_ETCD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../import/testdata/etcd-3.5.1.db"
);

#[test]
fn a_member_begins_with_what_etcd_saved() {
    let dir = Dir::new();
    let data = dir.join("imported");
    let imported = output(synod().args(["import", OF_ETCD, "--data-dir", &data]));
    let expected =
        format!("imported 67 keys and 2 leases (10.0 kB) at revision 1000000014 into {data}\n");
    assert!(imported.starts_with(&expected), "{imported}");
    let mut serve = synod();
    serve.args(["serve", "--data-dir", &data]);
    serve.args(["--listen-client-urls", "http://127.0.0.1:0"]);
    let member = Member::run(serve, &dir.join("ports"));
    assert_eq!(member.output(&["get", "greeting"]), "greeting\nhallo\n");
    assert_eq!(member.output(&["get", "gone"]), "");
    let shown: serde_json::Value =
        serde_json::from_str(&member.output(&["get", "many/000", "-o", "json"])).unwrap();
    let kv = &shown["kvs"][0];
    assert_eq!(
        (&kv["create_revision"], &kv["mod_revision"]),
        (&11.into(), &14.into())
    );
    assert_eq!(
        (&kv["version"], &kv["value"]),
        (&2.into(), &"YWdhaW4=".into())
    );

    // And from that member, as from any etcd v3 endpoint, to the next.
    let data = dir.join("again");
    let mut import = synod();
    import.args(["import", "--from", &member.endpoint, "--data-dir", &data]);
    let imported = output(import.args(["--bump-revision", "5"]));
    let expected = "imported 67 keys and 2 leases (10.0 kB) at revision 1000000019 into ";
    assert!(imported.starts_with(expected), "{imported}");
    let mut serve = synod();
    serve.args(["serve", "--data-dir", &data]);
    serve.args(["--listen-client-urls", "http://127.0.0.1:0"]);
    let next = Member::run(serve, &dir.join("ports of the next"));
    let everything = ["get", "", "--prefix", "-o", "json"];
    let keys = |member: &Member| -> serde_json::Value {
        let shown: serde_json::Value = serde_json::from_str(&member.output(&everything)).unwrap();
        shown["kvs"].clone()
    };
    assert_eq!(keys(&next), keys(&member));
}

#[test]
fn what_is_no_snapshot_of_etcds_is_not_imported() {
    let dir = Dir::new();
    let (_member, ours) = saved(&dir);
    let data = dir.join("imported");
    let import = |file: &str, flags: &[&str]| {
        let mut import = synod();
        failure(
            import
                .args(["import", file, "--data-dir", &data])
                .args(flags),
        )
    };
    let (code, said) = import(&ours, &[]);
    assert_eq!(code, 2);
    assert!(said.contains("synod snapshot restore"), "{said}");
    let copy = dir.join("db");
    let whole = std::fs::read(OF_ETCD).unwrap();
    std::fs::write(&copy, &whole[..whole.len() - 32]).unwrap();
    let (code, said) = import(&copy, &[]);
    assert_eq!(code, 2);
    assert!(said.contains("--skip-hash-check"), "{said}");
    let (code, said) = import(OF_ETCD, &["--bump-revision", "0"]);
    assert_eq!(code, 2, "{said}");
    std::fs::write(&copy, &whole[1..]).unwrap();
    let (code, said) = import(&copy, &["--skip-hash-check"]);
    assert_eq!(code, 14, "{said}");
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn a_limit_that_was_set_outlasts_a_restart_and_its_flag() {
    let dir = Dir::new();
    let member = Member::start_with(&dir, &["--quota-backend-bytes", "200"]);
    let shown = |member: &Member, name: &str| -> serde_json::Value {
        let limits = member.output(&["limits", "-o", "json"]);
        let limits: serde_json::Value = serde_json::from_str(&limits).unwrap();
        let mut limits = limits.as_array().unwrap().iter();
        limits.find(|limit| limit["name"] == name).unwrap().clone()
    };
    let quota = shown(&member, "quota-bytes");
    assert_eq!(
        (&quota["value"], &quota["origin"]),
        (&200.into(), &"flag".into())
    );
    let large = "v".repeat(300);
    assert_eq!(failure(&mut member.client(&["put", "a", &large])).0, 3);
    let set = [
        "limits",
        "set",
        "quota-bytes=1MiB",
        "max-txn-ops=1",
        "--by",
        "a person",
    ];
    let table = member.output(&set);
    assert!(
        table.contains("quota-bytes ") && table.contains(" by a person\n"),
        "{table}"
    );
    member.output(&["alarm", "disarm"]);
    assert_eq!(member.output(&["put", "a", &large]), "OK\n");
    let (ended, said) = member.stop();
    assert!(ended.success());
    assert!(said.contains("limit changed"), "{said}");

    let member = Member::start_with(&dir, &["--quota-backend-bytes", "200"]);
    let quota = shown(&member, "quota-bytes");
    assert_eq!(
        (&quota["value"], &quota["origin"]),
        (&1_048_576.into(), &"set".into())
    );
    assert_eq!(quota["last_change"]["by"], "a person");
    assert_eq!(shown(&member, "max-txn-ops")["value"], 1);
    // What makes no sense is refused, and what is given back is the flag's again.
    assert_eq!(
        failure(&mut member.client(&["limits", "set", "quota-bytes=0"])).0,
        3
    );
    assert_eq!(
        failure(&mut member.client(&["limits", "set", "patience=1"])).0,
        3
    );
    member.output(&["limits", "reset", "quota-bytes", "--by", "a person"]);
    let given_back = (0..1_000).any(|_| shown(&member, "quota-bytes")["value"] == 200);
    assert!(given_back, "{}", shown(&member, "quota-bytes"));
    assert_eq!(failure(&mut member.client(&["put", "b", &large])).0, 3);
}
