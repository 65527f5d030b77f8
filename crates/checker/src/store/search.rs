//! The end of a history: what is still open is tried in every way, within a budget.

use super::{Candidate, Fate, Maker, StoreJudge};
use crate::history::Revision;
use crate::verdict::{Property, Verdict, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// How a search ended.
enum Search {
    /// This is how it can have been.
    Found(Box<StoreJudge>),
    /// Nothing fits; this is where the first way failed.
    Nothing(Violation),
    /// The budget is spent.
    Spent,
}

impl StoreJudge {
    /// The verdict at the end of the history, with the judge as the best explanation leaves it.
    pub(crate) fn finish(mut self) -> (Verdict, Option<Box<Self>>) {
        // Who has not answered by now will not.
        self.in_flight.clear();
        let mut tries = self.settings.tries_max;
        let holes = self.seen_max() - self.replay.revision();
        match self.search(&mut tries) {
            Search::Found(judge) => (Verdict::Ok, Some(judge)),
            Search::Nothing(violation) => (Verdict::Violation(violation), None),
            Search::Spent => {
                let why = format!("{holes} revisions at the end have too many explanations");
                (Verdict::Unknown(why), None)
            }
        }
    }

    fn search(mut self, tries: &mut u32) -> Search {
        self.puzzled = None;
        if let Err(violation) = self.advance() {
            return Search::Nothing(violation);
        }
        let next = self.replay.revision() + 1;
        if next > self.seen_max() {
            return match self.everyone_has_a_maker() {
                Ok(()) => Search::Found(Box::new(self)),
                Err(violation) => Search::Nothing(violation),
            };
        }
        let mut explanations = self.explanations(next);
        if let (Some(only), true) = (explanations.pop(), explanations.is_empty()) {
            return match self.explain(next, only) {
                Ok(()) => self.search(tries),
                Err(violation) => Search::Nothing(violation),
            };
        }
        let explanations = self.explanations(next);
        let mut first = None;
        for explanation in explanations {
            // A try costs a copy of all that waits.
            let cost = 1 + u32::try_from(self.pending.len() / 64).unwrap_or(u32::MAX);
            *tries = tries.saturating_sub(cost);
            if *tries == 0 {
                return Search::Spent;
            }
            let mut way = self.clone();
            way.is_guess = true;
            let ended = match way.explain(next, explanation) {
                Ok(()) => way.search(tries),
                Err(violation) => Search::Nothing(violation),
            };
            match ended {
                Search::Nothing(violation) => first = first.or(Some(violation)),
                Search::Found(_) | Search::Spent => return ended,
            }
        }
        Search::Nothing(first.unwrap_or_else(|| self.unexplained(next)))
    }

    /// Revisions that any of several may have made each need one of their own: a matching, found
    /// along augmenting paths (Kuhn 1955).
    fn everyone_has_a_maker(&self) -> Result<(), Violation> {
        let mut taken = BTreeMap::new();
        for (number, maker) in self.makers.iter().enumerate() {
            let Maker::OneOf(_) = maker else { continue };
            if !self.take(number, &mut taken, &mut BTreeSet::new()) {
                let revision = Revision::try_from(number + 2).expect("memory holds fewer");
                let witness = format!(
                    "revision {revision} deleted keys for {maker}, each of which has done something \
                     else"
                );
                return Err(self.violation(Property::ExactlyOnce, witness));
            }
        }
        Ok(())
    }

    fn take(
        &self,
        number: usize,
        taken: &mut BTreeMap<u64, usize>,
        asked: &mut BTreeSet<u64>,
    ) -> bool {
        let Maker::OneOf(candidates) = &self.makers[number] else {
            return true;
        };
        for candidate in candidates {
            let op = match candidate {
                // That a lease ended at most once is for the judge of leases.
                Candidate::Expiry(_) => return true,
                Candidate::Op(op) => op,
            };
            let answered = match self.fates.get(op) {
                Some(Fate::Answered(revision)) => Some(*revision),
                Some(Fate::Made(_) | Fate::NoEffect(_) | Fate::Refused(_)) | None => None,
            };
            let is_free = answered == Revision::try_from(number + 2).ok()
                || self.open.get(op).is_some_and(|open| open.made.is_none());
            if !is_free || !asked.insert(op.0) {
                continue;
            }
            let before = taken.get(&op.0).copied();
            if before.is_none_or(|other| self.take(other, taken, asked)) {
                taken.insert(op.0, number);
                return true;
            }
        }
        false
    }
}
