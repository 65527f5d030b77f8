use super::Rounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use synod_env::sim::Sim;
use synod_env::{Env, MemberId};

/// Rounds that take a millisecond each and are numbered from 1.
fn numbered(env: &Env) -> (Rounds<u64>, Arc<AtomicU64>) {
    let rounds = Arc::new(AtomicU64::new(0));
    let (clock, begun) = (env.clone(), Arc::clone(&rounds));
    let asked = Rounds::serve(env, "rounds", move || {
        let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
        let clock = clock.clone();
        async move {
            clock.sleep(Duration::from_millis(1)).await;
            number
        }
    });
    (asked, rounds)
}

#[test]
fn all_who_wait_when_a_round_begins_share_it() {
    let sim = Sim::new(1);
    let env = sim.member(MemberId(1));
    let (asked, rounds) = numbered(&env);
    let answers = sim.block_on(async {
        let callers: Vec<_> = (0..500).map(|_| asked.clone().ask()).collect();
        let mut answers = Vec::new();
        for caller in futures_util::future::join_all(callers).await {
            answers.push(caller.expect("the rounds go on"));
        }
        answers
    });
    assert_eq!(answers.unwrap(), [1; 500]);
    assert_eq!(rounds.load(Ordering::Relaxed), 1);
}

#[test]
fn who_asks_during_a_round_gets_the_next_one() {
    let sim = Sim::new(2);
    let env = sim.member(MemberId(1));
    let (asked, _) = numbered(&env);
    sim.block_on(async {
        let late = async {
            env.sleep(Duration::from_micros(500)).await;
            asked.clone().ask().await
        };
        let both = futures_util::future::join(asked.clone().ask(), late).await;
        assert_eq!(both, (Some(1), Some(2)));
    })
    .unwrap();
}

#[test]
fn nothing_runs_for_callers_that_have_left() {
    let sim = Sim::new(3);
    let env = sim.member(MemberId(1));
    let (asked, rounds) = numbered(&env);
    sim.block_on(async {
        let mut left = Box::pin(asked.clone().ask());
        assert!(futures_util::poll!(&mut left).is_pending());
        drop(left);
        env.sleep(Duration::from_millis(5)).await;
    })
    .unwrap();
    assert_eq!(rounds.load(Ordering::Relaxed), 0);
}

#[test]
fn the_server_ends_with_the_last_who_can_ask() {
    let sim = Sim::new(4);
    let env = sim.member(MemberId(1));
    let (asked, _) = numbered(&env);
    drop(asked);
    let stuck = sim.block_on(std::future::pending::<()>()).unwrap_err();
    assert!(!stuck.to_string().contains("rounds"), "{stuck}");
}
