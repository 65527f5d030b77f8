use super::*;

fn life(disk_id: u128, incarnation: u64) -> Life {
    Life {
        disk_id,
        incarnation,
    }
}

fn hello(echo: Option<(Life, Stage)>) -> Frame {
    Frame::Hello(HelloFrame {
        cluster_id: 0xc1,
        from: MemberId(1),
        to: MemberId(2),
        life: life(u128::MAX - 5, 7),
        echo,
    })
}

fn refuse(reason: Reason) -> Frame {
    Frame::Refuse(RefuseFrame {
        cluster_id: 0xc1,
        from: MemberId(1),
        to: MemberId(2),
        life: life(9, 1),
        reason,
    })
}

fn message(kind: Kind, lane: Lane, body: &'static [u8]) -> Frame {
    Frame::Message(MessageFrame {
        kind,
        service: 1,
        lane,
        session: 0x1234_5678_9abc_def0,
        sequence: u64::MAX,
        request: 3,
        body: Bytes::from_static(body),
    })
}

fn examples() -> Vec<Frame> {
    vec![
        hello(None),
        hello(Some((life(3, 4), Stage::Heard))),
        hello(Some((life(3, 4), Stage::Accepted))),
        hello(Some((life(3, 4), Stage::Linked))),
        refuse(Reason::OtherCluster),
        refuse(Reason::NoMember),
        refuse(Reason::OtherDisk {
            on_record: 1 << 100,
        }),
        message(Kind::Tell, Lane::Control, b""),
        message(Kind::Ask, Lane::Append, b"ask"),
        message(Kind::Answer, Lane::Bulk, &[7; 1_000]),
    ]
}

#[test]
fn every_frame_is_read_as_it_was_written() {
    for frame in examples() {
        assert_eq!(Frame::decode(&frame.encode()), Some(frame));
    }
}

#[test]
fn no_altered_frame_is_taken_for_one() {
    for frame in examples() {
        let whole = frame.encode();
        for bit in 0..whole.len() * 8 {
            let mut altered = whole.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Frame::decode(&altered.into()),
                None,
                "bit {bit} of {frame:?}"
            );
        }
        for length in 0..whole.len() {
            assert_eq!(Frame::decode(&whole.slice(..length)), None, "{length}");
        }
    }
}

#[test]
fn a_session_is_named_by_both_lives_and_the_direction() {
    let (one, two) = ((MemberId(1), life(1, 1)), (MemberId(2), life(2, 1)));
    let names = [
        session(1, one, two),
        session(2, one, two),
        session(1, two, one),
        session(1, (MemberId(1), life(1, 2)), two),
        session(1, (MemberId(1), life(3, 1)), two),
        session(1, one, (MemberId(2), life(2, 2))),
        session(1, one, (MemberId(3), life(2, 1))),
    ];
    let unique: std::collections::BTreeSet<_> = names.into_iter().collect();
    assert_eq!(unique.len(), names.len());
}
