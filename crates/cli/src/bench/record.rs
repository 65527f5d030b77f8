//! What a run leaves: latencies with nothing left out, counts, CPU time, and their ratios.

use super::cpu::Share;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest latency told apart, one hour; longer ones count as that.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// How one operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As asked.
    Done,
    /// With an error.
    Failed,
    /// With no answer in time, or never begun within that time of its intended start.
    TimedOut,
}

/// Counts and latencies of many operations. Every operation's latency is recorded, however it
/// ended: leaving out those that timed out would make the worst server look best.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    latency_ns: Histogram<u64>,
    /// Done in the window that was measured.
    pub(super) done: u64,
    /// Failed, whenever.
    pub(super) failed: u64,
    /// Timed out, whenever.
    pub(super) timed_out: u64,
    /// What the first failure said.
    pub(super) first_failure: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency_ns =
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constants");
        Self {
            latency_ns,
            done: 0,
            failed: 0,
            timed_out: 0,
            first_failure: None,
        }
    }
}

impl Tally {
    /// Adds one operation. `in_window` is false for what ends after the window: its latency
    /// counts, but not towards throughput.
    pub(super) fn add(&mut self, ended: Ended, latency: Duration, in_window: bool) {
        self.add_latency(latency);
        match ended {
            Ended::Done => self.done += u64::from(in_window),
            Ended::Failed => self.failed += 1,
            Ended::TimedOut => self.timed_out += 1,
        }
    }

    fn add_latency(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns
            .saturating_record(nanos.clamp(1, LATENCY_NS_MAX));
    }

    /// Adds another tally to this one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latency_ns
            .add(&other.latency_ns)
            .expect("all tallies have the same bounds");
        self.done += other.done;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.first_failure = self
            .first_failure
            .take()
            .or_else(|| other.first_failure.clone());
    }

    /// The latency that `percent` of the operations did not exceed.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.latency_ns.value_at_percentile(percent))
    }

    /// The longest latency.
    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.latency_ns.max())
    }

    /// How many latencies were recorded.
    pub(super) fn recorded(&self) -> u64 {
        self.latency_ns.len()
    }
}

/// One run against one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// Which endpoint.
    pub(super) endpoint: String,
    /// What happened.
    pub(super) tally: Tally,
    /// How long the window was.
    pub(super) window: Duration,
    /// CPU time of the server's processes in the window, if their ids are known.
    pub(super) server_cpu: Option<Duration>,
    /// CPU time of this process in the window.
    pub(super) generator_cpu: Duration,
    /// How the load threads used the CPU time they could have had.
    pub(super) generator_share: Share,
}

/// Above this share of the CPU it could have had, the generator was the limit.
const GENERATOR_SHARE_MAX: f64 = 0.9;

impl Measurement {
    /// True if the generator worked nearly all the time the machine let it: the server might
    /// have done more, so its throughput is not known.
    pub(super) fn generator_limited(&self) -> bool {
        self.generator_share.used() > GENERATOR_SHARE_MAX
    }

    /// Operations a second, unless the generator was the limit.
    pub(super) fn throughput(&self) -> Option<f64> {
        (!self.generator_limited()).then(|| self.rate())
    }

    /// Operations a second that were completed, whatever limited them.
    pub(super) fn rate(&self) -> f64 {
        self.tally.done as f64 / self.window.as_secs_f64()
    }

    /// Server CPU time per completed operation, in microseconds.
    pub(super) fn server_us_per_op(&self) -> Option<f64> {
        self.server_cpu
            .and_then(|cpu| per_op_us(cpu, self.tally.done))
    }

    /// The generator's CPU time per completed operation, in microseconds.
    pub(super) fn generator_us_per_op(&self) -> Option<f64> {
        per_op_us(self.generator_cpu, self.tally.done)
    }
}

fn per_op_us(cpu: Duration, ops: u64) -> Option<f64> {
    (ops > 0).then(|| cpu.as_secs_f64() * 1e6 / ops as f64)
}

/// A figure of one endpoint over the other's, from several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// The middle one.
    pub(super) median: f64,
    /// The least.
    pub(super) least: f64,
    /// The greatest.
    pub(super) most: f64,
}

/// Ratios of paired rounds; `None` if any of them lacks the figure.
pub(super) fn ratio(
    rounds: &[(Measurement, Measurement)],
    figure: impl Fn(&Measurement) -> Option<f64>,
) -> Option<Ratio> {
    let mut ratios = Vec::new();
    for (ours, theirs) in rounds {
        let divisor = figure(theirs)?;
        if divisor <= 0.0 {
            return None;
        }
        ratios.push(figure(ours)? / divisor);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (*ratios.first()?, *ratios.last()?);
    let half = ratios.len() / 2;
    let median = if ratios.len() % 2 == 1 {
        ratios[half]
    } else {
        f64::midpoint(ratios[half - 1], ratios[half])
    };
    Some(Ratio {
        median,
        least,
        most,
    })
}
