//! What the log does while nothing goes wrong.

use super::*;
use crate::log::Preparation;
use std::ops::Range;

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.index).collect()
}

fn range(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn a_new_log_is_empty() {
    let fixture = Fixture::new(1);
    let (log, recovered) = fixture.open();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(log.durable(), None);
    assert_eq!(fixture.run(log.read(0..10, 100)).unwrap(), []);
}

#[test]
fn what_was_saved_is_there_after_an_orderly_restart() {
    let mut fixture = Fixture::new(2);
    let (log, _) = fixture.open();
    fixture.run(async {
        log.save_vote(vote(3)).await.unwrap();
        append(&log, vec![entry(3, 1, "one"), entry(3, 2, "two")])
            .await
            .unwrap();
        append(&log, vec![entry(3, 3, "three")]).await.unwrap();
        log.purge(at(3, 1)).await.unwrap();
        log.save_committed(at(3, 2));
        log.close().await;
    });
    assert_eq!(log.durable(), Some(3));
    drop(log);
    fixture.crash();
    let (log, recovered) = fixture.open();
    let expected = Recovered {
        vote: Some(vote(3)),
        committed: Some(at(3, 2)),
        purged: Some(at(3, 1)),
        last: Some(at(3, 3)),
        torn: None,
    };
    assert_eq!(recovered, expected);
    assert_eq!(log.durable(), Some(3));
    assert_eq!(
        fixture.entries(&log),
        [entry(3, 2, "two"), entry(3, 3, "three")]
    );
    let purged = fixture.run(log.read(1..4, 100)).unwrap_err();
    assert!(
        matches!(purged, StorageError::Purged { index: 1 }),
        "{purged}"
    );
}

#[test]
fn entries_can_be_read_before_they_are_durable() {
    let fixture = Fixture::new(3);
    let (log, _) = fixture.open();
    let flush = append(&log, vec![entry(1, 0, "zero"), entry(1, 1, "one")]);
    assert_eq!(
        fixture.entries(&log),
        [entry(1, 0, "zero"), entry(1, 1, "one")]
    );
    assert_eq!(log.durable(), None);
    fixture.run(flush).unwrap();
    assert_eq!(log.durable(), Some(1));
}

#[test]
fn a_read_stops_at_its_byte_limit_but_gives_the_first_entry() {
    let mut fixture = Fixture::new(4);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..11, 100);
    for reopened in [false, true] {
        let log = if reopened {
            fixture.crash();
            fixture.open().0
        } else {
            log.clone()
        };
        let read = |range, bytes_max| indexes(&fixture.run(log.read(range, bytes_max)).unwrap());
        assert_eq!(read(1..11, usize::MAX), range(1..11));
        assert_eq!(read(3..6, usize::MAX), range(3..6));
        assert_eq!(read(3..11, 299), range(3..5));
        assert_eq!(read(3..11, 300), range(3..6));
        assert_eq!(read(3..11, 0), range(3..4));
        assert_eq!(read(9..20, usize::MAX), range(9..11));
        assert_eq!(read(11..20, usize::MAX), range(0..0));
        assert_eq!(read(5..5, usize::MAX), range(0..0));
    }
}

#[test]
fn a_truncated_tail_is_replaced() {
    let mut fixture = Fixture::new(5);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..6, 10);
    let truncated = log.truncate_after(Some(at(1, 2)));
    assert_eq!(log.durable(), Some(2));
    assert_eq!(log.last(), Some(at(1, 2)));
    let appended = append(&log, vec![entry(2, 3, "other")]);
    fixture.run(async {
        truncated.await.unwrap();
        appended.await.unwrap();
    });
    fixture.crash();
    let (log, recovered) = fixture.open();
    assert_eq!(recovered.last, Some(at(2, 3)));
    assert_eq!(indexes(&fixture.entries(&log)), range(1..4));
    assert_eq!(fixture.entries(&log)[2], entry(2, 3, "other"));
}

#[test]
fn everything_can_be_truncated_and_written_anew() {
    let mut fixture = Fixture::new(6);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 0..3, 10);
    fixture.run(log.truncate_after(None)).unwrap();
    assert_eq!((log.last(), log.durable()), (None, None));
    fixture.fill(&log, 2, 1..3, 10);
    fixture.crash();
    let (log, recovered) = fixture.open();
    assert_eq!(recovered.last, Some(at(2, 2)));
    assert_eq!(indexes(&fixture.entries(&log)), range(1..3));
}

