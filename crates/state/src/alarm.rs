//! Alarms: what they forbid, and how they are raised and cleared.
//!
//! They follow etcd's. An alarm is part of the state, so all members obey it from the same entry
//! on. The member whose request found no room within the quota is named by the alarm that this
//! raises; from then on every request that could make the state larger is refused, however small,
//! until a person has made room and cleared it. Deleting, compacting and revoking stay allowed.

use crate::command::{ALARMS_MAX, Alarm, AlarmKind, Command, Op, Txn};
use crate::reply::Refusal;
use crate::root::Root;
use crate::state::State;

/// Refuses what the raised alarms forbid.
pub(crate) fn admits(root: &Root, command: &Command) -> Result<(), Refusal> {
    if root.alarms.is_empty() {
        return Ok(());
    }
    let effect = Effect::of(command);
    if effect >= Effect::Changes && root.has_alarm(AlarmKind::Corrupt) {
        return Err(Refusal::Corrupt);
    }
    if effect >= Effect::Grows && root.has_alarm(AlarmKind::NoSpace) {
        return Err(Refusal::NoSpace);
    }
    Ok(())
}

/// What a command may do to keys and leases at most, whichever branches it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Nothing that an alarm forbids.
    Harmless,
    /// It changes some.
    Changes,
    /// It makes the state larger.
    Grows,
}

impl Effect {
    fn of(command: &Command) -> Self {
        match command {
            Command::Put(_) | Command::LeaseGrant { .. } => Self::Grows,
            Command::Txn(txn) => Self::of_txn(txn),
            Command::DeleteRange(_) | Command::Compact { .. } | Command::LeaseRevoke { .. } => {
                Self::Changes
            }
            // Time does not stop, and whoever clears an alarm must be heard.
            Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Reign { .. }
            | Command::SetQuota { .. }
            | Command::SetCompactionStep { .. }
            | Command::SetLevel { .. }
            | Command::SetAlarm { .. }
            | Command::SetLimit(_) => Self::Harmless,
        }
    }

    fn of_txn(txn: &Txn) -> Self {
        let ops = txn.success.iter().chain(&txn.failure);
        let effects = ops.map(|op| match op {
            Op::Range(_) => Self::Harmless,
            Op::DeleteRange(_) => Self::Changes,
            Op::Put(_) => Self::Grows,
            Op::Txn(nested) => Self::of_txn(nested),
        });
        effects.max().unwrap_or(Self::Harmless)
    }
}

impl State {
    /// Raises or clears an alarm. True if that was news.
    pub(crate) fn set_alarm(&mut self, alarm: Alarm, raised: bool) -> Result<bool, Refusal> {
        let root = &mut self.root;
        let key = (alarm.kind.code(), alarm.member.0);
        if root.alarms.get(key).is_some() == raised {
            return Ok(false);
        }
        if raised {
            if root.alarms.len() >= ALARMS_MAX {
                return Err(Refusal::TooManyAlarms);
            }
            root.alarms.insert(alarm);
            root.records.add(&alarm.encode());
        } else {
            root.alarms.remove(key);
            root.records.remove(&alarm.encode());
        }
        Ok(true)
    }
}
