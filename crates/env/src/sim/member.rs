//! The world as a member sees it.

use super::clock::Clocks;
use super::disk::SimDisk;
use super::kernel::Kernel;
use super::net::SimNet;
use super::state::Life;
use super::timeline::{Moment, Sleep};
use crate::{BoxFuture, Disk, Instant, Net, Reading, WallTime, World};
use std::sync::Arc;

/// The world of one incarnation of a member.
pub(super) struct MemberWorld {
    pub(super) kernel: Arc<Kernel>,
    pub(super) life: Life,
    pub(super) disk: Arc<SimDisk>,
    pub(super) net: Arc<SimNet>,
}

impl MemberWorld {
    /// The network at a port of this machine, and the world it is of.
    pub(super) fn net_on(&self, port: u16) -> (&Arc<Kernel>, Arc<SimNet>) {
        let net = Arc::new(SimNet {
            kernel: Arc::clone(&self.kernel),
            life: self.life,
            port,
        });
        (&self.kernel, net)
    }

    fn clocks<T>(&self, look: impl FnOnce(&Clocks, u64) -> T) -> T {
        let state = self.kernel.lock();
        look(&state.members[self.life.member].clocks, state.now_ns)
    }
}

impl World for MemberWorld {
    fn now(&self) -> Instant {
        self.clocks(Clocks::now)
    }

    fn clock(&self) -> Reading {
        self.clocks(Clocks::reading)
    }

    fn wall(&self) -> WallTime {
        let mut state = self.kernel.lock();
        let state = &mut *state;
        let clocks = &state.members[self.life.member].clocks;
        state.faults.wall_misread += u64::from(clocks.wall_was_set);
        clocks.wall(state.now_ns)
    }

    fn random(&self) -> u64 {
        let mut state = self.kernel.lock();
        state.members[self.life.member].random.next_u64()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let kernel = Arc::clone(&self.kernel);
        Box::pin(Sleep::new(kernel, self.life, Moment::Local(at)))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let mut state = self.kernel.lock();
        if state.is_alive(self.life) {
            let member = self.life.member;
            state.tasks.spawn(&self.kernel, member, name, task);
        } else {
            drop(state);
            drop(task);
        }
    }

    fn spawn_dedicated(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.spawn(name, task);
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }

    fn net(&self) -> Arc<dyn Net> {
        Arc::clone(&self.net) as Arc<dyn Net>
    }
}
