use super::{Fields, RECORD_OVERHEAD_BYTES, Record};
use crate::codec::Reader;
use bytes::Bytes;

/// Numbers of every length that they can have.
const EDGES: [i64; 9] = [
    1,
    127,
    128,
    16_383,
    16_384,
    1 << 21,
    (1 << 42) - 1,
    i64::MAX - 1,
    i64::MAX,
];

#[test]
fn what_is_packed_comes_out_again_and_encodes_to_a_fixed_overhead() {
    let mut scratch = Vec::new();
    for mod_revision in EDGES {
        for (place, version) in EDGES.into_iter().enumerate() {
            let key = vec![b'k'; [0, 1, 127, 128, 300][place % 5]];
            let value = vec![b'v'; [0, 1, 256, 70_000][place % 4]];
            let fields = Fields {
                key: &key,
                value: &value,
                create_revision: version.min(mod_revision),
                mod_revision,
                sub: [0, 200, u32::MAX][place % 3],
                version,
                lease: [0, i64::MIN, -1, 7, i64::MAX][place % 5],
            };
            let record = Record::put(fields, &mut scratch);
            let Fields {
                create_revision,
                sub,
                lease,
                ..
            } = fields;
            assert!(!record.is_tombstone());
            assert_eq!((record.key(), record.value()), (&key[..], &value[..]));
            assert_eq!(record.moment(), (mod_revision, sub));
            assert_eq!(record.create_revision(), create_revision);
            assert_eq!((record.version(), record.lease()), (version, lease));
            let shown = record.key_value();
            assert_eq!((&shown.key[..], &shown.value[..]), (&key[..], &value[..]));
            assert_eq!(shown.lease, lease);

            let encoded = record.encoded(&mut scratch).to_vec();
            assert_eq!(
                encoded.len(),
                RECORD_OVERHEAD_BYTES + key.len() + value.len()
            );
            assert_eq!(encoded.len() as u64, record.encoded_len());
            let mut reader = Reader::new(Bytes::from(encoded));
            let again = Record::read(&mut reader, &mut scratch).expect("it was encoded");
            assert_eq!(again.as_ref(), record.as_ref());
            assert!(reader.rest().is_empty());
        }
        let tombstone = Record::tombstone(b"gone", mod_revision, 3, &mut scratch);
        assert!(tombstone.is_tombstone() && tombstone.value().is_empty());
        assert_eq!(tombstone.key_and_moment(), (&b"gone"[..], mod_revision, 3));
        let encoded = tombstone.encoded(&mut scratch).to_vec();
        let again = Record::read(&mut Reader::new(encoded.into()), &mut scratch);
        assert_eq!(again.as_ref(), Ok(&tombstone));
    }
}

/// A million small keys must not cost their weight in numbers.
#[test]
fn a_young_record_takes_few_bytes_beside_its_key_and_value() {
    let fields = Fields {
        key: b"k/0000123456",
        value: &[0; 256],
        create_revision: 1_000_000,
        mod_revision: 1_000_000,
        sub: 0,
        version: 1,
        lease: 0,
    };
    let record = Record::put(fields, &mut Vec::new());
    assert_eq!(record.as_ref().len(), 12 + 256 + 9);
    assert_eq!(size_of::<Record>(), size_of::<usize>());
}
