//! One version of a key: a single immutable allocation that is its own encoding.
//!
//! The same bytes are read, hashed, counted against the quota and written to snapshots, so they
//! cannot disagree. All tables that show a version share the allocation.
//!
//! Layout, little-endian: kind (1 byte), key length (4), value length (4), key, revision of this
//! change (8), of the key's creation (8), version (8), lease (8), place within the revision (4),
//! value. The key comes early, so that comparing keys mostly touches one cache line.

use crate::codec::{Corrupt, Reader};
use crate::command::{LeaseId, Revision};
use crate::digest::kind;
use crate::reply::{Event, EventKind, KeyValue};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Where the key stands: behind kind and lengths.
const KEY_AT: usize = 9;
/// Length of the numbers behind the key.
const NUMBERS_BYTES: usize = 36;
/// Bytes of a record beside its key and value.
pub const RECORD_OVERHEAD_BYTES: usize = KEY_AT + NUMBERS_BYTES;

/// A version of a key. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(Arc<[u8]>);

/// What a record of a put is made of.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Revision at which the key came to be.
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// Place among the changes of that revision, from 0.
    pub sub: u32,
    /// Writes since creation, this one included.
    pub version: i64,
    /// Lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

impl Record {
    /// The bytes that a put of this key and value will take.
    #[must_use]
    pub fn cost(key: &[u8], value: &[u8]) -> u64 {
        (RECORD_OVERHEAD_BYTES + key.len() + value.len()) as u64
    }

    /// A version with a value. `scratch` saves an allocation; its content does not matter.
    ///
    /// # Panics
    /// If the key or the value is 4 GiB long or longer.
    #[must_use]
    pub fn put(fields: Fields<'_>, scratch: &mut Vec<u8>) -> Self {
        Self::build(kind::PUT, fields, scratch)
    }

    /// A version that says that the key is gone since `mod_revision`.
    ///
    /// # Panics
    /// If the key is 4 GiB long or longer.
    #[must_use]
    pub fn tombstone(key: &[u8], mod_revision: Revision, sub: u32, scratch: &mut Vec<u8>) -> Self {
        let fields = Fields {
            key,
            value: &[],
            create_revision: 0,
            mod_revision,
            sub,
            version: 0,
            lease: 0,
        };
        Self::build(kind::TOMBSTONE, fields, scratch)
    }

    fn build(kind: u8, fields: Fields<'_>, scratch: &mut Vec<u8>) -> Self {
        let Fields {
            key,
            value,
            create_revision,
            mod_revision,
            sub,
            version,
            lease,
        } = fields;
        let length = |part: &[u8]| {
            u32::try_from(part.len())
                .expect("a request is far smaller than 4 GiB")
                .to_le_bytes()
        };
        scratch.clear();
        scratch.push(kind);
        scratch.extend_from_slice(&length(key));
        scratch.extend_from_slice(&length(value));
        scratch.extend_from_slice(key);
        scratch.extend_from_slice(&mod_revision.to_le_bytes());
        scratch.extend_from_slice(&create_revision.to_le_bytes());
        scratch.extend_from_slice(&version.to_le_bytes());
        scratch.extend_from_slice(&lease.to_le_bytes());
        scratch.extend_from_slice(&sub.to_le_bytes());
        scratch.extend_from_slice(value);
        Self(Arc::from(scratch.as_slice()))
    }

    /// The next record of an encoded sequence.
    ///
    /// # Errors
    /// [`Corrupt`] if what is there cannot have been written by this module.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let [_, lengths @ ..] = reader.peek_array::<KEY_AT>("a record's kind and lengths")?;
        let start = reader.offset();
        let total = RECORD_OVERHEAD_BYTES + u32_at(&lengths, 0) + u32_at(&lengths, 4);
        let record = Self(Arc::from(
            reader.bytes(total, "a record's key, numbers and value")?,
        ));
        let plausible = match record.0[0] {
            kind::PUT => {
                record.create_revision() > 0
                    && record.create_revision() <= record.mod_revision()
                    && record.version() > 0
            }
            kind::TOMBSTONE => {
                record.mod_revision() > 0
                    && record.create_revision() == 0
                    && record.version() == 0
                    && record.lease() == 0
                    && record.value().is_empty()
            }
            _ => {
                return Err(Corrupt {
                    offset: start,
                    expected: "a record's kind",
                });
            }
        };
        if !plausible {
            return Err(Corrupt {
                offset: start,
                expected: "a record that a put or delete made",
            });
        }
        Ok(record)
    }

    /// The record's encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The length of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        self.0.len() as u64
    }

    /// It says that the key is gone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.0[0] == kind::TOMBSTONE
    }

    /// Revision of this change.
    #[must_use]
    pub fn mod_revision(&self) -> Revision {
        self.number(0)
    }

    /// Revision at which the key came to be; 0 for a tombstone.
    #[must_use]
    pub fn create_revision(&self) -> Revision {
        self.number(8)
    }

    /// Writes since creation, this one included; 0 for a tombstone.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.number(16)
    }

    /// Lease the key hangs on; 0 for none.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.number(24)
    }

    /// Place among the changes of its revision, from 0.
    #[must_use]
    pub fn sub(&self) -> u32 {
        let at = self.key_end() + 32;
        u32::from_le_bytes(
            self.0[at..at + 4]
                .try_into()
                .expect("four bytes are four bytes"),
        )
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0[KEY_AT..self.key_end()]
    }

    /// The value; empty for a tombstone.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.0[self.value_at()..]
    }

    /// Where the change stands in history.
    #[must_use]
    pub fn moment(&self) -> (Revision, u32) {
        (self.mod_revision(), self.sub())
    }

    /// The pair as a client sees it; for a tombstone, as a delete event shows it. It keeps this
    /// record's memory and copies nothing.
    #[must_use]
    pub fn key_value(&self) -> KeyValue {
        let bytes = Bytes::from_owner(self.clone());
        KeyValue {
            key: bytes.slice(KEY_AT..self.key_end()),
            value: bytes.slice(self.value_at()..),
            ..self.numbers()
        }
    }

    /// As [`Record::key_value`], with the value left out.
    #[must_use]
    pub fn key_only(&self) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(self.key()),
            ..self.numbers()
        }
    }

    /// The change as a watcher sees it.
    #[must_use]
    pub fn event(&self) -> Event {
        let kind = if self.is_tombstone() {
            EventKind::Delete
        } else {
            EventKind::Put
        };
        Event {
            kind,
            kv: self.key_value(),
        }
    }

    fn numbers(&self) -> KeyValue {
        KeyValue {
            key: Bytes::new(),
            value: Bytes::new(),
            create_revision: self.create_revision(),
            mod_revision: self.mod_revision(),
            version: self.version(),
            lease: self.lease(),
        }
    }

    fn key_end(&self) -> usize {
        KEY_AT + u32_at(&self.0, 1)
    }

    fn value_at(&self) -> usize {
        self.key_end() + NUMBERS_BYTES
    }

    /// The number that stands `offset` bytes after the key.
    fn number(&self, offset: usize) -> i64 {
        let at = self.key_end() + offset;
        i64::from_le_bytes(
            self.0[at..at + 8]
                .try_into()
                .expect("eight bytes are eight bytes"),
        )
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("four bytes are four bytes"),
    ) as usize
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (revision, sub) = self.moment();
        let mark = if self.is_tombstone() { " deleted" } else { "" };
        write!(f, "{revision}.{sub} {}{mark}", self.key().escape_ascii())
    }
}
