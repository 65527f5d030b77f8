use super::{ClockRates, DiskOp, LinkModel, Options, Sim, Stuck, What};
use crate::disk::Open;
use crate::{Env, Instant, Lane, MemberId, current, oneshot, queue};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);
const THREE: MemberId = MemberId(3);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Counts its drops, and whether the member's world was current then.
struct Witness {
    drops: Arc<AtomicU64>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _now = current().now();
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_sleep_of_an_hour_ends_at_once_and_not_early() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let start = env.now();
    sim.block_on(env.sleep(secs(3_599))).unwrap();
    assert_eq!(env.now(), start + secs(3_599));
    assert_eq!(sim.now(), secs(3_599));
}

#[test]
fn a_world_in_which_nothing_can_happen_says_so() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let (_sender, mut receiver) = queue::bounded::<()>(1);
    env.spawn("waits for ever", async move {
        receiver.receive().await;
    });
    let stuck = sim.block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(stuck, Stuck::Deadlock { .. }), "{stuck:?}");
    assert!(stuck.to_string().contains("waits for ever x1"), "{stuck}");
}

#[test]
fn a_task_that_spins_exhausts_the_budget_of_events() {
    let options = Options {
        events_max: 1_000,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    let spin = std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    });
    let stuck = sim.block_on(spin).unwrap_err();
    assert!(matches!(stuck, Stuck::Events { .. }), "{stuck:?}");
}

#[test]
fn a_wait_ends_with_the_run_although_timers_go_on() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let ticker = env.clone();
    env.spawn("ticker", async move {
        loop {
            ticker.sleep(secs(1)).await;
        }
    });
    let stuck = sim.block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(stuck, Stuck::Time { .. }), "{stuck:?}");
    assert_eq!(sim.now(), secs(3_600));
}

#[test]
fn a_task_that_runs_the_world_it_is_part_of_is_stopped() {
    let sim = Sim::new(1);
    let nested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sim.block_on(async { sim.block_on(async {}) })
    }));
    assert!(nested.is_err());
    sim.block_on(async {}).unwrap();
}

#[test]
fn tasks_run_in_an_order_that_follows_from_the_seed() {
    let order = |seed| {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..8 {
            let order = Arc::clone(&order);
            env.spawn("racer", async move { order.lock().unwrap().push(number) });
        }
        sim.run_for(millis(1)).unwrap();
        let order = order.lock().unwrap();
        order.clone()
    };
    assert_eq!(order(1), order(1));
    let orders: std::collections::BTreeSet<_> = (0..20).map(order).collect();
    assert!(orders.len() > 15, "only {} orders", orders.len());
}

#[test]
fn timers_of_one_moment_ring_in_any_order() {
    let order = |seed| {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        let order = Arc::new(Mutex::new(Vec::new()));
        let at = env.now() + secs(1);
        for number in 0..4 {
            let (order, env) = (Arc::clone(&order), env.clone());
            env.clone().spawn("racer", async move {
                env.sleep_until(at).await;
                order.lock().unwrap().push(number);
            });
        }
        sim.run_for(secs(2)).unwrap();
        let order = order.lock().unwrap();
        order.clone()
    };
    let orders: std::collections::BTreeSet<_> = (0..20).map(order).collect();
    assert!(orders.len() > 8, "only {} orders", orders.len());
}

#[test]
fn a_cancelled_sleep_leaves_no_timer() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.block_on(async {
        let wait = std::future::ready(5);
        assert_eq!(env.deadline(env.now() + secs(9), wait).await, Ok(5));
        let brief = env.deadline(env.now() + secs(1), env.sleep(secs(100)));
        assert!(brief.await.is_err());
    })
    .unwrap();
    let stuck = sim.block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(stuck, Stuck::Deadlock { .. }), "{stuck:?}");
    assert_eq!(sim.now(), secs(1));
}

#[test]
fn the_current_world_is_the_members_in_polls_and_drops() {
    let sim = Sim::new(1);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let drops = Arc::new(AtomicU64::new(0));
    for env in [&one, &two] {
        let here = env.clone();
        let witness = Witness {
            drops: Arc::clone(&drops),
        };
        env.spawn("looks around", async move {
            let _witness = witness;
            assert_eq!(current().now(), here.now());
            current().sleep(secs(1)).await;
            assert_eq!(current().clock(), here.clock());
            std::future::pending::<()>().await;
        });
    }
    assert_ne!(one.now(), two.now(), "clocks of two members start apart");
    sim.run_for(secs(2)).unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    sim.nemesis().crash(ONE);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(sim);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
#[should_panic(expected = "no member runs on this thread")]
fn outside_a_member_no_world_is_current() {
    let _env = current();
}

#[test]
fn the_caller_can_borrow_a_members_world() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let now = sim.block_on(env.within(async { current().now() }));
    assert_eq!(now, Ok(env.now()));
}

