use super::{Settings, judge};
use crate::synthetic::Plan;
use crate::verdict::Verdict;

#[test]
fn what_a_correct_service_does_is_accepted() {
    for seed in 0..40 {
        for plan in [Plan::registers(seed, 400), Plan::everything(seed, 400)] {
            let history = plan.history();
            let verdict = judge(Settings::default(), &history);
            assert_eq!(verdict, Verdict::Ok, "{plan:?}: {verdict}");
        }
    }
}
