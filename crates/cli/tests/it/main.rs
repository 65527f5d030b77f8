//! The binary as a person and an operating system see it: processes, ports, signals, exit codes.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests stand outside: they have files, clocks and processes of their own"
)]

mod backup;
mod client;
mod etcd;
mod kills;
mod member;
mod readme;
mod serve;
mod tools;
