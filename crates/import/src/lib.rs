//! What etcd keeps on its disk, read so that a cluster of Synod can begin with it.
//!
//! Pure: bytes in, values out. No length, offset or count in the bytes is trusted; whatever they
//! hold, reading ends, in memory of the order of the bytes, with what they mean or with where they
//! are damaged.
//!
//! [`bolt`] knows the file of pages, [`etcd`] what etcd keeps in it.

pub mod bolt;
pub mod etcd;
mod protobuf;

pub use bolt::{Damaged, Database};
pub use etcd::{ReadError, Taken, read};
