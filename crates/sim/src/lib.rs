//! The hostile world: whole members and clients on virtual time, with every fault that has a name.
//!
//! A [`Scenario`] is plain data. Running one gives a [`Report`], the same every time; an
//! [`Observer`] is told what happens meanwhile.

pub mod coverage;
pub mod file;
pub mod minimise;
pub mod observer;
pub mod picture;
pub mod report;
pub mod scenario;

pub use observer::{Machine, Observer, Phase, Sight};
pub use report::{Operations, Report, Verdict};
pub use scenario::Scenario;
