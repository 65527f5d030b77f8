//! The tour and the benchmark run to their end and say what they should.

use crate::member::{Dir, Member, synod, text_of};

#[test]
fn the_tour_loses_nothing() {
    let output = synod().args(["tour", "--exit"]).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "$ synod put greeting hello\n  OK\n",
        "$ kill -9 ",
        "served again after ",
        "acknowledged writes are there",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn a_benchmark_counts_what_it_did() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let pid = member.pid().to_string();
    for operation in ["put", "range", "txn", "lease"] {
        let output = synod()
            .args([
                "bench",
                operation,
                "--endpoints",
                &member.endpoint,
                "--server-pid",
                &pid,
            ])
            .args([
                "--clients",
                "4",
                "--total",
                "200",
                "--warm-up",
                "0s",
                "--key-space",
                "50",
            ])
            .args(["-o", "json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{operation}: {}", text_of(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let run = &report["runs"][0];
        assert_eq!(run["done"], 200, "{report}");
        assert_eq!(run["failed"], 0, "{report}");
        assert!(
            run["server_cpu_s"].is_number() && run["generator_cpu_s"].is_number(),
            "{report}"
        );
    }
}

#[test]
fn a_watch_benchmark_delivers_every_change_to_every_watcher() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let output = synod()
        .args([
            "bench",
            "watch",
            "--endpoints",
            &member.endpoint,
            "--watchers",
            "20",
        ])
        .args([
            "--connections",
            "2",
            "--rate",
            "100",
            "--duration",
            "200ms",
            "-o",
            "json",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &report["runs"][0];
    let delivered = run["done"].as_u64().unwrap();
    assert!(delivered > 0 && delivered.is_multiple_of(20), "{report}");
    assert_eq!(
        (&run["failed"], &run["timed_out"]),
        (&0.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn two_endpoints_are_compared_in_turn() {
    let (one, two) = (Dir::new(), Dir::new());
    let (one, two) = (Member::start(&one), Member::start(&two));
    let output = synod()
        .args([
            "bench",
            "put",
            "--endpoints",
            &one.endpoint,
            "--versus",
            &two.endpoint,
        ])
        .args([
            "--server-pid",
            &one.pid().to_string(),
            "--versus-pid",
            &two.pid().to_string(),
        ])
        .args([
            "--clients",
            "2",
            "--duration",
            "100ms",
            "--warm-up",
            "0s",
            "--rounds",
            "2",
        ])
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["runs"].as_array().unwrap().len(), 4, "{report}");
    assert!(
        report["ratios"]["p50"]["median"].as_f64().unwrap() > 0.0,
        "{report}"
    );
}

#[test]
fn a_server_that_goes_away_is_in_the_figures() {
    let dir = Dir::new();
    let member = Member::start(&dir);
    let endpoint = member.endpoint.clone();
    let bench = synod()
        .args([
            "bench",
            "put",
            "--endpoints",
            &endpoint,
            "--clients",
            "2",
            "--rate",
            "200",
        ])
        .args([
            "--duration",
            "1s",
            "--warm-up",
            "0s",
            "--timeout",
            "100ms",
            "-o",
            "json",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Once the first keys are there, the load is on.
    while member
        .output(&["get", "bench/", "--prefix", "--count-only"])
        .trim()
        == "0"
    {}
    member.kill();
    let output = bench.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &report["runs"][0];
    let missed = run["failed"].as_u64().unwrap() + run["timed_out"].as_u64().unwrap();
    assert!(missed > 0, "{report}");
}

#[test]
fn the_floor_measures_all_three() {
    let dir = Dir::new();
    let output = synod()
        .args([
            "bench",
            "floor",
            "--duration",
            "100ms",
            "--clients",
            "4",
            "-o",
            "json",
            "--dir",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["durable_writes"].as_array().unwrap().len(),
        2,
        "{report}"
    );
    for server in report["servers"].as_array().unwrap() {
        assert!(server["run"]["done"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(server["run"]["failed"], 0, "{report}");
    }
}
