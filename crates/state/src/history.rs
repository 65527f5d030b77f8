//! One number for all that can be read of the keys: to tell whether members agree.

use crate::command::Revision;
use crate::record::Record;
use crate::reply::Refusal;
use crate::root::Root;
use xxhash_rust::xxh3::Xxh3;

/// The hash of the keys and their readable history, see [`Root::history_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryHash {
    /// The hash.
    pub hash: u32,
    /// Up to and with this revision.
    pub revision: Revision,
    /// From this one on; -1 if nothing was ever compacted.
    pub compact_revision: Revision,
}

impl Root {
    /// Hashes what can be read of the keys up to `revision` (0 or less for the present one): for
    /// each key, in order, every version that compaction keeps. Members agree on it whether or
    /// not they have yet removed what compaction has made unreadable. It takes time in proportion
    /// to all versions.
    ///
    /// The hash is the low half of XXH3-64 over the versions as snapshots hold them; it finds
    /// accidents, not adversaries.
    ///
    /// # Errors
    /// [`Refusal::FutureRevision`] and [`Refusal::Compacted`].
    pub fn history_hash(&self, revision: Revision) -> Result<HistoryHash, Refusal> {
        self.check_revision(revision)?;
        let revision = if revision > 0 {
            revision
        } else {
            self.revision()
        };
        let mut hasher = Xxh3::new();
        let mut scratch = Vec::new();
        self.for_each_retained(revision, |record| {
            hasher.update(record.encoded(&mut scratch));
        });
        let [low @ .., _, _, _, _] = hasher.digest().to_le_bytes();
        Ok(HistoryHash {
            hash: u32::from_le_bytes(low),
            revision,
            compact_revision: self.compact_revision(),
        })
    }

    /// Visits every version up to `revision` that a finished compaction leaves.
    pub(crate) fn for_each_retained(&self, revision: Revision, mut visit: impl FnMut(&Record)) {
        let compact_revision = self.compact_revision();
        // The newest version so far of the same key from before the compact revision.
        let mut below: Option<&Record> = None;
        for record in &self.versions {
            if let Some(last) = below
                && (last.key() != record.key() || record.mod_revision() > compact_revision)
            {
                below = None;
                if !last.is_tombstone() {
                    visit(last);
                }
            }
            if record.mod_revision() < compact_revision {
                below = Some(record);
                continue;
            }
            if record.mod_revision() == compact_revision {
                // What came before is not readable any more.
                below = None;
            }
            if record.mod_revision() <= revision {
                visit(record);
            }
        }
        if let Some(last) = below.filter(|last| !last.is_tombstone()) {
            visit(last);
        }
    }
}