#[test]
fn a_truncation_behind_a_write_under_way_counts_for_what_is_durable() {
    let fixture = Fixture::new(7);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..3, 10);
    let first = append(&log, vec![entry(1, 3, "three"), entry(1, 4, "four")]);
    // The write of 3 and 4 begins, then 4 is replaced before it is synced.
    fixture.wait(Duration::from_micros(20));
    let truncated = log.truncate_after(Some(at(1, 3)));
    let second = append(&log, vec![entry(2, 4, "other four"), entry(2, 5, "five")]);
    fixture.run(first).unwrap();
    assert_eq!(log.durable(), Some(3));
    fixture.run(truncated).unwrap();
    fixture.run(second).unwrap();
    assert_eq!(log.durable(), Some(5));
}

#[test]
fn a_purge_beyond_the_end_restarts_the_log_there() {
    let mut fixture = Fixture::new(8);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..4, 10);
    fixture.run(log.purge(at(9, 100))).unwrap();
    assert_eq!(log.last(), Some(at(9, 100)));
    fixture.fill(&log, 9, 101..103, 10);
    fixture.crash();
    let (log, recovered) = fixture.open();
    assert_eq!(
        (recovered.purged, recovered.last),
        (Some(at(9, 100)), Some(at(9, 102)))
    );
    assert_eq!(indexes(&fixture.entries(&log)), range(101..103));
    assert_eq!(log.position(100), Some(at(9, 100)));
    assert_eq!(log.position(101), Some(at(9, 101)));
    assert_eq!(log.position(99), None);
}

#[test]
fn what_waits_shares_one_sync() {
    let fixture = Fixture::new(9);
    let (log, _) = fixture.open();
    // Nothing but the log uses the disk once a segment is ready.
    fixture.wait(Duration::from_secs(1));
    let notes = Arc::new(Mutex::new(Vec::new()));
    let before = fixture.syncs();
    let send = |index| {
        let entries = vec![entry(1, index, "payload")];
        log.append(entries, Priority::Ordinary, noting(&notes, index))
            .unwrap();
    };
    send(1);
    // The first one is on its way when the others come.
    fixture.wait(Duration::from_micros(30));
    for index in 2..66 {
        send(index);
    }
    let voted = log.save_vote(vote(1));
    fixture.wait(Duration::from_millis(20));
    fixture.run(voted).unwrap();
    assert_eq!(fixture.syncs() - before, 2);
    let notes = notes.lock().unwrap();
    let order: Vec<_> = notes
        .iter()
        .map(|(index, result)| (*index, result.is_ok()))
        .collect();
    let expected: Vec<_> = (1..66).map(|index| (index, true)).collect();
    assert_eq!(order, expected);
}

#[test]
fn an_idle_tail_is_closed_by_one_marker_and_then_left_alone() {
    let fixture = Fixture::new(10);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    let before = fixture.syncs();
    fixture.fill(&log, 1, 1..2, 10);
    assert_eq!(fixture.syncs() - before, 1);
    fixture.wait(Duration::from_millis(90));
    assert_eq!(fixture.syncs() - before, 1);
    fixture.wait(Duration::from_millis(120));
    assert_eq!(fixture.syncs() - before, 2);
    let ops = fixture.sim.nemesis().disk_counters(ONE).ops;
    fixture.wait(Duration::from_secs(60));
    assert_eq!(fixture.sim.nemesis().disk_counters(ONE).ops, ops);
}

#[test]
fn the_committed_position_costs_no_sync_and_comes_with_the_marker() {
    let mut fixture = Fixture::new(11);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    fixture.fill(&log, 1, 1..3, 10);
    let before = fixture.syncs();
    log.save_committed(at(1, 2));
    fixture.wait(Duration::from_millis(50));
    assert_eq!(fixture.syncs(), before);
    fixture.wait(Duration::from_millis(200));
    assert_eq!(fixture.syncs(), before + 1);
    fixture.crash();
    assert_eq!(fixture.open().1.committed, Some(at(1, 2)));
}

