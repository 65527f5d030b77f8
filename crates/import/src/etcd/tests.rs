//! A snapshot that etcd 3.5.1 wrote; `testdata/README.md` says what it had been told.

use super::*;
use synod_env::Prng;
use synod_state::State;

const FILE: &[u8] = include_bytes!("../../testdata/etcd-3.5.1.db");

fn whole() -> Taken {
    read(Bytes::from_static(FILE)).expect("etcd wrote it")
}

#[test]
fn all_keys_come_with_their_revisions_versions_and_leases() {
    let Taken {
        keys,
        leases,
        revision,
        left,
        has_digest,
    } = whole();
    assert!(has_digest);
    assert_eq!(revision, 14);
    let mut ttls: Vec<_> = leases.iter().map(|lease| lease.ttl_ms).collect();
    ttls.sort_unstable();
    assert_eq!(ttls, [60_000, 3_600_000]);
    let hour = leases.iter().find(|lease| lease.ttl_ms == 3_600_000);
    let hour = hour.expect("it was granted").lease;

    assert_eq!(keys.len(), 67);
    let shown = |name: &str| {
        let key = keys.iter().find(|key| key.key == name);
        let key = key.unwrap_or_else(|| panic!("{name} is there"));
        let value = String::from_utf8(key.value.to_vec()).expect("text");
        let ForeignKey {
            create_revision,
            mod_revision,
            version,
            lease,
            ..
        } = key;
        (value, *create_revision, *mod_revision, *version, *lease)
    };
    assert_eq!(shown("greeting"), ("hallo".to_owned(), 2, 3, 2, 0));
    assert_eq!(shown("leased"), ("here".to_owned(), 4, 4, 1, hour));
    assert_eq!(shown("back"), ("2".to_owned(), 9, 9, 1, 0));
    assert_eq!(shown("txn/b"), ("2".to_owned(), 10, 10, 1, 0));
    assert_eq!(shown("many/000"), ("again".to_owned(), 11, 14, 2, 0));
    assert_eq!(shown("many/059"), ("value-59".to_owned(), 11, 11, 1, 0));
    assert_eq!(shown("large"), ("x".repeat(6_000), 12, 12, 1, 0));
    assert_eq!(shown("empty"), (String::new(), 13, 13, 1, 0));
    assert!(keys.iter().all(|key| key.key != "gone"));
    assert!(keys.is_sorted_by_key(|key| key.key.clone()));
    assert_eq!(
        (left.users_and_roles, left.alarms, left.keys_without_lease),
        (2, 0, 0)
    );
    assert!(left.changes > 0);
}

#[test]
fn what_was_read_makes_a_state() {
    let Taken {
        keys,
        leases,
        revision,
        ..
    } = whole();
    let bytes: usize = keys.iter().map(|key| key.key.len() + key.value.len()).sum();
    let state = State::from_foreign(revision, keys, leases, 1).expect("etcd has such");
    let root = state.root();
    assert_eq!((root.revision(), root.compact_revision()), (14, 14));
    assert_eq!((root.version_count(), root.lease_count()), (67, 2));
    assert!(root.bytes() > bytes as u64);
}

#[test]
fn a_copy_of_the_database_without_a_digest_is_read_too() {
    let copy = Bytes::from_static(&FILE[..FILE.len() - DIGEST_BYTES]);
    let expected = Taken {
        has_digest: false,
        ..whole()
    };
    assert_eq!(read(copy), Ok(expected));
}

#[test]
fn a_changed_snapshot_does_not_fit_its_digest() {
    for at in [0, 5_000, 30_000, FILE.len() - 1] {
        let mut changed = FILE.to_vec();
        changed[at] ^= 1;
        assert_eq!(read(changed.into()), Err(ReadError::Digest), "byte {at}");
    }
    assert!(read(Bytes::from_static(&FILE[..20_000])).is_err());
    assert!(read(Bytes::new()).is_err());
}

/// Without a digest nothing protects the content: whatever it holds, reading ends, and what comes
/// of it is no more than the file has room for.
#[test]
fn whatever_a_file_holds_reading_it_ends() {
    let content = &FILE[..FILE.len() - DIGEST_BYTES];
    let (mut refused, mut read_anyway) = (0, 0);
    for seed in 0..3_000 {
        let mut prng = Prng::new(seed);
        let mut draw =
            |below: usize| usize::try_from(prng.next_u64() % below as u64).expect("small");
        let mut changed = content.to_vec();
        for _ in 0..=draw(6) {
            // Mostly in the parts of pages that say where everything is.
            let page = draw(content.len() / 4_096) * 4_096;
            let at = match draw(3) {
                0 => draw(content.len()),
                1 => page + draw(80),
                _ => page + draw(512),
            };
            changed[at] = match draw(3) {
                0 => 0,
                1 => 0xff,
                _ => changed[at] ^ 1 << draw(8),
            };
        }
        if draw(10) == 0 {
            changed.truncate(draw(content.len()));
        }
        match read(changed.into()) {
            Ok(taken) => {
                assert!(taken.keys.len() <= content.len() / 16, "seed {seed}");
                read_anyway += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > 500 && read_anyway > 100,
        "{refused} {read_anyway}"
    );
}
