//! The state of one member, and the one way to change it.

use crate::alarm;
use crate::command::{
    Alarm, AlarmKind, Batch, Command, DeleteRange, LeaseId, Origin, Put, Revision, Txn,
};
use crate::limit::LimitKind;
use crate::range::KeyRange;
use crate::record::{Fields, Record};
use crate::reply::{Body, DeleteReply, Event, Outcome, PutReply, Refusal, Reply, TxnReply};
use crate::root::{Root, Scalars};
use crate::tables::{ByAttachment, ByKey, LEASE_BYTES, LastBatch, Lease};
use crate::tree::Layout;
use crate::txn::Path;
use synod_env::{Bug, MemberId, planted};

/// The bound on the state's size until a command sets another: 2 GiB.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;

/// How many events compaction looks at with each batch until a command sets another number.
pub const COMPACTION_STEP_DEFAULT: u64 = 1_000;

/// The replicated state, owned by whoever applies the log. Readers get a [`Root`].
#[derive(Debug)]
pub struct State {
    pub(crate) root: Root,
    highest_level: u32,
    /// Where records are put together before they get memory of their own.
    pub(crate) scratch: Vec<u8>,
}

/// What applying a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One for each command, in order; none if the batch was dropped.
    pub outcomes: Vec<Outcome>,
    /// Why the batch was dropped, if it was. It then changed nothing.
    pub dropped: Option<Dropped>,
    /// The changes of keys, in order; those of one revision stand together, see
    /// [`Applied::revisions`].
    pub events: Vec<Event>,
    /// The changes of leases, in order, for the clock that watches over them.
    pub leases: Vec<LeaseChange>,
}

impl Applied {
    /// The changes of keys, those of each revision in one slice.
    pub fn revisions(&self) -> impl Iterator<Item = &[Event]> {
        self.events
            .chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision)
    }
}

/// Why a batch was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It was made for another reign than the present one, which is given; or it begins a reign
    /// that is not later than that.
    Reign {
        /// The present reign.
        present: u64,
    },
    /// A batch of its origin with the same or a later number has been applied: it is a duplicate
    /// or comes too late.
    Sequence {
        /// Incarnation and sequence of the last applied batch of this origin.
        last: (u64, u64),
    },
    /// It begins a reign, but not with its first command or not that which it was made for.
    Malformed,
}

/// What happened to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// It was made.
    Granted {
        /// The new lease.
        lease: LeaseId,
        /// How long it lives without renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// A request ended it.
    Revoked {
        /// The former lease.
        lease: LeaseId,
    },
    /// The lease clock ended it.
    Expired {
        /// The former lease.
        lease: LeaseId,
    },
    /// What is left of it was recorded.
    Checkpointed {
        /// The lease.
        lease: LeaseId,
        /// Milliseconds left; 0 if the record was cleared.
        remaining_ms: u64,
    },
}

impl State {
    /// An empty state: revision 1, level 1, reign 0. `highest_level` is the highest level that
    /// this build knows.
    ///
    /// # Panics
    /// If `highest_level` is 0.
    #[must_use]
    pub fn new(highest_level: u32) -> Self {
        let scalars = Scalars {
            revision: 1,
            compact_revision: -1,
            compaction_next: None,
            compaction_step: COMPACTION_STEP_DEFAULT,
            time_ms: 0,
            level: 1,
            quota_bytes: QUOTA_BYTES_DEFAULT,
            reign: 0,
        };
        let root = Root {
            versions: Default::default(),
            events: Default::default(),
            attached: Default::default(),
            leases: Default::default(),
            origins: Default::default(),
            alarms: Default::default(),
            limits: Default::default(),
            scalars,
            records: Default::default(),
            index: 0,
        };
        Self::with_root(root, highest_level)
    }

    pub(crate) fn with_root(root: Root, highest_level: u32) -> Self {
        let level = root.level();
        assert!(
            level <= highest_level,
            "level {level} is above the known {highest_level}"
        );
        Self {
            root,
            highest_level,
            scratch: Vec::new(),
        }
    }

