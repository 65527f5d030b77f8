//! CPU time as the kernel counts it.

use crate::exit::{Exit, Failure};
use crate::outside;
use std::time::Duration;

/// CPU time that processes have used so far, theirs and their threads'.
///
/// # Errors
/// A usage failure that names the process that is not there.
pub(super) fn of_processes(pids: &[u32]) -> Result<Option<Duration>, Failure> {
    if pids.is_empty() {
        return Ok(None);
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let stat = outside::read_file(&path).map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("no CPU time of process {pid}: {path}: {error}"),
            )
        })?;
        ticks += process_ticks(&stat)
            .ok_or_else(|| Failure::other(format!("{path} has an unknown form: {stat}")))?;
    }
    Ok(Some(Duration::from_secs_f64(
        ticks as f64 / ticks_per_second as f64,
    )))
}

/// utime + stime of a `/proc/PID/stat` line. The second field is the command in parentheses and
/// may itself hold spaces and parentheses, so fields are counted from the last of those.
pub(super) fn process_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU time this process has used so far.
pub(super) fn of_this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How a thread, or several, spent a while.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    /// On a CPU, in nanoseconds.
    pub(super) running_ns: u64,
    /// Ready to run while others had the CPUs, in nanoseconds.
    pub(super) waiting_ns: u64,
    /// Wall time of all threads together, in nanoseconds.
    pub(super) wall_ns: u64,
}

impl Share {
    /// The part of the CPU time it could have had (wall time without the time others kept it
    /// off the CPU) that it used: near 1, it never slept, and what it drove may have been idle.
    pub(super) fn used(self) -> f64 {
        let could_have = self.wall_ns.saturating_sub(self.waiting_ns);
        if could_have == 0 {
            1.0
        } else {
            self.running_ns as f64 / could_have as f64
        }
    }

    /// Adds another thread.
    pub(super) fn merge(&mut self, other: Self) {
        self.running_ns += other.running_ns;
        self.waiting_ns += other.waiting_ns;
        self.wall_ns += other.wall_ns;
    }
}

/// The calling thread's time on a CPU and its time ready but waiting, so far, in nanoseconds.
/// Without the kernel's schedule statistics the waiting is taken to be none.
pub(super) fn of_this_thread() -> (u64, u64) {
    let stat = outside::read_file("/proc/thread-self/schedstat").unwrap_or_default();
    schedule_times(&stat).unwrap_or_else(|| {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let nanos = Duration::try_from(time).unwrap_or_default().as_nanos();
        (u64::try_from(nanos).unwrap_or(u64::MAX), 0)
    })
}

/// The first two fields of a `schedstat` line.
pub(super) fn schedule_times(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.split_ascii_whitespace();
    let running = fields.next()?.parse().ok()?;
    Some((running, fields.next()?.parse().ok()?))
}
