//! The table of a run, and what of the targets it reaches.

use super::scale::{Beside, Scale};
use crate::Outcome;
use serde_json::Value;
use std::time::Duration;

/// What one server did in one row: medians over the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Operations per second; `None` when the load generator was the limit in any round.
    pub(super) throughput_per_s: Option<f64>,
    /// Half of the operations were answered within this time.
    pub(super) p50_us: Option<f64>,
    /// All but one in a hundred were answered within this time.
    pub(super) p99_us: Option<f64>,
    /// User and system time of the server's process over its completed operations.
    pub(super) cpu_us_per_op: Option<f64>,
}

/// One operation at one number of clients; 0 stands for watchers.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) operation: String,
    pub(super) clients: u32,
    pub(super) synod: Figures,
    pub(super) etcd: Figures,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) synod_starts_in: Duration,
    pub(super) etcd_starts_in: Duration,
    /// One client's put to the skeleton server: a gRPC echo with a channel and a group-committed
    /// log.
    pub(super) skeleton_p50_us: Option<f64>,
    /// What Synod and etcd take to hold much, if that was measured.
    pub(super) scale: Option<(Scale, Scale)>,
}

/// A figure that Synod must reach.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) measured: Option<f64>,
    pub(super) bound: Bound,
}

/// On which side of a number a figure must lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Figures {
    /// Reads what `synod bench -o json` says of one endpoint.
    pub(super) fn of(bench: &Value, endpoint: &str) -> Outcome<Self> {
        let runs = bench["runs"]
            .as_array()
            .ok_or("synod bench printed no runs")?;
        let runs: Vec<&Value> = runs
            .iter()
            .filter(|run| run["endpoint"] == endpoint)
            .collect();
        if runs.is_empty() {
            return Err(format!("synod bench printed no run of {endpoint}"));
        }
        let median = |figure: &dyn Fn(&Value) -> Option<f64>| {
            let figures: Option<Vec<f64>> = runs.iter().map(|run| figure(run)).collect();
            figures.map(median)
        };
        Ok(Self {
            throughput_per_s: median(&|run| run["throughput_per_s"].as_f64()),
            p50_us: median(&|run| run["latency_us"]["p50"].as_f64()),
            p99_us: median(&|run| run["latency_us"]["p99"].as_f64()),
            cpu_us_per_op: median(&|run| run["server_cpu_us_per_op"].as_f64()),
        })
    }
}

/// Reads what `synod bench floor -o json` says of one client of the skeleton.
pub(super) fn skeleton_p50_us(floor: &Value) -> Outcome<Option<f64>> {
    let servers = floor["servers"]
        .as_array()
        .ok_or("synod bench floor printed no servers")?;
    let skeleton = servers.iter().find(|server| {
        let is_skeleton = server["server"]
            .as_str()
            .is_some_and(|name| name.contains("skeleton"));
        is_skeleton && server["clients"] == 1
    });
    let skeleton = skeleton.ok_or("synod bench floor measured no skeleton with one client")?;
    Ok(skeleton["run"]["latency_us"]["p50"].as_f64())
}

