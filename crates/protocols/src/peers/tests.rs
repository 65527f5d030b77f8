//! Links of whole members on the deterministic world.

use super::*;
use synod_env::sim::{LinkModel, Sim};

const CLUSTER: u64 = 0xc1;
const ENGINE: Service = Service::Engine;

fn member(number: u64) -> MemberId {
    MemberId(number)
}

fn members(count: u64) -> BTreeSet<MemberId> {
    (1..=count).map(MemberId).collect()
}

fn hello(number: u64, incarnation: u64) -> Hello {
    Hello {
        cluster_id: CLUSTER,
        member: member(number),
        disk_id: 1_000 + u128::from(number),
        incarnation,
    }
}

fn start(env: &Env, hello: Hello, count: u64) -> Peers {
    Peers::start(env, hello, &members(count), None, &Limits::default())
}

/// A fresh cluster of so many members on links of such a kind.
fn cluster(seed: u64, count: u64, model: LinkModel) -> (Sim, Vec<(Env, Peers)>) {
    let sim = Sim::new(seed);
    for from in members(count) {
        for to in members(count) {
            sim.nemesis().set_link(from, to, model);
        }
    }
    let start = |number| {
        let env = sim.member(member(number));
        let peers = start(&env, hello(number, 1), count);
        (env, peers)
    };
    let members = (1..=count).map(start).collect();
    (sim, members)
}

#[test]
fn fresh_members_found_a_cluster_with_all_disks() {
    for count in [1, 3, 5] {
        let (sim, all) = cluster(1, count, LinkModel::default());
        let expected: BTreeMap<_, _> = (1..=count)
            .map(|number| (member(number), hello(number, 1).disk_id))
            .collect();
        for (_, peers) in &all {
            assert_eq!(sim.block_on(peers.founded()).unwrap(), Ok(expected.clone()));
        }
    }
}

#[test]
fn a_request_is_answered_by_the_service_it_is_for() {
    let (sim, all) = cluster(1, 3, LinkModel::default());
    for (_, peers) in &all {
        sim.block_on(peers.founded()).unwrap().unwrap();
    }
    let port = all[1].1.port(ENGINE);
    all[1].0.spawn("answers", async move {
        loop {
            let incoming = port.receive().await;
            let answer = incoming.answer.expect("a request");
            answer.send(incoming.body);
        }
    });
    let (env, peers) = &all[0];
    let asked = peers.port(ENGINE).ask(
        member(2),
        Lane::Append,
        Bytes::from_static(b"how are you"),
        env.now() + Duration::from_secs(1),
    );
    assert_eq!(
        sim.block_on(asked).unwrap(),
        Ok(Bytes::from_static(b"how are you"))
    );
}
