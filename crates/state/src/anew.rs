//! A state that begins another cluster: restored from an archive, or taken over from elsewhere.
//!
//! What clients have goes on: keys, leases, and revisions that never go back. What the former
//! cluster knew of itself does not: its reigns are not later than those to come, its members and
//! their batches are not those of the new one, and its service time means nothing any more.

use crate::command::{LeaseId, Revision};
use crate::record::{Fields, Record};
use crate::root::Scalars;
use crate::state::State;
use crate::tables::{ByAttachment, ByKey, ByLease, ByMoment, LEASE_BYTES, Lease};
use crate::tree::Tree;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// The highest revision that a state may begin with. As many again are left for changes.
pub const BEGINNING_REVISION_MAX: Revision = 1 << 62;

/// How a state goes on from an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Added to the revision: more than the number of changes that the former cluster made after
    /// the archive, so that no client finds a revision that it has seen before with other content.
    pub bump_revision: u64,
    /// Forgets all history, so that watches and caches that know the former cluster are told to
    /// read anew.
    pub mark_compacted: bool,
}

/// Why a state cannot begin with what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginError {
    /// The revision would be above [`BEGINNING_REVISION_MAX`].
    RevisionTooHigh {
        /// The revision so far.
        revision: Revision,
        /// What was to be added.
        bump: u64,
    },
    /// A key that no service can have: how it is wrong.
    Key {
        /// The key.
        key: Bytes,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A lease that no service can have: how it is wrong.
    Lease {
        /// Its number.
        lease: LeaseId,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for BeginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RevisionTooHigh { revision, bump } => write!(
                f,
                "revision {revision} raised by {bump} is above {BEGINNING_REVISION_MAX}"
            ),
            Self::Key { key, what } => write!(f, "key \"{}\" {what}", key.escape_ascii()),
            Self::Lease { lease, what } => write!(f, "lease {lease:x} {what}"),
        }
    }
}

impl std::error::Error for BeginError {}

/// A key as another service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Not empty.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Revision at which it came to be.
    pub create_revision: Revision,
    /// Revision of its last change.
    pub mod_revision: Revision,
    /// Writes since its creation.
    pub version: i64,
    /// The lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

/// A lease as another service has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignLease {
    /// Its number.
    pub lease: LeaseId,
    /// How long it lives without renewal, in milliseconds.
    pub ttl_ms: u64,
}

impl State {
    /// Makes this the state that a new cluster begins with: reign 0, no origins, no alarms,
    /// service time 0, and all leases with their whole time.
    ///
    /// # Errors
    /// [`BeginError::RevisionTooHigh`]; nothing is changed then.
    pub fn begin_anew(&mut self, beginning: Beginning) -> Result<(), BeginError> {
        let Beginning {
            bump_revision,
            mark_compacted,
        } = beginning;
        let revision = raised(self.root.revision(), bump_revision)?;
        let root = &mut self.root;
        for origin in &root.origins {
            root.records.remove(&origin.encode());
        }
        root.origins = Tree::default();
        for alarm in &root.alarms {
            root.records.remove(&alarm.encode());
        }
        root.alarms = Tree::default();
        let checkpointed: Vec<Lease> = root.leases().filter(|it| it.remaining_ms > 0).collect();
        for lease in checkpointed {
            self.set_lease(Lease {
                remaining_ms: 0,
                ..lease
            });
        }
        let scalars = &mut self.root.scalars;
        *scalars = Scalars {
            revision,
            reign: 0,
            time_ms: 0,
            ..*scalars
        };
        self.root.index = 0;
        if mark_compacted && revision > self.root.compact_revision() {
            self.compact(revision)
                .expect("the present revision is neither compacted nor to come");
        }
        Ok(())
    }

