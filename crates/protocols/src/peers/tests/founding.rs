//! Who belongs to a cluster.

use super::*;
use std::sync::Mutex;
use synod_storage::{Founding, Identity};

#[test]
fn fresh_members_found_a_cluster_with_all_disks() {
    for count in [1, 3, 5] {
        for seed in 0..20 {
            let sim = world(seed, count, hostile());
            let all: Vec<_> = (1..=count)
                .map(|it| start_fresh(&sim, hello(it, 1), count))
                .collect();
            for (_, peers) in &all {
                let founded = sim.block_on(peers.founded()).unwrap();
                assert_eq!(founded, Ok(table(count)), "seed {seed}");
                assert_eq!(*peers.refused().borrow(), None);
            }
        }
    }
}

#[test]
fn a_cluster_is_not_founded_before_the_last_member_is_there() {
    let sim = world(1, 3, LinkModel::default());
    let one = start_fresh(&sim, hello(1, 1), 3);
    let two = start_fresh(&sim, hello(2, 1), 3);
    let founded = Arc::new(Mutex::new(0));
    for (env, peers) in [&one, &two] {
        let (peers, founded) = (peers.clone(), Arc::clone(&founded));
        env.spawn("waits", async move {
            peers.founded().await.expect("nobody is refused");
            *founded.lock().unwrap() += 1;
        });
    }
    run(&sim, 600_000);
    assert_eq!(*founded.lock().unwrap(), 0);
    let port = one.1.port(ENGINE);
    let told = port.tell(member(2), Lane::Control, Bytes::new());
    assert_eq!(
        told,
        Err(NotSent::Unlinked),
        "before the founding nobody is linked"
    );
    let _three = start_fresh(&sim, hello(3, 1), 3);
    run(&sim, 1_000);
    assert_eq!(*founded.lock().unwrap(), 2);
    assert_eq!(port.tell(member(2), Lane::Control, Bytes::new()), Ok(()));
}

#[test]
fn a_reformatted_member_is_refused_by_all_and_told_why() {
    let sim = world(1, 3, LinkModel::default());
    let others: Vec<_> = [1, 2].map(|it| start(&sim, it, 1, 3)).into();
    let reformatted = Hello {
        disk_id: 0xdead,
        ..hello(3, 1)
    };
    let (_, three) = start_fresh(&sim, reformatted, 3);
    let refused = sim.block_on(three.founded()).unwrap().unwrap_err();
    let expected = "member 1 knows member 3 by disk 000000000000000000000000000003eb, and this is \
                    disk 0000000000000000000000000000dead: a member whose disk was lost or \
                    emptied cannot come back under its number, since it has forgotten what it \
                    promised. Start it on its own directory, or replace it by a new member";
    let also_by_two = expected.replace("member 1 knows", "member 2 knows");
    let text = refused.to_string();
    assert!(text == expected || text == also_by_two, "{text}");
    assert_eq!(three.refused().borrow().as_ref(), Some(&refused.0));
    run(&sim, 60_000);
    for (_, peers) in &others {
        assert!(!peers.port(ENGINE).is_linked(member(3)));
        assert_eq!(*peers.refused().borrow(), None);
        assert!(peers.counters().refused > 0);
    }
    assert!(others[0].1.port(ENGINE).is_linked(member(2)));
    let port = three.port(ENGINE);
    assert!(!port.is_linked(member(1)) && !port.is_linked(member(2)));
    // The disk that is on record comes back, and is welcome.
    let (_, three) = start(&sim, 3, 2, 3);
    run(&sim, 1_000);
    assert!(three.port(ENGINE).is_linked(member(1)));
}

#[test]
fn another_cluster_and_another_list_of_members_are_told_to_who_is_fresh() {
    let sim = world(1, 3, LinkModel::default());
    let one = start(&sim, 1, 1, 2);
    let two = start(&sim, 2, 1, 2);
    let stranger = Hello {
        cluster_id: 0xc2,
        ..hello(2, 1)
    };
    let (_, unknown) = start_fresh(&sim, hello(3, 1), 3);
    let refused = sim.block_on(unknown.founded()).unwrap().unwrap_err();
    assert!(
        refused.0.contains("has no member 3 in its list"),
        "{refused}"
    );
    run(&sim, 1_000);
    sim.nemesis().crash(member(2));
    let (_, stranger) = start_fresh(&sim, stranger, 2);
    let refused = sim.block_on(stranger.founded()).unwrap().unwrap_err();
    assert!(
        refused.0.contains("member 1 belongs to another cluster"),
        "{refused}"
    );
    run(&sim, 1_000);
    // A founded member stays, whatever strangers say.
    assert_eq!(*one.1.refused().borrow(), None);
    assert_eq!(*two.1.refused().borrow(), None);
}

/// What the lives of members have done, by member and disk.
#[derive(Default)]
struct Record {
    /// Who began its engine.
    founded: BTreeSet<(MemberId, u128)>,
    /// Whose engine heard from whose.
    heard: BTreeSet<(MemberId, u128, MemberId, u128)>,
    /// The disk that each member has now.
    present: BTreeMap<MemberId, u128>,
    refused: u64,
    /// Disks that were founded in the place of one that somebody had heard from, and who.
    forgotten: Vec<(MemberId, u128, MemberId)>,
}

