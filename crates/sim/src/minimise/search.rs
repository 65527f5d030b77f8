//! The search itself: a best so far, candidates, and delta debugging over any list of parts.

use super::{Effort, Minimised, Progress, Size};
use crate::Scenario;
use std::collections::BTreeSet;
use synod_env::Prng;

pub(super) struct Search<'a> {
    best: Scenario,
    property: &'a str,
    effort: Effort,
    run: &'a mut dyn FnMut(&Scenario) -> Option<String>,
    go_on: &'a mut dyn FnMut(&Progress) -> bool,
    step: &'static str,
    runs: u32,
    stopped: bool,
    /// Files of candidates that passed, whatever their schedule: none is tried twice.
    passed: BTreeSet<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        best: Scenario,
        property: &'a str,
        effort: Effort,
        run: &'a mut dyn FnMut(&Scenario) -> Option<String>,
        go_on: &'a mut dyn FnMut(&Progress) -> bool,
    ) -> Self {
        Self {
            best,
            property,
            effort,
            run,
            go_on,
            step: "",
            runs: 1,
            stopped: false,
            passed: BTreeSet::new(),
        }
    }

    pub(super) fn best(&self) -> &Scenario {
        &self.best
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn step(&mut self, step: &'static str) {
        self.step = step;
    }

    pub(super) fn end(self) -> Minimised {
        Minimised {
            scenario: self.best,
            runs: self.runs,
            complete: !self.stopped,
        }
    }

    /// Takes the candidate for the best if it fails in the same way.
    pub(super) fn offer(&mut self, candidate: Scenario) -> bool {
        if self.stopped || candidate == self.best {
            return false;
        }
        let key = crate::file::write(&Scenario {
            seed: 0,
            ..candidate.clone()
        });
        if self.passed.contains(&key) {
            return false;
        }
        let mut seeds = Prng::new(self.best.seed);
        for schedule in 0..self.effort.schedules.max(1) {
            let progress = Progress {
                step: self.step,
                runs: self.runs,
                size: Size::of(&self.best),
            };
            if self.runs >= self.effort.runs_max || !(self.go_on)(&progress) {
                self.stopped = true;
                return false;
            }
            self.runs += 1;
            let mut candidate = candidate.clone();
            if schedule > 0 {
                // Short seeds, since a person types them.
                candidate.seed = seeds.below(1_000_000);
            }
            if (self.run)(&candidate).as_deref() == Some(self.property) {
                self.best = candidate;
                return true;
            }
        }
        self.passed.insert(key);
        false
    }

    /// Takes away as many of `parts` as possible (ddmin): `with` makes of the best so far a
    /// candidate that has only some of them.
    pub(super) fn reduce<T: Clone>(
        &mut self,
        mut parts: Vec<T>,
        with: impl Fn(&Scenario, &[T]) -> Scenario,
    ) {
        if parts.is_empty() {
            return;
        }
        if self.offer(with(&self.best, &[])) {
            return;
        }
        let mut pieces = 2;
        while parts.len() >= 2 && !self.stopped {
            match self.reduced_once(&parts, pieces, &with) {
                Some((fewer, next)) => {
                    parts = fewer;
                    pieces = next.max(2).min(parts.len().max(2));
                }
                None if pieces < parts.len() => pieces = (pieces * 2).min(parts.len()),
                None => break,
            }
        }
    }

    /// Tries each of so many pieces alone, then each piece taken away.
    fn reduced_once<T: Clone>(
        &mut self,
        parts: &[T],
        pieces: usize,
        with: &impl Fn(&Scenario, &[T]) -> Scenario,
    ) -> Option<(Vec<T>, usize)> {
        let long = parts.len().div_ceil(pieces);
        if pieces < parts.len() || pieces == 2 {
            for piece in parts.chunks(long) {
                if self.offer(with(&self.best, piece)) {
                    return Some((piece.to_vec(), 2));
                }
            }
        }
        if pieces == 2 {
            // Two halves are each other's rest.
            return None;
        }
        for start in (0..parts.len()).step_by(long) {
            let end = (start + long).min(parts.len());
            let rest: Vec<T> = [&parts[..start], &parts[end..]].concat();
            if self.offer(with(&self.best, &rest)) {
                return Some((rest, pieces - 1));
            }
        }
        None
    }
}
