use super::Gatherer;
use crate::picture::{Fate, MarkKind, MessageKind, Outcome, Story};
use crate::scenario::{ClientKind, ClientPlan, Effect, Fault, Limit, Link, LinkEffect, Who};
use crate::{Machine, Operations, Phase, Report, Scenario, Sight, Verdict, run, run_observed};
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::sim::{Fingerprint, What};

fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

/// Three members, one client that does little, and a leader that is cut off for a while.
fn scenario() -> Scenario {
    let mut scenario = Scenario::idle(3, Duration::from_secs(3));
    scenario.workload.clients.push(ClientPlan {
        kind: ClientKind::Registers,
        operations: 30,
        skip: Vec::new(),
        pace: ms(40),
    });
    let link = Link {
        from: vec![Who::Leader],
        to: vec![Who::OtherMembers],
        one_way: false,
    };
    let effect = LinkEffect::Cut;
    scenario.faults.push(Fault {
        at: ms(700),
        lasts: Some(ms(900)),
        effect: Effect::Link { link, effect },
    });
    scenario
}

fn told() -> (Story, Report) {
    let scenario = scenario();
    let gatherer = Gatherer::new(&scenario);
    let report = run_observed(&scenario, Some(gatherer.observer()));
    let facts = vec![("seed".to_owned(), "1".to_owned())];
    (gatherer.story(&report, facts), report)
}

#[test]
fn looking_at_a_run_changes_nothing_in_it() {
    let (_, observed) = told();
    assert_eq!(observed, run(&scenario()));
}

#[test]
fn the_reign_of_a_leader_that_is_killed_ends_with_it() {
    let gatherer = Gatherer::new(&scenario());
    let mut observer = gatherer.observer();
    let led = Sight::Role {
        member: 2,
        role: "leader",
        epoch: 3,
    };
    observer.see(ms(10), &led);
    let killed = Sight::World {
        machine: Some(Machine::Member(2)),
        what: What::Killed,
    };
    observer.see(ms(20), &killed);
    let report = run(&Scenario::idle(1, ms(1)));
    let story = gatherer.story(&report, Vec::new());
    assert_eq!(story.reigns[0].to, Some(ms(20)));
}

#[test]
fn snapshots_are_told_with_the_index_that_they_cover() {
    let mut scenario = scenario();
    scenario.limits.insert(Limit::LogKeepBytes, 1);
    scenario.limits.insert(Limit::LogSegmentBytes, 1);
    let gatherer = Gatherer::new(&scenario);
    let report = run_observed(&scenario, Some(gatherer.observer()));
    let story = gatherer.story(&report, Vec::new());
    let mut snapshots = story.marks.iter();
    let first = snapshots.find(|it| it.kind == MarkKind::Snapshot);
    let first = first.expect("a log that keeps nothing is cut by snapshots");
    assert_eq!(first.detail, "written");
    assert!(first.what.starts_with("up to "), "{}", first.what);
}

#[test]
fn a_run_is_told_with_what_was_asked_who_led_and_what_was_lost() {
    let (story, report) = told();
    assert!(report.verdict.passed(), "{}", report.verdict);
    assert_eq!(story.lanes.len(), 4);
    assert!(story.operations.len() >= 30, "{}", story.operations.len());
    let done = story.operations.iter();
    let done = done.filter(|it| it.outcome == Outcome::Done && it.what.contains(" → rev="));
    assert!(done.count() >= 20);
    assert!(!story.reigns.is_empty(), "somebody led");
    let band = &story.bands[0];
    assert_eq!((band.from, band.to), (ms(700), Some(ms(1_600))));
    assert!(
        band.what.starts_with("link.cut from: {role: leader}"),
        "{}",
        band.what
    );
    let lost = |it: &&crate::picture::Message| it.fate == Fate::Lost;
    let lost: Vec<_> = story.messages.iter().filter(lost).collect();
    assert!(!lost.is_empty(), "the cut bit");
    assert!(
        lost.iter()
            .all(|it| it.arrived.is_none() && band.from <= it.sent)
    );
    for (kind, words) in [
        (MessageKind::Link, "hello"),
        (MessageKind::Vote, "vote for me"),
        (MessageKind::Append, "append "),
        (MessageKind::Append, "appended ← append "),
        (MessageKind::Request, "put "),
    ] {
        let says = |it: &&crate::picture::Message| it.kind == kind && it.what.starts_with(words);
        assert!(
            story.messages.iter().any(|it| says(&it)),
            "no {kind:?} says {words}"
        );
    }
    let applied = story.marks.iter().filter(|it| it.kind == MarkKind::Applied);
    assert!(applied.count() >= 3, "members apply");
    assert_eq!(story.phases.len(), 3);
    let page = crate::picture::html(&story);
    assert!(page.contains("link.cut"));
}

#[test]
fn what_the_witness_names_is_marked() {
    let gatherer = Gatherer::new(&scenario());
    let mut observer = gatherer.observer();
    observer.see(ms(0), &Sight::Phase(Phase::Faults));
    for operation in [7, 8] {
        let request = format!("get k{operation}");
        let client = 0;
        observer.see(
            ms(operation),
            &Sight::Invoked {
                client,
                operation,
                request,
            },
        );
    }
    let outcome = "done rev=3 m1 get count=0".to_owned();
    observer.see(
        ms(20),
        &Sight::Returned {
            client: 0,
            operation: 8,
            outcome,
        },
    );
    let report = Report {
        verdict: Verdict::Violation {
            property: "real-time".to_owned(),
            witness: "#8 misses what had been seen".to_owned(),
        },
        fingerprint: Fingerprint(1),
        virtual_time: ms(30),
        events: 1,
        operations: Operations::default(),
        faults_bitten: BTreeMap::new(),
        marks: BTreeMap::new(),
    };
    let story = gatherer.story(&report, Vec::new());
    let witnesses: Vec<bool> = story.operations.iter().map(|it| it.witness).collect();
    assert_eq!(witnesses, [false, true]);
    assert_eq!(story.operations[1].what, "get k8 → rev=3 m1 get count=0");
    assert_eq!(
        story.operations[0].to, None,
        "nobody heard of the first again"
    );
    assert_eq!(story.violation.map(|it| it.at), Some(ms(20)));
    assert_eq!(
        story.lanes,
        [
            Machine::Member(1),
            Machine::Member(2),
            Machine::Member(3),
            Machine::Client(0)
        ]
    );
}
