//! What etcd keeps in its database.
//!
//! | bucket | holds |
//! |---|---|
//! | `key` | every retained change: revision and place, big-endian with `_` between, and `t` behind a deletion, to the key as it was then |
//! | `lease` | leases by number |
//! | `meta` | the revision up to which it is compacted, among others |
//! | `authUsers`, `authRoles`, `alarm` | what is not taken |

use crate::bolt::{Bucket, Damaged, Database};
use crate::protobuf::{Field, fields};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use synod_state::anew::{ForeignKey, ForeignLease};
use synod_state::command::Revision;

/// A snapshot is its content and this many bytes of digest.
const DIGEST_BYTES: usize = 32;
/// A database is a multiple of this, so that a digest behind it shows.
const BLOCK_BYTES: usize = 512;
/// Length of a revision and place in the bucket `key`.
const CHANGE_BYTES: usize = 17;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The keys that exist at `revision`, sorted.
    pub keys: Vec<ForeignKey>,
    /// All leases, by number.
    pub leases: Vec<ForeignLease>,
    /// The revision of the whole.
    pub revision: Revision,
    /// What was in the file and is not here.
    pub left: Left,
    /// The file ended with a digest, which fits. A copy of etcd's database file has none.
    pub has_digest: bool,
}

/// What was not taken, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Changes of keys that were superseded.
    pub changes: usize,
    /// Keys whose lease had ended already: etcd was about to delete them.
    pub keys_without_lease: usize,
    /// Users and roles.
    pub users_and_roles: usize,
    /// Alarms.
    pub alarms: usize,
}