    /// Makes a state of what another service has at its `revision`, without history. `keys` and
    /// `leases` may come in any order. `highest_level` is the highest level that this build knows.
    ///
    /// # Errors
    /// [`BeginError`] for what no service can have.
    pub fn from_foreign(
        revision: Revision,
        mut keys: Vec<ForeignKey>,
        mut leases: Vec<ForeignLease>,
        highest_level: u32,
    ) -> Result<Self, BeginError> {
        let revision = raised(revision, 0)?;
        leases.sort_by_key(|lease| lease.lease);
        check_leases(&leases)?;
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        check_keys(&keys, &leases, revision)?;
        let mut state = Self::new(highest_level);
        let mut records = Vec::with_capacity(keys.len());
        // Those of one revision were one transaction; in which order it wrote them is history.
        let mut places: BTreeMap<Revision, u32> = BTreeMap::new();
        for key in &keys {
            let place = places.entry(key.mod_revision).or_default();
            let fields = Fields {
                key: &key.key,
                value: &key.value,
                create_revision: key.create_revision,
                mod_revision: key.mod_revision,
                sub: *place,
                version: key.version,
                lease: key.lease,
            };
            *place += 1;
            records.push(Record::put(fields, &mut state.scratch));
        }
        drop(places);
        drop(keys);
        let Self { root, scratch, .. } = &mut state;
        for record in &records {
            root.records.add(record.encoded(scratch));
        }
        let mut attached: Vec<Record> = records
            .iter()
            .filter(|it| it.lease() != 0)
            .cloned()
            .collect();
        // Among equal leases the order of keys is there already.
        attached.sort_by_key(Record::lease);
        let mut events = records.clone();
        events.sort_by_key(Record::moment);
        root.versions = Tree::<ByKey>::from_sorted(records);
        root.events = Tree::<ByMoment>::from_sorted(events);
        root.attached = Tree::<ByAttachment>::from_sorted(attached);
        let leases = leases
            .into_iter()
            .map(|ForeignLease { lease, ttl_ms }| Lease {
                id: lease,
                ttl_ms,
                remaining_ms: 0,
            });
        let leases: Vec<Lease> = leases.collect();
        for lease in &leases {
            let encoded: [u8; LEASE_BYTES] = lease.encode();
            root.records.add(&encoded);
        }
        root.leases = Tree::<ByLease>::from_sorted(leases);
        root.scalars.revision = revision;
        root.scalars.compact_revision = revision;
        Ok(state)
    }
}

fn raised(revision: Revision, bump: u64) -> Result<Revision, BeginError> {
    revision
        .checked_add_unsigned(bump)
        .filter(|raised| (1..=BEGINNING_REVISION_MAX).contains(raised))
        .ok_or(BeginError::RevisionTooHigh { revision, bump })
}

fn check_leases(leases: &[ForeignLease]) -> Result<(), BeginError> {
    let bad = |lease, what| Err(BeginError::Lease { lease, what });
    for ForeignLease { lease, ttl_ms } in leases {
        if *lease <= 0 {
            return bad(*lease, "is not a positive number");
        }
        if *ttl_ms == 0 {
            return bad(*lease, "has no time to live");
        }
    }
    match leases
        .windows(2)
        .find(|pair| pair[0].lease == pair[1].lease)
    {
        Some(pair) => bad(pair[0].lease, "is there twice"),
        None => Ok(()),
    }
}

/// Both lists are sorted.
fn check_keys(
    keys: &[ForeignKey],
    leases: &[ForeignLease],
    revision: Revision,
) -> Result<(), BeginError> {
    let bad = |key: &ForeignKey, what| {
        let key = key.key.clone();
        Err(BeginError::Key { key, what })
    };
    for key in keys {
        if key.key.is_empty() {
            return bad(key, "is empty");
        }
        if key.create_revision <= 0 || key.create_revision > key.mod_revision {
            return bad(key, "was changed before it was made");
        }
        if key.mod_revision > revision {
            return bad(key, "was changed after the revision of the whole");
        }
        if key.version <= 0 {
            return bad(key, "exists but was never written");
        }
        let is_there = |lease| leases.binary_search_by_key(&lease, |it| it.lease).is_ok();
        if key.lease != 0 && !is_there(key.lease) {
            return bad(key, "hangs on a lease that does not exist");
        }
    }
    match keys.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => bad(&pair[0], "is there twice"),
        None => Ok(()),
    }
}
