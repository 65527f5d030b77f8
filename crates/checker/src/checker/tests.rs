mod mutants;
mod scenarios;

use super::{Settings, judge};
use crate::synthetic::Plan;
use crate::verdict::Verdict;

#[test]
fn what_a_correct_service_does_is_accepted() {
    for seed in 0..60 {
        for plan in [Plan::registers(seed, 300), Plan::everything(seed, 300)] {
            for (keys, unknown_per_mille) in [(3, 0), (20, 30), (100, 100)] {
                let plan = Plan {
                    keys,
                    unknown_per_mille,
                    clients: 2 + u32::try_from(seed % 10).unwrap(),
                    watches: true,
                    ..plan
                };
                let verdict = judge(Settings::default(), &plan.history());
                assert_eq!(verdict, Verdict::Ok, "{plan:?}: {verdict}");
            }
        }
    }
}

#[test]
fn without_a_watch_lost_replies_make_no_violation() {
    for seed in 0..60 {
        for unknown_per_mille in [10, 100] {
            let plan = Plan {
                unknown_per_mille,
                watches: false,
                ..Plan::everything(seed, 200)
            };
            let verdict = judge(Settings::default(), &plan.history());
            assert!(
                !matches!(verdict, Verdict::Violation(_)),
                "{plan:?}: {verdict}"
            );
        }
    }
}
