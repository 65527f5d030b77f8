//! openraft behind the engine seam: the one crate that knows openraft.
//!
//! [`start`] turns a log of `synod-storage` and a [`synod_log::Machine`] into a
//! [`synod_log::Engine`]. Time, tasks and randomness come from [`synod_env`] only, so that the
//! engine runs, bit for bit the same, in production and in the deterministic world.
//!
//! How a batch walks through here: [`proposals`] queues it with openraft; openraft's core gives it
//! a place in the log and hands it to [`storage`]; the log's own thread makes it durable and
//! reports back, while [`network`] brings it to the followers, where [`serving`] does the same
//! and answers; the core then lets its worker read it and give it to the machine in [`machine`],
//! after which the one who proposed it is answered.

mod beginning;
mod config;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod machine;
mod network;
mod proposals;
mod rounds;
mod runtime;
mod serving;
mod status;
mod storage;
mod turn;
mod types;
mod wire;

pub use beginning::beginning;
pub use config::Config;
pub use engine::{StartError, start};
pub use wire::{Topic, describe, describe_appended};
