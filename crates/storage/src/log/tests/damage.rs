//! Bytes that changed on the disk, files that are gone or strange, and segments used again.

use super::*;
use crate::group::{GroupHeader, SECTOR};
use crate::recovery;
use crate::segment::SEGMENT_HEADER;

/// Where the last group of the log begins: all before it is covered by a statement of durability.
/// For each file, the bytes of it that are covered.
fn covered(fixture: &Fixture) -> Vec<(String, u64)> {
    let found = fixture
        .run(recovery::recover(&fixture.env, 16 << 10))
        .expect("it is whole");
    let last = found.used.len() - 1;
    let ends = found.used.iter().enumerate().map(|(at, used)| {
        let path = used.segment.path();
        if at == last {
            // The closing marker is one sector.
            return (path, u64::from(found.end.offset - SECTOR));
        }
        let next = &found.used[at + 1].segment;
        let bytes = read_file(fixture, &next.path());
        let header = &bytes[SEGMENT_HEADER as usize..];
        let opening = GroupHeader::find(header, next.salt, next.place(SEGMENT_HEADER), next.bytes);
        let crate::group::FoundHeader::Group(header) = opening else {
            panic!("{opening:?}");
        };
        (path, u64::from(header.durable.offset))
    });
    ends.collect()
}

/// A closed log of several segments, with votes and truncations among its entries.
fn closed(fixture: &mut Fixture) {
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..20, 700);
    fixture.run(log.save_vote(vote(2))).unwrap();
    fixture.run(log.truncate_after(Some(at(1, 15)))).unwrap();
    fixture.fill(&log, 2, 16..50, 700);
    fixture.run(log.purge(at(1, 3))).unwrap();
    fixture
        .run(append(
            &log,
            (50..60).map(|index| entry(2, index, "small")).collect(),
        ))
        .unwrap();
    fixture.run(log.close());
    drop(log);
    fixture.crash();
}

#[test]
fn a_flipped_bit_below_the_durable_offset_is_found_and_named() {
    let mut fixture = Fixture::new(1);
    closed(&mut fixture);
    let covered = covered(&fixture);
    assert!(covered.len() >= 3, "{covered:?}");
    let nemesis = fixture.sim.nemesis();
    let mut prng = fixture.sim.workload();
    let mut tried = 0;
    for (path, end) in covered {
        let mut offset = 0;
        while offset < end {
            let mask = 1 << prng.below(8);
            assert!(nemesis.rot(ONE, &path, offset, mask));
            let opened = fixture.try_open().map(|(_, recovered)| recovered);
            let Err(StorageError::Corrupt(damage)) = &opened else {
                panic!("{path} byte {offset}: {opened:?}");
            };
            assert_eq!(damage.file, format!("/sim/1/{path}"));
            // The place that is named lies in the same group, before the bit or at it.
            let group_bytes_max = 1_024;
            assert!(damage.offset <= offset, "{path} byte {offset}: {damage}");
            let from = offset.saturating_sub(group_bytes_max.max(u64::from(SEGMENT_HEADER)));
            assert!(damage.offset >= from, "{path} byte {offset}: {damage}");
            assert!(nemesis.rot(ONE, &path, offset, mask));
            tried += 1;
            offset += 1 + prng.below(60);
        }
    }
    assert!(tried > 1_000, "only {tried} bits");
    assert_eq!(
        fixture.open().1.last,
        Some(at(2, 59)),
        "with every bit back it is whole"
    );
}

#[test]
fn a_lost_sector_below_the_durable_offset_is_found() {
    let mut fixture = Fixture::new(2);
    closed(&mut fixture);
    let nemesis = fixture.sim.nemesis();
    for (path, end) in covered(&fixture) {
        let bytes = read_file(&fixture, &path);
        for start in (0..end).step_by(SECTOR as usize) {
            let sector = || {
                (start..start + u64::from(SECTOR)).zip(&bytes[usize::try_from(start).unwrap()..])
            };
            if sector().all(|(_, byte)| *byte == 0) {
                continue;
            }
            let flip =
                || sector().for_each(|(at, byte)| assert!(nemesis.rot(ONE, &path, at, *byte)));
            flip();
            let opened = fixture.try_open().map(|(_, recovered)| recovered);
            assert!(
                matches!(opened, Err(StorageError::Corrupt(_))),
                "{path} {start}: {opened:?}"
            );
            flip();
        }
    }
}

