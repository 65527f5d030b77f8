//! The member's identity on the deterministic disk.

use super::*;
use synod_env::MemberId;
use synod_env::sim::Sim;

const ONE: MemberId = MemberId(1);

fn founding() -> Founding {
    Founding {
        cluster_id: 0xc1,
        member_id: 0xe1,
        token: "a-cluster".to_owned(),
    }
}

fn start(sim: &Sim, env: &Env, founding: &Founding) -> Result<Identity, StorageError> {
    sim.block_on(Identity::start(env, founding))
        .expect("the run ends")
}

#[test]
fn each_start_counts_one_up_and_keeps_the_rest() {
    let sim = Sim::new(1);
    let mut before: Option<Identity> = None;
    for incarnation in 1..6 {
        let identity = start(&sim, &sim.restart(ONE), &founding()).unwrap();
        assert_eq!(identity.incarnation, incarnation);
        assert_eq!((identity.cluster_id, identity.member_id), (0xc1, 0xe1));
        if let Some(before) = before {
            assert_eq!(
                identity,
                Identity {
                    incarnation,
                    ..before
                }
            );
        }
        before = Some(identity);
    }
    let read = sim
        .block_on(Identity::read(&sim.restart(ONE)))
        .unwrap()
        .unwrap();
    assert_eq!(read, before, "reading counts nothing");
}

#[test]
fn two_directories_have_two_disk_ids() {
    let sim = Sim::new(2);
    let one = start(&sim, &sim.member(ONE), &founding()).unwrap();
    let two = start(&sim, &sim.member(MemberId(2)), &founding()).unwrap();
    assert_ne!(one.disk_id, two.disk_id);
}

/// An incarnation that was given out is never given out again, whenever power fails.
#[test]
fn power_can_fail_at_each_operation_of_a_start() {
    let mut interrupted = 0;
    for op in 1..40 {
        let sim = Sim::new(op);
        let mut given_out = 0;
        for life in 0..8 {
            let env = sim.restart(ONE);
            if life % 2 == 1 {
                sim.nemesis().crash_at_disk_op(ONE, op);
            }
            match sim.block_on(Identity::start(&env, &founding())) {
                Ok(identity) => {
                    let incarnation = identity.unwrap().incarnation;
                    assert!(incarnation > given_out, "{incarnation} after {given_out}");
                    given_out = incarnation;
                }
                Err(_) => interrupted += 1,
            }
        }
        assert!(given_out >= 4);
    }
    assert!(interrupted > 20, "{interrupted}");
}

#[test]
fn the_directory_of_another_member_is_refused_and_left_alone() {
    let sim = Sim::new(3);
    let env = sim.member(ONE);
    let identity = start(&sim, &env, &founding()).unwrap();
    let others = [
        Founding {
            cluster_id: 2,
            ..founding()
        },
        Founding {
            member_id: 2,
            ..founding()
        },
        Founding {
            token: "other".to_owned(),
            ..founding()
        },
    ];
    let texts: Vec<_> = others
        .iter()
        .map(|other| start(&sim, &env, other).unwrap_err().to_string())
        .collect();
    let expected = |differs: &str| {
        format!(
            "/sim/1/member belongs to another member: expected {differs}. \
             Point --data-dir at this member's own directory, or at an empty one."
        )
    };
    assert_eq!(texts[0], expected("cluster id 2, found c1"));
    assert_eq!(texts[1], expected("member id 2, found e1"));
    assert_eq!(
        texts[2],
        expected("cluster token \"other\", found \"a-cluster\"")
    );
    assert_eq!(
        sim.block_on(Identity::read(&env)).unwrap().unwrap(),
        Some(identity)
    );
}

#[test]
fn a_log_without_identity_is_refused() {
    let sim = Sim::new(4);
    let env = sim.member(ONE);
    let options = crate::Options::new(&synod_env::Limits::default());
    let (log, _) = sim
        .block_on(crate::Log::open(&env, options))
        .unwrap()
        .unwrap();
    sim.block_on(log.close()).unwrap();
    let error = start(&sim, &env, &founding()).unwrap_err();
    let StorageError::Missing { file, evidence } = &error else {
        panic!("{error}")
    };
    assert_eq!(file, "/sim/1/member");
    assert!(
        evidence.contains("/sim/1/log/0000000000000001.log"),
        "{evidence}"
    );
}

