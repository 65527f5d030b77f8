//! The state as of one applied batch, to be read by anyone for as long as they like.

use crate::command::{
    Alarm, AlarmKind, Compare, LeaseId, Operand, Order, Range, Relation, Revision, Target,
};
use crate::digest::{Digest, kind};
use crate::limit::Limits;
use crate::range::KeyRange;
use crate::record::Record;
use crate::reply::{Event, EventKind, KeyValue, RangeReply, Refusal};
use crate::tables::{ByAlarm, ByAttachment, ByKey, ByLease, ByMember, ByMoment, Lease};
use crate::tree::{Cursor, Tree};
use bytes::Bytes;
use std::cmp::Ordering;
use synod_env::MemberId;

/// An immutable view of the whole state. Making one, cloning and dropping it costs a few
/// reference counts, whatever the state's size; holding one delays nobody and keeps in memory
/// what was superseded since.
#[derive(Clone, Debug)]
pub struct Root {
    pub(crate) versions: Tree<ByKey>,
    pub(crate) events: Tree<ByMoment>,
    pub(crate) attached: Tree<ByAttachment>,
    pub(crate) leases: Tree<ByLease>,
    pub(crate) origins: Tree<ByMember>,
    pub(crate) alarms: Tree<ByAlarm>,
    pub(crate) limits: Limits,
    pub(crate) scalars: Scalars,
    /// The sum over versions, leases, origins, alarms and limits.
    pub(crate) records: Digest,
    pub(crate) index: u64,
}

/// All that is a single number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalars {
    pub(crate) revision: Revision,
    pub(crate) compact_revision: Revision,
    /// Where the removal of what compaction has made unreadable goes on; `None` when done.
    pub(crate) compaction_next: Option<(Revision, u32)>,
    /// How many events the removal looks at with each batch.
    pub(crate) compaction_step: u64,
    pub(crate) time_ms: u64,
    pub(crate) level: u32,
    pub(crate) quota_bytes: u64,
    pub(crate) reign: u64,
}

/// Encoded length of [`Scalars`].
pub(crate) const SCALARS_BYTES: usize = 65;

impl Scalars {
    /// Kind, level, and the others in the order of their declaration; a finished compaction
    /// stands as -1.0.
    pub(crate) fn encode(self) -> [u8; SCALARS_BYTES] {
        let Self {
            revision,
            compact_revision,
            compaction_next,
            compaction_step,
            time_ms,
            level,
            quota_bytes,
            reign,
        } = self;
        let (next_revision, next_sub) = compaction_next.unwrap_or((-1, 0));
        let mut bytes = [kind::SCALARS; SCALARS_BYTES];
        let mut at = 1;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&level.to_le_bytes());
        put(&revision.to_le_bytes());
        put(&compact_revision.to_le_bytes());
        put(&next_revision.to_le_bytes());
        put(&next_sub.to_le_bytes());
        put(&compaction_step.to_le_bytes());
        put(&time_ms.to_le_bytes());
        put(&quota_bytes.to_le_bytes());
        put(&reign.to_le_bytes());
        assert!(
            at == SCALARS_BYTES,
            "scalars take {at} bytes, not {SCALARS_BYTES}"
        );
        bytes
    }
}

/// History before this revision is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted(pub Revision);

