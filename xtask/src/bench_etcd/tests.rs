use super::report::*;
use super::scale::{Beside, Scale};
use serde_json::json;
use std::time::Duration;

fn run(endpoint: &str, throughput: Option<f64>, p50: f64, cpu: f64) -> serde_json::Value {
    json!({
        "endpoint": endpoint,
        "throughput_per_s": throughput,
        "latency_us": { "p50": p50, "p99": p50 * 3.0 },
        "server_cpu_us_per_op": cpu,
    })
}

#[test]
fn figures_are_medians_of_one_endpoint() {
    let runs = [
        run("a", Some(100.0), 10.0, 1.0),
        run("b", Some(7.0), 70.0, 7.0),
        run("a", Some(300.0), 30.0, 3.0),
        run("a", Some(200.0), 20.0, 9.0),
    ];
    let figures = Figures::of(&json!({ "runs": runs }), "a").expect("there are runs of a");
    let expected = Figures {
        throughput_per_s: Some(200.0),
        p50_us: Some(20.0),
        p99_us: Some(60.0),
        cpu_us_per_op: Some(3.0),
    };
    assert_eq!(figures, expected);
    assert!(Figures::of(&json!({ "runs": runs }), "c").is_err());
}

#[test]
fn a_throughput_that_the_generator_limited_once_is_not_known() {
    let runs = [run("a", Some(100.0), 10.0, 1.0), run("a", None, 10.0, 1.0)];
    let figures = Figures::of(&json!({ "runs": runs }), "a").expect("there are runs of a");
    assert_eq!(figures.throughput_per_s, None);
    assert_eq!(figures.p50_us, Some(10.0));
}

#[test]
fn targets_are_met_missed_or_not_known() {
    let figures = |throughput_per_s, p50_us, cpu_us_per_op| Figures {
        throughput_per_s,
        p50_us: Some(p50_us),
        p99_us: None,
        cpu_us_per_op: Some(cpu_us_per_op),
    };
    let row = |operation: &str, clients, synod, etcd| Row {
        operation: operation.to_owned(),
        clients,
        synod,
        etcd,
    };
    let report = Report {
        rows: vec![
            row(
                "put",
                256,
                figures(Some(13.0), 1.0, 6.0),
                figures(Some(10.0), 1.0, 10.0),
            ),
            row(
                "put",
                1,
                figures(None, 250.0, 1.0),
                figures(None, 200.0, 1.0),
            ),
            row(
                "txn",
                256,
                figures(None, 1.0, 6.0),
                figures(None, 1.0, 10.0),
            ),
        ],
        skeleton_p50_us: Some(200.0),
        synod_starts_in: Duration::from_millis(201),
        ..Report::default()
    };
    let verdicts: Vec<Option<bool>> = report.targets().iter().map(Target::is_met).collect();
    let (met, missed, unknown) = (Some(true), Some(false), None);
    // Those of leases and events, and those of a full server, were not measured.
    assert_eq!(
        verdicts[..9],
        [
            met, unknown, missed, unknown, unknown, met, missed, met, missed
        ]
    );
    assert!(verdicts[9..].iter().all(Option::is_none));
}

#[test]
fn what_a_full_server_takes_is_judged_too() {
    let printed = json!({ "runs": [{ "beside": [
        { "work": "range", "p99_us": 30.0, "quiet_p99_us": 20.0 },
        { "work": "snapshot", "p99_us": 50.0, "quiet_p99_us": 20.0 },
    ] }] });
    let ours = Scale {
        benchmark_resident_bytes: 50e6,
        full_resident_bytes: 400e6,
        full_disk_bytes: 1e9,
        full_start: Duration::from_millis(900),
        beside: Beside::all_of(&printed).expect("it has rows"),
    };
    let theirs = Scale {
        benchmark_resident_bytes: 100e6,
        full_resident_bytes: 600e6,
        ..ours.clone()
    };
    let report = Report {
        scale: Some((ours, theirs)),
        ..Report::default()
    };
    let verdicts: Vec<Option<bool>> = report.targets().iter().map(Target::is_met).collect();
    let (met, missed, unknown) = (Some(true), Some(false), None);
    assert_eq!(verdicts[9..], [met, missed, met, met, missed, unknown]);
    assert!(Beside::all_of(&json!({ "runs": [{}] })).is_err());
}

#[test]
fn the_floor_is_one_client_of_the_skeleton() {
    let server = |name: &str, clients: u32, p50: f64| json!({ "server": name, "clients": clients, "run": run("x", None, p50, 1.0) });
    let servers = [
        server("bare gRPC echo", 1, 80.0),
        server("skeleton: echo and log", 1, 220.0),
        server("skeleton: echo and log", 256, 900.0),
    ];
    assert_eq!(
        skeleton_p50_us(&json!({ "servers": servers })),
        Ok(Some(220.0))
    );
    assert!(skeleton_p50_us(&json!({ "servers": [] })).is_err());
}
