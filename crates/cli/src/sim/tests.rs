use super::campaign::{Ended, Seeds, on_threads};
use super::stop::Stop;
use super::{Sim, What};
use clap::Parser as _;
use synod_sim::Scenario;

#[derive(clap::Parser, Debug)]
struct Line {
    #[command(flatten)]
    sim: Sim,
}

fn parse(line: &str) -> Result<What, String> {
    let words = std::iter::once("sim").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    Ok(line.sim.what)
}

#[test]
fn wrong_flags_are_answered_with_what_to_write() {
    let cases = [
        ("run --seeds 5", "`5` are no seeds: write 0..100"),
        ("run --seeds 7..7", "`7..7` holds no seed"),
        (
            "run --members 4",
            "`4` members are not simulated: write 1, 3 or 5",
        ),
        ("run --seed 1 --seeds 1..2", "cannot be used with"),
        ("shrink", "<FILE|--seed <NUMBER>>"),
        ("shrink a.yaml --seed 7", "cannot be used with"),
        ("nightly", "--minutes"),
        ("replay", "<FILE>"),
    ];
    for (line, expected) in cases {
        let answer = parse(line).expect_err(line);
        assert!(answer.contains(expected), "{line}: {answer}");
    }
}

#[test]
fn several_sizes_and_seeds_are_one_campaign() {
    let What::Run(args) = parse("run --seeds 3..5 --members 1,5 --jobs 2").unwrap() else {
        panic!("another command");
    };
    assert_eq!(args.seeds, Some(Seeds { first: 3, end: 5 }));
    assert_eq!(args.members.members, [1, 5]);
    assert_eq!(args.jobs.count(), 2);
}

/// Worlds on different threads do not know of each other: they are the same as one by one.
#[test]
fn seeds_give_the_same_runs_on_several_threads_in_their_order() {
    let next = |number: u64| {
        (number < 4).then(|| {
            let mut scenario = Scenario::from_seed(number, 3);
            for plan in &mut scenario.workload.clients {
                plan.operations = plan.operations.min(10);
            }
            scenario
        })
    };
    let fingerprints = |jobs: usize| {
        let mut seen = Vec::new();
        on_threads(jobs, &Stop::default(), &next, |Ended { scenario, run }| {
            seen.push((scenario.name, run.report.fingerprint));
            true
        });
        seen
    };
    let one = fingerprints(1);
    assert_eq!(one.len(), 4);
    assert_eq!(fingerprints(3), one);
}
