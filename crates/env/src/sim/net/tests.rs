use crate::net::Full;
use crate::sim::{Faults, LinkModel, Options, Sim, What};
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

#[test]
fn a_link_that_alters_flips_bits_of_some_and_says_so() {
    let sim = Sim::new(1);
    let model = LinkModel {
        alter_ppm: 300_000,
        ..LinkModel::default()
    };
    sim.nemesis().set_link(ONE, TWO, model);
    let marked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&marked);
    sim.observe(move |event| {
        if let What::Arrived { altered: true, .. } = event.what {
            *count.lock().unwrap() += 1;
        }
    });
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let mut altered = 0;
    for sent in 0..200 {
        let sent = number(sent);
        one.net().send(TWO, Lane::Append, sent.clone()).unwrap();
        let net = two.net();
        let (_, _, received) = sim.block_on(net.receive()).unwrap();
        assert_eq!(received.len(), sent.len());
        let bits = received
            .iter()
            .zip(&sent)
            .map(|(a, b)| (a ^ b).count_ones());
        let bits: u32 = bits.sum();
        assert!(bits <= 8, "{bits} bits");
        altered += u64::from(bits > 0);
    }
    assert!((40..80).contains(&altered), "{altered}");
    // Now and then a bit is flipped and flipped back.
    let counted = sim.faults().messages_altered;
    assert!((altered..altered + 5).contains(&counted), "{counted}");
    assert_eq!(*marked.lock().unwrap(), counted);
}

#[test]
fn messages_wait_for_each_other_where_bandwidth_is_limited() {
    let sim = Sim::new(1);
    let slow = LinkModel {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(1),
        bytes_per_second: Some(1_000),
        ..LinkModel::default()
    };
    sim.nemesis().set_link(ONE, TWO, slow);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let mut arrivals = Vec::new();
    for lane in [Lane::Bulk, Lane::Control, Lane::Append] {
        one.net()
            .send(TWO, lane, Bytes::from(vec![0; 100]))
            .unwrap();
    }
    two.net()
        .send(ONE, Lane::Bulk, Bytes::from(vec![0; 100]))
        .unwrap();
    let (to_one, to_two) = (one.net(), two.net());
    sim.block_on(to_one.receive()).unwrap();
    assert!(
        sim.now() < Duration::from_millis(1),
        "the other direction is free"
    );
    for _ in 0..3 {
        let (_, lane, _) = sim.block_on(to_two.receive()).unwrap();
        arrivals.push((lane, sim.now().as_millis()));
    }
    let expected = [(Lane::Bulk, 101), (Lane::Control, 201), (Lane::Append, 301)];
    assert_eq!(arrivals, expected);
    assert_eq!(sim.faults().messages_slowed, 3);
}

#[test]
fn ports_share_links_but_neither_messages_nor_room() {
    let options = Options {
        lane_messages_max: 1,
        ..Options::default()
    };
    let sim = Sim::with_options(1, options);
    let (one, two) = (sim.member(ONE), sim.member(TWO));
    let (clients, serves) = (sim.net_on(&one, 7), sim.net_on(&two, 7));
    assert_eq!(clients.send(TWO, Lane::Control, number(7)), Ok(()));
    assert_eq!(one.net().send(TWO, Lane::Control, number(0)), Ok(()));
    assert_eq!(clients.send(TWO, Lane::Control, number(8)), Err(Full));
    let (from, _, message) = sim.block_on(serves.receive()).unwrap();
    assert_eq!((from, message), (ONE, number(7)));
    let peers = two.net();
    let (_, _, message) = sim.block_on(peers.receive()).unwrap();
    assert_eq!(message, number(0));
    // A cut is of all ports.
    sim.nemesis().cut(ONE, TWO);
    clients.send(TWO, Lane::Control, number(9)).unwrap();
    one.net().send(TWO, Lane::Control, number(9)).unwrap();
    assert_eq!(sim.faults().messages_cut, 2);
}

#[test]
#[should_panic(expected = "the member is one of this world")]
fn a_port_is_had_from_the_members_own_world_only() {
    let (sim, other) = (Sim::new(1), Sim::new(1));
    let _net = sim.net_on(&other.member(ONE), 7);
}

#[test]
fn what_a_link_does_to_messages_is_counted() {
    let sim = Sim::new(1);
    let (one, _two) = (sim.member(ONE), sim.member(TWO));
    let send = |times: u64| {
        for sent in 0..times {
            one.net().send(TWO, Lane::Append, number(sent)).unwrap();
        }
        sim.run_for(Duration::from_secs(1)).unwrap();
    };
    let certain = |set: fn(&mut LinkModel)| {
        let mut model = LinkModel::default();
        set(&mut model);
        sim.nemesis().set_link(ONE, TWO, model);
    };
    certain(|_| {});
    send(100);
    assert_eq!(sim.faults(), Faults::default());
    certain(|link| link.loss_ppm = 1_000_000);
    send(10);
    certain(|link| link.duplicate_ppm = 1_000_000);
    send(10);
    certain(|link| link.alter_ppm = 1_000_000);
    send(10);
    certain(|link| link.cut = true);
    send(10);
    // A second copy keeps no order, and may already have overtaken an earlier message.
    let before = sim.faults();
    certain(|link| link.reorder_ppm = 1_000_000);
    send(100);
    let reordered = sim.faults().since(&before).messages_reordered;
    assert!((50..100).contains(&reordered), "{reordered}");
    let expected = Faults {
        messages_lost: 10,
        messages_duplicated: 10,
        messages_altered: 10,
        messages_cut: 10,
        messages_reordered: before.messages_reordered + reordered,
        ..Faults::default()
    };
    assert_eq!(sim.faults(), expected);
    sim.nemesis().kill(TWO);
    send(10);
    let since = sim.faults().since(&expected);
    // Copies wait too, beside what was counted when it was sent.
    assert_eq!(since.messages_forgotten, 230);
    assert_eq!((since.kills, since.messages_unreceived), (1, 10));
    assert_eq!(since.by_name()["messages_unreceived"], 10);
}

#[test]
fn a_listener_hears_what_is_sent_and_the_run_stays_the_same() {
    let run = |listens: bool| {
        let sim = Sim::new(3);
        let heard = Arc::new(Mutex::new(Vec::new()));
        if listens {
            let sink = Arc::clone(&heard);
            sim.listen(move |number, message| sink.lock().unwrap().push((number, message.clone())));
        }
        let (one, two) = (sim.member(ONE), sim.member(TWO));
        let received = received(&two);
        one.net().send(TWO, Lane::Append, number(41)).unwrap();
        one.net().send(TWO, Lane::Append, number(42)).unwrap();
        sim.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(*received.lock().unwrap(), [41, 42]);
        let heard = heard.lock().unwrap().clone();
        (sim.fingerprint(), heard)
    };
    let (deaf, nothing) = run(false);
    assert!(nothing.is_empty());
    assert_eq!(run(true), (deaf, vec![(1, number(41)), (2, number(42))]));
}