#[test]
fn a_paused_member_misses_time_but_loses_nothing() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let woke = Arc::new(Mutex::new(None));
    let (task, seen) = (env.clone(), Arc::clone(&woke));
    let asked = env.now() + secs(1);
    env.spawn("sleeper", async move {
        task.sleep_until(asked).await;
        *seen.lock().unwrap() = Some(task.now());
    });
    sim.nemesis().pause(ONE);
    sim.run_for(secs(10)).unwrap();
    assert_eq!(*woke.lock().unwrap(), None);
    sim.nemesis().resume(ONE);
    sim.run_for(secs(1)).unwrap();
    assert_eq!(*woke.lock().unwrap(), Some(asked + secs(9)));
}

#[test]
fn a_crashed_members_handle_is_dead_and_a_restart_gives_a_live_one() {
    let sim = Sim::new(1);
    let old = sim.member(ONE);
    let new = sim.restart(ONE);
    let ran = Arc::new(AtomicBool::new(false));
    let set = |ran: &Arc<AtomicBool>| {
        let ran = Arc::clone(ran);
        async move { ran.store(true, Ordering::Relaxed) }
    };
    old.spawn("of the dead", set(&ran));
    sim.run_for(secs(1)).unwrap();
    assert!(!ran.load(Ordering::Relaxed));
    new.spawn("of the living", set(&ran));
    sim.run_for(secs(1)).unwrap();
    assert!(ran.load(Ordering::Relaxed));
    let stuck = sim.block_on(old.sleep(Duration::ZERO));
    assert!(matches!(stuck, Err(Stuck::Deadlock { .. })), "{stuck:?}");
}

#[test]
fn a_task_can_crash_its_own_member() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let drops = Arc::new(AtomicU64::new(0));
    let (nemesis, witness) = (
        sim.nemesis(),
        Witness {
            drops: Arc::clone(&drops),
        },
    );
    let went_on = Arc::new(AtomicBool::new(false));
    let went_on_too = Arc::clone(&went_on);
    env.spawn("self-destruct", async move {
        let _witness = witness;
        nemesis.crash(ONE);
        current().sleep(Duration::ZERO).await;
        went_on_too.store(true, Ordering::Relaxed);
    });
    sim.run_for(secs(1)).unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(!went_on.load(Ordering::Relaxed));
    assert!(!sim.nemesis().is_up(ONE));
}

#[test]
fn a_crash_can_be_set_for_the_nth_event() {
    let ticks_until_crash = |events| {
        let sim = Sim::new(3);
        let env = sim.member(ONE);
        let ticks = Arc::new(AtomicU64::new(0));
        let (task, count) = (env.clone(), Arc::clone(&ticks));
        env.spawn("ticker", async move {
            loop {
                task.sleep(millis(1)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        sim.nemesis().crash_at_event(ONE, events);
        sim.run_for(secs(1)).unwrap();
        assert!(!sim.nemesis().is_up(ONE));
        ticks.load(Ordering::Relaxed)
    };
    // Each tick is two events: the timer rings, the task runs.
    assert_eq!(ticks_until_crash(0), 0);
    assert_eq!(ticks_until_crash(3), 1);
    assert_eq!(ticks_until_crash(21), 10);
}

#[test]
fn a_fast_clock_wakes_its_member_early_by_true_time_only() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let rates = ClockRates {
        boot_ppm: 10_000,
        raw_ppm: -10_000,
        wall_ppm: 0,
    };
    sim.nemesis().set_clock_rates(ONE, rates);
    let before = env.clock();
    let wall = env.wall();
    sim.block_on(env.sleep(secs(101))).unwrap();
    assert_eq!(sim.now(), secs(100));
    let passed = env.clock().since(before);
    assert!(passed.min < secs(99), "{passed:?}");
    assert!(passed.max > secs(101), "{passed:?}");
    assert_eq!(env.wall().0 - wall.0, 100_000);
}

#[test]
fn a_pending_sleep_follows_a_change_of_its_clock() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let nemesis = sim.nemesis();
    let driver = sim.member(TWO);
    let start = env.now();
    driver.clone().spawn("suspends the other", async move {
        driver.sleep(secs(1)).await;
        nemesis.jump_clock(ONE, secs(50));
        driver.sleep(secs(1)).await;
        let stopped = ClockRates {
            boot_ppm: -1_000_000,
            ..ClockRates::default()
        };
        nemesis.set_clock_rates(ONE, stopped);
        driver.sleep(secs(100)).await;
        nemesis.set_clock_rates(ONE, ClockRates::default());
    });
    sim.block_on(env.sleep_until(start + secs(60))).unwrap();
    assert_eq!(env.now(), start + secs(60));
    assert_eq!(sim.now(), secs(110));
}

#[test]
fn the_wall_clock_can_be_set_back_without_moving_the_others() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let (wall, clock) = (env.wall(), env.clock());
    sim.nemesis().step_wall(ONE, -5_000);
    assert_eq!(env.wall().0, wall.0 - 5_000);
    assert_eq!(env.clock(), clock);
}

#[test]
fn a_kill_keeps_clocks_and_page_cache_and_a_crash_keeps_neither() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.block_on(async {
        let file = env.disk().open("f", Open::Create).await.unwrap();
        env.disk().sync_dir("").await.unwrap();
        file.write_at(0, Bytes::from_static(b"cached"))
            .await
            .unwrap();
    })
    .unwrap();
    let before = env.now();
    sim.nemesis().kill(ONE);
    let env = sim.member(ONE);
    assert_eq!(env.now(), before);
    let len = sim.block_on(async {
        let file = env.disk().open("f", Open::Read).await.unwrap();
        file.len().await.unwrap()
    });
    assert_eq!(len, Ok(6));
    assert_eq!(sim.nemesis().durable(ONE, "f").unwrap().len(), 0);
    let (before, wall) = (env.now(), env.wall());
    let env = sim.restart(ONE);
    assert_ne!(env.now(), before);
    assert_eq!(env.wall(), wall, "the wall clock has a battery");
}

