use super::{Appended, Place, Received, Request, decode_voted, encode_voted};
use crate::types::{
    Batch, CommittedLeaderId, Entry, LeaderId, LogId, Membership, Payload, Types, Vote,
};
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};
use synod_env::Prng;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

fn vote(term: u64, node: u64, committed: bool) -> Vote {
    Vote {
        leader_id: LeaderId {
            term,
            voted_for: node,
        },
        committed,
    }
}

fn append() -> Request {
    let membership = Membership::new_with_defaults(vec![[1, 2, 3].into()], [4]);
    let payloads = [
        Payload::Blank,
        Payload::Normal(Batch(Bytes::from_static(b"what was proposed"))),
        Payload::Membership(membership),
        Payload::Normal(Batch(Bytes::new())),
    ];
    let entries = payloads.into_iter().zip([(4, 8), (4, 9), (5, 10), (7, 11)]);
    let request = AppendEntriesRequest {
        vote: vote(7, 2, true),
        prev_log_id: Some(id(3, 7)),
        entries: entries
            .map(|(payload, (term, index))| Entry {
                log_id: id(term, index),
                payload,
            })
            .collect(),
        leader_commit: Some(id(5, 10)),
    };
    let place = Place {
        stream: 99,
        number: 3,
    };
    Request::Append(place, request)
}

fn requests() -> Vec<Request> {
    let beat = AppendEntriesRequest {
        vote: vote(1, 1, true),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let asked: VoteRequest<Types> = VoteRequest {
        vote: vote(8, 3, false),
        last_log_id: Some(id(7, 11)),
        leadership_transfer: true,
    };
    vec![
        append(),
        Request::Heartbeat(beat),
        Request::Vote(asked.clone()),
        Request::PreVote(asked),
        Request::SnapshotBegin {
            transfer: u64::MAX,
            vote: vote(7, 2, true),
            position: Bytes::from_static(b"where it is"),
        },
        Request::SnapshotPart {
            transfer: 5,
            number: 17,
            part: Bytes::from_static(b"a part"),
        },
        Request::SnapshotEnd {
            transfer: 5,
            parts: 18,
        },
    ]
}

#[test]
fn requests_survive_their_bytes() {
    for request in requests() {
        let bytes = request.encode();
        let again = Request::decode(&bytes).unwrap();
        assert_eq!(format!("{again:?}"), format!("{request:?}"));
        assert_eq!(again.encode(), bytes);
    }
}

#[test]
fn answers_survive_their_bytes() {
    for answer in [
        Appended::Done,
        Appended::Conflict,
        Appended::HigherVote(vote(9, 1, false)),
        Appended::NoRoom,
        Appended::Missing,
        Appended::Part(id(7, 12)),
    ] {
        assert_eq!(Appended::decode(&answer.encode()).unwrap(), answer);
    }
    for answer in [
        Received::Ready,
        Received::Settled(vote(9, 1, true)),
        Received::Busy,
        Received::Unknown,
        Received::Failed("no room".to_owned()),
        Received::Outdated,
    ] {
        assert_eq!(Received::decode(&answer.encode()).unwrap(), answer);
    }
    let answer: VoteResponse<Types> = VoteResponse {
        vote: vote(8, 3, false),
        vote_granted: true,
        last_log_id: None,
    };
    assert_eq!(decode_voted(&encode_voted(&answer)).unwrap(), answer);
}

#[test]
fn a_heartbeat_has_these_bytes() {
    let beat = AppendEntriesRequest {
        vote: vote(7, 2, true),
        prev_log_id: Some(id(3, 7)),
        entries: Vec::new(),
        leader_commit: None,
    };
    let mut expected = vec![1, 2];
    for number in [7, 2_u64] {
        expected.extend(number.to_le_bytes());
    }
    expected.push(1);
    for number in [3, 8, 0, 0_u64] {
        expected.extend(number.to_le_bytes());
    }
    assert_eq!(Request::Heartbeat(beat).encode(), expected);
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    for request in requests() {
        let bytes = request.encode();
        for length in 0..bytes.len() {
            let cut = bytes.slice(..length);
            assert!(
                Request::decode(&cut).is_err(),
                "{request:?} cut at {length}"
            );
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(Request::decode(&longer.into()).is_err(), "{request:?}");
    }
}

#[test]
fn arbitrary_bytes_are_refused_or_mean_something_that_encodes_again() {
    let mut prng = Prng::new(5);
    let templates: Vec<_> = requests().iter().map(Request::encode).collect();
    for round in 0..40_000 {
        let mut bytes = templates[round % templates.len()].to_vec();
        for _ in 0..=prng.below(3) {
            let at = usize::try_from(prng.below(bytes.len() as u64)).unwrap();
            bytes[at] = prng.next_u64().to_le_bytes()[0];
        }
        let bytes = Bytes::from(bytes);
        if let Ok(request) = Request::decode(&bytes) {
            let again = Request::decode(&request.encode()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{request:?}"));
        }
    }
}

/// What openraft and the log take for granted of a leader.
#[test]
fn what_no_leader_would_send_is_refused() {
    let Request::Append(place, good) = append() else {
        unreachable!("an append")
    };
    let refused = |change: &dyn Fn(&mut AppendEntriesRequest<Types>)| {
        let mut request = good.clone();
        change(&mut request);
        let bytes = Request::Append(place, request).encode();
        Request::decode(&bytes).is_err()
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|it| it.vote.committed = false));
    assert!(refused(&|it| it.prev_log_id = Some(id(8, 7))));
    assert!(refused(&|it| it.leader_commit = Some(id(8, 7))));
    assert!(refused(&|it| it.entries[0].log_id.leader_id.term = 2));
    assert!(refused(&|it| it.entries[3].log_id.leader_id.term = 8));
    assert!(refused(&|it| it.prev_log_id = Some(id(3, u64::MAX - 1))));
}
