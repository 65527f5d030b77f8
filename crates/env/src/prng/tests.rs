use super::Prng;

#[test]
fn the_stream_is_that_of_splitmix64() {
    let mut prng = Prng::new(1_234_567);
    let expected = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ];
    assert_eq!(expected.map(|_: u64| prng.next_u64()), expected);
}

#[test]
fn numbers_below_a_bound_are_spread_evenly() {
    let mut prng = Prng::new(1);
    let mut counts = [0_u32; 7];
    for _ in 0..70_000 {
        counts[usize::try_from(prng.below(7)).unwrap()] += 1;
    }
    for count in counts {
        assert!((9_500..10_500).contains(&count), "{counts:?}");
    }
    assert_eq!(prng.below(1), 0);
}

#[test]
fn a_chance_of_none_or_all_is_certain() {
    let mut prng = Prng::new(1);
    for _ in 0..1_000 {
        assert!(!prng.chance(0, 3));
        assert!(prng.chance(3, 3));
    }
}

#[test]
#[should_panic(expected = "a number below zero")]
fn there_is_no_number_below_zero() {
    Prng::new(1).below(0);
}

#[test]
fn a_fork_does_not_shift_its_origin() {
    let (mut forked, mut plain) = (Prng::new(1), Prng::new(1));
    let mut fork = forked.fork();
    for _ in 0..10 {
        fork.next_u64();
    }
    plain.next_u64();
    assert_eq!(forked.next_u64(), plain.next_u64());
}
