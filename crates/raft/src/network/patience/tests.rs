use super::{LEAST, MOST, Patience};
use std::time::Duration;

#[test]
fn it_waits_a_little_longer_than_answers_take() {
    let mut patience = Patience::new(Duration::from_millis(200));
    assert_eq!(patience.wait(), Duration::from_millis(200));
    for _ in 0..100 {
        patience.answered(Duration::from_millis(90));
    }
    let wait = patience.wait();
    assert!(wait >= Duration::from_millis(90), "{wait:?}");
    assert!(wait < Duration::from_millis(100), "{wait:?}");
    // A disk that becomes slow is waited for after a few attempts.
    for _ in 0..3 {
        patience.in_vain();
    }
    assert!(patience.wait() > Duration::from_millis(700));
    patience.answered(Duration::from_millis(700));
    assert!(patience.wait() > Duration::from_millis(700));
}

#[test]
fn it_stays_within_its_bounds() {
    let mut patience = Patience::new(Duration::ZERO);
    assert_eq!(patience.wait(), LEAST);
    patience.answered(Duration::from_micros(1));
    assert_eq!(patience.wait(), LEAST);
    for _ in 0..100 {
        patience.in_vain();
    }
    assert_eq!(patience.wait(), MOST);
    patience.answered(Duration::from_secs(3_600));
    assert_eq!(patience.wait(), MOST);
}