#[test]
fn a_dropped_world_drops_tasks_that_hold_it() {
    let drops = Arc::new(AtomicU64::new(0));
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    for _ in 0..10 {
        let (task, witness) = (
            env.clone(),
            Witness {
                drops: Arc::clone(&drops),
            },
        );
        env.spawn("holds its world", async move {
            let _witness = witness;
            task.sleep(secs(1_000)).await;
        });
    }
    sim.run_for(secs(1)).unwrap();
    drop(sim);
    assert_eq!(drops.load(Ordering::Relaxed), 10);
    // The handle outlives the world, and does nothing.
    env.spawn("too late", async { unreachable!("the world is gone") });
}

#[test]
fn each_incarnation_and_member_has_its_own_randomness() {
    let draws = |seed| {
        let sim = Sim::new(seed);
        let mut draws = vec![sim.member(ONE).random(), sim.member(TWO).random()];
        draws.push(sim.restart(ONE).random());
        draws
    };
    assert_eq!(draws(1), draws(1));
    let all: std::collections::BTreeSet<_> = (0..50).flat_map(draws).collect();
    assert_eq!(all.len(), 150);
    // How much an incarnation draws does not shift what the next one gets.
    let sim = Sim::new(1);
    let _unused = sim.member(ONE);
    assert_eq!(sim.restart(ONE).random(), draws(1)[2]);
}

