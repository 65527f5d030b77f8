use super::{SPAN, Seen, Window};
use std::collections::BTreeSet;
use synod_env::Prng;

#[test]
fn each_number_is_new_once() {
    let mut window = Window::new();
    for number in 1..5_000 {
        assert_eq!(window.mark(number), Seen::New);
        assert_eq!(window.mark(number), Seen::Before);
    }
}

#[test]
fn what_is_too_far_behind_is_told_from_a_copy() {
    let mut window = Window::new();
    assert_eq!(window.mark(SPAN + 1), Seen::New);
    assert_eq!(window.mark(1), Seen::TooOld);
    assert_eq!(window.mark(2), Seen::New);
    assert_eq!(window.mark(2), Seen::Before);
}

/// Against a set that remembers everything: nothing is new twice, and within the window nothing
/// new is refused.
#[test]
fn it_agrees_with_a_set_of_all_numbers() {
    for seed in 0..50 {
        let mut random = Prng::new(seed);
        let (mut window, mut all) = (Window::new(), BTreeSet::new());
        let mut latest = 0;
        for _ in 0..3_000 {
            let number = match random.below(10) {
                0 => latest + 1 + random.below(2 * SPAN),
                1..5 => latest + 1 + random.below(3),
                _ => latest.saturating_sub(random.below(SPAN + 20)).max(1),
            };
            let expected = if latest >= SPAN + number {
                Seen::TooOld
            } else if all.insert(number) {
                Seen::New
            } else {
                Seen::Before
            };
            assert_eq!(
                window.mark(number),
                expected,
                "{number} at {latest}, seed {seed}"
            );
            latest = latest.max(number);
        }
    }
}
