//! Prometheus' text format.

use super::ProcessUsage;
use super::list::{METRICS, Type, Value};
use crate::Server;
use std::fmt::{Display, Write as _};
use synod_env::histogram::Counted;
use synod_log::Status;
use synod_state::Root;

/// What a scrape sees: everything as of one moment.
pub(super) struct Sample<'a> {
    pub(super) server: &'a Server,
    pub(super) root: Root,
    pub(super) status: Status,
    pub(super) watch_streams: usize,
    pub(super) watchers: usize,
    pub(super) process: Option<ProcessUsage>,
}

/// Everything that can be shown.
pub(crate) fn render(server: &Server) -> String {
    let (watch_streams, watchers) = server.node.watch_counts();
    let sample = Sample {
        server,
        root: server.node.root(),
        status: server.node.status(),
        watch_streams,
        watchers,
        process: server.config.process_usage.map(|usage| usage()),
    };
    let mut text = String::new();
    for metric in METRICS {
        let type_ = match metric.type_ {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let (name, help) = (metric.name, metric.help);
        let before = text.len();
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}").expect(STRINGS_GROW);
        let head_ends = text.len();
        let mut series = Series {
            text: &mut text,
            name,
            labels: metric.labels,
        };
        match metric.value {
            Value::One(value) => {
                if let Some(value) = value(&sample) {
                    series.one(&[], value);
                }
            }
            Value::Many(all) => all(&sample, &mut series),
        }
        // What nobody knows anything of is not named either.
        if text.len() == head_ends {
            text.truncate(before);
        }
    }
    text
}

/// The lines of one metric.
pub(crate) struct Series<'a> {
    text: &'a mut String,
    name: &'static str,
    labels: &'static [&'static str],
}

impl Series<'_> {
    /// One value; `labels` are the values of the metric's labels, in their order.
    pub(crate) fn one(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// The counts of a histogram, in seconds.
    pub(super) fn histogram(&mut self, labels: &[&str], counted: &Counted) {
        for (bound, count) in &counted.up_to {
            let bound = bound.as_secs_f64().to_string();
            self.line("_bucket", labels, Some(&bound), count);
        }
        self.line("_bucket", labels, Some("+Inf"), counted.count);
        self.line("_sum", labels, None, counted.sum.as_secs_f64());
        self.line("_count", labels, None, counted.count);
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: impl Display) {
        let (name, labels) = (self.name, self.labels);
        assert!(
            values.len() == labels.len(),
            "{name} has the labels {labels:?}, not {values:?}"
        );
        let bound = bound.map(|bound| ("le", bound));
        let pairs = labels.iter().copied().zip(values.iter().copied());
        let pairs = pairs
            .chain(bound)
            .map(|(label, value)| format!("{label}=\"{value}\""));
        let pairs: Vec<String> = pairs.collect();
        let shown = match &pairs[..] {
            [] => String::new(),
            pairs => format!("{{{}}}", pairs.join(",")),
        };
        writeln!(self.text, "{name}{suffix}{shown} {value}").expect(STRINGS_GROW);
    }
}

const STRINGS_GROW: &str = "a string takes all that is written to it";
