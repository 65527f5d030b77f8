//! Sessions between lives, and what is sent in them.

use super::*;
use std::sync::Mutex;

/// Numbers that a service has received, in order.
fn received(env: &Env, peers: &Peers, service: Service) -> Arc<Mutex<Vec<u64>>> {
    let received = Arc::new(Mutex::new(Vec::new()));
    let (port, sink) = (peers.port(service), Arc::clone(&received));
    env.spawn("receives", async move {
        loop {
            let body = port.receive().await.body;
            let number = u64::from_le_bytes(body.as_ref().try_into().expect("as it was sent"));
            sink.lock().unwrap().push(number);
        }
    });
    received
}

fn number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

#[test]
fn members_link_over_links_that_lose_double_reorder_and_alter() {
    for seed in 0..50 {
        let sim = world(seed, 3, hostile());
        let all: Vec<_> = (1..=3).map(|it| start(&sim, it, 1, 3)).collect();
        run(&sim, 5_000);
        for (_, peers) in &all {
            let port = peers.port(ENGINE);
            assert_eq!(port.others().len(), 2);
            for other in port.others() {
                assert!(port.is_linked(*other), "{peers:?} and {other}, seed {seed}");
            }
        }
        // And then there is nothing more to say.
        let before = sim.events();
        run(&sim, 3_600_000);
        assert!(sim.events() - before < 100, "seed {seed}");
    }
}

#[test]
fn a_message_is_received_unaltered_and_at_most_once() {
    let (mut sent_in_all, mut received_in_all) = (0, 0);
    for seed in 0..20 {
        let sim = world(seed, 2, hostile());
        let (one, two) = (start(&sim, 1, 1, 2), start(&sim, 2, 1, 2));
        let engine = received(&two.0, &two.1, ENGINE);
        let node = received(&two.0, &two.1, NODE);
        run(&sim, 5_000);
        let lanes = [Lane::Control, Lane::Append, Lane::Bulk];
        for sent in 0..300 {
            let service = if sent % 2 == 0 { ENGINE } else { NODE };
            let lane = lanes[usize::try_from(sent % 3).unwrap()];
            let port = one.1.port(service);
            assert_eq!(port.tell(member(2), lane, number(sent)), Ok(()));
            run(&sim, sent % 2);
        }
        run(&sim, 1_000);
        for (parity, received) in [(0, engine), (1, node)] {
            let mut received = received.lock().unwrap().clone();
            assert!(
                received
                    .iter()
                    .all(|number| number % 2 == parity && *number < 300)
            );
            let count = received.len();
            received.sort_unstable();
            received.dedup();
            assert_eq!(received.len(), count, "seed {seed}");
            received_in_all += count;
        }
        sent_in_all += 300;
        let counters = two.1.counters();
        assert!(
            counters.altered > 0 && counters.duplicate > 0,
            "{counters:?}"
        );
    }
    // A fifth is lost, and a tenth altered.
    let share = received_in_all * 100 / sent_in_all;
    assert!((70..90).contains(&share), "{share} %");
}

#[test]
fn a_restart_ends_the_session_and_what_was_asked_in_it() {
    let sim = world(1, 2, LinkModel::default());
    let (env, one) = start(&sim, 1, 1, 2);
    let _silent = start(&sim, 2, 1, 2);
    run(&sim, 100);
    let port = one.port(ENGINE);
    let far = env.now() + Duration::from_secs(3_000);
    let asked = port.ask(member(2), Lane::Control, number(1), far);
    run(&sim, 100);
    // What is under way to the life that ends never reaches the next one.
    port.tell(member(2), Lane::Append, number(2)).unwrap();
    let (env_two, two) = start(&sim, 2, 2, 2);
    let received = received(&env_two, &two, ENGINE);
    let begun = sim.now();
    assert_eq!(sim.block_on(asked).unwrap(), Err(AskError::NoAnswer));
    assert!(
        sim.now() - begun < Duration::from_secs(1),
        "not only at the deadline"
    );
    run(&sim, 100);
    assert!(port.is_linked(member(2)));
    port.tell(member(2), Lane::Append, number(3)).unwrap();
    run(&sim, 100);
    assert_eq!(*received.lock().unwrap(), [3]);
    assert_eq!(one.counters().sessions_ended, 1);
}

