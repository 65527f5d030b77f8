//! One version of a key: a single immutable allocation, as small as can be.
//!
//! All tables that show a version share the allocation, and there may be millions. So what is held
//! in memory is packed, and thin: a table holds one word for it. Layout: kind (1 byte), key length,
//! key, revision of this change, place within the revision, and for a put how long before that the
//! key was created, version and lease; then the value up to the end. Numbers are LEB128 varints. The
//! key comes early, so that comparing keys mostly touches one cache line.
//!
//! The *encoding*, which is hashed, counted against the quota and written to snapshots, has a fixed
//! number of bytes beside key and value, so that what a write costs does not depend on when it
//! comes. Layout, little-endian: kind (1 byte), key length (4), value length (4), key, revision of
//! this change (8), of the key's creation (8), version (8), lease (8), place within the revision
//! (4), value.

use crate::codec::{Corrupt, Reader, put_u64};
use crate::command::{LeaseId, Revision};
use crate::digest::kind;
use crate::reply::{Event, EventKind, KeyValue};
use bytes::Bytes;
use std::fmt;
use triomphe::ThinArc;

#[cfg(test)]
mod tests;

/// Length of kind and lengths, before the key of an encoding.
const LENGTHS_BYTES: usize = 9;
/// Length of the numbers behind the key of an encoding.
const NUMBERS_BYTES: usize = 36;
/// Bytes of an encoded record beside its key and value.
pub const RECORD_OVERHEAD_BYTES: usize = LENGTHS_BYTES + NUMBERS_BYTES;

