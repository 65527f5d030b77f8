//! Members that begin with a state.

use super::members::Members;
use super::script::MEMBERS;
use super::{MEMBER, World, get, put, put_command, soon, start};
use crate::watch::CancelReason;
use crate::{Filling, OpenError, WatchCreate, WatchMessage, fill};
use std::collections::BTreeSet;
use std::time::Duration;
use synod_env::sim::Sim;
use synod_env::{Env, Limits, MemberId};
use synod_state::anew::Beginning;
use synod_state::command::Command;
use synod_state::{Archive, Chunk, Root, State, archive::Unpacked};
use synod_storage::{Founding, Identity, StorageError};

const RAISED_BY: u64 = 1_000_000;

/// What a member has after a while, as its archive tells it, for another cluster.
fn backup() -> Root {
    let world = World::new(3, Limits::default());
    world
        .run(world.node.lease_grant(5, 60, soon(&world.node)))
        .expect("granted");
    let leased = put_command("leased", "x", 5);
    world
        .run(world.node.propose(leased, soon(&world.node)))
        .expect("put");
    for number in 0..200 {
        let (key, value) = (format!("k{}", number % 50), "v".repeat(number));
        world.put(&key, &value).expect("put");
    }
    let revision = 100;
    world
        .run(
            world
                .node
                .propose(Command::Compact { revision }, soon(&world.node)),
        )
        .expect("compacted");
    world.pass(Duration::from_secs(30));
    let archive = Archive::new(&world.node.root(), 1_000);
    let parts: Vec<_> = archive.into_parts().collect();
    let Unpacked { header, chunks } = Unpacked::read(parts.concat().into()).expect("an archive");
    let chunks = chunks.into_iter().map(Chunk::decode);
    let chunks = chunks.collect::<Result<_, _>>().expect("its chunks");
    let mut state = State::load(header, chunks, crate::HIGHEST_LEVEL).expect("its state");
    let beginning = Beginning {
        bump_revision: RAISED_BY,
        mark_compacted: true,
    };
    state.begin_anew(beginning).expect("far below the end");
    state.root()
}

fn filling(root: &Root, members: &BTreeSet<MemberId>) -> Filling {
    let (at, position) = synod_raft::beginning(members);
    Filling {
        root: root.clone(),
        at,
        position,
        chunk_bytes: 2_000,
    }
}

async fn fill_member(env: &Env, member: MemberId, filling: &Filling) -> Result<(), OpenError> {
    let founding = Founding {
        cluster_id: 1,
        member_id: member.0,
        token: "test".into(),
    };
    fill(env, &founding, filling, |_, _| ()).await
}

fn alone() -> BTreeSet<MemberId> {
    BTreeSet::from([MEMBER])
}

