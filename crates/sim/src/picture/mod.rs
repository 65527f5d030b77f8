//! Pictures of runs: a space-time diagram in one HTML file (Lamport, CACM 1978).
//!
//! Each machine is a lane, time runs to the right, messages are arrows. [`Story`] is what is
//! shown, [`html`] shows it, and [`Gatherer`] makes one of what an [`crate::Observer`] sees.

mod gather;
mod page;
mod story;

pub use gather::Gatherer;
pub use page::html;
pub use story::{
    Band, BandKind, Bounds, Fate, Mark, MarkKind, Message, MessageKind, Operation, Outcome, Reign,
    Story, Violation,
};
