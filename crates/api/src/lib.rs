//! The messages and services on the wire, generated from `proto/` by `cargo xtask codegen`.
//!
//! Nothing here is written by hand. Clients are made from any tonic channel; servers implement
//! the traits. Keys and values are [`bytes::Bytes`] that share the buffer they were read from.
#![allow(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "generated code follows its generator's rules"
)]

/// Users, roles and what they may touch.
#[path = "gen/authpb.rs"]
pub mod authpb;
/// The client API of etcd, version 3.
#[path = "gen/etcdserverpb.rs"]
pub mod etcdserverpb;
/// Whether a server serves.
#[path = "gen/grpc.health.v1.rs"]
pub mod health;
/// Keys with their values, and changes of them.
#[path = "gen/mvccpb.rs"]
pub mod mvccpb;
/// Elections.
#[path = "gen/v3electionpb.rs"]
pub mod v3electionpb;
/// Locks.
#[path = "gen/v3lockpb.rs"]
pub mod v3lockpb;
