//! What the members themselves show: equal state at equal index, one leader for each reign.

use crate::history::{MemberEvent, StateHash, TimeNs};
use crate::verdict::{Property, Violation};
use std::collections::BTreeMap;
use synod_env::MemberId;

/// Judges members.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberJudge {
    now: TimeNs,
    /// The state's hash at an index, and who had it first.
    hashes: BTreeMap<u64, (StateHash, MemberId)>,
    reigns: BTreeMap<u64, MemberId>,
    members: BTreeMap<MemberId, Member>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    applied: u64,
    reign: u64,
}

impl MemberJudge {
    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    fn violation(&self, member: MemberId, witness: &str) -> Violation {
        Violation {
            property: Property::Agreement,
            at: self.now,
            witness: format!("member {} {witness}", member.0),
        }
    }

    pub(crate) fn observe(&mut self, id: MemberId, event: MemberEvent) -> Result<(), Violation> {
        let member = self.members.entry(id).or_default();
        let before = *member;
        match event {
            MemberEvent::Started { incarnation: _ } => {
                // What it has applied was in memory only; what it promised was not. Its start
                // count begins anew with a new disk, so it says nothing here.
                member.applied = 0;
            }
            MemberEvent::Stopped => {}
            MemberEvent::Applied { index } => {
                member.applied = index;
                if index < before.applied {
                    let was = before.applied;
                    let witness = format!("has applied index {index} after {was}");
                    return Err(self.violation(id, &witness));
                }
            }
            MemberEvent::Hashed { index, hash } => {
                let (first, who) = *self.hashes.entry(index).or_insert((hash, id));
                if first != hash {
                    let witness = format!(
                        "has a state with hash {:x} at index {index}, where member {} has {:x}",
                        hash.0, who.0, first.0
                    );
                    return Err(self.violation(id, &witness));
                }
            }
            MemberEvent::Reigns { reign } => {
                member.reign = reign;
                let leader = *self.reigns.entry(reign).or_insert(id);
                if leader != id {
                    let witness = format!("leads reign {reign}, as member {} does", leader.0);
                    return Err(self.violation(id, &witness));
                }
                if reign < before.reign {
                    let witness = format!("leads reign {reign} after reign {}", before.reign);
                    return Err(self.violation(id, &witness));
                }
            }
        }
        Ok(())
    }
}
