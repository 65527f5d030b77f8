//! Figures for people, and the same as JSON.

use super::record::{Measurement, Ratio, Tally, ratio};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// The percentiles of every report.
pub(super) const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// A length of time with three digits that matter.
pub(super) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1e3 => format!("{micros:.0} us"),
        _ if micros < 1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate without its fraction.
pub(super) fn rate(per_second: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are small"
    )]
    let whole = per_second.round().max(0.0) as u64;
    format!("{}/s", grouped(whole))
}

/// `p50 1.02 ms  p90 …  max …`.
pub(super) fn latencies(tally: &Tally) -> String {
    let mut text = String::new();
    for (name, percent) in PERCENTILES {
        put(
            &mut text,
            format_args!("{name} {}  ", time(tally.percentile(percent))),
        );
    }
    put(&mut text, format_args!("max {}", time(tally.max())));
    text
}

/// One run.
pub(super) fn run(measurement: &Measurement, unit: &str) -> String {
    let Measurement {
        endpoint,
        tally,
        window,
        ..
    } = measurement;
    let mut text = format!("{endpoint}\n");
    let mut line = |name: &str, what: String| {
        put(&mut text, format_args!("  {name:<13}{what}\n"));
    };
    match measurement.throughput() {
        Some(per_second) => line(
            "throughput",
            format!(
                "{} ({} in {})",
                rate(per_second),
                grouped(tally.done),
                time(*window)
            ),
        ),
        None => line(
            "throughput",
            format!(
                "not reported: the load generator was the limit ({} in {})",
                grouped(tally.done),
                time(*window)
            ),
        ),
    }
    if tally.failed + tally.timed_out > 0 {
        line(
            "not done",
            format!(
                "{} failed, {} timed out; all are in the latencies{}",
                grouped(tally.failed),
                grouped(tally.timed_out),
                tally
                    .first_failure
                    .as_ref()
                    .map(|why| format!("; first: {why}"))
                    .unwrap_or_default()
            ),
        );
    }
    if tally.recorded() > 0 {
        line("latency", latencies(tally));
    }
    if let (Some(cpu), Some(per_op)) = (measurement.server_cpu, measurement.server_us_per_op()) {
        line("server CPU", cpu_text(per_op, cpu, *window, unit));
    }
    if let Some(per_op) = measurement.generator_us_per_op() {
        let used = measurement.generator_share.used() * 100.0;
        let text = cpu_text(per_op, measurement.generator_cpu, *window, unit);
        line(
            "generator",
            format!("{text}, {used:.0}% of what it could have had"),
        );
    }
    text
}

fn cpu_text(per_op_us: f64, cpu: Duration, window: Duration, unit: &str) -> String {
    let cores = cpu.as_secs_f64() / window.as_secs_f64();
    format!("{per_op_us:.1} us per {unit} ({cores:.2} cores)")
}

/// The figures that two endpoints are compared by.
fn figures() -> [(&'static str, &'static str, fn(&Measurement) -> Option<f64>); 5] {
    fn seconds(measurement: &Measurement, percent: f64) -> Option<f64> {
        let tally = &measurement.tally;
        (tally.recorded() > 0).then(|| tally.percentile(percent).as_secs_f64())
    }
    [
        ("throughput", "throughput", Measurement::throughput),
        (
            "server CPU per operation",
            "server_us_per_op",
            Measurement::server_us_per_op,
        ),
        ("latency p50", "p50", |measurement| {
            seconds(measurement, 50.0)
        }),
        ("latency p99", "p99", |measurement| {
            seconds(measurement, 99.0)
        }),
        ("latency p99.9", "p99.9", |measurement| {
            seconds(measurement, 99.9)
        }),
    ]
}

/// Ratios of all rounds.
pub(super) fn ratios(rounds: &[(Measurement, Measurement)]) -> String {
    let Some((ours, theirs)) = rounds.first() else {
        return String::new();
    };
    let mut text = format!(
        "{} over {}, median of {} rounds (least to most)\n",
        ours.endpoint,
        theirs.endpoint,
        rounds.len()
    );
    for (name, _, figure) in figures() {
        match ratio(rounds, figure) {
            Some(Ratio {
                median,
                least,
                most,
            }) => put(
                &mut text,
                format_args!("  {name:<26}{median:.2}x ({least:.2} to {most:.2})\n"),
            ),
            None => put(&mut text, format_args!("  {name:<26}not known\n")),
        }
    }
    text
}

/// One run as JSON. What is not known is null.
pub(super) fn run_json(measurement: &Measurement) -> Value {
    let Measurement {
        endpoint,
        tally,
        window,
        server_cpu,
        generator_cpu,
        ..
    } = measurement;
    let mut latency = serde_json::Map::new();
    for (name, percent) in PERCENTILES {
        latency.insert(name.to_owned(), micros(tally.percentile(percent)));
    }
    latency.insert("max".to_owned(), micros(tally.max()));
    json!({
        "endpoint": endpoint,
        "window_s": window.as_secs_f64(),
        "done": tally.done,
        "failed": tally.failed,
        "timed_out": tally.timed_out,
        "throughput_per_s": measurement.throughput(),
        "generator_was_the_limit": measurement.generator_limited(),
        "latency_us": latency,
        "server_cpu_s": server_cpu.map(|cpu| cpu.as_secs_f64()),
        "server_cpu_us_per_op": measurement.server_us_per_op(),
        "generator_cpu_s": generator_cpu.as_secs_f64(),
        "generator_cpu_us_per_op": measurement.generator_us_per_op(),
        "generator_share": measurement.generator_share.used(),
    })
}

/// The ratios as JSON.
pub(super) fn ratios_json(rounds: &[(Measurement, Measurement)]) -> Value {
    let mut object = serde_json::Map::new();
    for (_, name, figure) in figures() {
        let value = ratio(rounds, figure).map_or(
            Value::Null,
            |Ratio {
                 median,
                 least,
                 most,
             }| { json!({ "median": median, "least": least, "most": most }) },
        );
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// A length of time in microseconds.
pub(super) fn micros(time: Duration) -> Value {
    Value::from(time.as_secs_f64() * 1e6)
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a string cannot fail");
}