/// Why a file cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Its digest does not fit its content.
    Digest,
    /// It is damaged.
    Damaged(Damaged),
    /// An entry of one of etcd's buckets is none that etcd writes.
    Entry {
        /// Which bucket.
        bucket: &'static str,
        /// Under which key.
        key: Bytes,
        /// What is wrong.
        what: &'static str,
    },
    /// A bucket that every etcd has is missing.
    NoBucket(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest => f.write_str(
                "its digest does not fit: it was changed, or not copied to its end; take another \
                 copy",
            ),
            Self::Damaged(damaged) => damaged.fmt(f),
            Self::Entry { bucket, key, what } => {
                write!(f, "entry {} of bucket {bucket}: {what}", key.escape_ascii())
            }
            Self::NoBucket(bucket) => write!(f, "there is no bucket {bucket}: it is not etcd's"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<Damaged> for ReadError {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

/// Reads a file that `etcdctl snapshot save` wrote, or a copy of etcd's database file.
///
/// # Errors
/// [`ReadError`].
pub fn read(file: Bytes) -> Result<Taken, ReadError> {
    let has_digest = file.len() % BLOCK_BYTES == DIGEST_BYTES;
    let content = if has_digest {
        let end = file.len() - DIGEST_BYTES;
        if Sha256::digest(&file[..end])[..] != file[end..] {
            return Err(ReadError::Digest);
        }
        file.slice(..end)
    } else {
        file
    };
    let database = Database::open(content)?;
    let leases = leases(&required(&database, "lease")?)?;
    let mut taken = keys(&required(&database, "key")?)?;
    for marker in ["scheduledCompactRev", "finishedCompactRev"] {
        let compacted = compacted(&required(&database, "meta")?, marker)?;
        taken.revision = taken.revision.max(compacted);
    }
    let alive: BTreeSet<_> = leases.iter().map(|lease| lease.lease).collect();
    let before = taken.keys.len();
    taken
        .keys
        .retain(|key| key.lease == 0 || alive.contains(&key.lease));
    taken.left.keys_without_lease = before - taken.keys.len();
    taken.left.users_and_roles = count(&database, "authUsers")? + count(&database, "authRoles")?;
    taken.left.alarms = count(&database, "alarm")?;
    Ok(Taken {
        leases,
        has_digest,
        ..taken
    })
}

fn required<'a>(database: &'a Database, name: &'static str) -> Result<Bucket<'a>, ReadError> {
    let bucket = database.bucket(name.as_bytes())?;
    bucket.ok_or(ReadError::NoBucket(name))
}

fn count(database: &Database, name: &str) -> Result<usize, ReadError> {
    let mut count = 0;
    if let Some(bucket) = database.bucket(name.as_bytes())? {
        bucket.for_each(|_, _| {
            count += 1;
            Ok(())
        })?;
    }
    Ok(count)
}

/// All entries of a bucket, each read by `read`, which says what is wrong with one.
fn entries(
    bucket: &Bucket<'_>,
    name: &'static str,
    mut read: impl FnMut(&Bytes, Bytes) -> Result<(), &'static str>,
) -> Result<(), ReadError> {
    let mut wrong = None;
    bucket.for_each(|key, value| {
        if wrong.is_none()
            && let Err(what) = read(&key, value)
        {
            let bucket = name;
            wrong = Some(ReadError::Entry { bucket, key, what });
        }
        Ok(())
    })?;
    wrong.map_or(Ok(()), Err)
}

/// The changes of keys in order; what they leave exists.
fn keys(bucket: &Bucket<'_>) -> Result<Taken, ReadError> {
    let mut present: BTreeMap<Bytes, ForeignKey> = BTreeMap::new();
    let mut revision = 1;
    let mut changes = 0;
    entries(bucket, "key", |at, value| {
        let (changed_at, is_deletion) = change(at).ok_or("no revision")?;
        revision = revision.max(changed_at);
        changes += 1;
        if value.is_empty() {
            // Nothing but a higher revision, which a restore with a raised one leaves.
            return Ok(());
        }
        let key = key(value).ok_or("no key")?;
        if is_deletion {
            present.remove(&key.key);
        } else if key.mod_revision == changed_at {
            present.insert(key.key.clone(), key);
        } else {
            return Err("a key of another revision");
        }
        Ok(())
    })?;
    let keys: Vec<_> = present.into_values().collect();
    let left = Left {
        changes: changes - keys.len(),
        ..Left::default()
    };
    Ok(Taken {
        keys,
        leases: Vec::new(),
        revision,
        left,
        has_digest: false,
    })
}

/// Revision of a change, and whether it deletes.
fn change(at: &Bytes) -> Option<(Revision, bool)> {
    let (revision, rest) = at.split_first_chunk::<8>()?;
    let revision = Revision::try_from(u64::from_be_bytes(*revision)).ok()?;
    let is_deletion = match at.len() - CHANGE_BYTES.min(at.len()) {
        0 if at.len() == CHANGE_BYTES => false,
        1 if at.ends_with(b"t") => true,
        _ => return None,
    };
    (rest.starts_with(b"_") && revision > 0).then_some((revision, is_deletion))
}

/// A key as etcd's message `mvccpb.KeyValue` has it.
fn key(message: Bytes) -> Option<ForeignKey> {
    let mut key = ForeignKey {
        key: Bytes::new(),
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: 0,
        version: 0,
        lease: 0,
    };
    for field in fields(message)? {
        match field {
            (1, Field::Bytes(bytes)) => key.key = bytes,
            (2, Field::Number(number)) => key.create_revision = number.cast_signed(),
            (3, Field::Number(number)) => key.mod_revision = number.cast_signed(),
            (4, Field::Number(number)) => key.version = number.cast_signed(),
            (5, Field::Bytes(bytes)) => key.value = bytes,
            (6, Field::Number(number)) => key.lease = number.cast_signed(),
            (1..=6, _) => return None,
            (_, Field::Number(_) | Field::Bytes(_) | Field::Other) => {}
        }
    }
    (!key.key.is_empty()).then_some(key)
}

/// Leases, each as etcd's message `leasepb.Lease` has it.
fn leases(bucket: &Bucket<'_>) -> Result<Vec<ForeignLease>, ReadError> {
    let mut leases = Vec::new();
    entries(bucket, "lease", |_, value| {
        let (mut lease, mut ttl_s) = (0, 0);
        for field in fields(value).ok_or("no lease")? {
            match field {
                (1, Field::Number(number)) => lease = number.cast_signed(),
                (2, Field::Number(number)) => ttl_s = number,
                (_, Field::Number(_) | Field::Bytes(_) | Field::Other) => {}
            }
        }
        let ttl_ms = ttl_s.checked_mul(1_000).ok_or("a lease without end")?;
        leases.push(ForeignLease { lease, ttl_ms });
        Ok(())
    })?;
    leases.sort_by_key(|lease| lease.lease);
    Ok(leases)
}

/// A revision in the bucket `meta`; 0 if it is not there.
fn compacted(bucket: &Bucket<'_>, marker: &str) -> Result<Revision, ReadError> {
    let mut found = 0;
    entries(bucket, "meta", |key, value| {
        if key == marker.as_bytes() {
            let (revision, _) = value.split_first_chunk::<8>().ok_or("no revision")?;
            let revision = u64::from_be_bytes(*revision);
            found = Revision::try_from(revision).map_err(|_| "no revision")?;
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
