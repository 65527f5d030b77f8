//! The messages and services on the wire, generated from `proto/` by `cargo xtask codegen`.
//!
//! Nothing here is written by hand. Clients are made from any tonic channel; servers implement
//! the traits. [`DESCRIPTORS`] says the same as data. Keys and values are [`bytes::Bytes`] that share the buffer they were read from.
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
/// What a server serves, and in which messages.
#[path = "gen/grpc.reflection.v1.rs"]
pub mod reflection;
/// The same, as it was called before.
#[path = "gen/grpc.reflection.v1alpha.rs"]
pub mod reflection_alpha;
/// What a cluster of Synod can be asked beyond etcd's API.
#[path = "gen/synodpb.rs"]
pub mod synodpb;
/// Elections.
#[path = "gen/v3electionpb.rs"]
pub mod v3electionpb;
/// Locks.
#[path = "gen/v3lockpb.rs"]
pub mod v3lockpb;

/// All messages and services as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