/// A version of a key. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(ThinArc<(), u8>);

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
    /// The length of the encoding that a put of this key and value will have.
    #[must_use]
    pub fn cost(key: &[u8], value: &[u8]) -> u64 {
        (RECORD_OVERHEAD_BYTES + key.len() + value.len()) as u64
    }

    /// A version with a value. `scratch` saves an allocation; its content does not matter.
    #[must_use]
    pub fn put(fields: Fields<'_>, scratch: &mut Vec<u8>) -> Self {
        Self::build(kind::PUT, fields, scratch)
    }

    /// A version that says that the key is gone since `mod_revision`.
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
        scratch.clear();
        scratch.push(kind);
        put_u64(scratch, key.len() as u64);
        scratch.extend_from_slice(key);
        put_u64(scratch, mod_revision.cast_unsigned());
        put_u64(scratch, sub.into());
        if kind == kind::PUT {
            put_u64(scratch, (mod_revision - create_revision).cast_unsigned());
            put_u64(scratch, version.cast_unsigned());
            put_u64(scratch, lease.cast_unsigned());
        }
        scratch.extend_from_slice(value);
        Self(ThinArc::from_header_and_slice((), scratch))
    }

    /// The next record of an encoded sequence. `scratch` saves an allocation; its content does not
    /// matter.
    ///
    /// # Errors
    /// [`Corrupt`] if what is there cannot have been written by this module.
    pub(crate) fn read(reader: &mut Reader, scratch: &mut Vec<u8>) -> Result<Self, Corrupt> {
        let [kind, lengths @ ..] =
            reader.peek_array::<LENGTHS_BYTES>("a record's kind and lengths")?;
        let start = reader.offset();
        let key_bytes = u32_at(&lengths, 0);
        let total = RECORD_OVERHEAD_BYTES + key_bytes + u32_at(&lengths, 4);
        let bytes = reader.bytes(total, "a record's key, numbers and value")?;
        let (key, rest) = bytes[LENGTHS_BYTES..].split_at(key_bytes);
        let (numbers, value) = rest.split_at(NUMBERS_BYTES);
        let number = |at: usize| {
            let number = numbers[at..at + 8].try_into();
            i64::from_le_bytes(number.expect("eight bytes are eight bytes"))
        };
        let fields = Fields {
            key,
            value,
            mod_revision: number(0),
            create_revision: number(8),
            version: number(16),
            lease: number(24),
            sub: u32::from_le_bytes(numbers[32..].try_into().expect("four bytes are left")),
        };
        let plausible = match kind {
            kind::PUT => {
                fields.create_revision > 0
                    && fields.create_revision <= fields.mod_revision
                    && fields.version > 0
            }
            kind::TOMBSTONE => {
                fields.mod_revision > 0
                    && fields.create_revision == 0
                    && fields.version == 0
                    && fields.lease == 0
                    && fields.value.is_empty()
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
        Ok(Self::build(kind, fields, scratch))
    }

    /// Appends the record's encoding.
    ///
    /// # Panics
    /// If the key or the value is 4 GiB long or longer.
    pub fn write(&self, into: &mut Vec<u8>) {
        let (key, value) = (self.key(), self.value());
        let length = |part: &[u8]| {
            u32::try_from(part.len())
                .expect("a request is far smaller than 4 GiB")
                .to_le_bytes()
        };
        let numbers = self.numbers();
        into.reserve(RECORD_OVERHEAD_BYTES + key.len() + value.len());
        into.push(self.kind());
        into.extend_from_slice(&length(key));
        into.extend_from_slice(&length(value));
        into.extend_from_slice(key);
        into.extend_from_slice(&numbers.mod_revision.to_le_bytes());
        into.extend_from_slice(&numbers.create_revision.to_le_bytes());
        into.extend_from_slice(&numbers.version.to_le_bytes());
        into.extend_from_slice(&numbers.lease.to_le_bytes());
        into.extend_from_slice(&numbers.sub.to_le_bytes());
        into.extend_from_slice(value);
    }

    /// The record's encoding, made in `scratch`, whose content is lost.
    pub fn encoded<'a>(&self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        self.write(scratch);
        scratch
    }

    /// The length of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        Self::cost(self.key(), self.value())
    }

    /// It says that the key is gone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.kind() == kind::TOMBSTONE
    }

    /// Revision of this change.
    #[must_use]
    pub fn mod_revision(&self) -> Revision {
        self.moment().0
    }

    /// Revision at which the key came to be; 0 for a tombstone.
    #[must_use]
    pub fn create_revision(&self) -> Revision {
        self.numbers().create_revision
    }

    /// Writes since creation, this one included; 0 for a tombstone.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.numbers().version
    }

    /// Lease the key hangs on; 0 for none.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.numbers().lease
    }

    /// Place among the changes of its revision, from 0.
    #[must_use]
    pub fn sub(&self) -> u32 {
        self.moment().1
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key_and_rest().0
    }

    /// The value; empty for a tombstone.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.numbers_and_value().1
    }

    /// Where the change stands in history.
    #[must_use]
    pub fn moment(&self) -> (Revision, u32) {
        let mut rest = self.key_and_rest().1;
        (take_i64(&mut rest), take_u32(&mut rest))
    }

    /// Key and moment, for little more than the price of one.
    pub(crate) fn key_and_moment(&self) -> (&[u8], Revision, u32) {
        let (key, mut rest) = self.key_and_rest();
        (key, take_i64(&mut rest), take_u32(&mut rest))
    }

    /// The pair as a client sees it; for a tombstone, as a delete event shows it. It keeps this
    /// record's memory and copies nothing.
    #[must_use]
    pub fn key_value(&self) -> KeyValue {
        let bytes = Bytes::from_owner(self.clone());
        let packed = self.packed();
        let (key, rest) = self.key_and_rest();
        let key_end = packed.len() - rest.len();
        let (numbers, value) = self.numbers_and_value();
        KeyValue {
            key: bytes.slice(key_end - key.len()..key_end),
            value: bytes.slice(packed.len() - value.len()..),
            ..numbers.shown()
        }
    }

    /// As [`Record::key_value`], with the value left out.
    #[must_use]
    pub fn key_only(&self) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(self.key()),
            ..self.numbers().shown()
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

    fn packed(&self) -> &[u8] {
        &self.0.slice
    }

    fn kind(&self) -> u8 {
        self.packed()[0]
    }

    fn key_and_rest(&self) -> (&[u8], &[u8]) {
        let mut rest = &self.packed()[1..];
        let length = take_u64(&mut rest);
        rest.split_at(usize::try_from(length).expect("the key is in memory"))
    }

    fn numbers(&self) -> Numbers {
        self.numbers_and_value().0
    }

    fn numbers_and_value(&self) -> (Numbers, &[u8]) {
        let mut rest = self.key_and_rest().1;
        let mod_revision = take_i64(&mut rest);
        let sub = take_u32(&mut rest);
        let (create_revision, version, lease) = if self.is_tombstone() {
            (0, 0, 0)
        } else {
            let age = take_i64(&mut rest);
            (mod_revision - age, take_i64(&mut rest), take_i64(&mut rest))
        };
        let numbers = Numbers {
            create_revision,
            mod_revision,
            sub,
            version,
            lease,
        };
        (numbers, rest)
    }
}

/// The numbers of a record, unpacked.
struct Numbers {
    create_revision: Revision,
    mod_revision: Revision,
    sub: u32,
    version: i64,
    lease: LeaseId,
}

impl Numbers {
    /// A pair with these numbers, without key and value.
    fn shown(self) -> KeyValue {
        let Self {
            create_revision,
            mod_revision,
            sub: _,
            version,
            lease,
        } = self;
        KeyValue {
            key: Bytes::new(),
            value: Bytes::new(),
            create_revision,
            mod_revision,
            version,
            lease,
        }
    }
}

/// Takes a number off the front of what a record has packed.
fn take_u64(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (byte, behind) = rest.split_first().expect("a record has all its numbers");
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

fn take_i64(rest: &mut &[u8]) -> i64 {
    take_u64(rest).cast_signed()
}

fn take_u32(rest: &mut &[u8]) -> u32 {
    u32::try_from(take_u64(rest)).expect("a place was packed")
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("four bytes are four bytes"),
    ) as usize
}

impl AsRef<[u8]> for Record {
    /// The record as it is packed in memory.
    fn as_ref(&self) -> &[u8] {
        self.packed()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (revision, sub) = self.moment();
        let mark = if self.is_tombstone() { " deleted" } else { "" };
        write!(f, "{revision}.{sub} {}{mark}", self.key().escape_ascii())
    }
}