impl Root {
    /// Index of the last log entry that was given to apply; 0 for none since start or load.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Revision of the key space: 1 when nothing was ever written.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.scalars.revision
    }

    /// The oldest readable revision; -1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        self.scalars.compact_revision
    }

    /// Everything that compaction has made unreadable has been removed.
    #[must_use]
    pub fn compaction_finished(&self) -> bool {
        self.scalars.compaction_next.is_none()
    }

    /// How many events compaction looks at with each batch.
    #[must_use]
    pub fn compaction_step(&self) -> u64 {
        self.scalars.compaction_step
    }

    /// Service time in milliseconds: that of the last applied batch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.scalars.time_ms
    }

    /// Which kinds of entry and which semantics are in force.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.scalars.level
    }

    /// The reign whose batches apply.
    #[must_use]
    pub fn reign(&self) -> u64 {
        self.scalars.reign
    }

    /// Incarnation and sequence of the last applied batch of `member`.
    #[must_use]
    pub fn origin_sequence(&self, member: MemberId) -> Option<(u64, u64)> {
        let last = self.origins.get(member)?;
        Some((last.incarnation, last.sequence))
    }

    /// The hash of the whole state: equal on all members that applied the same entries.
    #[must_use]
    pub fn hash(&self) -> u128 {
        let mut digest = self.records;
        digest.add(&self.scalars.encode());
        digest.0
    }

    /// Size of the state, history included: the encoded length of all versions and leases.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.versions.weight() + self.leases.weight()
    }

    /// The bound on [`Root::bytes`].
    #[must_use]
    pub fn quota_bytes(&self) -> u64 {
        self.scalars.quota_bytes
    }

    /// The alarms that are raised, by kind.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.alarms.iter().copied()
    }

    /// An alarm of this kind is raised, for whichever member.
    #[must_use]
    pub fn has_alarm(&self, kind: AlarmKind) -> bool {
        self.alarms().any(|alarm| alarm.kind == kind)
    }

    /// How many versions of keys there are, superseded ones and tombstones included.
    #[must_use]
    pub fn version_count(&self) -> usize {
        self.versions.len()
    }

    /// Reads keys, at the present or at an older revision.
    ///
    /// # Errors
    /// [`Refusal::FutureRevision`] and [`Refusal::Compacted`].
    pub fn range(&self, range: &Range) -> Result<RangeReply, Refusal> {
        self.check_revision(range.revision)?;
        Ok(self.read(range))
    }

    /// About how many bytes of records a read must pass, history included, whatever its limit. To
    /// be asked before [`Root::range`] by whoever has others waiting.
    #[must_use]
    pub fn range_bytes(&self, range: &Range) -> u64 {
        let range = KeyRange::new(&range.key, &range.range_end);
        if range.single().is_some() {
            return 0;
        }
        self.versions.weight_between(
            |(key, ..)| key < range.start(),
            |(key, ..)| !range.ends_before(key),
        )
    }

    /// For each key in `range` that existed at `revision` (0 or less for the present one), its
    /// version then, by key. Finding the first costs a search, each further one a step: for whoever
    /// reads a large range in pieces.
    ///
    /// # Errors
    /// [`Refusal::FutureRevision`] and [`Refusal::Compacted`].
    pub fn scan<'a>(
        &'a self,
        range: KeyRange<'a>,
        revision: Revision,
    ) -> Result<impl Iterator<Item = &'a Record>, Refusal> {
        self.check_revision(revision)?;
        let at = if revision > 0 {
            revision
        } else {
            self.revision()
        };
        Ok(self.live(range, at))
    }

    /// A revision of 0 or less means the present one.
    pub(crate) fn check_revision(&self, revision: Revision) -> Result<(), Refusal> {
        if revision > self.revision() {
            return Err(Refusal::FutureRevision(self.revision()));
        }
        if revision > 0 && revision < self.compact_revision() {
            return Err(Refusal::Compacted(self.compact_revision()));
        }
        Ok(())
    }

    /// Reads keys at a revision that has been checked.
    pub(crate) fn read(&self, range: &Range) -> RangeReply {
        // Inside a transaction the present includes what is written at the next revision.
        let at = if range.revision > 0 {
            range.revision
        } else {
            Revision::MAX
        };
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
        let mut live = self.live(KeyRange::new(&range.key, &range.range_end), at);
        if range.count_only {
            let count = count(live);
            return RangeReply {
                kvs: Vec::new(),
                more: false,
                count,
            };
        }
        let bounded = |number: Revision, min: Revision, max: Revision| {
            (min == 0 || number >= min) && (max == 0 || number <= max)
        };
        let wanted = |record: &&Record| {
            bounded(
                record.mod_revision(),
                range.min_mod_revision,
                range.max_mod_revision,
            ) && bounded(
                record.create_revision(),
                range.min_create_revision,
                range.max_create_revision,
            )
        };
        let by_key = range.target == Target::Key && range.order != Order::Descend;
        let bounds = [
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        // Without an order and bounds etcd reads no further than the limit, and sorts what it has
        // read: the first keys in the order of their values, say, and not those of the least.
        let stops_at_limit = by_key || (range.order == Order::None && bounds == [0; 4]);
        let mut found = Vec::new();
        let mut passed = 0;
        for record in live.by_ref() {
            passed += 1;
            if wanted(&record) {
                found.push(record);
            }
            // One more than the limit shows that there are more; the rest is only counted.
            if stops_at_limit && limit.is_some_and(|limit| found.len() > limit) {
                break;
            }
        }
        let count = passed + count(live);
        sort(&mut found, range.order, range.target);
        let more = limit.is_some_and(|limit| found.len() > limit);
        found.truncate(limit.unwrap_or(usize::MAX));
        let show = if range.keys_only {
            Record::key_only
        } else {
            Record::key_value
        };
        RangeReply {
            kvs: found.into_iter().map(show).collect(),
            more,
            count,
        }
    }

    /// The newest version of a key that is not newer than `at`, be it a tombstone.
    pub(crate) fn newest(&self, key: &[u8], at: Revision) -> Option<&Record> {
        let newest = self
            .versions
            .last_where(|other| other <= (key, at, u32::MAX))?;
        (newest.key() == key).then_some(newest)
    }

    /// The present version of a key, if the key exists.
    pub(crate) fn present(&self, key: &[u8]) -> Option<&Record> {
        self.newest(key, Revision::MAX)
            .filter(|record| !record.is_tombstone())
    }

    /// For each key in `range` that existed at revision `at`, its version then, by key.
    pub(crate) fn live<'a>(&'a self, range: KeyRange<'a>, at: Revision) -> Live<'a> {
        match range.single() {
            Some(key) => Live::Single(self.newest(key, at).filter(|record| !record.is_tombstone())),
            None => Live::Range {
                cursor: self.versions.seek(|(key, ..)| key < range.start()),
                range,
                at,
            },
        }
    }

    /// The condition holds.
    pub(crate) fn holds(&self, compare: &Compare) -> bool {
        let range = KeyRange::new(&compare.key, &compare.range_end);
        let mut live = self.live(range, Revision::MAX).peekable();
        if live.peek().is_none() {
            return field_holds(compare, None);
        }
        live.all(|record| field_holds(compare, Some(record)))
    }

    /// The changes from revision `from` on, in order: those of at most `revisions_max` revisions
    /// (at least one), each with all its changes.
    ///
    /// # Errors
    /// [`Compacted`] if `from` is below the compact revision.
    pub fn events(&self, from: Revision, revisions_max: usize) -> Result<Vec<Event>, Compacted> {
        let mut last = None;
        let mut revisions = 0;
        let history = self.history(from)?.take_while(|record| {
            if last != Some(record.mod_revision()) {
                last = Some(record.mod_revision());
                revisions += 1;
            }
            revisions <= revisions_max.max(1)
        });
        Ok(history.map(Record::event).collect())
    }

    /// The changes from revision `from` on, in order.
    ///
    /// # Errors
    /// [`Compacted`] if `from` is below the compact revision.
    pub fn history(&self, from: Revision) -> Result<impl Iterator<Item = &Record>, Compacted> {
        if from < self.compact_revision() {
            return Err(Compacted(self.compact_revision()));
        }
        Ok(self.events.seek(|(revision, _)| revision < from))
    }

    /// The pair as it was before `event`; `None` if the event made it, or if what was before is
    /// compacted.
    #[must_use]
    pub fn previous(&self, event: &Event) -> Option<KeyValue> {
        let created = match event.kind {
            EventKind::Put => event.kv.create_revision == event.kv.mod_revision,
            EventKind::Delete => false,
        };
        let before = event.kv.mod_revision - 1;
        if created || before < self.compact_revision() {
            return None;
        }
        let previous = self.newest(&event.kv.key, before)?;
        (!previous.is_tombstone()).then(|| previous.key_value())
    }

    /// The lease of that number.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        self.leases.get(id).copied()
    }

    /// All leases, by number.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        self.leases.iter().copied()
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// The keys that hang on a lease, sorted.
    pub fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = Bytes> {
        self.attached_to(id)
            .map(|record| Bytes::copy_from_slice(record.key()))
    }

    /// The live records that hang on a lease, by key.
    pub(crate) fn attached_to(&self, id: LeaseId) -> impl Iterator<Item = &Record> {
        self.attached
            .seek(|(lease, _)| lease < id)
            .take_while(move |record| record.lease() == id)
    }
}

