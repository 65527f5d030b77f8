use super::{DeadlinePassed, with_current};
use crate::{Env, MemberId, oneshot, sim::Sim};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn world() -> (Sim, Env) {
    let sim = Sim::new(1);
    let env = sim.member(MemberId(1));
    (sim, env)
}

#[test]
fn a_wait_that_comes_in_time_ends_with_its_value() {
    let (sim, env) = world();
    let (sender, receiver) = oneshot::channel();
    let task = env.clone();
    env.spawn("answers", async move {
        task.sleep(Duration::from_secs(1)).await;
        sender.send(5).unwrap();
    });
    let deadline = env.now() + Duration::from_secs(2);
    let answer = sim.block_on(env.deadline(deadline, receiver)).unwrap();
    assert_eq!(answer, Ok(Ok(5)));
    assert_eq!(sim.now(), Duration::from_secs(1));
}

#[test]
fn a_wait_that_does_not_come_ends_at_its_deadline_and_is_dropped() {
    let (sim, env) = world();
    let (sender, receiver) = oneshot::channel::<()>();
    let deadline = env.now() + Duration::from_secs(2);
    let answer = sim.block_on(env.deadline(deadline, receiver)).unwrap();
    assert_eq!(answer, Err(DeadlinePassed));
    assert_eq!(env.now(), deadline);
    assert!(sender.is_abandoned());
}

#[test]
fn what_is_ready_counts_even_after_its_deadline() {
    let (sim, env) = world();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let past = env.now() - Duration::from_millis(1);
    let answer = env.deadline(past, std::future::ready(5));
    assert_eq!(sim.block_on(answer), Ok(Ok(5)));
    let answer = env.deadline(past, std::future::pending::<()>());
    assert_eq!(sim.block_on(answer), Ok(Err(DeadlinePassed)));
}

#[test]
fn a_member_entered_within_another_leaves_the_outer_one_current() {
    let sim = Sim::new(1);
    let (outer, inner) = (sim.member(MemberId(1)), sim.member(MemberId(2)));
    let now = || with_current(Env::now);
    let nested = outer.within(async {
        let before = now();
        let inside = inner.within(async { now() }).await;
        (before, inside, now())
    });
    let expected = (outer.now(), inner.now(), outer.now());
    assert_eq!(sim.block_on(nested), Ok(expected));
}

#[test]
fn a_panic_in_a_member_leaves_no_world_behind() {
    let (sim, env) = world();
    env.spawn("faulty", async { panic!("2 > 1") });
    let run = || sim.run_for(Duration::from_secs(1));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(panic.is_err());
    assert!(std::panic::catch_unwind(super::current).is_err());
    // The others go on.
    let woke = Arc::new(Mutex::new(false));
    let (task, seen) = (env.clone(), Arc::clone(&woke));
    env.spawn("sound", async move {
        task.sleep(Duration::from_secs(1)).await;
        *seen.lock().unwrap() = true;
    });
    sim.run_for(Duration::from_secs(2)).unwrap();
    assert!(*woke.lock().unwrap());
}
