//! What a leader takes up, and in which order.

use super::*;
use std::collections::BTreeSet;
use synod_env::Prng;
use synod_state::command::{Origin, Put};

const ME: MemberId = MemberId(2);
const LOW: MemberId = MemberId(1);
const HIGH: MemberId = MemberId(3);
const REIGN: u64 = 5;

fn intake() -> Intake<u64> {
    let mut intake = Intake::new(ME, 2, 200);
    assert!(intake.set_reign(Some(REIGN)).is_empty());
    intake
}

fn batch(member: MemberId, reign: u64, incarnation: u64, sequence: u64) -> Batch {
    let origin = Origin {
        member,
        incarnation,
        sequence,
    };
    let put = Command::Put(Put {
        key: "k".into(),
        ..Put::default()
    });
    Batch {
        origin,
        reign,
        time_ms: 0,
        commands: vec![put],
    }
}

/// In silence.
const COPY: Result<(), Option<Refused>> = Err(None);

fn refused(why: Refused) -> Result<(), Option<Refused>> {
    Err(Some(why))
}

/// Takes a batch whose answer goes to its sequence.
fn take(intake: &mut Intake<u64>, batch: &Batch) -> Result<(), Option<Refused>> {
    let Origin {
        member, sequence, ..
    } = batch.origin;
    let taken = intake.take(member, batch.encode(), Instant::NEVER, sequence);
    taken.map_err(|(address, why)| {
        assert_eq!(address, sequence);
        why
    })
}

#[test]
fn each_sequence_is_taken_once_and_in_order() {
    let mut intake = intake();
    assert_eq!(take(&mut intake, &batch(LOW, REIGN, 1, 7)), Ok(()));
    assert_eq!(take(&mut intake, &batch(LOW, REIGN, 1, 7)), COPY);
    let overtaken = batch(LOW, REIGN, 1, 6);
    assert_eq!(take(&mut intake, &overtaken), refused(Refused::Late));
    assert_eq!(take(&mut intake, &overtaken), COPY);
    let other = batch(HIGH, REIGN, 1, 1);
    assert_eq!(take(&mut intake, &other), Ok(()), "another origin");
    let next_life = batch(LOW, REIGN, 2, 1);
    assert_eq!(take(&mut intake, &next_life), Ok(()), "another life");
    let former = take(&mut intake, &batch(LOW, REIGN, 1, 8));
    assert_eq!(former, COPY, "of a life that is over");
}

/// Whatever is repeated and in whichever order, each batch is taken at most once, and one of which
/// it was said that it is refused was not taken and never is.
#[test]
fn no_order_of_copies_makes_a_batch_count_twice() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let mut intake = Intake::new(ME, 1_000, 200);
        assert!(intake.set_reign(Some(REIGN)).is_empty());
        let (mut taken, mut told) = (BTreeSet::new(), BTreeSet::new());
        for newest in 1..500_u64 {
            let sequence = newest.saturating_sub(prng.below(100)).max(1);
            match take(&mut intake, &batch(LOW, REIGN, 1, sequence)) {
                Ok(()) => {
                    assert!(taken.insert(sequence), "{sequence} was taken twice");
                    assert!(!told.contains(&sequence), "{sequence} was refused");
                }
                Err(Some(_)) => {
                    assert!(!taken.contains(&sequence), "{sequence} was taken");
                    told.insert(sequence);
                }
                Err(None) => {}
            }
        }
        assert!(taken.len() > 10 && told.len() > 10, "seed {seed}");
    }
}

