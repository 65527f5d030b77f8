//! How members talk to each other.
//!
//! What the network of [`synod_env`] carries may be lost, duplicated, late, reordered and altered,
//! and a member may restart, or come back with an empty disk. [`peers`] makes sessions of that:
//! between one life of a member and one life of another, in which every message arrives at most
//! once and unaltered. The algorithm is in `link.rs`, free of input and output.

mod link;
pub mod peers;

mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod glance;
mod window;

pub use glance::{Glance, glance};
pub use link::{Hello, Life, Reason};
pub use peers::{Answer, AskError, Counters, Incoming, NotSent, Peers, Port, Refused, Service};
