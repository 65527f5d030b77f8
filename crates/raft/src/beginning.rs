//! The engine's part of a snapshot that a cluster begins with, instead of an empty log.

use crate::types::{Membership, Position, StoredMembership, log_id, seam_index_of};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use synod_env::MemberId;
use synod_log::Index;

/// The entry that such a snapshot ends with. It is the second: the log of a founding member that
/// was not given the snapshot has only the first, so that one can neither lead those that were nor
/// go on without getting the snapshot from them.
const AT: Index = Index(2);

/// Where a snapshot stands that a cluster of `members` begins with, all of them voters, and what
/// goes beside it for the engine. No epoch has begun there.
///
/// # Panics
/// If there is no member.
#[must_use]
pub fn beginning(members: &BTreeSet<MemberId>) -> (Index, Bytes) {
    let ids: BTreeSet<u64> = members.iter().map(|member| member.0).collect();
    let everybody: BTreeMap<u64, ()> = ids.iter().map(|id| (*id, ())).collect();
    let membership = Membership::new(vec![ids], everybody)
        .unwrap_or_else(|error| panic!("a cluster of {members:?} cannot begin: {error}"));
    let applied = log_id(0, AT);
    let position = Position {
        applied,
        membership: StoredMembership::new(applied, membership),
    };
    (seam_index_of(applied.as_ref()), position.encode())
}