#[test]
fn what_was_refused_is_not_taken_up_later() {
    let mut intake = intake();
    for sequence in 1..=2 {
        assert_eq!(take(&mut intake, &batch(LOW, REIGN, 1, sequence)), Ok(()));
    }
    let third = batch(LOW, REIGN, 1, 3);
    assert_eq!(take(&mut intake, &third), refused(Refused::Busy));
    let Turn::Forwarded(LOW, _) = intake.next(false) else {
        panic!("two wait");
    };
    assert_eq!(take(&mut intake, &third), COPY, "there is room now");

    // Refused because this member's reign is not applied yet, which it is a moment later.
    let early = batch(HIGH, REIGN + 1, 1, 1);
    assert_eq!(take(&mut intake, &early), refused(Refused::NotLeading));
    assert_eq!(intake.set_reign(Some(REIGN + 1)), [2]);
    assert_eq!(take(&mut intake, &early), COPY);
    assert_eq!(take(&mut intake, &batch(HIGH, REIGN + 1, 1, 2)), Ok(()));
}

#[test]
fn what_only_a_leader_proposes_or_nobody_can_read_is_not_taken() {
    let mut intake = intake();
    let of = |commands| Batch {
        commands,
        ..batch(LOW, REIGN, 1, 1)
    };
    let reign = of(vec![Command::Reign { reign: REIGN }]);
    assert_eq!(take(&mut intake, &reign), refused(Refused::Unacceptable));
    let expire = of(vec![Command::LeaseExpire { leases: vec![7] }]);
    assert_eq!(take(&mut intake, &expire), refused(Refused::Unacceptable));
    let large = Command::Put(Put {
        key: vec![0; 200].into(),
        ..Put::default()
    });
    let large = of(vec![large]);
    assert_eq!(take(&mut intake, &large), refused(Refused::Unacceptable));
    let noise = intake.take(LOW, Bytes::from_static(b"noise"), Instant::NEVER, 0);
    assert_eq!(noise.err(), Some((0, Some(Refused::Unacceptable))));
    let of_another = batch(HIGH, REIGN, 1, 1).encode();
    let of_another = intake.take(LOW, of_another, Instant::NEVER, 0);
    assert_eq!(of_another.err(), Some((0, Some(Refused::Unacceptable))));
}

#[test]
fn everybody_has_a_turn() {
    let mut intake = intake();
    for sequence in 1..=2 {
        for member in [LOW, HIGH] {
            assert_eq!(
                take(&mut intake, &batch(member, REIGN, 1, sequence)),
                Ok(())
            );
        }
    }
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(match intake.next(true) {
            Turn::Own => (ME, 0),
            Turn::Forwarded(from, forwarded) => (from, forwarded.answer),
            Turn::Nobody => panic!("own batches wait"),
        });
    }
    let expected = [(HIGH, 1), (LOW, 1), (ME, 0), (HIGH, 2), (LOW, 2), (ME, 0)];
    assert_eq!(turns, expected);
    assert!(matches!(intake.next(false), Turn::Nobody));
}

#[test]
fn a_batch_that_is_put_back_is_next() {
    for origin in [LOW, HIGH] {
        let mut intake = intake();
        for member in [LOW, HIGH] {
            for sequence in 1..=2 {
                assert_eq!(
                    take(&mut intake, &batch(member, REIGN, 1, sequence)),
                    Ok(())
                );
            }
        }
        loop {
            let Turn::Forwarded(from, forwarded) = intake.next(false) else {
                panic!("others wait");
            };
            if from == origin {
                let sequence = forwarded.answer;
                intake.put_back(from, forwarded);
                let Turn::Forwarded(again, forwarded) = intake.next(true) else {
                    panic!("it was put back");
                };
                assert_eq!((again, forwarded.answer), (origin, sequence));
                break;
            }
        }
    }
}

#[test]
fn what_nobody_waits_for_is_given_up() {
    let mut intake = intake();
    let now = Instant::from_nanos(1_000);
    let first = batch(LOW, REIGN, 1, 1).encode();
    assert!(intake.take(LOW, first, now, 1).is_ok());
    let later = Instant::from_nanos(2_000);
    let second = batch(LOW, REIGN, 1, 2).encode();
    assert!(intake.take(LOW, second, later, 2).is_ok());
    assert_eq!(intake.take_overdue(now), [1]);
    assert!(intake.has_waiting());
    assert_eq!(intake.take_overdue(later), [2]);
    assert!(!intake.has_waiting());
}
