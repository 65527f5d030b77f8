//! Members that forget history by themselves.

use super::members::Members;
use super::script::MEMBERS;
use super::{World, put};
use std::time::Duration;
use synod_env::sim::{Options, Sim};
use synod_env::{HistoryKeep, Limits};

fn limits(history_keep: HistoryKeep) -> Limits {
    Limits {
        history_keep,
        ..Limits::default()
    }
}

const KEPT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_member_forgets_what_is_older_than_it_should_keep() {
    let mut world = World::new(1, limits(HistoryKeep::For(KEPT)));
    let mut last = -1;
    for second in 0..240 {
        world.put("k", &second.to_string()).expect("a put succeeds");
        world.pass(SECOND);
        let compacted = world.node.root().compact_revision();
        assert!(compacted >= last);
        // A write a second: what is a minute old is sixty revisions back.
        assert!(
            compacted <= (second - 58).max(1),
            "{compacted} after {second} s"
        );
        last = compacted;
    }
    assert!(last > 100, "{last} of 240");
    assert!(world.node.root().compaction_finished());
    assert!(world.node.root().version_count() < 140);
    // How old the revisions before its start are, it does not know.
    world.restart();
    world.pass(KEPT - 2 * SECOND);
    assert_eq!(world.node.root().compact_revision(), last);
    world.pass(KEPT);
    assert_eq!(
        world.node.root().compact_revision(),
        world.node.root().revision()
    );
}

#[test]
fn a_member_forgets_all_but_the_last_revisions() {
    let world = World::new(2, limits(HistoryKeep::Revisions(10)));
    for number in 0..40 {
        world.put("k", &number.to_string()).expect("a put succeeds");
    }
    assert_eq!(world.node.root().compact_revision(), -1);
    world.pass(Duration::from_secs(310));
    assert_eq!(world.node.root().compact_revision(), 31);
    world.put("k", "again").expect("a put succeeds");
    world.pass(Duration::from_secs(310));
    assert_eq!(world.node.root().compact_revision(), 32);
}

#[test]
fn a_cluster_goes_on_forgetting_when_its_leader_is_gone() {
    let sim = Sim::with_options(3, Options::default());
    let members = Members::on_disks(sim, limits(HistoryKeep::For(KEPT)));
    let write = |seconds: u64| {
        for _ in 0..seconds {
            if let Some(leader) = members.leader() {
                let written = leader.env().within(put(&leader, "k", "v"));
                members.run(written).expect("a put succeeds");
            }
            members.pass(SECOND);
        }
    };
    write(70);
    let gone = members.leader().expect("one leads");
    let before = gone.root().compact_revision();
    assert!(before > 0);
    members.crash(gone.member());
    write(130);
    let leader = members.leader().expect("another leads");
    let root = leader.root();
    assert_ne!(leader.member(), gone.member());
    assert!(MEMBERS.contains(&leader.member()));
    assert!(root.compact_revision() > before + 30);
    assert!(root.compact_revision() <= root.revision() - 58);
}