impl Report {
    fn row(&self, operation: &str, clients: u32) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.operation == operation && row.clients == clients)
    }

    /// Synod's figure over etcd's.
    fn ratio(
        &self,
        operation: &str,
        clients: u32,
        figure: fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        self.row(operation, clients)
            .and_then(|row| ratio(figure(&row.synod), figure(&row.etcd)))
    }

    /// What Synod must reach, with what it did.
    pub(super) fn targets(&self) -> Vec<Target> {
        let many = super::MANY_CLIENTS;
        let cpu = |operation| self.ratio(operation, many, |figures| figures.cpu_us_per_op);
        let one_put = self.row("put", 1).and_then(|row| row.synod.p50_us);
        let scale = |figure: fn(&Scale) -> f64| {
            let (ours, theirs) = self.scale.as_ref()?;
            ratio(Some(figure(ours)), Some(figure(theirs)))
        };
        let beside = |work: &str| {
            let (ours, _) = self.scale.as_ref()?;
            let beside = ours.beside.iter().find(|beside| beside.work == work);
            beside.map(Beside::ratio)
        };
        let started = |(ours, _): &(Scale, Scale)| ours.full_start.as_secs_f64();
        vec![
            Target {
                what: "server CPU per put, of etcd's",
                measured: cpu("put"),
                bound: Bound::AtMost(0.6),
            },
            Target {
                what: "server CPU per get, of etcd's",
                measured: cpu("range"),
                bound: Bound::AtMost(0.7),
            },
            Target {
                what: "server CPU per txn, of etcd's",
                measured: cpu("txn"),
                bound: Bound::AtMost(0.5),
            },
            Target {
                what: "server CPU per lease granted and revoked, of etcd's",
                measured: cpu("lease"),
                bound: Bound::AtMost(0.35),
            },
            Target {
                what: "server CPU per delivered event, of etcd's",
                measured: self.ratio("watch", 0, |figures| figures.cpu_us_per_op),
                bound: Bound::AtMost(0.5),
            },
            Target {
                what: "put throughput at 256 clients, of etcd's",
                measured: self.ratio("put", many, |figures| figures.throughput_per_s),
                bound: Bound::AtLeast(1.3),
            },
            Target {
                what: "one client's put median, of etcd's",
                measured: self.ratio("put", 1, |figures| figures.p50_us),
                bound: Bound::AtMost(1.0),
            },
            Target {
                what: "one client's put median, of the skeleton's",
                measured: ratio(one_put, self.skeleton_p50_us),
                bound: Bound::AtMost(1.25),
            },
            Target {
                what: "seconds from an empty start to the first answer",
                measured: Some(self.synod_starts_in.as_secs_f64()),
                bound: Bound::AtMost(0.2),
            },
            Target {
                what: "resident after a benchmark, of etcd's",
                measured: scale(|scale| scale.benchmark_resident_bytes),
                bound: Bound::AtMost(0.5),
            },
            Target {
                what: "resident with a million keys, of etcd's",
                measured: scale(|scale| scale.full_resident_bytes),
                bound: Bound::AtMost(0.6),
            },
            Target {
                what: "seconds from a start on them to the first answer",
                measured: self.scale.as_ref().map(started),
                bound: Bound::AtMost(1.0),
            },
            Target {
                what: "put p99 beside a large range, of the quiet one",
                measured: beside("range"),
                bound: Bound::AtMost(2.0),
            },
            Target {
                what: "put p99 beside a snapshot, of the quiet one",
                measured: beside("snapshot"),
                bound: Bound::AtMost(2.0),
            },
            Target {
                what: "put p99 beside a compaction, of the quiet one",
                measured: beside("compaction"),
                bound: Bound::AtMost(2.0),
            },
        ]
    }

    /// The table and the targets for a terminal.
    pub(super) fn text(&self) -> String {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.cells());
        let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
            let lengths = rows.iter().map(|cells| cells[column].chars().count());
            lengths.max().unwrap_or(0)
        });
        let mut text = String::new();
        for cells in &rows {
            let padded = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}  "));
            text.push_str(padded.collect::<String>().trim_end());
            text.push('\n');
        }
        text.push_str(&format!("\n{NOTE}\n{}\n\n", self.starts()));
        for line in self.scale_lines() {
            text.push_str(&format!("{line}\n"));
        }
        text.push('\n');
        for target in self.targets() {
            let [what, measured, bound, verdict] = target.cells();
            text.push_str(&format!("{what:<52}{measured:>8}  {bound:<14}{verdict}\n"));
        }
        text
    }

    /// The same for a page.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&HEADINGS.map(str::to_owned));
        text.push_str("|---|---|---|---|---|---|\n");
        self.cells().for_each(|cells| text.push_str(&line(&cells)));
        text.push_str(&format!("\n{NOTE}\n{}\n\n", self.starts()));
        for line in self.scale_lines() {
            text.push_str(&format!("- {line}\n"));
        }
        text.push_str("\n| Target | Measured | Bound | |\n|---|---|---|---|\n");
        self.targets()
            .iter()
            .for_each(|target| text.push_str(&line(&target.cells())));
        text
    }

    fn cells(&self) -> impl Iterator<Item = [String; COLUMNS]> {
        self.rows.iter().map(
            |Row {
                 operation,
                 clients,
                 synod,
                 etcd,
             }| {
                let pair = |figure: fn(&Figures) -> Option<f64>, digits: usize| {
                    let show = |figure: Option<f64>| {
                        figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.digits$}"))
                    };
                    let (ours, theirs) = (figure(synod), figure(etcd));
                    let ratio = ratio(ours, theirs);
                    let ratio = ratio.map_or_else(String::new, |ratio| format!(" {ratio:.2}x"));
                    format!("{}/{}{ratio}", show(ours), show(theirs))
                };
                [
                    operation.clone(),
                    self::clients(*clients),
                    pair(|figures| figures.throughput_per_s, 0),
                    pair(|figures| figures.p50_us, 0),
                    pair(|figures| figures.p99_us, 0),
                    pair(|figures| figures.cpu_us_per_op, 1),
                ]
            },
        )
    }

    /// What both servers take to hold much, in words.
    fn scale_lines(&self) -> Vec<String> {
        let Some((ours, theirs)) = &self.scale else {
            return Vec::new();
        };
        let megabytes = |what: &str, figure: fn(&Scale) -> f64| {
            let (ours, theirs) = (figure(ours) / 1e6, figure(theirs) / 1e6);
            format!("{what}: Synod {ours:.0} MB, etcd {theirs:.0} MB")
        };
        let mut lines = vec![
            megabytes("Resident after a benchmark", |scale| {
                scale.benchmark_resident_bytes
            }),
            megabytes("Resident with a million keys", |scale| {
                scale.full_resident_bytes
            }),
            megabytes("On disk with a million keys", |scale| scale.full_disk_bytes),
            format!(
                "First answer after a start on them: Synod {:.2} s, etcd {:.2} s",
                ours.full_start.as_secs_f64(),
                theirs.full_start.as_secs_f64()
            ),
        ];
        for (name, scale) in [("Synod", ours), ("etcd", theirs)] {
            for beside in &scale.beside {
                lines.push(format!(
                    "{name}, put p99 beside a {}: {:.1} ms, in the quiet {:.1} ms",
                    beside.work,
                    beside.p99_us / 1e3,
                    beside.quiet_p99_us / 1e3
                ));
            }
        }
        lines
    }

    fn starts(&self) -> String {
        format!(
            "First answer after an empty start: Synod {:.3} s, etcd {:.3} s.",
            self.synod_starts_in.as_secs_f64(),
            self.etcd_starts_in.as_secs_f64()
        )
    }
}

