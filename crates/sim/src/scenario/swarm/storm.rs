//! Storms: faults that meet.
//!
//! Faults drawn one by one rarely meet within the milliseconds that matter: between a vote and its
//! sync, say, or between the recovery of one member and the failure of the next. A storm makes
//! them meet: on the same members at a time, or on one member after the other.

use super::{Draw, pick};
use crate::scenario::{
    DiskEffect, Effect, FailureModel, Fault, Link, LinkEffect, ProcessEffect, Timing, Who,
};
use std::time::Duration;

impl Draw {
    /// Draws a storm, where members may stop and come back.
    pub(super) fn storm(&mut self, faults: &mut Vec<Fault>) {
        match self.model.failure {
            FailureModel::CrashRecovery => {}
            FailureModel::CrashStop | FailureModel::Omission | FailureModel::Byzantine => return,
        }
        if self.members > 1 && self.prng.chance(1, 2) {
            self.relay(faults);
        } else {
            self.bouts(faults);
        }
    }

    /// Whether links between members may be cut, and members be late.
    fn is_late(&self) -> bool {
        self.members > 1 && self.model.timing != Timing::Synchronous
    }

    /// A time of some order of magnitude.
    fn some_time(&mut self) -> Duration {
        let most: u64 = match self.prng.below(3) {
            0 => 10,
            1 => 100,
            _ => 700,
        };
        self.millis(1, most)
    }

    /// Blow after blow, before the cluster has recovered from the one before.
    fn bouts(&mut self, faults: &mut Vec<Fault>) {
        let mut at = self.millis(300, self.run.as_millis() / 2);
        for _ in 0..3 + self.prng.below(6) {
            at += self.bout(at, faults);
            at += self.some_time();
        }
    }

    /// Trouble that makes vulnerable, and while it lasts a loss of power. Returns how long the
    /// bout lasts.
    fn bout(&mut self, at: Duration, faults: &mut Vec<Fault>) -> Duration {
        let victims = self.victims();
        let (before, lasts) = (self.some_time(), self.some_time());
        let over = Some(before + lasts);
        let mut add = |at, lasts, effect| faults.push(Fault { at, lasts, effect });
        if self.prng.chance(2, 3) {
            for who in victims.clone() {
                let effect = DiskEffect::Stall;
                add(at, over, Effect::Disk { who, effect });
            }
        }
        if self.is_late() && self.prng.chance(1, 2) {
            let who = self.member();
            match self.prng.below(3) {
                0 => {
                    let effect = ProcessEffect::Pause;
                    add(at, over, Effect::Process { who, effect });
                }
                1 => {
                    let link = Link {
                        from: vec![who],
                        to: vec![Who::OtherMembers],
                        one_way: self.prng.chance(1, 3),
                    };
                    let effect = LinkEffect::Cut;
                    add(at, over, Effect::Link { link, effect });
                }
                _ => {
                    let link = Link {
                        from: vec![Who::OtherMembers],
                        to: vec![Who::OtherMembers],
                        one_way: false,
                    };
                    let min = self.millis(0, 20);
                    let max = min + self.some_time();
                    let effect = LinkEffect::Delay { min, max };
                    add(at, over, Effect::Link { link, effect });
                }
            }
        }
        for who in victims {
            let effect = ProcessEffect::Crash { disk_operation: 0 };
            let jitter = Duration::from_micros(self.prng.below(3_000));
            let at = at + before + jitter;
            add(at, Some(lasts), Effect::Process { who, effect });
        }
        before + lasts
    }

    /// Whom a bout hits: one that has a role, some, or all.
    fn victims(&mut self) -> Vec<Who> {
        let all = 1..=self.members;
        match self.prng.below(3) {
            0 => vec![self.member()],
            1 => {
                let some = all.filter(|_| self.prng.chance(1, 2));
                some.map(Who::Member).collect()
            }
            _ => all.map(Who::Member).collect(),
        }
    }

    /// Trouble goes from member to member: the next is hit about when one recovers, or while it is
    /// still away. So those that have missed something come back when those that have not are
    /// going.
    fn relay(&mut self, faults: &mut Vec<Fault>) {
        let mut at = self.millis(300, self.run.as_millis() / 2);
        let mut member = self.number();
        let step = 1 + self.prng.below(u64::from(self.members) - 1);
        let step = u32::try_from(step).expect("members are few");
        for _ in 0..3 + self.prng.below(u64::from(self.members) * 2) {
            let lasts = self.leg(at, member, faults);
            at += lasts.saturating_sub(self.some_time());
            member = 1 + (member - 1 + step) % self.members;
        }
    }

    /// One member's turn in a relay; returns how long it is in trouble.
    fn leg(&mut self, at: Duration, member: u32, faults: &mut Vec<Fault>) -> Duration {
        let who = Who::Member(member);
        let lasts = self.millis(50, 1_200);
        let mut add = |at, lasts, effect| faults.push(Fault { at, lasts, effect });
        if self.expendable.contains(&member) && self.prng.chance(1, 2) {
            for _ in 0..=self.prng.below(3) {
                let effect = self.rot();
                add(at, None, Effect::Disk { who, effect });
            }
            // What is rotten is found when it is read.
            let lasts = self.some_time();
            let effect = ProcessEffect::Kill;
            add(at, Some(lasts), Effect::Process { who, effect });
            return lasts;
        }
        let stops = [
            ProcessEffect::Kill,
            ProcessEffect::Crash { disk_operation: 0 },
            ProcessEffect::Pause,
        ];
        let stop = pick(&mut self.prng, &stops).copied();
        match stop {
            Some(effect) if !self.is_late() || self.prng.chance(1, 2) => {
                add(at, Some(lasts), Effect::Process { who, effect });
            }
            Some(_) | None => {
                let link = Link {
                    from: vec![who],
                    to: vec![Who::OtherMembers],
                    one_way: self.prng.chance(1, 4),
                };
                let effect = LinkEffect::Cut;
                add(at, Some(lasts), Effect::Link { link, effect });
            }
        }
        lasts
    }
}
