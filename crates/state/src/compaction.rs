//! Forgetting history, a bounded number of versions with each batch.
//!
//! The compact revision C moves at once, and with it what can be read. What nobody can read any
//! more is then removed step by step, as part of the state: every member removes the same with
//! the same batch.
//!
//! The removal walks the *superseding* changes, not the superseded: for each change up to C, in
//! order, the version of the same key before it goes; and a tombstone goes itself once it lies
//! below C. A change is passed once in its life (only those at C itself again by the next
//! compaction), so a compaction costs what happened since the last one, however many keys live
//! on. Kept are, for each key, the newest version up to C if it is live; a tombstone at C, so
//! that a watch from C still sees the deletion; and every change from C on.

use crate::command::Revision;
use crate::record::Record;
use crate::reply::Refusal;
use crate::state::State;
use crate::tables::ByKey;
use crate::tree::Layout;
use synod_env::{Bug, planted};

impl State {
    /// Makes `revision` the oldest readable one.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        let present = self.root.revision();
        let scalars = &mut self.root.scalars;
        if revision <= scalars.compact_revision {
            return Err(Refusal::Compacted(scalars.compact_revision));
        }
        if revision > present {
            return Err(Refusal::FutureRevision(present));
        }
        // Changes at the old compact revision itself were kept: they come again. A removal that
        // has not got so far goes on from where it is.
        let again = (scalars.compact_revision.max(0), 0);
        scalars.compaction_next = Some(scalars.compaction_next.map_or(again, |at| at.min(again)));
        scalars.compact_revision = revision;
        Ok(())
    }

    /// Goes on with the removal, if one is under way.
    pub(crate) fn compact_step(&mut self) {
        let Some(next) = self.root.scalars.compaction_next else {
            return;
        };
        let compact_revision = self.root.scalars.compact_revision;
        let step = usize::try_from(self.root.scalars.compaction_step).unwrap_or(usize::MAX);
        let mut changes = self
            .root
            .events
            .seek(|moment| moment < next)
            .take_while(|record| record.mod_revision() <= compact_revision)
            .cloned();
        let passed: Vec<Record> = changes.by_ref().take(step).collect();
        let rest = changes.next().map(|record| record.moment());
        drop(changes);
        for record in &passed {
            self.forget_before(record);
            let is_below = record.mod_revision() < compact_revision;
            if record.is_tombstone() && (is_below || planted(Bug::TombstoneLost)) {
                self.forget(record);
            }
        }
        self.root.scalars.compaction_next = rest;
    }

    /// Removes the versions of a key before `record`, as far as they lie below the compact
    /// revision. At most one does, since what came before was removed when that one was passed.
    fn forget_before(&mut self, record: &Record) {
        let compact_revision = self.root.scalars.compact_revision;
        let before = self
            .root
            .versions
            .last_where(|other| other < ByKey::key(record))
            .filter(|before| before.key() == record.key())
            .filter(|before| before.mod_revision() < compact_revision)
            .cloned();
        if let Some(before) = before {
            self.forget(&before);
        }
    }
}