#[test]
fn every_damaged_byte_is_found() {
    let sim = Sim::new(5);
    let env = sim.member(ONE);
    start(&sim, &env, &founding()).unwrap();
    let mut offset = 0;
    while sim.nemesis().rot(ONE, PATH, offset, 1 << (offset % 8)) {
        let error = start(&sim, &env, &founding()).unwrap_err();
        assert!(
            matches!(error, StorageError::Corrupt(_)),
            "byte {offset}: {error}"
        );
        assert!(sim.nemesis().rot(ONE, PATH, offset, 1 << (offset % 8)));
        offset += 1;
    }
    assert_eq!(
        offset,
        u64::try_from(FIXED_BYTES + "a-cluster".len() + 2).unwrap()
    );
    assert_eq!(start(&sim, &env, &founding()).unwrap().incarnation, 2);
}

fn example(disks: Option<BTreeMap<u64, u128>>) -> Identity {
    Identity {
        cluster_id: 1,
        member_id: 2,
        disk_id: 3,
        incarnation: 4,
        token: "five".to_owned(),
        disks,
    }
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn a_newer_format_is_told_from_damage() {
    for disks in [None, Some(table())] {
        let identity = example(disks);
        let mut bytes = identity.encode().to_vec();
        assert_eq!(Identity::decode(&bytes, String::new()).unwrap(), identity);
        bytes[12] = 3;
        let error = Identity::decode(&with_checksum(bytes), "member".to_owned()).unwrap_err();
        assert!(
            matches!(
                error,
                StorageError::Newer {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_directory_of_the_first_format_was_founded_alone() {
    let mut bytes = example(None).encode().to_vec();
    bytes.truncate(bytes.len() - 2);
    bytes[12] = 1;
    let found = Identity::decode(&with_checksum(bytes), String::new()).unwrap();
    assert_eq!(found, example(Some(BTreeMap::from([(2, 3)]))));
}

#[test]
fn lengths_that_do_not_fit_are_damage() {
    let whole = example(Some(table())).encode();
    for length in 12..whole.len() {
        let bytes = with_checksum(whole[..length].to_vec());
        let error = Identity::decode(&bytes, String::new()).unwrap_err();
        assert!(
            matches!(error, StorageError::Corrupt(_)),
            "{length}: {error}"
        );
    }
}

fn table() -> BTreeMap<u64, u128> {
    BTreeMap::from([(1, 11), (2, 3), (3, 33)])
}

/// The table is there as a whole or not at all, whenever power fails, and stays once it was there.
#[test]
fn power_can_fail_at_each_operation_while_the_disks_are_put_on_record() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..80 {
        let sim = Sim::new(seed);
        let env = sim.member(ONE);
        let mut identity = start(&sim, &env, &founding()).unwrap();
        assert_eq!(identity.disks, None);
        let disks = BTreeMap::from([(0xe1, identity.disk_id), (0xe2, 22)]);
        sim.nemesis().crash_at_disk_op(ONE, 1 + seed % 8);
        let recorded = sim.block_on(identity.record_disks(&env, disks.clone()));
        let found = start(&sim, &sim.restart(ONE), &founding()).unwrap().disks;
        match &found {
            None => before += 1,
            Some(found) => {
                assert_eq!(*found, disks);
                after += 1;
            }
        }
        // It ends only if power did not fail before the table was durable.
        if recorded.is_ok() {
            assert_eq!(found, Some(disks));
        }
        assert_eq!(
            start(&sim, &sim.restart(ONE), &founding()).unwrap().disks,
            found
        );
    }
    assert!(before > 10 && after > 10, "{before} before, {after} after");
}

#[test]
fn disks_on_record_stay_through_restarts_and_damage_is_found() {
    let sim = Sim::new(6);
    let mut identity = start(&sim, &sim.member(ONE), &founding()).unwrap();
    let disks = BTreeMap::from([(0xe1, identity.disk_id), (0xe2, 22), (0xe3, 33)]);
    for incarnation in 2..5 {
        let env = sim.member(ONE);
        let recorded = identity.record_disks(&env, disks.clone());
        sim.block_on(recorded).unwrap().unwrap();
        identity = start(&sim, &sim.restart(ONE), &founding()).unwrap();
        assert_eq!(identity.incarnation, incarnation);
        assert_eq!(identity.disks, Some(disks.clone()));
    }
    let env = sim.member(ONE);
    let end = u64::try_from(FIXED_BYTES + "a-cluster".len() + 2 + 3 * DISK_BYTES).unwrap();
    for offset in 0..end {
        assert!(sim.nemesis().rot(ONE, PATH, offset, 1 << (offset % 8)));
        let error = start(&sim, &env, &founding()).unwrap_err();
        assert!(
            matches!(error, StorageError::Corrupt(_)),
            "byte {offset}: {error}"
        );
        assert!(sim.nemesis().rot(ONE, PATH, offset, 1 << (offset % 8)));
    }
    assert!(!sim.nemesis().rot(ONE, PATH, end, 1), "the file is longer");
}