const COLUMNS: usize = 6;

const HEADINGS: [&str; COLUMNS] = [
    "",
    "",
    "operations/s",
    "p50 us",
    "p99 us",
    "server CPU us/op",
];

const NOTE: &str =
    "Each cell is Synod/etcd and their ratio; ? is a throughput that the load generator limited.";

/// How a row says who drove it.
pub(super) fn clients(clients: u32) -> String {
    match clients {
        0 => format!("{} watchers", super::WATCHERS),
        1 => "1 client".to_owned(),
        many => format!("{many} clients"),
    }
}

impl Target {
    /// Whether the figure was reached; `None` when it is not known.
    pub(super) fn is_met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtMost(bound) => measured <= bound,
            Bound::AtLeast(bound) => measured >= bound,
        })
    }

    fn cells(&self) -> [String; 4] {
        let measured = self
            .measured
            .map_or_else(|| "?".to_owned(), |figure| format!("{figure:.3}"));
        let bound = match self.bound {
            Bound::AtMost(bound) => format!("at most {bound}"),
            Bound::AtLeast(bound) => format!("at least {bound}"),
        };
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not known",
        };
        [self.what.to_owned(), measured, bound, verdict.to_owned()]
    }
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    ours.zip(theirs)
        .filter(|(_, theirs)| *theirs > 0.0)
        .map(|(ours, theirs)| ours / theirs)
}

/// The middle one, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[half]
    } else {
        f64::midpoint(figures[half - 1], figures[half])
    }
}
