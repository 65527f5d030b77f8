use super::Line;
use crate::Prng;

#[test]
fn a_deadline_is_the_first_moment_at_which_the_clock_shows_it() {
    let mut prng = Prng::new(1);
    for _ in 0..100_000 {
        let mut line = Line::new(prng.below(1 << 50), prng.below(1 << 50));
        let error_ppm = i64::try_from(prng.below(1_999_999)).unwrap() - 999_999;
        line.set_rate(line.true_ns + prng.below(1 << 40), error_ppm);
        let local_ns = line.local_ns + prng.below(1 << 45);
        let at = line.reaches(local_ns);
        assert!(line.read(at) >= local_ns, "{line:?} at {local_ns}");
        if at > line.true_ns {
            assert!(line.read(at - 1) < local_ns, "{line:?} at {local_ns}");
        }
    }
}

#[test]
fn a_clock_never_goes_back_when_its_rate_changes() {
    let mut prng = Prng::new(2);
    let mut line = Line::new(0, 0);
    let (mut now, mut shown) = (0, 0);
    for _ in 0..100_000 {
        now += prng.below(5);
        assert!(line.read(now) >= shown);
        shown = line.read(now);
        let error_ppm = i64::try_from(prng.below(100_000)).unwrap() - 50_000;
        line.set_rate(now, error_ppm);
        assert!(line.read(now) >= shown);
    }
}

#[test]
fn a_stopped_clock_never_reaches_a_later_time() {
    let mut line = Line::new(10, 100);
    line.set_rate(20, -1_000_000);
    assert_eq!(line.read(1_000), 110);
    assert_eq!(line.reaches(110), 20);
    assert_eq!(line.reaches(111), u64::MAX);
}
