//! Every rule finds what it is for, and leaves alone what it is not for.

use super::*;

fn rust_file(text: &str) -> Tracked {
    Tracked {
        path: PathBuf::from("crates/state/src/lease.rs"),
        bytes: text.len() as u64,
        text: Some(text.to_owned()),
    }
}

fn page_findings(text: &str) -> Vec<(usize, String)> {
    let tracked = [
        Path::new("README.md"),
        Path::new("docs/hazards.md"),
        Path::new("LICENSE"),
    ];
    broken_links(Path::new("docs/README.md"), text, &BTreeSet::from(tracked))
}

#[test]
fn a_module_without_a_first_sentence_is_found() {
    let findings = file_findings(&rust_file("use std::fmt;\n"), &BTreeSet::new());
    assert_eq!(
        findings,
        ["crates/state/src/lease.rs: say in a first line `//! …` what the module is for"]
    );
    assert!(file_findings(&rust_file("//! Leases.\n"), &BTreeSet::new()).is_empty());
    assert!(file_findings(&rust_file("// Generated from proto/\n"), &BTreeSet::new()).is_empty());
}

#[test]
fn what_must_not_stay_is_found_with_its_line() {
    let text = format!("//! Leases.\nfn f() {{\n    {}x);\n}}\n", LEFTOVERS[2]);
    assert_eq!(leftovers(&text), [(3, LEFTOVERS[2])]);
}

#[test]
fn names_that_say_nothing_are_found_in_any_part_of_a_path() {
    assert_eq!(
        forbidden_name(Path::new("crates/utils/src/lib.rs")),
        Some("utils".into())
    );
    assert_eq!(
        forbidden_name(Path::new("crates/node/src/helpers.rs")),
        Some("helpers".into())
    );
    assert_eq!(
        forbidden_name(Path::new("crates/node/src/commons.rs")),
        None
    );
}

#[test]
fn large_files_are_found_whatever_they_hold() {
    let path = PathBuf::from("docs/picture.bin");
    let picture = Tracked {
        path,
        bytes: TRACKED_FILE_BYTES_MAX + 1,
        text: None,
    };
    let findings = file_findings(&picture, &BTreeSet::new());
    assert_eq!(
        findings,
        ["docs/picture.bin: 1048577 bytes are too many to track"]
    );
}

#[test]
fn a_path_of_one_machine_is_found_but_not_inside_a_longer_path() {
    let home = PRIVATE_PATHS[0];
    assert_eq!(private_paths(&format!("see {home}ada/notes")), [(1, home)]);
    assert_eq!(private_paths(&format!("a\n(\"{home}ada\")")), [(2, home)]);
    assert!(private_paths(&format!("target{home}x and $D/a{home}")).is_empty());
}

#[test]
fn lints_must_be_inherited_in_their_own_table() {
    assert!(inherits_lints(
        "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"
    ));
    assert!(!inherits_lints(
        "[package]\nname = \"x\"\n\n[lints]\n\n[dependencies]\nworkspace = true\n"
    ));
    assert!(!inherits_lints("[dependencies]\nworkspace = true\n"));
}

#[test]
fn links_must_lead_to_tracked_files_or_headings() {
    assert!(
        page_findings("[a](../README.md), [b](hazards.md#any), [c](..), [d](https://a.b/c)")
            .is_empty()
    );
    assert_eq!(
        page_findings("one\n[gone](gone.md)"),
        [(2, "gone.md".into())]
    );
    assert!(page_findings("# Two words, here\n[up](#two-words-here)").is_empty());
    assert_eq!(
        page_findings("# Two words\n[up](#three)"),
        [(2, "#three".into())]
    );
    assert!(page_findings("```\n[code](gone.md)\n```").is_empty());
}

#[test]
fn an_alert_without_its_runbook_is_found_and_a_runbook_without_its_alert() {
    let alerts = "\
rules:
  - alert: SynodDown
    annotations:
      runbook: docs/operate/runbooks.md#synoddown
  - alert: SynodFull
";
    let findings = alerts::without_runbook(alerts, "## SynodDown\n## SynodOld\n");
    assert_eq!(
        findings,
        [
            "deploy/prometheus-alerts.yaml: SynodFull has no section in docs/operate/runbooks.md",
            "deploy/prometheus-alerts.yaml: SynodFull needs \
             `runbook: docs/operate/runbooks.md#synodfull`",
            "docs/operate/runbooks.md: SynodOld is no alert of deploy/prometheus-alerts.yaml",
        ]
    );
}

#[test]
fn a_metric_that_the_server_does_not_have_is_found() {
    let server = Tracked {
        path: PathBuf::from("crates/server/src/metrics.rs"),
        bytes: 0,
        text: Some("\"etcd_server_id\", \"etcd_disk_seconds\"".to_owned()),
    };
    let rules = "sum by (grpc_code) (etcd_server_id) / etcd_disk_seconds_bucket + etcd_server";
    assert_eq!(
        alerts::unknown_metrics("rules", rules, &[server]),
        ["rules: the server has no metric etcd_server"]
    );
}
