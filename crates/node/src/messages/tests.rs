//! Each message is read back as it was written, and nothing else is read.

use super::*;
use synod_env::Prng;

fn asks() -> Vec<Ask> {
    let within = Duration::from_millis(7_000);
    vec![
        Ask::Forward {
            within,
            batch: Bytes::from_static(b"a batch"),
        },
        Ask::Barrier,
        Ask::KeepAlive { lease: 7, within },
        Ask::TimeToLive {
            lease: i64::MAX,
            within,
        },
    ]
}

const REFUSALS: [Refused; 6] = [
    Refused::NotLeading,
    Refused::Late,
    Refused::Busy,
    Refused::NoSpace,
    Refused::Overdue,
    Refused::Unacceptable,
];

#[test]
fn what_is_asked_is_read_back() {
    for ask in asks() {
        assert_eq!(Ask::decode(ask.encode()), Ok(ask));
    }
}

#[test]
fn what_is_answered_is_read_back() {
    let times = Times {
        ttl: Duration::from_secs(9),
        left: Duration::from_millis(1_234),
        at: Index(77),
    };
    let lives = LeaseAnswer::Lives(times);
    assert_eq!(LeaseAnswer::decode(lives.encode()), Ok(lives));
    let ended = LeaseAnswer::<Times>::Ended;
    assert_eq!(LeaseAnswer::decode(ended.encode()), Ok(ended));
    let renewed = LeaseAnswer::Lives(Duration::from_secs(5));
    assert_eq!(LeaseAnswer::decode(renewed.encode()), Ok(renewed));
    for became in [Forwarding::Proposed { at: Index(3) }, Forwarding::Unknown] {
        assert_eq!(Forwarding::decode(became.encode()), Ok(became));
    }
    assert_eq!(
        decode_barrier(encode_barrier(Ok(Index(5)))),
        Ok(Ok(Index(5)))
    );
    for why in REFUSALS {
        let refused = Forwarding::Refused(why);
        assert_eq!(Forwarding::decode(refused.encode()), Ok(refused));
        assert_eq!(decode_barrier(encode_barrier(Err(why))), Ok(Err(why)));
        let lease = LeaseAnswer::<Duration>::Refused(why);
        assert_eq!(LeaseAnswer::decode(lease.encode()), Ok(lease));
    }
}

/// A prefix, an unknown format or kind, or a byte too many: refused, and never a panic.
#[test]
fn what_nobody_wrote_is_not_read() {
    for ask in asks() {
        let whole = ask.encode();
        for length in 0..10.min(whole.len()) {
            assert_eq!(
                Ask::decode(whole.slice(..length)),
                Err(Unreadable),
                "{ask:?}"
            );
        }
        let mut later = whole.to_vec();
        later[0] = FORMAT + 1;
        assert_eq!(Ask::decode(Bytes::from(later)), Err(Unreadable));
    }
    let mut longer = Ask::Barrier.encode().to_vec();
    longer.push(0);
    assert_eq!(Ask::decode(Bytes::from(longer)), Err(Unreadable));
    let mut prng = Prng::new(1);
    for _ in 0..10_000 {
        let length = prng.below(30);
        let mut noise: Vec<u8> = (0..length).map(|_| byte(&mut prng)).collect();
        if let [format, ..] = noise.as_mut_slice() {
            *format = FORMAT;
        }
        let noise = Bytes::from(noise);
        if let Ok(ask) = Ask::decode(noise.clone()) {
            assert_eq!(ask.encode(), noise);
        }
        if let Ok(answer) = Forwarding::decode(noise.clone()) {
            assert_eq!(answer.encode(), noise);
        }
        if let Ok(answer) = LeaseAnswer::<Times>::decode(noise.clone()) {
            assert_eq!(answer.encode(), noise);
        }
        if let Ok(answer) = decode_barrier(noise.clone()) {
            assert_eq!(encode_barrier(answer), noise);
        }
    }
}

fn byte(prng: &mut Prng) -> u8 {
    u8::try_from(prng.below(256)).expect("below 256")
}