#[test]
fn the_log_runs_through_many_segments_and_uses_them_again() {
    let mut fixture = Fixture::new(12);
    let (log, _) = fixture.open();
    for round in 0..20 {
        let first = 1 + round * 20;
        fixture.fill(&log, 1, first..first + 20, 1_000);
        fixture.run(log.purge(at(1, first + 18))).unwrap();
        fixture.wait(Duration::from_millis(50));
    }
    // The one in use, the one ready, and at most one whose last entry is not purged.
    let files = files(&fixture);
    assert!(files.len() <= 3, "{files:?}");
    assert!(files[0].as_str() > "log/0000000000000014", "{files:?}");
    fixture.crash();
    let (log, recovered) = fixture.open();
    assert_eq!(recovered.last, Some(at(1, 400)));
    assert_eq!(indexes(&fixture.entries(&log)), range(400..401));
}

#[test]
fn segments_grow_from_small_to_full_size() {
    let mut fixture = Fixture::new(13);
    fixture.options = Options {
        segment_bytes: 24 << 20,
        entry_bytes_max: 1 << 20,
        queue_bytes_max: 64 << 20,
        ..Options::new(&synod_env::Limits::default())
    };
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..60, 1 << 20);
    let sizes: Vec<_> = files(&fixture)
        .iter()
        .map(|path| read_file(&fixture, path).len() >> 20)
        .collect();
    assert_eq!(sizes[..4], [4, 8, 16, 24]);
    let read = fixture.entries(&log);
    assert_eq!(indexes(&read), range(1..60));
    fixture.crash();
    let (log, _) = fixture.open();
    assert_eq!(fixture.entries(&log), read);
}

#[test]
fn an_entry_that_is_too_large_is_refused() {
    let fixture = Fixture::new(14);
    let (log, _) = fixture.open();
    let (done, flush) = callback();
    let entries = vec![entry(1, 1, "small"), entry(1, 2, vec![0; 1_501])];
    assert_eq!(
        log.append(entries, Priority::Reserve, done),
        Err(Refused::TooLarge)
    );
    assert_eq!(log.admit(1_501).unwrap_err(), Refused::TooLarge);
    assert_eq!(log.last(), None);
    assert!(fixture.run(flush).is_err());
}

#[test]
fn a_full_queue_refuses_until_it_has_been_written() {
    let fixture = Fixture::new(15);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    let mut index = 0;
    let refused = loop {
        index += 1;
        let (done, flush) = callback();
        drop(flush);
        let entries = vec![entry(1, index, vec![0; 900])];
        if let Err(refused) = log.append(entries, Priority::Ordinary, done) {
            break refused;
        }
    };
    assert_eq!((refused, index), (Refused::Busy, 9));
    fixture.wait(Duration::from_millis(50));
    assert_eq!(log.durable(), Some(8));
    fixture.fill(&log, 1, 9..10, 900);
}

/// The engine stops for good when an append is refused, so what was admitted is always taken.
#[test]
fn an_admitted_entry_is_taken_although_the_queue_is_full() {
    let fixture = Fixture::new(22);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    let room = log.admit(900).unwrap();
    let mut index = 0;
    loop {
        index += 1;
        let (done, flush) = callback();
        drop(flush);
        let entries = vec![entry(1, index, vec![0; 900])];
        if log.append(entries, Priority::Ordinary, done) == Err(Refused::Busy) {
            break;
        }
    }
    let (done, flush) = callback();
    let entries = vec![entry(1, index, vec![0; 900])];
    assert_eq!(log.append(entries, Priority::Reserve, done), Ok(()));
    fixture.run(flush).unwrap();
    drop(room);
    assert_eq!(log.durable(), Some(index));
}

#[test]
fn a_closed_log_refuses_everything_and_writes_what_waited() {
    let mut fixture = Fixture::new(16);
    let (log, _) = fixture.open();
    let waiting = append(&log, vec![entry(1, 1, "one")]);
    fixture.run(log.close());
    fixture.run(waiting).unwrap();
    assert_eq!(log.admit(1).unwrap_err(), Refused::Stopped);
    assert!(fixture.run(log.save_vote(vote(1))).is_err());
    assert!(fixture.run(append(&log, vec![entry(1, 2, "two")])).is_err());
    fixture.run(log.close());
    fixture.crash();
    assert_eq!(fixture.open().1.last, Some(at(1, 1)));
}