/// See [`Root::live`].
pub(crate) enum Live<'a> {
    Single(Option<&'a Record>),
    Range {
        cursor: Cursor<'a, ByKey>,
        range: KeyRange<'a>,
        at: Revision,
    },
}

/// So many versions of a key are looked at one by one before the tree is searched.
const STEPS_BEFORE_SEEK: usize = 8;

impl<'a> Iterator for Live<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        let (cursor, range, at) = match self {
            Self::Single(record) => return record.take(),
            Self::Range { cursor, range, at } => (cursor, range, *at),
        };
        loop {
            let first = cursor.next()?;
            let key = first.key();
            if range.ends_before(key) {
                cursor.seek(|_| true);
                return None;
            }
            let mut newest = (first.mod_revision() <= at).then_some(first);
            for step in 0.. {
                let Some(record) = cursor.peek().filter(|record| record.key() == key) else {
                    break;
                };
                if record.mod_revision() <= at && step < STEPS_BEFORE_SEEK {
                    newest = Some(record);
                    cursor.next();
                    continue;
                }
                if record.mod_revision() <= at {
                    cursor.seek(|other| other <= (key, at, u32::MAX));
                    newest = cursor.previous();
                }
                cursor.seek(|(other, ..)| other <= key);
                break;
            }
            if let Some(record) = newest.filter(|record| !record.is_tombstone()) {
                return Some(record);
            }
        }
    }
}

