//! Links of whole members on the deterministic world.

mod founding;
mod sessions;

use super::*;
use std::time::Duration;
use synod_env::sim::{LinkModel, Sim};

const CLUSTER: u64 = 0xc1;
const ENGINE: Service = Service::Engine;
const NODE: Service = Service::Node;

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

/// The disks of a cluster in which nobody has lost one.
fn table(count: u64) -> BTreeMap<MemberId, u128> {
    let disk = |number| (member(number), hello(number, 1).disk_id);
    (1..=count).map(disk).collect()
}

/// A link that does everything to messages that a link can do, but for losing them all.
fn hostile() -> LinkModel {
    LinkModel {
        delay_max: Duration::from_millis(20),
        loss_ppm: 200_000,
        duplicate_ppm: 300_000,
        reorder_ppm: 300_000,
        alter_ppm: 100_000,
        ..LinkModel::default()
    }
}

fn world(seed: u64, count: u64, model: LinkModel) -> Sim {
    let sim = Sim::new(seed);
    for from in members(count) {
        for to in members(count) {
            sim.nemesis().set_link(from, to, model);
        }
    }
    sim
}

/// A member of a cluster that is founded already.
fn start(sim: &Sim, number: u64, incarnation: u64, count: u64) -> (Env, Peers) {
    let env = sim.restart(member(number));
    let known = Some(table(count));
    let hello = hello(number, incarnation);
    let peers = Peers::start(&env, hello, &members(count), known, &Limits::default());
    (env, peers)
}

/// A member that has never been started before.
fn start_fresh(sim: &Sim, hello: Hello, count: u64) -> (Env, Peers) {
    let env = sim.member(hello.member);
    let peers = Peers::start(&env, hello, &members(count), None, &Limits::default());
    (env, peers)
}

fn run(sim: &Sim, millis: u64) {
    sim.run_for(Duration::from_millis(millis))
        .expect("no end of events");
}

/// Answers each request of a service with what it said.
fn answer_all(env: &Env, peers: &Peers, service: Service) {
    let port = peers.port(service);
    env.spawn("answers", async move {
        loop {
            let Incoming { body, answer, .. } = port.receive().await;
            if let Some(answer) = answer {
                answer.send(body);
            }
        }
    });
}
