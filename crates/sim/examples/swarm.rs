//! Runs scenarios of seeds and prints what came of them, and how fast.
//!
//!     cargo run --release -p synod-sim --example swarm -- MEMBERS FIRST COUNT [trace]
//!
//! COUNT 0 lets idle members run for FIRST seconds instead. With `trace`, also what happens in them, but for the world's own events.

use std::time::{Duration, Instant};
use synod_sim::{Scenario, Sight, run, run_observed};

#[expect(clippy::print_stdout, reason = "shows a run to a person")]
fn show(at: Duration, sight: &Sight) {
    if !matches!(sight, Sight::World { .. }) {
        println!("{at:?} {sight:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "measures real time and prints it"
)]
fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let trace = words.pop_if(|word| word == "trace").is_some();
    let numbers: Vec<u64> = words
        .iter()
        .map(|text| text.parse().expect("a number"))
        .collect();
    let [members, first, count] = numbers[..] else {
        panic!("MEMBERS FIRST COUNT");
    };
    let members = u32::try_from(members).expect("1, 3 or 5");
    let began = Instant::now();
    if count == 0 {
        let report = run(&Scenario::idle(members, Duration::from_secs(first)));
        let times = report.virtual_time.as_secs_f64() / began.elapsed().as_secs_f64();
        println!("idle: {times:.0} times real time");
        return;
    }
    let (mut operations, mut virtual_time) = (0, Duration::ZERO);
    for seed in first..first + count {
        let scenario = Scenario::from_seed(seed, members);
        let one = Instant::now();
        let report = if trace {
            println!("{scenario:#?}");
            run_observed(&scenario, Some(Box::new(show)))
        } else {
            run(&scenario)
        };
        operations += report.operations.total();
        virtual_time += report.virtual_time;
        println!(
            "seed {seed}: {} in {:?} virtual {:?} events {} {:?} bitten {:?} marks {:?}",
            report.verdict,
            one.elapsed(),
            report.virtual_time,
            report.events,
            report.operations,
            report.faults_bitten,
            report.marks
        );
    }
    let real = began.elapsed().as_secs_f64();
    println!(
        "{operations} operations in {real:.1} s: {:.0} each second, {:.0} times real time",
        f64::from(u32::try_from(operations).expect("fits")) / real,
        virtual_time.as_secs_f64() / real
    );
}