impl Record {
    fn found(&mut self, member: MemberId, disk: u128) {
        self.founded.insert((member, disk));
        for (hearer, own, heard, other) in &self.heard {
            // Who has lost its own disk remembers nothing.
            let remembers = self.present.get(hearer) == Some(own);
            if remembers && *heard == member && *other != disk {
                self.forgotten.push((member, disk, *hearer));
            }
        }
    }
}

/// One life of a member: from its directory to an engine that tells everybody its disk.
async fn live(env: Env, number: u64, count: u64, record: Arc<Mutex<Record>>) {
    let founding = Founding {
        cluster_id: CLUSTER,
        member_id: number,
        token: "test".to_owned(),
    };
    let identity = Identity::start(&env, &founding).await;
    let mut identity = identity.expect("the disk is sound");
    let hello = Hello {
        cluster_id: CLUSTER,
        member: member(number),
        disk_id: identity.disk_id,
        incarnation: identity.incarnation,
    };
    let me = (hello.member, hello.disk_id);
    record.lock().unwrap().present.insert(me.0, me.1);
    let by_member = |disks: &BTreeMap<u64, u128>| {
        let disks = disks.iter();
        disks.map(|(id, disk)| (MemberId(*id), *disk)).collect()
    };
    let known = identity.disks.as_ref().map(by_member);
    let peers = Peers::start(&env, hello, &members(count), known, &Limits::default());
    let table = match peers.founded().await {
        Ok(table) => table,
        Err(_refused) => {
            record.lock().unwrap().refused += 1;
            // It stays, since others may still need to hear of its disk.
            return std::future::pending().await;
        }
    };
    let disks = table.iter().map(|(id, disk)| (id.0, *disk)).collect();
    let recorded = identity.record_disks(&env, disks).await;
    recorded.expect("the disk is sound");
    record.lock().unwrap().found(me.0, me.1);
    let port = peers.port(ENGINE);
    let (sender, ticker) = (port.clone(), env.clone());
    env.spawn("engine", async move {
        loop {
            for other in sender.others() {
                let body = Bytes::copy_from_slice(&hello.disk_id.to_le_bytes());
                let _unsent = sender.tell(*other, Lane::Control, body);
            }
            ticker.sleep(Duration::from_millis(40)).await;
        }
    });
    loop {
        let incoming = port.receive().await;
        let disk = u128::from_le_bytes(incoming.body.as_ref().try_into().expect("a disk"));
        assert_eq!(
            table.get(&incoming.from),
            Some(&disk),
            "only who is in the table is heard"
        );
        let heard = (me.0, me.1, incoming.from, disk);
        record.lock().unwrap().heard.insert(heard);
    }
}

fn begin(sim: &Sim, number: u64, count: u64, record: &Arc<Mutex<Record>>) {
    let env = sim.restart(member(number));
    let life = live(env.clone(), number, count, Arc::clone(record));
    env.spawn("member", life);
}

#[test]
fn a_founding_can_be_interrupted_at_each_disk_operation_of_each_member() {
    for op in 1..16 {
        for crashed in 1..=3 {
            let sim = world(op, 3, LinkModel::default());
            let record = Arc::default();
            for number in 1..=3 {
                begin(&sim, number, 3, &record);
            }
            sim.nemesis().crash_at_disk_op(member(crashed), op);
            run(&sim, 500);
            begin(&sim, crashed, 3, &record);
            run(&sim, 2_000);
            let record = record.lock().unwrap();
            let founded: BTreeSet<_> = record.founded.iter().map(|(id, _)| *id).collect();
            assert_eq!(record.refused, 0, "nobody lost a disk");
            assert_eq!(record.founded.len(), 3, "operation {op} of {crashed}");
            assert_eq!(founded, members(3));
            assert_eq!(record.heard.len(), 6);
        }
    }
}

/// The claim of the module: if the engine of a member has heard from a disk, no other disk of that
/// member is ever founded while the first member keeps its own, whatever crashes and loses its
/// disk while the cluster is being founded.
#[test]
fn whoever_took_part_is_never_replaced_by_an_empty_disk() {
    let (mut refused, mut replaced, mut served) = (0, 0, 0);
    for seed in 0..300 {
        let model = if seed % 2 == 0 {
            hostile()
        } else {
            LinkModel::default()
        };
        let sim = world(seed, 3, model);
        let mut random = sim.workload();
        let record: Arc<Mutex<Record>> = Arc::default();
        for number in 1..=3 {
            begin(&sim, number, 3, &record);
        }
        let mut disks_lost = 0;
        for _ in 0..random.below(12) {
            run(&sim, random.below(100));
            let number = 1 + random.below(3);
            match random.below(4) {
                0 => {
                    sim.nemesis().reformat(member(number));
                    record.lock().unwrap().present.remove(&member(number));
                    disks_lost += 1;
                }
                1 => sim
                    .nemesis()
                    .crash_at_disk_op(member(number), 1 + random.below(8)),
                2 => sim.nemesis().kill(member(number)),
                _ => sim.nemesis().crash(member(number)),
            }
            run(&sim, random.below(30));
            if !sim.nemesis().is_up(member(number)) {
                begin(&sim, number, 3, &record);
            }
        }
        for number in 1..=3 {
            begin(&sim, number, 3, &record);
        }
        run(&sim, 5_000);
        let record = record.lock().unwrap();
        assert_eq!(record.forgotten, [], "seed {seed}");
        refused += record.refused;
        replaced += disks_lost;
        served += u64::from(!record.heard.is_empty());
    }
    assert!(
        refused > 50 && replaced > 200 && served > 200,
        "{refused} {replaced} {served}"
    );
}
