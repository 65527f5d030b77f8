//! What the operating system says about this process, for the metrics.

use crate::outside;
use synod_server::ProcessUsage;

/// Reads `/proc/self`. What cannot be read is zero: metrics must not fail.
pub(super) fn of_this_process() -> ProcessUsage {
    let read = |path: &str| outside::read_file(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_ascii_whitespace().collect())
        .unwrap_or_default();
    // Numbered as in proc(5), where the command is field 2.
    let field = |number: usize| -> f64 {
        fields
            .get(number - 3)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0.0)
    };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let whole = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let memory = read("/proc/self/statm");
    let mut pages = memory.split_ascii_whitespace();
    let virtual_bytes = whole(pages.next()) * page;
    let resident_bytes = whole(pages.next()) * page;
    let boot = read("/proc/stat");
    let boot_s = whole(boot.lines().find_map(|line| line.strip_prefix("btime ")));
    let limits = read("/proc/self/limits");
    let open_max = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_ascii_whitespace().next());
    ProcessUsage {
        cpu_seconds: (field(14) + field(15)) / ticks,
        resident_bytes,
        virtual_bytes,
        open_fds: outside::count_entries("/proc/self/fd"),
        max_fds: whole(open_max),
        start_time_seconds: boot_s as f64 + field(22) / ticks,
    }
}
