//! Compatibility cases: what clients send, and what a real etcd answered.
//!
//! The cases are text files that people read and write; the answers in them were recorded from an
//! etcd and are committed. `cargo xtask compat --record` plays the cases against etcd and writes
//! the answers down; a test of `synod-server` plays the same cases against Synod and compares.
//! Both use this crate, and nothing that ships does.
//!
//! - [`mod@file`]: the format, from text and back;
//! - [`schema`]: the messages of `proto/`, as data: every field of every request can be said;
//! - `tokens`, `request`, `answer`: from words to messages and back;
//! - `http`, `json`: the same for the JSON gateway;
//! - [`play`]: one case against one endpoint;
//! - [`judge`]: whether an answer is the recorded one;
//! - [`report`]: how many cases there are, and which differ.

mod answer;
pub mod file;
mod http;
mod json;
pub mod judge;
pub mod play;
pub mod report;
mod request;
pub mod schema;
#[cfg(test)]
mod tests;
mod tokens;

/// A result whose failure is a sentence about a case that cannot be understood or played.
pub type Outcome<T = ()> = Result<T, String>;