/// Messages, files, timers, crashes and a pause on three members.
fn busy_world(seed: u64) -> Sim {
    let options = Options {
        link: LinkModel {
            loss_ppm: 50_000,
            duplicate_ppm: 50_000,
            reorder_ppm: 50_000,
            alter_ppm: 50_000,
            bytes_per_second: Some(100_000),
            ..LinkModel::default()
        },
        ..Options::default()
    };
    let sim = Sim::with_options(seed, options);
    let nemesis = sim.nemesis();
    nemesis.set_disk_errors(TWO, DiskOp::Read, 100_000);
    let rates = ClockRates {
        boot_ppm: 12_345,
        raw_ppm: -777,
        wall_ppm: 5,
    };
    nemesis.set_clock_rates(THREE, rates);
    nemesis.crash_at_disk_op(ONE, 200);
    let start = |env: Env, others: [MemberId; 2]| {
        let port = sim.net_on(&env, 7);
        env.spawn("echoes to another port", async move {
            loop {
                let (from, lane, message) = port.receive().await;
                let _full = port.send(from, lane, message);
            }
        });
        let port = sim.net_on(&env, 7);
        let _full = port.send(others[0], Lane::Bulk, Bytes::from_static(b"to and fro"));
        let (sender, mut receiver) = queue::bounded::<Bytes>(4);
        let (net, task) = (env.net(), env.clone());
        env.spawn("sends", async move {
            loop {
                task.sleep(Duration::from_micros(task.random() % 900)).await;
                for other in others {
                    let message = Bytes::from(task.random().to_le_bytes().to_vec());
                    let _full = net.send(other, Lane::Append, message);
                }
            }
        });
        let net = env.net();
        env.spawn("receives", async move {
            loop {
                let (_, _, message) = net.receive().await;
                let (done, wait) = oneshot::channel();
                current().spawn("echoes", async move {
                    let _gone = done.send(message);
                });
                if let Ok(message) = wait.await {
                    let _closed = sender.send(message).await;
                }
            }
        });
        let disk = env.disk();
        env.spawn_dedicated("writes", async move {
            let file = match disk.open("log", Open::Create).await {
                Ok(file) => file,
                Err(_) => disk.open("log", Open::Write).await.unwrap(),
            };
            let mut offset = file.len().await.unwrap_or(0);
            while let Some(message) = receiver.receive().await {
                let len = message.len() as u64;
                file.write_at(offset, message).await.unwrap();
                offset += len;
                file.sync().await.unwrap();
                let _read = file.read_at(0, 100).await;
            }
        });
    };
    start(sim.member(ONE), [TWO, THREE]);
    start(sim.member(TWO), [THREE, ONE]);
    start(sim.member(THREE), [ONE, TWO]);
    sim.run_for(millis(300)).unwrap();
    nemesis.pause(TWO);
    start(sim.restart(ONE), [TWO, THREE]);
    sim.run_for(millis(50)).unwrap();
    nemesis.resume(TWO);
    nemesis.freeze(THREE);
    sim.run_for(millis(50)).unwrap();
    nemesis.thaw(THREE);
    nemesis.leap_second(THREE);
    sim.run_for(millis(50)).unwrap();
    sim
}

#[test]
fn a_seed_means_one_run_in_every_process() {
    let first = busy_world(7);
    let second = busy_world(7);
    assert!(first.events() > 5_000, "only {} events", first.events());
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_ne!(first.fingerprint(), busy_world(8).fingerprint());

    // Printed for the other process to compare.
    println!("fingerprint {}", first.fingerprint());
    let marker = "--skip=this-is-the-other-process";
    if std::env::args().any(|argument| argument == marker) {
        return;
    }
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "sim::tests::a_seed_means_one_run_in_every_process",
        ])
        .args(["--nocapture", marker])
        .env("TZ", "Asia/Kathmandu")
        .env("RUST_MIN_STACK", "3000000")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&other.stdout);
    let expected = format!("fingerprint {}", first.fingerprint());
    assert!(printed.contains(&expected), "{expected} not in:\n{printed}");
}

#[test]
fn the_fingerprint_tells_when_something_happened() {
    let fingerprint = |sleep| {
        let sim = Sim::new(1);
        let env = sim.member(ONE);
        sim.block_on(env.sleep(sleep)).unwrap();
        sim.fingerprint()
    };
    assert_eq!(fingerprint(secs(1)), fingerprint(secs(1)));
    assert_ne!(fingerprint(secs(1)), fingerprint(secs(2)));
}

#[test]
fn an_observer_sees_every_event_in_order_of_time() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sim = Sim::new(1);
    let sink = Arc::clone(&seen);
    sim.observe(move |event| sink.lock().unwrap().push(*event));
    let env = sim.member(ONE);
    sim.block_on(env.sleep(secs(1))).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len() as u64, sim.events());
    assert!(seen.is_sorted_by_key(|event| event.at));
    let kinds: Vec<_> = seen
        .iter()
        .map(|event| (event.member, event.what))
        .collect();
    let caller = (None, What::Ran { task: 0, name: "" });
    let expected = [
        (Some(ONE), What::Started),
        caller,
        (Some(ONE), What::Rang),
        caller,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_sleep_until_the_end_of_time_never_ends() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let stuck = sim.block_on(env.sleep_until(Instant::NEVER)).unwrap_err();
    assert!(matches!(stuck, Stuck::Deadlock { .. }), "{stuck:?}");
}

#[test]
fn a_reformatted_machine_has_an_empty_disk() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let made = sim.block_on(async {
        let disk = env.disk();
        let file = disk.open("f", Open::Create).await?;
        file.write_at(0, "abc".into()).await?;
        file.sync().await?;
        disk.sync_dir("").await
    });
    made.expect("it ends").expect("the disk works");
    assert_eq!(sim.nemesis().files(ONE), [("f".to_owned(), 3)]);
    sim.nemesis().reformat(ONE);
    assert!(!sim.nemesis().is_up(ONE));
    assert_eq!(sim.nemesis().files(ONE), []);
}

