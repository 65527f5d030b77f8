use super::{Flights, InTheAir};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use synod_env::watch;

fn flights(count_max: usize, bytes_max: usize) -> Arc<Flights> {
    Arc::new(Flights {
        count_max,
        bytes_max,
        now: Mutex::new(InTheAir::default()),
        room_is_awaited: AtomicBool::new(false),
        given_back: watch::channel(()).0,
    })
}

#[test]
fn a_place_in_flight_is_given_back_when_dropped() {
    let flights = flights(2, 100);
    let first = Flights::enter(&flights, 10);
    let second = Flights::enter(&flights, 10);
    assert!(first.is_some());
    assert!(second.is_some());
    assert!(Flights::enter(&flights, 10).is_none());
    drop(first);
    assert!(Flights::enter(&flights, 10).is_some());
}

#[test]
fn one_larger_than_the_bound_flies_alone() {
    let flights = flights(4, 100);
    let small = Flights::enter(&flights, 1);
    assert!(small.is_some());
    assert!(Flights::enter(&flights, 100).is_none());
    drop(small);
    let large = Flights::enter(&flights, 1_000);
    assert!(large.is_some());
    assert!(Flights::enter(&flights, 1).is_none());
    drop(large);
    assert!(Flights::enter(&flights, 1).is_some());
}