#[test]
fn an_answer_of_an_earlier_life_is_not_taken_for_one_of_this() {
    let sim = world(1, 2, LinkModel::default());
    let slow = LinkModel {
        delay_min: Duration::from_millis(300),
        delay_max: Duration::from_millis(300),
        ..LinkModel::default()
    };
    let (env, one) = start(&sim, 1, 1, 2);
    let (env_two, two) = start(&sim, 2, 1, 2);
    answer_all(&env_two, &two, ENGINE);
    run(&sim, 100);
    sim.nemesis().set_link(member(2), member(1), slow);
    let soon = env.now() + Duration::from_secs(5);
    let asked = one
        .port(ENGINE)
        .ask(member(2), Lane::Append, number(1), soon);
    run(&sim, 10);
    drop(asked);
    // The same request number, asked in the next life, while the answer is still under way.
    let (env, one) = start(&sim, 1, 2, 2);
    sim.nemesis()
        .set_link(member(2), member(1), LinkModel::default());
    run(&sim, 200);
    let soon = env.now() + Duration::from_secs(5);
    let asked = one
        .port(ENGINE)
        .ask(member(2), Lane::Append, number(2), soon);
    assert_eq!(sim.block_on(asked).unwrap(), Ok(number(2)));
    run(&sim, 1_000);
    assert!(one.counters().stale > 0, "{:?}", one.counters());
}

#[test]
fn a_request_ends_at_its_deadline() {
    let sim = world(1, 2, LinkModel::default());
    let (env, one) = start(&sim, 1, 1, 2);
    let _silent = start(&sim, 2, 1, 2);
    run(&sim, 100);
    let begun = sim.now();
    let deadline = env.now() + Duration::from_millis(250);
    let asked = one
        .port(NODE)
        .ask(member(2), Lane::Bulk, number(1), deadline);
    assert_eq!(sim.block_on(asked).unwrap(), Err(AskError::NoAnswer));
    assert_eq!(sim.now() - begun, Duration::from_millis(250));
}

#[test]
fn nothing_is_sent_where_no_session_stands() {
    let sim = world(1, 2, LinkModel::default());
    let (env, one) = start(&sim, 1, 1, 2);
    run(&sim, 1_000);
    let port = one.port(ENGINE);
    assert!(!port.is_linked(member(2)));
    let told = port.tell(member(2), Lane::Control, number(1));
    assert_eq!(told, Err(NotSent::Unlinked));
    let asked = port.ask(member(2), Lane::Control, number(1), env.now());
    let unlinked = AskError::NotSent(NotSent::Unlinked);
    assert_eq!(sim.block_on(asked).unwrap(), Err(unlinked));
    let told = port.tell(member(9), Lane::Control, number(1));
    assert_eq!(told, Err(NotSent::Unlinked), "nobody has that number");
}

#[test]
fn a_session_outlasts_a_partition() {
    let sim = world(1, 2, LinkModel::default());
    let (env, one) = start(&sim, 1, 1, 2);
    let (env_two, two) = start(&sim, 2, 1, 2);
    answer_all(&env_two, &two, ENGINE);
    run(&sim, 100);
    sim.nemesis().cut(member(1), member(2));
    let ask = |number| {
        let deadline = env.now() + Duration::from_millis(50);
        let asked = one
            .port(ENGINE)
            .ask(member(2), Lane::Control, number, deadline);
        sim.block_on(asked).unwrap()
    };
    assert_eq!(ask(number(1)), Err(AskError::NoAnswer));
    run(&sim, 60_000);
    sim.nemesis().mend(member(1), member(2));
    assert_eq!(ask(number(2)), Ok(number(2)));
}