#[test]
fn a_damaged_last_group_is_cut_and_reported() {
    let mut fixture = Fixture::new(3);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..4, 10);
    // No marker has closed the tail yet.
    fixture.crash();
    let found = fixture
        .run(recovery::recover(&fixture.env, 16 << 10))
        .unwrap();
    let last = u64::from(found.end.offset - SECTOR);
    let path = "log/0000000000000001.log";
    assert!(fixture.sim.nemesis().rot(ONE, path, last + 76, 1));
    let (log, recovered) = fixture.open();
    assert_eq!(recovered.last, Some(at(1, 2)));
    let torn = recovered.torn.expect("it is reported");
    assert_eq!(torn.file, format!("/sim/1/{path}"));
    assert_eq!(torn.offset, last + 64, "{}", torn.reason);
    assert!(torn.reason.contains("checksum"), "{}", torn.reason);
    fixture.fill(&log, 2, 3..6, 10);
    fixture.crash();
    let (log, recovered) = fixture.open();
    assert_eq!((recovered.last, recovered.torn), (Some(at(2, 5)), None));
    assert_eq!(fixture.entries(&log)[2].position, at(2, 3));
}

#[test]
fn rot_under_a_running_log_shows_when_it_is_read() {
    let fixture = Fixture::new(4);
    let (log, _) = fixture.open();
    fixture.fill(&log, 1, 1..30, 700);
    let slot = fixture.run(async { log.0.shared.lock().index().slot(5).unwrap().clone() });
    let path = slot.segment.path();
    assert!(
        fixture
            .sim
            .nemesis()
            .rot(ONE, &path, u64::from(slot.offset) + 40, 8)
    );
    assert_eq!(fixture.run(log.read(1..5, usize::MAX)).unwrap().len(), 4);
    let error = fixture.run(log.read(3..8, usize::MAX)).unwrap_err();
    let StorageError::Corrupt(damage) = &error else {
        panic!("{error}")
    };
    assert_eq!(damage.file, format!("/sim/1/{path}"));
    assert_eq!(damage.offset, u64::from(slot.offset));
}

/// Records of equal lengths, so that those of a segment's former use stand exactly where the log
/// would look for the next one.
#[test]
fn records_of_a_segments_former_use_never_pass() {
    let fixture = Fixture::new(5);
    let (log, _) = fixture.open();
    let mut remains = 0;
    let mut next = 1;
    for round in 0..30 {
        let count = 5 + round;
        fixture.fill(&log, 1, next..next + count, 700);
        next += count;
        fixture.run(log.purge(at(1, next - 2))).unwrap();
        fixture.wait(Duration::from_millis(20));
        // A life ends here: what is found then is this and nothing older.
        let mut images = Vec::new();
        for path in files(&fixture) {
            images.push((
                path.clone(),
                fixture.sim.nemesis().durable(ONE, &path).unwrap(),
            ));
        }
        let mut other = Fixture::new(round);
        fixture_from(&mut other, &images);
        let (copy, recovered) = other.open();
        assert_eq!(recovered.last, Some(at(1, next - 1)), "round {round}");
        assert_eq!(recovered.torn, None);
        assert_eq!(other.entries(&copy), fixture.entries(&log));
        remains += images
            .iter()
            .map(|(_, image)| groups_of_another_use(image))
            .sum::<usize>();
    }
    assert!(files(&fixture)[0].as_str() > "log/0000000000000010.log");
    assert!(
        remains > 100,
        "the segments hold only {remains} groups of a former use"
    );
}

/// How many groups in a segment's file begin with another salt than its header has.
fn groups_of_another_use(image: &Bytes) -> usize {
    let salt = &image[24..32];
    let groups = image[4096..]
        .chunks(512)
        .filter(|sector| sector.starts_with(b"SYNg"));
    groups.filter(|sector| sector[8..16] != *salt).count()
}

