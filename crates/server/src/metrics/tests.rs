use super::Outcome;
use super::list::{METRICS, Type};
use tonic::Code;

const HEAD: &str = "# Metrics

<!-- Printed from crates/server/src/metrics/list.rs; `UPDATE=1 cargo test -p synod-server metrics` rewrites it. -->

`GET /metrics` on the client port, and on ports of its own if there are any, shows these in Prometheus' text format.
Names are etcd's where the meaning is; what begins with `synod_` is ours.
A metric of which nothing is known yet is left out.

Times are counted by powers of two, from 62.5 µs to 16.384 s.
They count whatever ended, refused, failed and given up included: `synod_request_seconds` tells these apart.

`etcd_server_proposals_failed_total` counts requests that were not done although nothing was wrong with them, and those of which nobody knows.

| name | type | labels | meaning |
|---|---|---|---|
";

fn page() -> String {
    let rows = METRICS.iter().map(|metric| {
        let type_ = match metric.type_ {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let (name, labels, help) = (metric.name, labels.join(", "), metric.help);
        format!("| `{name}` | {type_} | {labels} | {help} |\n")
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
fn the_page_is_the_list() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/metrics.md"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "metrics.md is old: UPDATE=1 cargo test -p synod-server metrics"
    );
}

#[test]
fn the_list_is_in_order_and_follows_the_conventions() {
    let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for metric in METRICS {
        let (name, help) = (metric.name, metric.help);
        assert!(
            help.ends_with('.') && !help.contains(['\n', '|', '\\']),
            "{name}: {help}"
        );
        if metric.type_ == Type::Histogram {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        if name.starts_with("synod_") && metric.type_ == Type::Counter {
            assert!(name.ends_with("_total"), "{name}");
        }
    }
}

#[test]
fn time_outs_are_not_failures_and_neither_is_left_out() {
    for number in 0..17 {
        let code = Code::from_i32(number);
        let outcome = Outcome::of(code);
        assert!(Outcome::ALL.contains(&outcome), "{code:?}");
    }
    assert_eq!(Outcome::of(Code::DeadlineExceeded), Outcome::TimedOut);
    assert_eq!(Outcome::of(Code::Internal), Outcome::Failed);
    for (number, outcome) in Outcome::ALL.iter().enumerate() {
        assert_eq!(*outcome as usize, number);
    }
}
