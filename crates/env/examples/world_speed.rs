//! How fast the deterministic world turns: `cargo run --release -p synod-env --example world_speed`.
//!
//! Four mixes on one thread: tasks that only yield, pairs that talk through a queue, members that
//! send heartbeats to each other, and members that append to a log and sync it. An argument says
//! after how many events each mix ends.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real time is what is measured here, and printed"
)]

use bytes::Bytes;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};
use synod_env::disk::Open;
use synod_env::sim::{Options, Sim};
use synod_env::{Env, Lane, MemberId, queue};

fn yields(env: &Env) {
    for _ in 0..16 {
        env.spawn("yields", async {
            loop {
                let mut yielded = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut yielded, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
        });
    }
}

fn talks(env: &Env) {
    for _ in 0..16 {
        let (ask, mut asked) = queue::bounded(1);
        let (answer, mut answered) = queue::bounded(1);
        env.spawn("asks", async move {
            loop {
                ask.send(1_u64).await.expect("the other task runs");
                answered.receive().await;
            }
        });
        env.spawn("answers", async move {
            while let Some(value) = asked.receive().await {
                answer.send(value).await.expect("the other task runs");
            }
        });
    }
}

fn heartbeats(sim: &Sim) {
    let members = [1, 2, 3].map(MemberId);
    for member in members {
        let env = sim.member(member);
        let net = env.net();
        let ticker = env.clone();
        env.spawn("beats", async move {
            loop {
                ticker.sleep(Duration::from_millis(50)).await;
                for other in members {
                    if other != member {
                        let _lost = net.send(other, Lane::Control, Bytes::from_static(b"beat"));
                    }
                }
            }
        });
        let net = env.net();
        env.spawn("hears", async move {
            loop {
                net.receive().await;
            }
        });
    }
}

fn appends(env: &Env) {
    let disk = env.disk();
    env.spawn_dedicated("log", async move {
        let file = disk.open("log", Open::Create).await.expect("a new disk");
        let record = Bytes::from(vec![7; 512]);
        loop {
            for offset in 0..1_000 {
                let written = file.write_at(offset * 512, record.clone()).await;
                written.expect("room for a log");
                file.sync().await.expect("a sound disk");
            }
        }
    });
}

fn measure(name: &str, events_max: u64, prepare: impl FnOnce(&Sim)) {
    let options = Options {
        events_max,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    prepare(&sim);
    let start = Instant::now();
    let end = sim.run_for(Duration::from_secs(1_000_000));
    let took = start.elapsed().as_secs_f64();
    let events = sim.events();
    assert!(end.is_err(), "the budget of events is what ends the run");
    let virtual_time = sim.now().as_secs_f64();
    println!(
        "{name:12} {:6.2} M events/s  {:10.0} x real time",
        events as f64 / took / 1e6,
        virtual_time / took,
    );
}

fn main() {
    let events_max = std::env::args().nth(1).map_or(5_000_000, |events| {
        events.parse().expect("the argument is a number of events")
    });
    let one = |sim: &Sim| sim.member(MemberId(1));
    measure("yields", events_max, |sim| yields(&one(sim)));
    measure("talks", events_max, |sim| talks(&one(sim)));
    measure("heartbeats", events_max, heartbeats);
    measure("appends", events_max, |sim| appends(&one(sim)));
}
