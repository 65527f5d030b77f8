//! Tests of several machines at once.

mod scenarios;
