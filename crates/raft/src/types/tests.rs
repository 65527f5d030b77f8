use super::{
    CommittedLeaderId, LogId, Membership, Position, StoredMembership, decode_membership,
    encode_membership, is_sole_voter, log_id, raft_index, seam_index, seam_index_of,
};
use std::collections::BTreeSet;
use std::io;
use synod_env::Prng;
use synod_log::Index;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

fn membership(configs: &[&[u64]], learners: &[u64]) -> Membership {
    let configs: Vec<BTreeSet<u64>> = configs
        .iter()
        .map(|voters| voters.iter().copied().collect())
        .collect();
    Membership::new_with_defaults(configs, learners.iter().copied())
}

#[test]
fn a_membership_survives_its_bytes() {
    for original in [
        Membership::default(),
        membership(&[&[1]], &[]),
        membership(&[&[1, 2, 3]], &[4, 5]),
        membership(&[&[1, 2, 3], &[3, 4, 5]], &[6, u64::MAX]),
    ] {
        let bytes = encode_membership(&original);
        assert_eq!(decode_membership(&bytes).unwrap(), original);
    }
}

#[test]
fn the_membership_of_one_has_these_bytes() {
    let bytes = encode_membership(&membership(&[&[0x0102]], &[]));
    assert_eq!(
        bytes[..],
        [
            1, 1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        ]
    );
}

#[test]
fn a_position_survives_its_bytes() {
    for original in [
        Position::default(),
        Position {
            applied: Some(id(7, 0)),
            membership: StoredMembership::new(Some(id(0, 0)), membership(&[&[9]], &[])),
        },
        Position {
            applied: Some(id(u64::MAX, 1 << 40)),
            membership: StoredMembership::new(
                Some(id(3, 17)),
                membership(&[&[1, 2], &[2, 3]], &[8]),
            ),
        },
    ] {
        assert_eq!(Position::decode(&original.encode()).unwrap(), original);
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let position = Position {
        applied: Some(id(5, 99)),
        membership: StoredMembership::new(Some(id(1, 3)), membership(&[&[1, 2], &[2]], &[3])),
    };
    let bytes = position.encode().to_vec();
    for length in 0..bytes.len() {
        let error = Position::decode(&bytes[..length]).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidData,
            "cut at {length}: {error}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Position::decode(&longer).is_err());
}

#[test]
fn arbitrary_bytes_are_refused_or_mean_something_that_encodes_again() {
    let mut prng = Prng::new(11);
    let template = encode_membership(&membership(&[&[1, 2], &[2]], &[3])).to_vec();
    for _ in 0..20_000 {
        let mut bytes = template.clone();
        for _ in 0..=prng.below(3) {
            let at = usize::try_from(prng.below(bytes.len() as u64)).unwrap();
            bytes[at] = prng.next_u64().to_le_bytes()[0];
        }
        if let Ok(decoded) = decode_membership(&bytes) {
            let again = decode_membership(&encode_membership(&decoded)).unwrap();
            assert_eq!(again, decoded);
        }
    }
}

#[test]
fn a_format_from_the_future_is_refused_by_name() {
    let mut bytes = encode_membership(&membership(&[&[1]], &[])).to_vec();
    bytes[0] = 2;
    let error = decode_membership(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "engine record of unknown format 2");
}

#[test]
fn the_first_entry_has_index_one_outside() {
    assert_eq!(seam_index(0), Index(1));
    assert_eq!(raft_index(Index(1)), Some(0));
    assert_eq!(raft_index(Index(0)), None);
    assert_eq!(seam_index_of(None), Index(0));
    assert_eq!(log_id(4, Index(3)), Some(id(4, 2)));
    assert_eq!(log_id(4, Index(0)), None);
}

#[test]
fn one_voter_decides_alone_unless_a_change_is_under_way() {
    assert!(is_sole_voter(&membership(&[&[1]], &[]), 1));
    assert!(is_sole_voter(&membership(&[&[1]], &[2, 3]), 1));
    assert!(!is_sole_voter(&membership(&[&[2]], &[]), 1));
    assert!(!is_sole_voter(&membership(&[&[1, 2]], &[]), 1));
    assert!(!is_sole_voter(&membership(&[&[1], &[1, 2]], &[]), 1));
    assert!(!is_sole_voter(&Membership::default(), 1));
}