fn count(live: Live<'_>) -> i64 {
    i64::try_from(live.count()).expect("a table holds fewer than 2^63 records")
}

/// Sorts what is in order of keys; what is equal stays in that order.
fn sort(found: &mut [&Record], order: Order, target: Target) {
    let by = |a: &&Record, b: &&Record| match target {
        Target::Key => a.key().cmp(b.key()),
        Target::Version => a.version().cmp(&b.version()),
        Target::Create => a.create_revision().cmp(&b.create_revision()),
        Target::Mod => a.mod_revision().cmp(&b.mod_revision()),
        Target::Value => a.value().cmp(b.value()),
    };
    match (order, target) {
        (Order::None | Order::Ascend, Target::Key) => {}
        (Order::Descend, Target::Key) => found.reverse(),
        (
            Order::None | Order::Ascend,
            Target::Version | Target::Create | Target::Mod | Target::Value,
        ) => found.sort_by(by),
        (Order::Descend, Target::Version | Target::Create | Target::Mod | Target::Value) => {
            found.sort_by(|a, b| by(b, a));
        }
    }
}

/// The compared field of `record` relates to the operand as asked. A missing record has all
/// numbers 0, and no value.
fn field_holds(compare: &Compare, record: Option<&Record>) -> bool {
    let number = |field: fn(&Record) -> i64| record.map_or(0, field);
    let order = match &compare.operand {
        Operand::Version(version) => number(Record::version).cmp(version),
        Operand::Create(revision) => number(Record::create_revision).cmp(revision),
        Operand::Mod(revision) => number(Record::mod_revision).cmp(revision),
        Operand::Lease(lease) => number(Record::lease).cmp(lease),
        Operand::Value(value) => match record {
            Some(record) => record.value().cmp(&value[..]),
            None => return false,
        },
    };
    match compare.relation {
        Relation::Equal => order == Ordering::Equal,
        Relation::Greater => order == Ordering::Greater,
        Relation::Less => order == Ordering::Less,
        Relation::NotEqual => order != Ordering::Equal,
    }
}