#[test]
fn a_member_goes_on_from_the_state_that_its_directory_was_filled_with() {
    let root = backup();
    let sim = Sim::new(4);
    let env = sim.member(MEMBER);
    let filled = sim.block_on(fill_member(&env, MEMBER, &filling(&root, &alone())));
    filled.expect("it ends").expect("an empty directory");
    let limits = Limits::default();
    let node = sim.block_on(start(sim.restart(MEMBER), limits.clone()));
    let mut world = World {
        sim,
        limits,
        node: node.expect("it starts"),
    };
    let former = root.revision() - RAISED_BY.cast_signed();
    assert_eq!(world.get("k49"), Some("v".repeat(199)));
    assert_eq!(world.put("k49", "new"), Ok(root.revision() + 1));

    let mut stream = world.node.watch().expect("there is room");
    for start_revision in [former, former + 7] {
        stream.requester().create(&WatchCreate {
            key: "k49".into(),
            start_revision,
            ..WatchCreate::default()
        });
    }
    let mut canceled = 0;
    while canceled < 2 {
        match world.run(stream.next()).expect("the stream is open") {
            WatchMessage::Canceled { reason, .. } => {
                assert_eq!(reason, CancelReason::Compacted(root.revision()));
                canceled += 1;
            }
            WatchMessage::Created { .. } => {}
            other @ (WatchMessage::Events { .. } | WatchMessage::Progress { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    // The lease has all of its time, and no more.
    world.pass(Duration::from_secs(55));
    assert_eq!(world.get("leased").as_deref(), Some("x"));
    world.pass(Duration::from_secs(7));
    assert_eq!(world.get("leased"), None);

    world.run(world.node.snapshot_now()).expect("written");
    assert_eq!(world.put("after", "1"), Ok(root.revision() + 3));
    world.restart();
    assert_eq!(world.get("after").as_deref(), Some("1"));
    assert_eq!(world.get("k49").as_deref(), Some("new"));
    assert_eq!(world.get("k3"), Some("v".repeat(153)));
}

#[test]
fn members_that_begin_with_the_same_state_are_one_cluster() {
    let root = backup();
    let sim = Sim::new(5);
    for member in MEMBERS {
        let env = sim.member(member);
        let filling = filling(&root, &BTreeSet::from(MEMBERS));
        let filled = sim.block_on(fill_member(&env, member, &filling));
        filled.expect("it ends").expect("an empty directory");
    }
    let members = Members::on_disks(sim, Limits::default());
    for (number, member) in (1..).zip(MEMBERS) {
        let node = members.node(member);
        let written = members.run(node.env().within(put(&node, "new", "1")));
        assert_eq!(written, Ok(root.revision() + number));
    }
    members.pass(Duration::from_secs(1));
    let hash = members.leader().expect("one leads").root().hash();
    for member in MEMBERS {
        let node = members.node(member);
        let read = members.run(node.env().within(get(&node, "k49")));
        assert_eq!(read, Ok(Some("v".repeat(199))));
        assert_eq!(node.root().hash(), hash);
    }
}

/// Whenever power fails: either nothing has begun, or no member starts until it is filled anew.
#[test]
fn an_interrupted_filling_is_refused_until_it_is_done_again() {
    let root = backup();
    let filling = filling(&root, &alone());
    let (mut empty, mut refused, mut done) = (0, 0, 0);
    for op in 1..200 {
        let sim = Sim::new(op);
        let env = sim.member(MEMBER);
        sim.nemesis().crash_at_disk_op(MEMBER, op);
        let outcome = sim.block_on(fill_member(&env, MEMBER, &filling));
        let was_told = matches!(outcome, Ok(Ok(())));
        let founding = Founding {
            cluster_id: 1,
            member_id: MEMBER.0,
            token: "test".into(),
        };
        let env = sim.restart(MEMBER);
        let found = sim.block_on(Identity::read(&env)).expect("it ends");
        let Some(_) = found.expect("no damage") else {
            assert!(!was_told, "operation {op}");
            empty += 1;
            continue;
        };
        match sim
            .block_on(Identity::start(&env, &founding))
            .expect("it ends")
        {
            Ok(identity) => {
                assert_eq!(identity.incarnation, 1);
                done += 1;
            }
            Err(StorageError::Unfinished { .. }) => {
                assert!(!was_told, "operation {op}");
                refused += 1;
                let again = sim.block_on(fill_member(&env, MEMBER, &filling));
                again.expect("it ends").expect("it was not finished");
            }
            Err(error) => panic!("operation {op}: {error}"),
        }
        let node = sim.block_on(start(sim.restart(MEMBER), Limits::default()));
        let node = node.expect("it starts");
        let read = sim.block_on(node.env().within(get(&node, "k49")));
        assert_eq!(read.expect("it ends"), Ok(Some("v".repeat(199))));
        if was_told && done > 3 {
            break;
        }
    }
    assert!(
        empty > 2 && refused > 20 && done > 3,
        "{empty} {refused} {done}"
    );
}

#[test]
fn a_directory_that_holds_anything_is_not_filled() {
    let root = backup();
    let filling = filling(&root, &alone());
    let world = World::new(6, Limits::default());
    let env = world.sim.restart(MEMBER);
    let refused = world.sim.block_on(fill_member(&env, MEMBER, &filling));
    let refused = refused.expect("it ends");
    assert!(
        matches!(
            refused,
            Err(OpenError::Storage(StorageError::Occupied { .. }))
        ),
        "{refused:?}"
    );
}
