use super::{BOUNDS, Histogram, SMALLEST};
use std::time::Duration;

/// The number of bounds that are too small for this.
fn too_small(took: Duration) -> usize {
    let histogram = Histogram::default();
    histogram.record(took);
    let counted = histogram.counted();
    assert_eq!((counted.count, counted.sum), (1, took));
    counted
        .up_to
        .iter()
        .filter(|(_, count)| *count == 0)
        .count()
}

#[test]
fn a_duration_is_counted_from_the_first_bound_that_holds_it() {
    assert_eq!(too_small(Duration::ZERO), 0);
    let mut bound = SMALLEST;
    for at in 0..BOUNDS {
        assert_eq!(too_small(bound), at, "{bound:?}");
        assert_eq!(
            too_small(bound + Duration::from_nanos(1)),
            at + 1,
            "{bound:?}"
        );
        bound *= 2;
    }
    assert_eq!(too_small(Duration::from_secs(3600)), BOUNDS);
}

#[test]
fn bounds_go_through_a_millisecond() {
    let counted = Histogram::default().counted();
    let bounds: Vec<Duration> = counted.up_to.iter().map(|(bound, _)| *bound).collect();
    assert!(bounds.contains(&Duration::from_millis(1)), "{bounds:?}");
    assert_eq!(bounds.last(), Some(&Duration::from_millis(16_384)));
    assert_eq!((counted.count, counted.sum), (0, Duration::ZERO));
}
