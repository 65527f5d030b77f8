use crate::net::Full;
use crate::sim::{LinkModel, Options, Sim};
use crate::{Env, Lane, MemberId};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);

fn number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// Numbers in the order in which the member receives them.
fn received(env: &Env) -> Arc<Mutex<Vec<u64>>> {
    let received = Arc::new(Mutex::new(Vec::new()));
    let (net, sink) = (env.net(), Arc::clone(&received));
    env.spawn("receives", async move {
        loop {
            let (from, _, message) = net.receive().await;
            assert_eq!(from, ONE);
            let number = u64::from_le_bytes(message.as_ref().try_into().unwrap());
            sink.lock().unwrap().push(number);
        }
    });
    received
}

/// Sends 200 numbers from one member to the other over such a link.
fn transfer(seed: u64, model: LinkModel) -> Vec<u64> {
    let sim = Sim::new(seed);
    sim.nemesis().set_link(ONE, TWO, model);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let received = received(&two);
    for sent in 0..200 {
        one.net().send(TWO, Lane::Append, number(sent)).unwrap();
        sim.run_for(Duration::from_micros(10)).unwrap();
    }
    sim.run_for(Duration::from_secs(1)).unwrap();
    let received = received.lock().unwrap();
    received.clone()
}

#[test]
fn a_sound_link_delivers_everything_in_order() {
    let all: Vec<_> = (0..200).collect();
    for seed in 0..20 {
        assert_eq!(transfer(seed, LinkModel::default()), all);
    }
}

#[test]
fn a_lossy_link_loses_some_and_keeps_the_order_of_the_rest() {
    let model = LinkModel {
        loss_ppm: 300_000,
        ..LinkModel::default()
    };
    let received = transfer(1, model);
    assert!(received.is_sorted(), "{received:?}");
    assert!((100..180).contains(&received.len()), "{}", received.len());
}

#[test]
fn a_link_that_duplicates_delivers_some_twice() {
    let model = LinkModel {
        duplicate_ppm: 300_000,
        ..LinkModel::default()
    };
    let mut received = transfer(1, model);
    assert!((220..300).contains(&received.len()), "{}", received.len());
    received.sort_unstable();
    received.dedup();
    assert_eq!(received.len(), 200);
}

#[test]
fn a_link_that_reorders_lets_some_overtake() {
    let model = LinkModel {
        reorder_ppm: 300_000,
        ..LinkModel::default()
    };
    let mut received = transfer(1, model);
    assert!(!received.is_sorted());
    received.sort_unstable();
    assert_eq!(received, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_message_takes_as_long_as_its_link_says() {
    let sim = Sim::new(1);
    let slow = LinkModel {
        delay_min: Duration::from_millis(40),
        delay_max: Duration::from_millis(60),
        ..LinkModel::default()
    };
    sim.nemesis().set_link(ONE, TWO, slow);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    one.net().send(TWO, Lane::Control, number(1)).unwrap();
    let net = two.net();
    let (from, lane, _) = sim.block_on(net.receive()).unwrap();
    assert_eq!((from, lane), (ONE, Lane::Control));
    let took = sim.now();
    assert!(took >= slow.delay_min, "{took:?}");
    assert!(took <= slow.delay_max, "{took:?}");
}

#[test]
fn a_cut_is_one_way_silent_and_mendable() {
    let sim = Sim::new(1);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let received = received(&two);
    sim.nemesis().cut(ONE, TWO);
    assert_eq!(one.net().send(TWO, Lane::Bulk, number(1)), Ok(()));
    two.net().send(ONE, Lane::Bulk, number(2)).unwrap();
    let net = one.net();
    let (from, _, _) = sim.block_on(net.receive()).unwrap();
    assert_eq!(from, TWO);
    sim.nemesis().mend(ONE, TWO);
    one.net().send(TWO, Lane::Bulk, number(3)).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(*received.lock().unwrap(), [3]);
}

#[test]
fn a_cut_takes_what_is_sent_into_it_and_what_would_arrive_during_it() {
    let sim = Sim::new(1);
    let slow = LinkModel {
        delay_min: Duration::from_millis(10),
        delay_max: Duration::from_millis(10),
        ..LinkModel::default()
    };
    let nemesis = sim.nemesis();
    nemesis.set_link(ONE, TWO, slow);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let received = received(&two);
    let send = |sent| one.net().send(TWO, Lane::Append, number(sent)).unwrap();
    send(1);
    nemesis.cut(ONE, TWO);
    sim.run_for(Duration::from_millis(15)).unwrap();
    send(2);
    nemesis.mend(ONE, TWO);
    send(3);
    sim.run_for(Duration::from_millis(15)).unwrap();
    assert_eq!(*received.lock().unwrap(), [3]);
}

#[test]
fn a_full_lane_refuses_until_the_receiver_takes_something() {
    let options = Options {
        lane_messages_max: 2,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let send = |lane| one.net().send(TWO, lane, number(0));
    assert_eq!(send(Lane::Append), Ok(()));
    assert_eq!(send(Lane::Append), Ok(()));
    assert_eq!(send(Lane::Append), Err(Full));
    assert_eq!(send(Lane::Control), Ok(()), "lanes do not share room");
    // Arrived is not taken: a receiver that is slow holds its senders back.
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(send(Lane::Append), Err(Full));
    let net = two.net();
    for _ in 0..3 {
        sim.block_on(net.receive()).unwrap();
    }
    assert_eq!(send(Lane::Append), Ok(()));
}

#[test]
fn a_receivers_crash_frees_the_lanes_to_it() {
    let options = Options {
        lane_messages_max: 1,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    let (one, _two) = (sim.member(ONE), sim.member(TWO));
    let send = |lane| one.net().send(TWO, lane, number(0));
    assert_eq!(send(Lane::Append), Ok(()));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(send(Lane::Append), Err(Full));
    sim.nemesis().crash(TWO);
    assert_eq!(send(Lane::Append), Ok(()));
    // What arrives while the member is down is lost, and its room given back.
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(send(Lane::Append), Ok(()));
}
