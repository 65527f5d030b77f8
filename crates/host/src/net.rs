//! Links to other members.

use bytes::Bytes;
use synod_env::net::Full;
use synod_env::{BoxFuture, Lane, MemberId, Net};

/// The network of a member that has no peers: a host cannot connect members yet, so nothing can
/// be sent and nothing ever arrives.
pub(crate) struct NoPeers;

impl Net for NoPeers {
    fn send(&self, _to: MemberId, _lane: Lane, _message: Bytes) -> Result<(), Full> {
        Err(Full)
    }

    fn receive(&self) -> BoxFuture<'_, (MemberId, Lane, Bytes)> {
        Box::pin(std::future::pending())
    }
}