/// A group is cut off whose second record had reached the disk. The group that is written over it
/// has records of the same lengths, and is torn too: its first sectors reach the disk, the second
/// record does not. What then stands there must not pass as one group.
#[test]
fn a_record_of_a_group_that_was_cut_off_never_passes() {
    let mut fixture = Fixture::new(13);
    closed(&mut fixture);
    let base: Vec<_> = files(&fixture)
        .into_iter()
        .map(|path| (path.clone(), read_file(&fixture, &path)))
        .collect();
    // Two worlds that go on from there, in each of which another group comes next.
    let after = |fill: u8| {
        let mut fixture = Fixture::new(14);
        fixture_from(&mut fixture, &base);
        let (log, _) = fixture.open();
        let entries = (60..62)
            .map(|index| entry(2, index, vec![fill; 926]))
            .collect();
        fixture.run(append(&log, entries)).unwrap();
        let slot = fixture.run(async { log.0.shared.lock().index().slot(61).unwrap().clone() });
        let path = slot.segment.path();
        let bytes = read_file(&fixture, &path);
        (path, bytes, usize::try_from(slot.offset).unwrap())
    };
    let (path, first, second_record) = after(1);
    let (same_path, written_over, same_place) = after(2);
    assert_eq!((&path, second_record), (&same_path, same_place));
    assert_eq!(second_record % 512, 0, "the second record begins a sector");
    let torn = [&written_over[..second_record], &first[second_record..]].concat();
    let images: Vec<_> = base
        .into_iter()
        .map(|(each, image)| {
            if each == path {
                (each, torn.clone().into())
            } else {
                (each, image)
            }
        })
        .collect();
    let mut fixture = Fixture::new(15);
    fixture_from(&mut fixture, &images);
    let (_, recovered) = fixture.open();
    assert_eq!(recovered.last, Some(at(2, 59)));
    assert!(recovered.torn.is_some());
}

/// Gives a fresh world these files.
fn fixture_from(fixture: &mut Fixture, images: &[(String, Bytes)]) {
    let disk = fixture.env.disk();
    fixture.run(async { disk.create_dir("log").await }).unwrap();
    for (path, image) in images {
        write_file(fixture, path, image.clone());
    }
}

#[test]
fn a_missing_segment_is_named() {
    let mut fixture = Fixture::new(6);
    closed(&mut fixture);
    let images: Vec<_> = files(&fixture)
        .into_iter()
        .map(|path| (path.clone(), read_file(&fixture, &path)))
        .collect();
    assert!(images.len() >= 4, "three in use and one ready");
    for missing in 0..images.len() - 1 {
        let mut kept = images.clone();
        let (path, _) = kept.remove(missing);
        let mut other = Fixture::new(7);
        fixture_from(&mut other, &kept);
        let opened = other.try_open().map(|(_, recovered)| recovered);
        let Err(StorageError::Missing { file, evidence }) = opened else {
            panic!("without {path}: {opened:?}");
        };
        assert_eq!(file, format!("/sim/1/{path}"), "{evidence}");
        assert_eq!(
            files(&other).len(),
            kept.len(),
            "what is left is left alone"
        );
    }
}

#[test]
fn a_foreign_file_is_named_and_left_alone() {
    let mut fixture = Fixture::new(8);
    closed(&mut fixture);
    write_file(&fixture, "log/0000000000000001.LOG", "?");
    let error = fixture
        .try_open()
        .map(|(_, recovered)| recovered)
        .unwrap_err();
    let expected = "/sim/1/log/0000000000000001.LOG is not a file of synod. \
                    Move the file out of the data directory, then start again.";
    assert_eq!(error.to_string(), expected);
    assert_eq!(read_file(&fixture, "log/0000000000000001.LOG"), "?");
}

/// A segment whose header says this format version.
fn with_version(version: u32) -> (Fixture, StorageError) {
    let mut fixture = Fixture::new(9);
    closed(&mut fixture);
    let path = files(&fixture).remove(0);
    let mut bytes = read_file(&fixture, &path).to_vec();
    bytes[12..16].copy_from_slice(&version.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[12..4096]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    let mut other = Fixture::new(10);
    fixture_from(&mut other, &[(path, bytes.into())]);
    let error = other
        .try_open()
        .map(|(_, recovered)| recovered)
        .unwrap_err();
    (other, error)
}

#[test]
fn other_format_versions_are_told_apart() {
    let (_, newer) = with_version(2);
    assert!(
        matches!(
            newer,
            StorageError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{newer}"
    );
    let (_, older) = with_version(0);
    assert!(
        matches!(
            older,
            StorageError::Older {
                found: 0,
                known: 1,
                ..
            }
        ),
        "{older}"
    );
}

#[test]
fn a_segment_that_was_cut_short_is_named() {
    let mut fixture = Fixture::new(11);
    closed(&mut fixture);
    let path = files(&fixture).remove(0);
    let bytes = read_file(&fixture, &path);
    for length in [0, 100, 4096, 10_000] {
        let mut other = Fixture::new(12);
        fixture_from(&mut other, &[(path.clone(), bytes.slice(..length))]);
        let error = other
            .try_open()
            .map(|(_, recovered)| recovered)
            .unwrap_err();
        let StorageError::Corrupt(damage) = error else {
            panic!("{error}")
        };
        assert_eq!(damage.file, format!("/sim/1/{path}"));
    }
}
