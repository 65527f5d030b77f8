//! A member's links, from its data directory: between opening it and starting an engine on it.
//!
//! The order is a rule of safety ([`synod_protocols::peers`] has the argument): an engine starts
//! only once the disks of all founding members are on record, durably. [`Opened::link`] is the one
//! place that keeps it, for every member, alone or not.

use crate::open::Opened;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use synod_env::{Env, MemberId};
use synod_protocols::{Hello, Peers, Refused};
use synod_storage::StorageError;

/// Why a member cannot be linked with the others.
#[derive(Debug)]
pub enum LinkError {
    /// It must stay out of the cluster.
    Refused(Refused),
    /// The disks of these members are on record, and others were asked for.
    Members(BTreeSet<MemberId>),
    /// The table of disks cannot be put on record.
    Storage(StorageError),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => f.write_str("link with the other members"),
            Self::Members(recorded) => {
                let recorded: Vec<_> = recorded.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "this directory was founded in a cluster of the members {}: start it with \
                     the same list",
                    recorded.join(", ")
                )
            }
            Self::Storage(_) => f.write_str("put the members' disks on record"),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Members(_) => None,
            Self::Storage(error) => Some(error),
        }
    }
}

impl Opened {
    /// Begins to talk to the other founding members; `members` are all of them, this one
    /// included. Ends when an engine may be started: at once if the members' disks are on record,
    /// otherwise when all members are up together. Awaits disk calls, as [`crate::open()`] does.
    ///
    /// # Errors
    /// [`LinkError`]. The links of a member that is refused go on until it stops, so that the
    /// others can still be founded.
    pub async fn link(
        &mut self,
        env: &Env,
        members: &BTreeSet<MemberId>,
    ) -> Result<Peers, LinkError> {
        let identity = &mut self.identity;
        let hello = Hello {
            cluster_id: identity.cluster_id,
            member: MemberId(identity.member_id),
            disk_id: identity.disk_id,
            incarnation: identity.incarnation,
        };
        let known: Option<BTreeMap<MemberId, u128>> = identity.disks.as_ref().map(|disks| {
            let disks = disks.iter();
            disks.map(|(id, disk)| (MemberId(*id), *disk)).collect()
        });
        if let Some(known) = &known
            && !known.keys().eq(members)
        {
            return Err(LinkError::Members(known.keys().copied().collect()));
        }
        let limits = &self.prepared.shared.config.limits;
        let peers = Peers::start(env, hello, members, known, limits);
        let disks = peers.founded().await.map_err(LinkError::Refused)?;
        let disks = disks.into_iter().map(|(member, disk)| (member.0, disk));
        let recorded = identity.record_disks(env, disks.collect()).await;
        recorded.map_err(LinkError::Storage)?;
        Ok(peers)
    }
}
