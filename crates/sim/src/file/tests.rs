use super::{prose, read, write};
use crate::scenario::{
    ClientKind, ClientPlan, ClockEffect, DiskEffect, DiskOperation, Effect, Expect, FailureModel,
    Fault, Limit, Link, LinkEffect, Model, ProcessEffect, Scenario, Timing, Who, Workload,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

const WRITTEN_BY_A_PERSON: &str = "\
# A leader that is cut off goes on answering reads.
#
# Its clock runs fast meanwhile.
experiment: leader cut off while its clock runs fast
format: 1
seed: 42
members: 5
run: 12s
workload:
  seed: 42
  clients:
    - {kind: registers, operations: 400, pace: 2ms}
    - kind: watches
      operations: 30
      skip: [3..9, 12]
faults:
  - at: 2s
    for: 5s
    link.cut: {from: {role: leader}, to: {role: others}, one_way: true}
  - {at: 3s, clock.rate: {who: {role: leader}, boot: +5%, raw: -200ppm}}
  - {at: 3.5s, for: 250ms, process.pause: {who: 2}}
";

#[test]
fn a_file_of_a_person_is_understood() {
    let scenario = read(WRITTEN_BY_A_PERSON).unwrap();
    assert_eq!(scenario.name, "leader cut off while its clock runs fast");
    assert_eq!(scenario.workload.clients[1].skip, [3..9, 12..13]);
    let who = Who::Leader;
    assert_eq!(
        scenario.faults[1],
        Fault {
            at: Duration::from_secs(3),
            lasts: None,
            effect: Effect::Clock {
                who,
                effect: ClockEffect::Rate {
                    boot_ppm: 50_000,
                    raw_ppm: -200,
                    wall_ppm: 0
                }
            },
        }
    );
    assert_eq!(scenario.faults[2].at, Duration::from_millis(3_500));
    assert_eq!(scenario.expect, Expect::default());
}

#[test]
fn the_prose_is_the_comment_at_the_top() {
    let first =
        "A leader that is cut off goes on answering reads.\n\nIts clock runs fast meanwhile.";
    assert_eq!(prose(WRITTEN_BY_A_PERSON), first);
    assert_eq!(prose("seed: 1\n# later\n"), "");
}

#[test]
fn what_is_written_reads_well() {
    let written = write(&read(WRITTEN_BY_A_PERSON).unwrap());
    assert_eq!(
        written,
        "\
experiment: leader cut off while its clock runs fast
format: 1
seed: 42
members: 5
model: {timing: partially-synchronous, failure: crash-recovery}
run: 12s
workload:
  seed: 42
  clients:
    - {kind: registers, operations: 400, pace: 2ms}
    - {kind: watches, operations: 30, skip: [3..9, 12]}
faults:
  - {at: 2s, for: 5s, link.cut: {from: {role: leader}, to: {role: others}, one_way: true}}
  - {at: 3s, clock.rate: {who: {role: leader}, boot: 5%, raw: -200ppm}}
  - {at: 3500ms, for: 250ms, process.pause: {who: 2}}
expect: {serve_within: 20s}
"
    );
}

/// What a file is answered with in which one text was replaced by another.
fn answer(from: &str, to: &str) -> String {
    assert!(WRITTEN_BY_A_PERSON.contains(from), "{from}");
    let text = WRITTEN_BY_A_PERSON.replacen(from, to, 1);
    read(&text).expect_err(to).to_string()
}

#[test]
fn every_mistake_is_answered_with_its_place_and_what_is_possible() {
    let roles = "a member's number (1 to 5), {role: leader}, {role: follower}, {role: others}, \
                 {client: 0} or {role: clients}";
    let cases = [
        (
            "    for: 5s",
            "    duration: 5s",
            "18:5: found the unknown field `duration` of a fault; possible: at, for, process.kill",
        ),
        (
            "pace:",
            "pacee:",
            "12:42: found the unknown field `pacee` of a client; did you mean `pace`? possible: kind, \
             operations, skip, pace",
        ),
        (
            "link.cut",
            "link.cutt",
            "19:5: found the unknown field `link.cutt` of a fault; did you mean `link.cut`?",
        ),
        (
            "members: 5",
            "members: 4",
            "7:10: found `4`; possible: 1, 3, 5",
        ),
        (
            "kind: watches",
            "kind: watch",
            "13:13: found `watch`; possible: registers, sets, transfers, ranges",
        ),
        (
            "run: 12s",
            "run: 12",
            "8:6: found `12`; possible: a time such as 5s, 1.5s, 200ms, 30us or 2m",
        ),
        (
            "run: 12s",
            "run: 2s",
            "17:9: found `2s`; possible: a time before everything heals at 2s",
        ),
        (
            "who: 2",
            "who: 6",
            &format!("21:49: found `6`; possible: {roles}"),
        ),
        (
            "who: 2",
            "who: {client: 2}",
            "21:58: found `2`; possible: a whole number from 0 to 1",
        ),
        (
            "role: leader",
            "role: boss",
            "19:29: found `boss`; possible: leader, follower, others, clients",
        ),
        (
            "boot: +5%",
            "boot: 5",
            "20:54: found `5`; possible: a rate's error such as 5%, -2% or 150ppm, at least -100%",
        ),
        (
            "operations: 30",
            "operations: -1",
            "14:19: found `-1`; possible: a whole number from 0 to 10000000",
        ),
        (
            "skip: [3..9, 12]",
            "skip: [9..3]",
            "15:14: found `9..3`; possible: an operation's number such as 7, or several as 3..9 \
             (without the 9), below 30",
        ),
        (
            "seed: 42\nmembers",
            "members",
            "4:1: found no field `seed` of an experiment; it must be there",
        ),
        (
            "format: 1",
            "format: 2",
            "5:9: found `2`; possible: a whole number from 1 to 1",
        ),
        (
            "process.pause: {who: 2}",
            "process.pause: {who: 2}, disk.stall: {who: 1}",
            "21:53: found a second effect, `disk.stall`; possible: one in each fault",
        ),
        (
            ", process.pause: {who: 2}",
            "",
            "21:5: found a fault without an effect; possible: process.kill, process.crash",
        ),
        (
            "faults:",
            "faults: none\nexpect:",
            "16:9: found `none`; possible: a list of faults",
        ),
        (
            "seed: 42\nmembers",
            "seed: 42\nseed: 43\nmembers",
            "7:1: found `seed` a second time; possible: once",
        ),
        (
            "seed: 42\nmembers",
            "seed: &a 42\nmembers",
            "6:7: found an anchor or a tag; possible: plain values",
        ),
        ("run: 12s", "run: 12s: 3", "8:9: found no YAML"),
        (
            "clock.rate: {who: {role: leader}, boot: +5%, raw: -200ppm}",
            "clock.rate: fast",
            "20:26: found `fast`; possible: the fields of this effect: who, boot, raw, wall",
        ),
    ];
    let mut wrong = String::new();
    for (from, to, expected) in cases {
        let answer = answer(from, to);
        if !answer.starts_with(expected) {
            wrong.push_str(&format!(
                "{to}\n  is        {answer}\n  should be {expected}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_empty_a_deep_and_a_huge_file_are_refused() {
    assert!(read("").unwrap_err().to_string().contains("found nothing"));
    let deep = "[".repeat(10_000);
    let answer = read(&deep).unwrap_err().to_string();
    assert!(
        answer.contains("deep") || answer.contains("no YAML"),
        "{answer}"
    );
    let huge = "#".repeat(super::FILE_BYTES_MAX + 1);
    let answer = read(&huge).unwrap_err().to_string();
    assert!(answer.contains("1048576 at most"), "{answer}");
}

fn time(longest_ms: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..=longest_ms).prop_map(Duration::from_millis),
        (1..=longest_ms * 1_000_000).prop_map(Duration::from_nanos),
    ]
}

fn who(members: u32, clients: u32) -> impl Strategy<Value = Who> {
    let mut all = vec![Who::Leader, Who::Follower, Who::OtherMembers, Who::Clients];
    all.extend((1..=members).map(Who::Member));
    all.extend((0..clients).map(Who::Client));
    select(all)
}

fn effect(members: u32, clients: u32) -> impl Strategy<Value = Effect> {
    let who = move || who(members, clients);
    let ppm = 0..=1_000_000_u32;
    let off = -1_000_000..=2_000_000_i32;
    let process = prop_oneof![
        Just(ProcessEffect::Kill),
        (0..50_u32).prop_map(|disk_operation| ProcessEffect::Crash { disk_operation }),
        Just(ProcessEffect::Pause),
        Just(ProcessEffect::Freeze),
        Just(ProcessEffect::Restart),
        Just(ProcessEffect::Reformat),
    ];
    let link = prop_oneof![
        Just(LinkEffect::Cut),
        (time(50), time(50)).prop_map(|(min, more)| LinkEffect::Delay {
            min,
            max: min + more
        }),
        ppm.clone().prop_map(|ppm| LinkEffect::Loss { ppm }),
        ppm.clone().prop_map(|ppm| LinkEffect::Duplicate { ppm }),
        ppm.clone().prop_map(|ppm| LinkEffect::Reorder { ppm }),
        ppm.clone().prop_map(|ppm| LinkEffect::Corrupt { ppm }),
        (1..=u64::from(u32::MAX)).prop_map(|bytes_per_s| LinkEffect::Slow { bytes_per_s }),
    ];
    let operations = [
        DiskOperation::Read,
        DiskOperation::Write,
        DiskOperation::Sync,
    ];
    let disk = prop_oneof![
        Just(DiskEffect::Stall),
        (0..=u64::from(u32::MAX)).prop_map(|room_bytes| DiskEffect::Full { room_bytes }),
        (select(operations.to_vec()), ppm.clone())
            .prop_map(|(operation, ppm)| DiskEffect::Error { operation, ppm }),
        (any::<u32>(), ppm, 1..=u8::MAX).prop_map(|(file, position_ppm, mask)| {
            DiskEffect::Rot {
                file,
                position_ppm,
                mask,
            }
        }),
    ];
    let by = -100_000_000..100_000_000_i64;
    let clock = prop_oneof![
        (off.clone(), off.clone(), off).prop_map(|(boot_ppm, raw_ppm, wall_ppm)| {
            ClockEffect::Rate {
                boot_ppm,
                raw_ppm,
                wall_ppm,
            }
        }),
        by.clone().prop_map(|by_ms| ClockEffect::Step { by_ms }),
        time(100_000).prop_map(|ahead| ClockEffect::Jump { ahead }),
        (by, time(100_000)).prop_map(|(by_ms, period)| ClockEffect::Strobe { by_ms, period }),
        Just(ClockEffect::Leap),
    ];
    let side = move || proptest::collection::vec(who(), 1..4);
    prop_oneof![
        (who(), process).prop_map(|(who, effect)| Effect::Process { who, effect }),
        (side(), side(), any::<bool>(), link).prop_map(|(from, to, one_way, effect)| {
            let link = Link { from, to, one_way };
            Effect::Link { link, effect }
        }),
        (who(), disk).prop_map(|(who, effect)| Effect::Disk { who, effect }),
        (who(), clock).prop_map(|(who, effect)| Effect::Clock { who, effect }),
    ]
}

fn client() -> impl Strategy<Value = ClientPlan> {
    let skip = proptest::collection::vec((0..400_u32, 1..50_u32), 0..4);
    let kind = select(ClientKind::ALL.to_vec());
    (kind, skip, time(100)).prop_map(|(kind, skip, pace)| ClientPlan {
        kind,
        operations: 500,
        skip: skip
            .into_iter()
            .map(|(start, len)| start..start + len)
            .collect(),
        pace,
    })
}

fn model() -> impl Strategy<Value = Model> {
    let timing = [
        Timing::Synchronous,
        Timing::PartiallySynchronous,
        Timing::Asynchronous,
    ];
    let failure = [
        FailureModel::CrashStop,
        FailureModel::CrashRecovery,
        FailureModel::Omission,
        FailureModel::Byzantine,
    ];
    (select(timing.to_vec()), select(failure.to_vec()))
        .prop_map(|(timing, failure)| Model { timing, failure })
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let members = select(vec![1_u32, 3, 5]);
    let clients = proptest::collection::vec(client(), 0..5);
    (members, clients).prop_flat_map(|(members, clients)| {
        let count = u32::try_from(clients.len()).unwrap();
        let lasts = proptest::option::of(time(20_000));
        let fault = (time(9_000), lasts, effect(members, count))
            .prop_map(|(at, lasts, effect)| Fault { at, lasts, effect });
        let limit = (select(Limit::ALL.to_vec()), 1..=u64::from(u32::MAX));
        (
            (".{0,30}", any::<u64>(), any::<u64>(), model()),
            proptest::collection::btree_map(limit.0, limit.1, 0..5),
            proptest::collection::vec(fault, 0..6),
            time(60_000),
        )
            .prop_map(
                move |((name, seed, workload_seed, model), limits, faults, serve_within)| {
                    Scenario {
                        name,
                        seed,
                        members,
                        model,
                        limits,
                        workload: Workload {
                            seed: workload_seed,
                            clients: clients.clone(),
                        },
                        faults,
                        run: Duration::from_secs(10),
                        expect: Expect { serve_within },
                    }
                },
            )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(scenario in scenario()) {
        let text = write(&scenario);
        match read(&text) {
            Ok(back) => prop_assert_eq!(back, scenario, "{}", text),
            Err(mistake) => prop_assert!(false, "{mistake}\n{text}"),
        }
    }

    /// Whatever happens to a file, it is read as something that can be written, or refused with a
    /// place inside it.
    #[test]
    fn a_damaged_file_is_refused_within_it_or_means_something(
        scenario in scenario(),
        at in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        put in "[-{}\\[\\]:#&*!|>'\"%@,\n 0-9a-z\u{e4}\u{0}]{0,4}",
    ) {
        let text: Vec<char> = write(&scenario).chars().collect();
        let at = at.index(text.len());
        let mut damaged: String = text[..at].iter().collect();
        damaged.push_str(&put);
        if !cut {
            damaged.extend(&text[(at + 1).min(text.len())..]);
        }
        match read(&damaged) {
            Ok(scenario) => prop_assert_eq!(read(&write(&scenario)), Ok(scenario)),
            Err(mistake) => {
                let lines = damaged.split('\n').count();
                prop_assert!((1..=lines + 1).contains(&mistake.at.line), "{mistake}\n{damaged}");
                prop_assert!(mistake.at.column >= 1);
                prop_assert!(mistake.what.starts_with("found "), "{mistake}");
            }
        }
    }
}