#[test]
fn a_service_that_does_not_receive_loses_its_own_messages_only() {
    let sim = world(1, 2, LinkModel::default());
    let limits = Limits {
        peer_messages_waiting_max: 3,
        peer_bytes_waiting_max: 100,
        ..Limits::default()
    };
    let (_, one) = start(&sim, 1, 1, 2);
    let env = sim.member(member(2));
    let known = Some(table(2));
    let two = Peers::start(&env, hello(2, 1), &members(2), known, &limits);
    let node = received(&env, &two, NODE);
    run(&sim, 100);
    for sent in 0..10 {
        for service in [ENGINE, NODE] {
            let port = one.port(service);
            port.tell(member(2), Lane::Append, number(sent)).unwrap();
        }
        run(&sim, 1);
    }
    assert_eq!(*node.lock().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(two.counters().overflow, 7);
    // Lanes do not displace each other, and control comes first. A message larger than the whole
    // queue is taken alone.
    let engine = one.port(ENGINE);
    engine.tell(member(2), Lane::Control, number(77)).unwrap();
    engine
        .tell(member(2), Lane::Bulk, Bytes::from(vec![1; 1_000]))
        .unwrap();
    run(&sim, 10);
    engine.tell(member(2), Lane::Bulk, number(78)).unwrap();
    run(&sim, 10);
    let port = two.port(ENGINE);
    let order: Vec<_> = (0..5)
        .map(|_| sim.block_on(port.receive()).unwrap())
        .map(|incoming| (incoming.lane, incoming.body.len()))
        .collect();
    let append = (Lane::Append, 8);
    assert_eq!(
        order,
        [
            (Lane::Control, 8),
            append,
            append,
            append,
            (Lane::Bulk, 1_000)
        ]
    );
    assert_eq!(two.counters().overflow, 8);
}

#[test]
fn requests_without_an_answer_are_bounded() {
    let sim = world(1, 2, LinkModel::default());
    let limits = Limits {
        peer_asks_max: 2,
        ..Limits::default()
    };
    let env = sim.member(member(1));
    let known = Some(table(2));
    let one = Peers::start(&env, hello(1, 1), &members(2), known, &limits);
    let (env_two, two) = start(&sim, 2, 1, 2);
    run(&sim, 100);
    let ask = || {
        let deadline = env.now() + Duration::from_secs(1);
        one.port(ENGINE)
            .ask(member(2), Lane::Control, number(1), deadline)
    };
    let (first, _second) = (ask(), ask());
    let full = AskError::NotSent(NotSent::Full);
    assert_eq!(sim.block_on(ask()).unwrap(), Err(full));
    // Whoever gives up gives the room back.
    drop(first);
    answer_all(&env_two, &two, ENGINE);
    assert_eq!(sim.block_on(ask()).unwrap(), Ok(number(1)));
}

#[test]
fn a_full_lane_is_told_to_the_sender() {
    let options = synod_env::sim::Options {
        lane_messages_max: 2,
        ..Default::default()
    };
    let sim = Sim::with_options(1, options);
    let (env, one) = start(&sim, 1, 1, 2);
    let _two = start(&sim, 2, 1, 2);
    run(&sim, 1_000);
    let port = one.port(ENGINE);
    let told: Vec<_> = (0..3)
        .map(|sent| port.tell(member(2), Lane::Append, number(sent)))
        .collect();
    assert_eq!(told, [Ok(()), Ok(()), Err(NotSent::Full)]);
    let asked = port.ask(
        member(2),
        Lane::Append,
        number(4),
        env.now() + Duration::from_secs(1),
    );
    let full = AskError::NotSent(NotSent::Full);
    assert_eq!(sim.block_on(asked).unwrap(), Err(full));
}

/// Members that restart at random over a hostile network: in the end all are linked, by their
/// last lives, and no message has been received twice or by the wrong life.
#[test]
fn restarts_at_random_leave_no_link_behind() {
    for seed in 0..30 {
        restart_at_random(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(restart_at_random(3), restart_at_random(3));
    assert_ne!(restart_at_random(3), restart_at_random(4));
}

fn restart_at_random(seed: u64) -> synod_env::sim::Fingerprint {
    let sim = world(seed, 3, hostile());
    let mut random = sim.workload();
    let mut lives = [1, 1, 1];
    let mut all: Vec<_> = (1..=3).map(|it| start(&sim, it, 1, 3)).collect();
    let seen: Arc<Mutex<BTreeSet<(MemberId, Bytes)>>> = Arc::default();
    let listen = |env: &Env, peers: &Peers, life: u64| {
        let (port, seen) = (peers.port(ENGINE), Arc::clone(&seen));
        env.spawn("listens", async move {
            loop {
                let incoming = port.receive().await;
                // The sender says for which life it is.
                assert_eq!(incoming.body[0], u8::try_from(life).unwrap());
                let new = seen.lock().unwrap().insert((port.member(), incoming.body));
                assert!(new, "received twice");
            }
        });
    };
    for (env, peers) in &all {
        listen(env, peers, 1);
    }
    for step in 0..60_u64 {
        run(&sim, random.below(150));
        let one = usize::try_from(random.below(3)).unwrap();
        if random.chance(1, 4) {
            lives[one] += 1;
            let number = one as u64 + 1;
            all[one] = start(&sim, number, lives[one], 3);
            listen(&all[one].0, &all[one].1, lives[one]);
        }
        let port = all[one].1.port(ENGINE);
        for other in port.others() {
            let life = lives[usize::try_from(other.0).unwrap() - 1];
            let mut body = vec![u8::try_from(life).unwrap()];
            body.extend_from_slice(&step.to_le_bytes());
            // The session may be that of an earlier life; then nobody must get it.
            let _unsent = port.tell(*other, Lane::Append, body.into());
        }
    }
    run(&sim, 5_000);
    for (_, peers) in &all {
        let port = peers.port(ENGINE);
        let linked = port.others().iter().all(|other| port.is_linked(*other));
        assert!(linked, "{peers:?}, seed {seed}");
    }
    assert!(!seen.lock().unwrap().is_empty());
    sim.fingerprint()
}