    /// The state as it is now.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root.clone()
    }

    /// Applies the batch of log entry `index`. What comes out depends on the state and the
    /// arguments only, so it is the same on every member.
    ///
    /// # Panics
    /// If `index` is not above that of the call before, or the batch raises the level above what
    /// this build knows: going on would make this member differ from the others.
    pub fn apply(&mut self, index: u64, batch: &Batch) -> Applied {
        let last = self.root.index;
        assert!(index > last, "entry {index} comes after entry {last}");
        self.root.index = index;
        let mut applied = Applied::default();
        if let Err(dropped) = self.admit(batch) {
            applied.dropped = Some(dropped);
            return applied;
        }
        applied.outcomes.reserve_exact(batch.commands.len());
        for command in &batch.commands {
            let outcome = self.execute(command, batch.origin.member, &mut applied);
            applied.outcomes.push(outcome);
        }
        self.compact_step();
        applied
    }

    /// Judges a batch by its reign and its origin, and records both and the service time.
    fn admit(&mut self, batch: &Batch) -> Result<(), Dropped> {
        let Batch {
            origin:
                Origin {
                    member,
                    incarnation,
                    sequence,
                },
            reign,
            time_ms,
            commands,
        } = batch;
        let present = self.root.reign();
        let begins = match commands.first() {
            Some(Command::Reign { reign: begun }) if begun == reign => true,
            Some(Command::Reign { .. }) => return Err(Dropped::Malformed),
            Some(_) | None => false,
        };
        if commands
            .iter()
            .skip(1)
            .any(|command| matches!(command, Command::Reign { .. }))
        {
            return Err(Dropped::Malformed);
        }
        if if begins {
            *reign <= present
        } else {
            *reign != present
        } {
            return Err(Dropped::Reign { present });
        }
        let last = self.root.origin_sequence(*member);
        let judged = !planted(Bug::ForwardAppliesTwice) && !planted(Bug::ApplyTwiceAfterRestart);
        let not_new = |last: &(u64, u64)| judged && (*incarnation, *sequence) <= *last;
        if let Some(last) = last.filter(not_new) {
            return Err(Dropped::Sequence { last });
        }
        let next = LastBatch {
            member: *member,
            incarnation: *incarnation,
            sequence: *sequence,
        };
        self.root.records.add(&next.encode());
        if let Some(last) = self.root.origins.insert(next) {
            self.root.records.remove(&last.encode());
        }
        let scalars = &mut self.root.scalars;
        scalars.reign = *reign;
        scalars.time_ms = scalars.time_ms.max(*time_ms);
        Ok(())
    }

    /// Carries out a command that `member` proposed, if the alarms let it.
    fn execute(&mut self, command: &Command, member: MemberId, applied: &mut Applied) -> Outcome {
        alarm::admits(&self.root, command)?;
        let outcome = self.carry_out(command, applied);
        if outcome == Err(Refusal::NoSpace) {
            let kind = AlarmKind::NoSpace;
            // With as many raised as can be, people look already.
            let _full = self.set_alarm(Alarm { kind, member }, true);
        }
        outcome
    }

    fn carry_out(&mut self, command: &Command, applied: &mut Applied) -> Outcome {
        let body = match command {
            // Admitted with its batch.
            Command::Reign { .. } => Body::Nothing,
            Command::Put(put) => Body::Put(self.put(put, &mut applied.events)?),
            Command::DeleteRange(delete) => {
                let mut change = self.change(&mut applied.events);
                Body::DeleteRange(change.delete(delete))
            }
            Command::Txn(txn) => Body::Txn(self.txn(txn, &mut applied.events)?),
            Command::Compact { revision } => {
                self.compact(*revision)?;
                Body::Nothing
            }
            Command::LeaseGrant { lease, ttl_ms } => {
                self.grant(*lease, *ttl_ms)?;
                applied.leases.push(LeaseChange::Granted {
                    lease: *lease,
                    ttl_ms: *ttl_ms,
                });
                Body::LeaseGrant {
                    lease: *lease,
                    ttl_ms: *ttl_ms,
                }
            }
            Command::LeaseRevoke { lease } => {
                if !self.end_lease(*lease, &mut applied.events) {
                    return Err(Refusal::LeaseNotFound);
                }
                applied.leases.push(LeaseChange::Revoked { lease: *lease });
                Body::Nothing
            }
            Command::LeaseExpire { leases } => {
                for lease in leases {
                    if self.end_lease(*lease, &mut applied.events) {
                        applied.leases.push(LeaseChange::Expired { lease: *lease });
                    }
                }
                Body::Nothing
            }
            Command::LeaseCheckpoint { remaining } => {
                for &(id, remaining_ms) in remaining {
                    let Some(lease) = self.root.lease(id) else {
                        continue;
                    };
                    self.set_lease(Lease {
                        remaining_ms,
                        ..lease
                    });
                    applied.leases.push(LeaseChange::Checkpointed {
                        lease: id,
                        remaining_ms,
                    });
                }
                Body::Nothing
            }
            Command::SetQuota { bytes } => {
                if self.root.limit(LimitKind::QuotaBytes).is_none() {
                    self.root.scalars.quota_bytes = *bytes;
                }
                Body::Nothing
            }
            Command::SetCompactionStep { events } => {
                self.root.scalars.compaction_step = (*events).max(1);
                Body::Nothing
            }
            Command::SetLevel { level } => {
                let known = self.highest_level;
                assert!(
                    *level <= known,
                    "the cluster goes to level {level}, this build to {known}"
                );
                let present = &mut self.root.scalars.level;
                *present = (*level).max(*present);
                Body::Nothing
            }
            Command::SetAlarm { alarm, raised } => Body::SetAlarm {
                changed: self.set_alarm(*alarm, *raised)?,
            },
            Command::SetLimit(change) => {
                self.set_limit(change);
                Body::Nothing
            }
        };
        Ok(Reply {
            revision: self.root.revision(),
            body,
        })
    }

    fn put(&mut self, put: &Put, events: &mut Vec<Event>) -> Result<PutReply, Refusal> {
        self.check_lease(put)?;
        let value = self.check_ignored(put)?;
        self.check_quota(Record::cost(&put.key, value))?;
        Ok(self.change(events).put(put))
    }

    /// A key can only be put on a lease that exists.
    pub(crate) fn check_lease(&self, put: &Put) -> Result<(), Refusal> {
        if put.lease != 0 && self.root.lease(put.lease).is_none() {
            return Err(Refusal::LeaseNotFound);
        }
        Ok(())
    }

    /// What is to be kept of a key must be there. Returns the value that the key will have.
    pub(crate) fn check_ignored<'a>(&'a self, put: &'a Put) -> Result<&'a [u8], Refusal> {
        if !put.ignore_value && !put.ignore_lease {
            return Ok(&put.value);
        }
        let present = self.root.present(&put.key).ok_or(Refusal::KeyNotFound)?;
        Ok(if put.ignore_value {
            present.value()
        } else {
            &put.value
        })
    }

    pub(crate) fn check_quota(&self, added: u64) -> Result<(), Refusal> {
        if self.root.bytes().saturating_add(added) > self.root.quota_bytes() {
            return Err(Refusal::NoSpace);
        }
        Ok(())
    }

    fn grant(&mut self, lease: LeaseId, ttl_ms: u64) -> Result<(), Refusal> {
        if self.root.lease(lease).is_some() {
            return Err(Refusal::LeaseExists);
        }
        self.check_quota(LEASE_BYTES as u64)?;
        self.set_lease(Lease {
            id: lease,
            ttl_ms,
            remaining_ms: 0,
        });
        Ok(())
    }

    pub(crate) fn set_lease(&mut self, lease: Lease) {
        self.root.records.add(&lease.encode());
        if let Some(old) = self.root.leases.insert(lease) {
            self.root.records.remove(&old.encode());
        }
    }

    /// Ends a lease and deletes its keys, all at one revision. False if there is no such lease.
    fn end_lease(&mut self, id: LeaseId, events: &mut Vec<Event>) -> bool {
        let Some(lease) = self.root.lease(id) else {
            return false;
        };
        let keys: Vec<Record> = self.root.attached_to(id).cloned().collect();
        let mut change = self.change(events);
        for present in &keys {
            change.tombstone(present);
        }
        drop(change);
        self.root.leases.remove(id);
        self.root.records.remove(&lease.encode());
        true
    }

    /// Begins to change keys at the next revision.
    pub(crate) fn change<'a>(&'a mut self, events: &'a mut Vec<Event>) -> Change<'a> {
        Change {
            state: self,
            events,
            sub: 0,
        }
    }

    pub(crate) fn txn(&mut self, txn: &Txn, events: &mut Vec<Event>) -> Result<TxnReply, Refusal> {
        let path = Path::decide(&self.root, txn);
        path.check(self, txn)?;
        Ok(path.run(txn, &mut self.change(events)))
    }

    /// Takes a version out of all tables. It must not be the live version of a key.
    pub(crate) fn forget(&mut self, record: &Record) {
        let root = &mut self.root;
        let by_key = root.versions.remove(ByKey::key(record));
        let by_moment = root.events.remove(record.moment());
        assert!(
            by_key.as_ref() == Some(record),
            "version {record:?} is {by_key:?} by key"
        );
        assert!(
            by_moment.as_ref() == Some(record),
            "version {record:?} is {by_moment:?} by time"
        );
        root.records.remove(record.encoded(&mut self.scratch));
    }
}

