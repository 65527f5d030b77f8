//! The world as a member sees it, and the only door to it.
//!
//! Time, randomness, tasks, network and disk are reached through [`Env`] and nothing else.
//! Production gives it threads, sockets and files (crate `synod-host`); module `sim` gives it virtual
//! time, seeded choice, lossy links and faulty disks. Code that only knows `Env` can be run a
//! thousand times with the same result, and killed between any two of its steps.
//!
//! Everything here is `Send`, so that the same build serves a multi-threaded server and a
//! single-threaded simulation.

pub mod disk;
pub mod histogram;
pub mod limits;
pub mod net;
pub mod oneshot;
pub mod planted;
pub mod prng;
pub mod queue;
pub mod sim;
pub mod time;
pub mod watch;
pub mod world;

pub use disk::{Disk, File};
pub use histogram::Histogram;
pub use limits::{HistoryKeep, Limits};
pub use net::{Lane, MemberId, Net};
pub use planted::{Bug, planted};
pub use prng::Prng;
pub use time::{Elapsed, Instant, Reading, WallTime};
pub use world::{BoxFuture, Env, World, current, with_current};

#[cfg(test)]
mod probe;