#[test]
fn dropping_the_last_handle_closes_the_log() {
    let fixture = Fixture::new(17);
    let (log, _) = fixture.open();
    let waiting = append(&log, vec![entry(1, 1, "one")]);
    drop(log);
    fixture.run(waiting).unwrap();
    fixture.wait(Duration::from_secs(1));
    let ops = fixture.sim.nemesis().disk_counters(ONE).ops;
    fixture.wait(Duration::from_secs(10));
    assert_eq!(fixture.sim.nemesis().disk_counters(ONE).ops, ops);
    assert_eq!(fixture.open().1.last, Some(at(1, 1)));
}

#[test]
fn room_that_was_given_is_there() {
    let fixture = Fixture::new(18);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    // Nothing more can be prepared from now on.
    fixture.sim.nemesis().set_disk_capacity(ONE, 0);
    let mut rooms = Vec::new();
    while let Ok(room) = log.admit(1_400) {
        rooms.push(room);
    }
    assert!(rooms.len() >= 6, "only {} entries admitted", rooms.len());
    let mut index = 0;
    for room in rooms {
        index += 1;
        fixture
            .run(append(&log, vec![entry(1, index, vec![1; 1_400])]))
            .unwrap();
        drop(room);
    }
    // And what others took did not touch the reserve.
    fixture.run(log.save_vote(vote(9))).unwrap();
    assert_eq!(log.health().borrow().preparation, Preparation::NoSpace);
    assert_eq!(log.admit(1_400).unwrap_err(), Refused::NoSpace);
}

/// A follower takes what it can of what it is sent, and small things from the reserve.
#[test]
fn room_is_given_to_as_many_of_the_first_entries_as_fit() {
    let fixture = Fixture::new(23);
    let (log, _) = fixture.open();
    fixture.wait(Duration::from_secs(1));
    fixture.sim.nemesis().set_disk_capacity(ONE, 0);
    let (room, count) = log.admit_some([900; 1_000], Priority::Ordinary).unwrap();
    assert!((1..1_000).contains(&count), "{count} of a thousand");
    let refused = log.admit_some([900], Priority::Ordinary).unwrap_err();
    assert!(matches!(refused, Refused::NoSpace | Refused::Preparing));
    assert!(log.has_room_for_votes());

    // Half of the reserve is given away, and not more.
    let (small, few) = log.admit_some([100; 1_000], Priority::Reserve).unwrap();
    assert!(
        (2..=5).contains(&few),
        "{few} of 512 bytes in half of 2 KiB"
    );
    assert!(log.admit_some([100], Priority::Reserve).is_err());
    assert!(log.has_room_for_votes());
    let mut index = 0;
    for bytes in [900, 100].into_iter().flat_map(|bytes| {
        let count = if bytes == 900 { count } else { few };
        std::iter::repeat_n(bytes, count)
    }) {
        index += 1;
        let appended = append(&log, vec![entry(1, index, vec![1; bytes])]);
        fixture.run(appended).unwrap();
    }
    drop((room, small));

    // Votes take the rest, but for the last quarter.
    let mut votes = 0;
    while log.has_room_for_votes() {
        votes += 1;
        fixture.run(log.save_vote(vote(votes))).unwrap();
    }
    assert!(votes > 0);
    fixture.run(log.save_vote(vote(votes + 1))).unwrap();
}

#[test]
fn the_log_knows_how_much_lies_behind_a_position() {
    let fixture = Fixture::new(19);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..11, 66);
    assert_eq!(log.bytes(), 1_000);
    assert_eq!(log.position_with_bytes_after(0), Some(at(1, 10)));
    assert_eq!(log.position_with_bytes_after(100), Some(at(1, 9)));
    assert_eq!(log.position_with_bytes_after(101), Some(at(1, 8)));
    assert_eq!(log.position_with_bytes_after(1_000), None);
    fixture.run(log.purge(at(1, 4))).unwrap();
    assert_eq!(log.bytes(), 600);
}

#[test]
#[should_panic(expected = "a gap after")]
fn a_gap_is_a_bug_of_the_caller() {
    let fixture = Fixture::new(20);
    let (log, _) = fixture.open();
    drop(append(&log, vec![entry(1, 1, "one"), entry(1, 3, "three")]));
}
