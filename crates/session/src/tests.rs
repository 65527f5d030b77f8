//! Tests of several machines at once.

mod properties;
mod scenarios;
