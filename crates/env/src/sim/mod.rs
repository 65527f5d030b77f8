//! The deterministic world: members on virtual time, with everything left open drawn from a seed.
//!
//! A [`Sim`] runs any number of members on one thread. Time jumps from event to event; which of
//! several tasks runs first, how long a message takes, what of an unsynced write survives a loss
//! of power: all of it follows from the seed, so that a run can be repeated. [`Nemesis`] harms the
//! members. `docs/internals/deterministic-world.md` says what is modelled and what is not.

mod choices;
mod clock;

mod disk;
mod executor;
mod faults;
mod image;
mod kernel;
mod member;
mod nemesis;
mod net;
mod state;
mod timeline;
mod trace;

pub use clock::ClockRates;
pub use disk::{DiskCounters, DiskLatency, DiskOp};
pub use faults::Faults;
pub use nemesis::{DiskCopy, Nemesis};
pub use net::LinkModel;
pub use trace::{Event, Fingerprint, Listener, Observer, What};

use self::choices::Choices;
use self::kernel::Kernel;
use self::member::MemberWorld;
use crate::{Env, MemberId, Net, Prng};
use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How a world behaves where nobody says otherwise, and when a run of it is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Every link, until the [`Nemesis`] changes it.
    pub link: LinkModel,
    /// Every disk, until the [`Nemesis`] changes it.
    pub disk: DiskLatency,
    /// Messages of one lane of one link that may be under way or wait to be taken.
    pub lane_messages_max: usize,
    /// Events after which one run is given up, so that a task that spins is found.
    pub events_max: u64,
    /// Virtual time after which [`Sim::block_on`] gives up, so that every wait ends.
    pub run_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            link: LinkModel::default(),
            disk: DiskLatency::default(),
            lane_messages_max: 1_024,
            events_max: 100_000_000,
            run_max: Duration::from_secs(3_600),
        }
    }
}

/// Why a run ended without its result. Each names the tasks that exist, with their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Every task waits and no timer or message is under way: nothing can ever happen.
    Deadlock {
        /// True time.
        at: Duration,
        /// Names of tasks.
        tasks: String,
    },
    /// [`Options::run_max`] has passed.
    Time {
        /// True time.
        at: Duration,
        /// Names of tasks.
        tasks: String,
    },
    /// [`Options::events_max`] have happened.
    Events {
        /// True time.
        at: Duration,
        /// Names of tasks.
        tasks: String,
    },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, at, tasks) = match self {
            Self::Deadlock { at, tasks } => ("nothing can happen any more", at, tasks),
            Self::Time { at, tasks } => ("the run takes longer than it may", at, tasks),
            Self::Events { at, tasks } => ("more events happened than may", at, tasks),
        };
        write!(f, "{why} at {at:?}; tasks: {tasks}")
    }
}

impl std::error::Error for Stuck {}

/// A deterministic world. Dropping it drops all members with their tasks.
pub struct Sim {
    kernel: Arc<Kernel>,
    seed: u64,
}

impl Sim {
    /// A world without faults, for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_options(seed, Options::default())
    }

    /// A world that behaves as `options` say.
    #[must_use]
    pub fn with_options(seed: u64, options: Options) -> Self {
        let choices = Choices::new(Prng::new(seed).fork());
        Self {
            kernel: Kernel::new(seed, choices, options),
            seed,
        }
    }

    /// Randomness for the workload: a function of the seed, apart from schedule and faults.
    #[must_use]
    pub fn workload(&self) -> Prng {
        let mut prng = Prng::new(!self.seed);
        prng.fork()
    }

    /// The member's world. Starts the member if it is down: for the first time, or again on what
    /// its disk still holds. An `Env` of an earlier incarnation stays dead: it starts no task,
    /// and what is awaited of it never comes.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Env {
        Env::new(self.kernel.world(id))
    }

    /// Power off, power on: [`Nemesis::crash`], then [`Sim::member`].
    #[must_use]
    pub fn restart(&self, id: MemberId) -> Env {
        self.nemesis().crash(id);
        self.member(id)
    }

    /// The one who harms members. It can be handed to a task.
    #[must_use]
    pub fn nemesis(&self) -> Nemesis {
        Nemesis::new(Arc::clone(&self.kernel))
    }

    /// The network at another port of the machine of `env`: apart from what its [`Env::net`] sends
    /// and receives at port 0, in lanes of their own, but over the same links. A message is for
    /// the same port of the receiver.
    ///
    /// # Panics
    /// If `env` is not of this world.
    #[must_use]
    pub fn net_on(&self, env: &Env, port: u16) -> Arc<dyn Net> {
        let world: &dyn Any = env.world();
        let world = world.downcast_ref::<MemberWorld>();
        let net = world.map(|world| world.net_on(port));
        let net = net.filter(|(kernel, _)| Arc::ptr_eq(kernel, &self.kernel));
        net.expect("the member is one of this world").1
    }

    /// How often each kind of fault has bitten so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.kernel.lock().faults
    }

    /// True time since the start of the world, which no member can see.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.kernel.lock().now_ns)
    }

    /// Runs the world until `future` is ready. The future is no member's: wrap it with
    /// [`Env::within`] where it needs a current world.
    ///
    /// # Errors
    /// [`Stuck`] when it can never be ready, or not within the limits of [`Options`].
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        self.kernel.block_on(future)
    }

    /// Runs the world for a time.
    ///
    /// # Errors
    /// [`Stuck::Events`].
    pub fn run_for(&self, duration: Duration) -> Result<(), Stuck> {
        self.run_until(self.now().saturating_add(duration))
    }

    /// Runs the world until true time is `at`.
    ///
    /// # Errors
    /// [`Stuck::Events`].
    pub fn run_until(&self, at: Duration) -> Result<(), Stuck> {
        self.kernel.run_until(kernel::nanos(at))
    }

    /// How many events have happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.kernel.lock().trace.events()
    }

    /// How many tasks have been started.
    #[must_use]
    pub fn tasks_started(&self) -> u64 {
        self.kernel.lock().tasks.started()
    }

    /// The fingerprint of all events so far.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.kernel.lock().trace.fingerprint()
    }

    /// Shows every event from now on to `observer`, which must not call this world.
    pub fn observe(&self, observer: impl FnMut(&Event) + Send + 'static) {
        self.kernel.lock().trace.observe(Box::new(observer));
    }

    /// Shows what every message says from now on, with its number, before the event that it was
    /// sent. `listener` must not call this world.
    pub fn listen(&self, listener: impl FnMut(u64, &Bytes) + Send + 'static) {
        self.kernel.lock().trace.listen(Box::new(listener));
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.kernel.end();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).finish()
    }
}

#[cfg(test)]
mod tests;
