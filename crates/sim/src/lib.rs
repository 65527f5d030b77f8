//! The hostile world: whole members and clients on virtual time, with every fault that has a name.
//!
//! A [`Scenario`] is plain data. Running one gives a [`Report`], the same every time; an
//! [`Observer`] is told what happens meanwhile.

mod audit;
mod client;
mod cluster;
#[cfg(test)]
mod corpus;
pub mod coverage;
mod faults;
pub mod file;
mod life;
mod machines;
pub mod minimise;
pub mod observer;
pub mod picture;
mod promises;
mod record;
pub mod report;
mod run;
pub mod scenario;
mod server;
mod translate;
mod wire;

pub use observer::{Machine, Observer, Phase, Sight};
pub use report::{Operations, Report, Verdict};
pub use run::{run, run_observed};
pub use scenario::Scenario;

#[cfg(test)]
mod tests;