/// Changes of keys that get one revision. The revision moves when this is dropped, if anything
/// changed.
pub(crate) struct Change<'a> {
    state: &'a mut State,
    events: &'a mut Vec<Event>,
    /// Place of the next change within the revision; thus the number of changes so far.
    sub: u32,
}

impl Change<'_> {
    pub(crate) fn root(&self) -> &Root {
        &self.state.root
    }

    /// The revision as the changes so far leave it.
    pub(crate) fn revision(&self) -> Revision {
        self.state.root.revision() + Revision::from(self.sub > 0)
    }

    /// Writes a key. The caller has checked that its lease exists, and the key if something of
    /// it is to be kept.
    pub(crate) fn put(&mut self, put: &Put) -> PutReply {
        let mod_revision = self.state.root.revision() + 1;
        let previous = self.state.root.present(&put.key).cloned();
        let kept = previous.as_ref();
        let fields = Fields {
            key: &put.key,
            value: match kept {
                Some(previous) if put.ignore_value => previous.value(),
                Some(_) | None => &put.value,
            },
            create_revision: kept.map_or(mod_revision, Record::create_revision),
            mod_revision,
            sub: self.sub,
            version: kept.map_or(0, Record::version) + 1,
            lease: match kept {
                Some(previous) if put.ignore_lease => previous.lease(),
                Some(_) | None => put.lease,
            },
        };
        let record = Record::put(fields, &mut self.state.scratch);
        self.insert(record, previous.as_ref());
        PutReply {
            prev_kv: previous
                .filter(|_| put.prev_kv)
                .map(|record| record.key_value()),
        }
    }

    /// Deletes keys.
    pub(crate) fn delete(&mut self, delete: &DeleteRange) -> DeleteReply {
        let range = KeyRange::new(&delete.key, &delete.range_end);
        let found: Vec<Record> = self
            .state
            .root
            .live(range, Revision::MAX)
            .cloned()
            .collect();
        for present in &found {
            self.tombstone(present);
        }
        let deleted = i64::try_from(found.len()).expect("a table holds fewer than 2^63 records");
        let shown = if delete.prev_kv { &found[..] } else { &[] };
        DeleteReply {
            deleted,
            prev_kvs: shown.iter().map(Record::key_value).collect(),
        }
    }

    /// Deletes the key that has `present`.
    fn tombstone(&mut self, present: &Record) {
        let revision = self.state.root.revision() + 1;
        let scratch = &mut self.state.scratch;
        let record = Record::tombstone(present.key(), revision, self.sub, scratch);
        self.insert(record, Some(present));
    }

    /// Puts a new version into all tables. `previous` is what the key had before, if it existed.
    fn insert(&mut self, record: Record, previous: Option<&Record>) {
        self.sub += 1;
        self.events.push(record.event());
        let State { root, scratch, .. } = &mut *self.state;
        root.records.add(record.encoded(scratch));
        if let Some(previous) = previous
            && previous.lease() != 0
            && previous.lease() != record.lease()
        {
            root.attached.remove(ByAttachment::key(previous));
        }
        if record.lease() != 0 {
            root.attached.insert(record.clone());
        }
        root.versions.insert(record.clone());
        root.events.insert(record);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.state.root.scalars.revision = self.revision();
    }
}
