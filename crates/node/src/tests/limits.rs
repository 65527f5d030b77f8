//! Bounds that are changed while members run.

use super::members::Members;
use super::script::MEMBERS;
use super::{World, put, put_command, soon};
use crate::{Failure, Node};
use std::time::Duration;
use synod_env::sim::{Options, Sim};
use synod_env::{HistoryKeep, Limits};
use synod_state::Invalid;
use synod_state::command::{Command, Op, Put, Txn};
use synod_state::limit::{LimitChange, LimitKind};

async fn set(node: &Node, kind: LimitKind, value: Option<u64>) -> Result<(), Failure> {
    let change = LimitChange {
        kind,
        value,
        wall_ms: 0,
        by: "a test".into(),
    };
    let done = node.propose(Command::SetLimit(change), soon(node)).await;
    done.map(|_| ())
}

fn txn(ops: usize) -> Command {
    let op = |number: usize| {
        Op::Put(Put {
            key: format!("k{number}").into(),
            ..Put::default()
        })
    };
    Command::Txn(Txn {
        success: (0..ops).map(op).collect(),
        ..Txn::default()
    })
}

#[test]
fn a_quota_that_was_set_holds_until_it_is_given_back() {
    let limits = Limits {
        state_bytes_max: 500,
        ..Limits::default()
    };
    let mut world = World::new(1, limits);
    let large = "v".repeat(600);
    let full = Err(Failure::NoSpace);
    assert_eq!(world.put("k", &large), full);
    let raise = set(&world.node, LimitKind::QuotaBytes, Some(5_000));
    world.run(raise).expect("set");
    // The alarm stays until a person clears it; the quota does not go back with a new reign.
    assert_eq!(world.put("k", "1"), full);
    let alarm = world.node.root().alarms().next().expect("it is raised");
    let clear = Command::SetAlarm {
        alarm,
        raised: false,
    };
    world
        .run(world.node.propose(clear, soon(&world.node)))
        .expect("cleared");
    world.restart();
    assert_eq!(world.put("k", &large), Ok(2));
    world.run(world.node.snapshot_now()).expect("written");
    world.restart();
    assert_eq!(world.put("k", &large), Ok(3));
    assert_eq!(world.node.root().quota_bytes(), 5_000);
    let give_back = set(&world.node, LimitKind::QuotaBytes, None);
    world.run(give_back).expect("set");
    world.pass(Duration::from_millis(200));
    assert_eq!(world.node.root().quota_bytes(), 500);
}

#[test]
fn requests_are_bounded_as_was_set_last() {
    let limits = Limits {
        request_bytes_max: 1_000,
        txn_ops_max: 4,
        ..Limits::default()
    };
    let mut world = World::new(2, limits);
    let size = |world: &World, bytes: usize| world.put("k", &"v".repeat(bytes)).map(|_| ());
    let ops = |world: &World, ops: usize| {
        let proposed = world.run(world.node.propose(txn(ops), soon(&world.node)));
        proposed.map(|_| ())
    };
    let too_many = Err(Failure::Invalid(Invalid::TooManyOperations));
    assert_eq!((size(&world, 900), ops(&world, 4)), (Ok(()), Ok(())));
    assert_eq!(
        (size(&world, 1_001), ops(&world, 5)),
        (Err(Failure::TooLarge), too_many.clone())
    );

    for (kind, value) in [(LimitKind::RequestBytes, 100), (LimitKind::TxnOps, 7)] {
        world.run(set(&world.node, kind, Some(value))).expect("set");
    }
    for _ in 0..2 {
        assert_eq!((size(&world, 80), ops(&world, 7)), (Ok(()), Ok(())));
        assert_eq!(size(&world, 101), Err(Failure::TooLarge));
        assert_eq!(ops(&world, 8), too_many);
        world.restart();
        world.pass(Duration::from_secs(2));
    }

    // Queues and files were made for what the member was started with.
    let more = set(&world.node, LimitKind::RequestBytes, Some(5_000));
    world.run(more).expect("set");
    assert_eq!(
        (size(&world, 900), size(&world, 1_001)),
        (Ok(()), Err(Failure::TooLarge))
    );
    assert_eq!(
        world.run(set(&world.node, LimitKind::TxnOps, Some(0))),
        Err(Failure::Invalid(Invalid::Limit))
    );
}

#[test]
fn what_is_kept_of_history_can_be_changed() {
    let limits = Limits {
        history_keep: HistoryKeep::Revisions(1),
        ..Limits::default()
    };
    let world = World::new(3, limits);
    let long = set(&world.node, LimitKind::HistoryRevisions, Some(0));
    world.run(long).expect("set");
    for number in 0..10 {
        world.put("k", &number.to_string()).expect("a put succeeds");
    }
    world.pass(Duration::from_secs(1_000));
    assert_eq!(world.node.root().compact_revision(), -1);
    let short = set(&world.node, LimitKind::HistoryMs, Some(1_000));
    world.run(short).expect("set");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.node.root().compact_revision(), 11);
}

#[test]
fn members_agree_on_what_was_set_through_any_of_them() {
    let sim = Sim::with_options(4, Options::default());
    let members = Members::on_disks(sim, Limits::default());
    for (bytes, member) in (1_000..).zip(MEMBERS) {
        let node = members.node(member);
        let setting = set(&node, LimitKind::QuotaBytes, Some(bytes));
        members.run(node.env().within(setting)).expect("set");
        let value = bytes.to_string();
        let put = put(&node, "k", &value);
        members.run(node.env().within(put)).expect("a put succeeds");
    }
    members.pass(Duration::from_millis(500));
    let full = members.node(MEMBERS[0]);
    let large = put_command("large", &"v".repeat(2_000), 0);
    let refused = members.run(full.env().within(full.propose(large, soon(&full))));
    assert_eq!(refused, Err(Failure::NoSpace));
    // A new leader goes by what was set, not by what it was started with.
    let gone = members.leader().expect("one leads").member();
    members.crash(gone);
    members.pass(Duration::from_secs(3));
    let leader = members.leader().expect("another leads");
    assert_eq!(leader.root().quota_bytes(), 1_002);
    assert_eq!(leader.root().limit_changes().count(), 1);
}
