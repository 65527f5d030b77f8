//! The client against a member in the same process, on real sockets of the loopback interface,
//! and against what pretends to be one.

mod impostor;
mod leases;
mod member;
mod requests;
mod watches;
