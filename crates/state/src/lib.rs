//! What is replicated: keys with their history, leases, reigns and origins.
//!
//! Pure: `State::apply` takes a batch and returns a value. It cannot fail, wait, look at a
//! clock, or iterate a hash map; a refusal is part of the replicated answer.

pub mod command;
pub mod reply;
