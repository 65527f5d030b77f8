//! What is deployed beside a member agrees with it: each alert has a runbook, and each metric that
//! an alert or the dashboard asks for is one that the server has.

use super::Tracked;
use std::collections::BTreeSet;

/// The rules for Prometheus.
pub(super) const ALERTS: &str = "deploy/prometheus-alerts.yaml";
/// The dashboard for Grafana.
pub(super) const DASHBOARD: &str = "deploy/grafana-dashboard.json";
/// What to do when an alert fires.
pub(super) const RUNBOOKS: &str = "docs/operate/runbooks.md";

/// How the names of metrics begin.
const PREFIXES: [&str; 5] = ["etcd_", "grpc_", "os_", "process_", "synod_"];
/// Labels that begin like a metric.
const LABELS: [&str; 4] = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
/// What Prometheus adds to the name of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Alerts without a runbook that they name, and runbooks without an alert.
pub(super) fn without_runbook(alerts: &str, runbooks: &str) -> Vec<String> {
    let named: BTreeSet<&str> = values(alerts, "- alert:").collect();
    let linked: BTreeSet<&str> = values(alerts, "runbook:").collect();
    let written: BTreeSet<&str> = values(runbooks, "## ").collect();
    let mut findings = Vec::new();
    for alert in &named {
        if !written.contains(alert) {
            findings.push(format!("{ALERTS}: {alert} has no section in {RUNBOOKS}"));
        }
        let link = format!("{RUNBOOKS}#{}", alert.to_lowercase());
        if !linked.contains(link.as_str()) {
            findings.push(format!("{ALERTS}: {alert} needs `runbook: {link}`"));
        }
    }
    for section in written.difference(&named) {
        findings.push(format!("{RUNBOOKS}: {section} is no alert of {ALERTS}"));
    }
    findings
}

/// What stands behind a word at the beginning of a line.
fn values<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim_start().strip_prefix(word))
        .map(str::trim)
}

/// Metrics that are asked for and that no string of the server's source names.
pub(super) fn unknown_metrics(place: &str, text: &str, tracked: &[Tracked]) -> Vec<String> {
    let server = || {
        tracked
            .iter()
            .filter(|file| file.path.starts_with("crates/server/src"))
            .filter_map(|file| file.text.as_deref())
    };
    let is_known = |name: &str| {
        let quoted = format!("\"{name}\"");
        server().any(|text| text.contains(&quoted))
    };
    metrics(text)
        .into_iter()
        .filter(|name| {
            let histogram = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            !is_known(name) && !histogram.is_some_and(is_known)
        })
        .map(|name| format!("{place}: the server has no metric {name}"))
        .collect()
}

fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !LABELS.contains(word))
        .collect()
}
