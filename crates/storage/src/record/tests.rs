//! Records and groups as bytes.

use super::*;
use crate::group::{FoundHeader, GroupHeader, Place};
use synod_env::Prng;

fn position(prng: &mut Prng) -> Position {
    Position {
        epoch: prng.next_u64(),
        node: prng.next_u64(),
        index: prng.next_u64(),
    }
}

fn vote(prng: &mut Prng) -> Vote {
    Vote {
        term: prng.next_u64(),
        node: prng.next_u64(),
        committed: prng.chance(1, 2),
    }
}

fn record(prng: &mut Prng) -> Record {
    let maybe = |prng: &mut Prng| prng.chance(1, 2);
    match prng.below(7) {
        0 => {
            let kinds = [EntryKind::Blank, EntryKind::Batch, EntryKind::Membership];
            let kind = kinds[usize::try_from(prng.below(3)).unwrap()];
            let payload = (0..prng.below(50)).map(|_| u8::try_from(prng.below(256)).unwrap());
            Record::Entry(Entry {
                payload: payload.collect(),
                kind,
                position: position(prng),
            })
        }
        1 => Record::Vote(vote(prng)),
        2 => Record::Truncate(maybe(prng).then(|| position(prng))),
        3 => Record::Purge(position(prng)),
        4 => Record::Committed(position(prng)),
        5 => Record::Opening(Summary {
            vote: maybe(prng).then(|| vote(prng)),
            committed: maybe(prng).then(|| position(prng)),
            purged: maybe(prng).then(|| position(prng)),
            last: maybe(prng).then(|| position(prng)),
        }),
        _ => Record::Marker(
            [Marker::Opened, Marker::Idle, Marker::Closed][usize::try_from(prng.below(3)).unwrap()],
        ),
    }
}

#[test]
fn a_record_reads_as_it_was_written_and_is_as_long_as_it_says() {
    let mut prng = Prng::new(1);
    for _ in 0..2_000 {
        let record = record(&mut prng);
        let mut bytes = Vec::new();
        let framed = encode(&record, 5, 4_160, &mut bytes);
        assert_eq!(
            (bytes.len(), framed.length as usize),
            (record.length(), record.length())
        );
        bytes.extend_from_slice(b"what follows");
        assert_eq!(decode(&bytes.into(), 5, 4_160), Ok((record, framed)));
    }
}

#[test]
fn a_record_passes_only_in_its_place_and_use() {
    let mut prng = Prng::new(2);
    for _ in 0..200 {
        let mut bytes = Vec::new();
        encode(&record(&mut prng), 5, 4_160, &mut bytes);
        let bytes = Bytes::from(bytes);
        assert!(
            decode(&bytes, 6, 4_160).is_err(),
            "another use of the segment"
        );
        assert!(decode(&bytes, 5, 4_672).is_err(), "another place in it");
    }
}

#[test]
fn a_flipped_bit_or_a_cut_never_passes() {
    let mut prng = Prng::new(3);
    for _ in 0..200 {
        let mut bytes = Vec::new();
        encode(&record(&mut prng), 5, 4_160, &mut bytes);
        for cut in 0..bytes.len() {
            assert!(decode(&Bytes::copy_from_slice(&bytes[..cut]), 5, 4_160).is_err());
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1 << prng.below(8);
            assert!(decode(&flipped.into(), 5, 4_160).is_err());
        }
    }
}

#[test]
fn arbitrary_bytes_are_refused_without_a_panic() {
    let mut prng = Prng::new(4);
    for _ in 0..20_000 {
        let length = prng.below(120);
        let mut bytes: Vec<_> = (0..length)
            .map(|_| u8::try_from(prng.below(256)).unwrap())
            .collect();
        // With a length that fits and a checksum that is right, more of the decoder is reached.
        if let Some(body) = u32::try_from(length).unwrap().checked_sub(8) {
            bytes[4..8].copy_from_slice(&body.to_le_bytes());
            if body > 0 && prng.chance(3, 4) {
                bytes[8] = u8::try_from(prng.below(9)).unwrap();
                let sum = checksum(5, 4_160, &bytes[4..]);
                bytes[..4].copy_from_slice(&sum.to_le_bytes());
            }
        }
        let bytes = Bytes::from(bytes);
        if let Ok((record, framed)) = decode(&bytes, 5, 4_160) {
            let mut again = Vec::new();
            assert_eq!(encode(&record, 5, 4_160, &mut again), framed);
        }
    }
}

#[test]
fn a_group_header_is_found_only_whole_and_in_its_place() {
    let place = Place {
        segment: 3,
        offset: 8_192,
    };
    let header = GroupHeader {
        salt: 77,
        place,
        length: 1_024,
        records_length: 900,
        records: 2,
        records_checksum: 5,
        durable: place,
    };
    let bytes = header.encode();
    let find = |bytes: &[u8]| GroupHeader::find(bytes, 77, place, 1 << 20);
    assert_eq!(find(&bytes), FoundHeader::Group(header));
    for byte in 0..bytes.len() {
        let mut flipped = bytes;
        flipped[byte] ^= 16;
        assert!(
            !matches!(find(&flipped), FoundHeader::Group(_)),
            "byte {byte}"
        );
    }
    let elsewhere = Place {
        segment: 3,
        offset: 8_704,
    };
    let found = GroupHeader::find(&bytes, 77, elsewhere, 1 << 20);
    assert!(matches!(found, FoundHeader::End(_)), "{found:?}");
    let other_use = GroupHeader::find(&bytes, 78, place, 1 << 20);
    assert!(matches!(other_use, FoundHeader::End(_)), "{other_use:?}");
    let too_long = GroupHeader::find(&bytes, 77, place, 9_000);
    assert!(matches!(too_long, FoundHeader::Damaged(_)), "{too_long:?}");
}