/// What a member notices of three seconds, of which one is in the middle of its sleep and its
/// machine stands still meanwhile.
fn over_three_seconds(stand: fn(&super::Nemesis), go_on: fn(&super::Nemesis)) -> [Duration; 2] {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let woke = Arc::new(Mutex::new(None));
    let (task, seen) = (env.clone(), Arc::clone(&woke));
    let (start, wall) = (env.now(), env.wall());
    env.spawn("sleeper", async move {
        task.sleep(millis(1_500)).await;
        *seen.lock().unwrap() = Some(task.now());
    });
    sim.run_for(secs(1)).unwrap();
    stand(&sim.nemesis());
    sim.run_for(secs(1)).unwrap();
    assert_eq!(*woke.lock().unwrap(), None);
    go_on(&sim.nemesis());
    sim.run_for(secs(1)).unwrap();
    let woke = woke.lock().unwrap().expect("a second has passed since");
    let noticed = env.now().saturating_since(start);
    assert_eq!(
        u128::from(env.wall().0.abs_diff(wall.0)),
        noticed.as_millis()
    );
    assert_eq!(env.clock().boot_ns, env.now().as_nanos());
    [woke.saturating_since(start), noticed]
}

#[test]
fn a_frozen_machine_notices_nothing_and_a_paused_one_is_late() {
    let paused = over_three_seconds(|it| it.pause(ONE), |it| it.resume(ONE));
    assert_eq!(paused, [secs(2), secs(3)]);
    let frozen = over_three_seconds(|it| it.freeze(ONE), |it| it.thaw(ONE));
    assert_eq!(frozen, [millis(1_500), secs(2)]);
}

#[test]
fn a_machine_that_is_frozen_and_paused_runs_when_both_have_ended() {
    let ran_after = |first: fn(&super::Nemesis), then: fn(&super::Nemesis)| {
        let sim = Sim::new(1);
        let env = sim.member(ONE);
        let nemesis = sim.nemesis();
        nemesis.freeze(ONE);
        nemesis.pause(ONE);
        let ran = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&ran);
        env.spawn("runs", async move { set.store(true, Ordering::Relaxed) });
        sim.run_for(secs(1)).unwrap();
        first(&nemesis);
        sim.run_for(secs(1)).unwrap();
        assert!(!ran.load(Ordering::Relaxed));
        then(&nemesis);
        sim.run_for(secs(1)).unwrap();
        assert!(ran.load(Ordering::Relaxed));
        let faults = sim.faults();
        assert!(
            faults.runs_paused > 0 && faults.runs_frozen > 0,
            "{faults:?}"
        );
    };
    ran_after(|it| it.thaw(ONE), |it| it.resume(ONE));
    ran_after(|it| it.resume(ONE), |it| it.thaw(ONE));
}

#[test]
fn a_crash_ends_a_freeze() {
    let sim = Sim::new(1);
    let _old = sim.member(ONE);
    sim.nemesis().freeze(ONE);
    sim.run_for(secs(5)).unwrap();
    let env = sim.restart(ONE);
    let start = env.now();
    sim.block_on(env.sleep(secs(1))).unwrap();
    assert_eq!(env.now(), start + secs(1));
}

#[test]
fn a_leap_second_shows_a_second_twice_on_the_wall_only() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    let (now, wall) = (env.now(), env.wall());
    assert_eq!(sim.faults().wall_misread, 0);
    sim.run_for(secs(2)).unwrap();
    sim.nemesis().leap_second(ONE);
    assert_eq!(env.wall().0 - wall.0, 1_000);
    assert_eq!(env.now(), now + secs(2));
    assert_eq!(sim.faults().wall_misread, 1);
}

#[test]
fn a_change_of_a_clock_bites_where_a_timer_waits() {
    let sim = Sim::new(1);
    let env = sim.member(ONE);
    sim.nemesis().jump_clock(ONE, secs(1));
    assert_eq!(sim.faults().timers_moved, 0, "nobody waits");
    let sleeper = env.clone();
    env.spawn("sleeper", async move { sleeper.sleep(secs(9)).await });
    sim.run_for(secs(1)).unwrap();
    sim.nemesis().jump_clock(ONE, secs(1));
    assert_eq!(sim.faults().timers_moved, 1);
    assert_eq!(sim.faults().timers_skewed, 0);
    let fast = ClockRates {
        boot_ppm: 500,
        ..ClockRates::default()
    };
    sim.nemesis().set_clock_rates(ONE, fast);
    sim.run_for(secs(1)).unwrap();
    assert_eq!(sim.faults().timers_skewed, 1);
}
