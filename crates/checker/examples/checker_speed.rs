//! How many operations the judges check in a second of one core: `cargo run --release -p
//! synod-checker --example checker_speed`. Where the system says so, only the time that this
//! process was on a core counts, so that a busy machine does not change the figure much.

use std::time::{Duration, Instant};
use synod_checker::synthetic::Plan;
use synod_checker::{Checker, Settings};

/// A moment, by the clock and by the time on a core.
struct Now {
    clock: Instant,
    on_core: Option<Duration>,
}

impl Now {
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn take() -> Self {
        let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let on_core_ns = schedule.and_then(|text| text.split(' ').next()?.parse().ok());
        Self {
            clock: Instant::now(),
            on_core: on_core_ns.map(Duration::from_nanos),
        }
    }

    fn elapsed(&self) -> Duration {
        let now = Self::take();
        match (self.on_core, now.on_core) {
            (Some(before), Some(now)) => now - before,
            _ => now.clock - self.clock,
        }
    }
}

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn main() {
    let registers = Plan::registers(1, 200_000);
    let plans = [
        ("puts and reads, 100 keys", registers),
        (
            "puts and reads, 1 key, 32 clients",
            Plan {
                keys: 1,
                clients: 32,
                ..registers
            },
        ),
        (
            "puts and reads, 10,000 keys, 32 clients",
            Plan {
                keys: 10_000,
                clients: 32,
                ..registers
            },
        ),
        (
            "1 % unknown",
            Plan {
                unknown_per_mille: 10,
                ..registers
            },
        ),
        (
            "1 % unknown, watched",
            Plan {
                unknown_per_mille: 10,
                watches: true,
                ..registers
            },
        ),
        ("everything", Plan::everything(1, 200_000)),
    ];
    println!("{:<42} {:>10} {:>12}  verdict", "history", "ops", "ops/s");
    for (name, plan) in plans {
        let history = plan.history();
        let start = Now::take();
        let mut checker = Checker::new(Settings::default());
        for event in &history {
            checker
                .observe(event)
                .expect("a synthetic history is correct");
        }
        let counts = checker.counts();
        let verdict = checker.finish();
        let took = start.elapsed().max(Duration::from_micros(1));
        let ops = counts.done + counts.refused + counts.unknown;
        let per_second = u128::from(ops) * 1_000_000 / took.as_micros();
        println!("{name:<42} {ops:>10} {per_second:>12}  {verdict}");
    }
}
