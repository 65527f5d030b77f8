//! The encoding of log entries, and the reader that all decoding goes through.
//!
//! One hand-written format, used in the log and between members. A batch begins with a header of
//! fixed size, so that the leader can stamp the service time into a batch that another member
//! encoded, see [`Batch::stamp`]:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format version |
//! | 8 | service time in milliseconds |
//! | 8 | reign |
//! | 8 | origin: member |
//! | 8 | origin: incarnation |
//! | 8 | origin: sequence |
//!
//! All fixed numbers are little-endian. Then follows the number of commands and the commands,
//! each a tag and its fields in order. Numbers there are LEB128 varints in their shortest form
//! (signed ones are zigzag-coded), byte strings are a length and the bytes, lists are a length
//! and the elements. There is one encoding for each batch: whatever decodes encodes to the same
//! bytes.
//!
//! A new kind of command takes a new tag, and is proposed only at a level that every member
//! knows; a changed layout takes a new format version.

use crate::command::{
    Alarm, AlarmKind, Batch, Command, Compare, DeleteRange, Op, Operand, Order, Origin, Put, Range,
    Relation, Target, Txn,
};
use crate::limit::{LimitChange, LimitKind};
use bytes::Bytes;
use std::fmt;
use synod_env::MemberId;

#[cfg(test)]
mod tests;

/// The only format of batches so far.
const BATCH_FORMAT: u8 = 1;

/// Where the service time stands in an encoded batch.
const TIME_AT: std::ops::Range<usize> = 1..9;

/// Transactions nested deeper than this are neither accepted nor decoded: it bounds recursion.
pub const TXN_DEPTH_MAX: usize = 128;

/// Bytes that nothing here can have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What should have been there.
    pub expected: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for Corrupt {}

impl Batch {
    /// The batch as a log entry holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Self {
            origin,
            reign,
            time_ms,
            commands,
        } = self;
        let Origin {
            member,
            incarnation,
            sequence,
        } = origin;
        let mut out = Vec::with_capacity(64);
        out.push(BATCH_FORMAT);
        for number in [*time_ms, *reign, member.0, *incarnation, *sequence] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_list(&mut out, commands, Command::write);
        Bytes::from(out)
    }

    /// Reads a log entry. Keys and values share its memory.
    ///
    /// # Errors
    /// [`Corrupt`] if [`Batch::encode`] cannot have written it.
    pub fn decode(entry: Bytes) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(entry);
        reader.format(BATCH_FORMAT, "batch format 1")?;
        let time_ms = reader.fixed_u64("service time")?;
        let reign = reader.fixed_u64("reign")?;
        let member = MemberId(reader.fixed_u64("origin member")?);
        let incarnation = reader.fixed_u64("origin incarnation")?;
        let sequence = reader.fixed_u64("origin sequence")?;
        let commands = reader.list("commands", Command::read)?;
        reader.end("the end of the batch")?;
        let origin = Origin {
            member,
            incarnation,
            sequence,
        };
        Ok(Self {
            origin,
            reign,
            time_ms,
            commands,
        })
    }

    /// The encoded batch with another service time, which the leader sets when it appends.
    ///
    /// # Panics
    /// If `entry` is too short to be an encoded batch.
    #[must_use]
    pub fn stamp(entry: &[u8], time_ms: u64) -> Bytes {
        let mut stamped = entry.to_vec();
        stamped[TIME_AT].copy_from_slice(&time_ms.to_le_bytes());
        Bytes::from(stamped)
    }
}

impl Command {
    /// How many bytes the command adds to an encoded batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut length = Length(0);
        self.write(&mut length);
        length.0
    }

    fn write(&self, out: &mut impl Sink) {
        match self {
            Self::Reign { reign } => {
                out.put(&[0]);
                put_u64(out, *reign);
            }
            Self::Put(put) => {
                out.put(&[1]);
                put.write(out);
            }
            Self::DeleteRange(delete) => {
                out.put(&[2]);
                delete.write(out);
            }
            Self::Txn(txn) => {
                out.put(&[3]);
                txn.write(out);
            }
            Self::Compact { revision } => {
                out.put(&[4]);
                put_i64(out, *revision);
            }
            Self::LeaseGrant { lease, ttl_ms } => {
                out.put(&[5]);
                put_i64(out, *lease);
                put_u64(out, *ttl_ms);
            }
            Self::LeaseRevoke { lease } => {
                out.put(&[6]);
                put_i64(out, *lease);
            }
            Self::LeaseExpire { leases } => {
                out.put(&[7]);
                put_list(out, leases, |lease, out| put_i64(out, *lease));
            }
            Self::LeaseCheckpoint { remaining } => {
                out.put(&[8]);
                put_list(out, remaining, |(lease, remaining_ms), out| {
                    put_i64(out, *lease);
                    put_u64(out, *remaining_ms);
                });
            }
            Self::SetQuota { bytes } => {
                out.put(&[9]);
                put_u64(out, *bytes);
            }
            Self::SetLevel { level } => {
                out.put(&[10]);
                put_u64(out, u64::from(*level));
            }
            Self::SetCompactionStep { events } => {
                out.put(&[11]);
                put_u64(out, *events);
            }
            Self::SetAlarm { alarm, raised } => {
                let Alarm { kind, member } = alarm;
                out.put(&[12, kind.code()]);
                put_flags(out, [*raised]);
                put_u64(out, member.0);
            }
            Self::SetLimit(change) => {
                let LimitChange {
                    kind,
                    value,
                    wall_ms,
                    by,
                } = change;
                out.put(&[13, kind.code()]);
                put_flags(out, [value.is_some()]);
                put_u64(out, value.unwrap_or(0));
                put_u64(out, *wall_ms);
                put_bytes(out, by);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let offset = reader.offset();
        Ok(match reader.u8("a command's tag")? {
            0 => Self::Reign {
                reign: reader.u64("reign")?,
            },
            1 => Self::Put(Put::read(reader)?),
            2 => Self::DeleteRange(DeleteRange::read(reader)?),
            3 => Self::Txn(Txn::read(reader, TXN_DEPTH_MAX)?),
            4 => Self::Compact {
                revision: reader.i64("compact revision")?,
            },
            5 => {
                let lease = reader.i64("lease")?;
                Self::LeaseGrant {
                    lease,
                    ttl_ms: reader.u64("TTL")?,
                }
            }
            6 => Self::LeaseRevoke {
                lease: reader.i64("lease")?,
            },
            7 => Self::LeaseExpire {
                leases: reader.list("leases", |r| r.i64("lease"))?,
            },
            8 => {
                let remaining = reader.list("checkpoints", |r| {
                    let lease = r.i64("lease")?;
                    Ok((lease, r.u64("remaining TTL")?))
                })?;
                Self::LeaseCheckpoint { remaining }
            }
            9 => Self::SetQuota {
                bytes: reader.u64("quota")?,
            },
            10 => Self::SetLevel {
                level: reader.u32("level")?,
            },
            11 => Self::SetCompactionStep {
                events: reader.u64("compaction step")?,
            },
            12 => {
                let kind = AlarmKind::read(reader)?;
                let [raised] = reader.flags("an alarm's flags")?;
                let member = MemberId(reader.u64("an alarm's member")?);
                Self::SetAlarm {
                    alarm: Alarm { kind, member },
                    raised,
                }
            }
            13 => {
                let kind = LimitKind::read(reader)?;
                let [has_value] = reader.flags("a limit's flags")?;
                let offset = reader.offset();
                let value = reader.u64("a limit's value")?;
                if !has_value && value != 0 {
                    let expected = "no value of a limit";
                    return Err(Corrupt { offset, expected });
                }
                Self::SetLimit(LimitChange {
                    kind,
                    value: has_value.then_some(value),
                    wall_ms: reader.u64("a limit's time")?,
                    by: reader.string("who changes a limit")?,
                })
            }
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "a command's tag",
                });
            }
        })
    }
}

impl AlarmKind {
    /// etcd's number of it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::NoSpace => 1,
            Self::Corrupt => 2,
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let offset = reader.offset();
        match reader.u8("an alarm's kind")? {
            1 => Ok(Self::NoSpace),
            2 => Ok(Self::Corrupt),
            _ => Err(Corrupt {
                offset,
                expected: "an alarm's kind",
            }),
        }
    }
}

impl Put {
    fn write(&self, out: &mut impl Sink) {
        let Self {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        } = self;
        put_flags(out, [*prev_kv, *ignore_value, *ignore_lease]);
        put_bytes(out, key);
        put_bytes(out, value);
        put_i64(out, *lease);
    }

    fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let [prev_kv, ignore_value, ignore_lease] = reader.flags("a put's flags")?;
        let key = reader.string("a put's key")?;
        let value = reader.string("a put's value")?;
        let lease = reader.i64("a put's lease")?;
        Ok(Self {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        })
    }
}

impl DeleteRange {
    fn write(&self, out: &mut impl Sink) {
        let Self {
            key,
            range_end,
            prev_kv,
        } = self;
        put_flags(out, [*prev_kv]);
        put_bytes(out, key);
        put_bytes(out, range_end);
    }

    fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let [prev_kv] = reader.flags("a delete's flags")?;
        let key = reader.string("a delete's key")?;
        let range_end = reader.string("a delete's range end")?;
        Ok(Self {
            key,
            range_end,
            prev_kv,
        })
    }
}

impl Range {
    fn write(&self, out: &mut impl Sink) {
        let Self {
            key,
            range_end,
            limit,
            revision,
            order,
            target,
            keys_only,
            count_only,
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        } = self;
        put_flags(out, [*keys_only, *count_only]);
        put_bytes(out, key);
        put_bytes(out, range_end);
        put_i64(out, *limit);
        put_i64(out, *revision);
        let order = match order {
            Order::None => 0,
            Order::Ascend => 1,
            Order::Descend => 2,
        };
        let target = match target {
            Target::Key => 0,
            Target::Version => 1,
            Target::Create => 2,
            Target::Mod => 3,
            Target::Value => 4,
        };
        out.put(&[order, target]);
        put_i64(out, *min_mod_revision);
        put_i64(out, *max_mod_revision);
        put_i64(out, *min_create_revision);
        put_i64(out, *max_create_revision);
    }

    fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let [keys_only, count_only] = reader.flags("a range's flags")?;
        let key = reader.string("a range's key")?;
        let range_end = reader.string("a range's end")?;
        let limit = reader.i64("a range's limit")?;
        let revision = reader.i64("a range's revision")?;
        let offset = reader.offset();
        let order = match reader.u8("a range's order")? {
            0 => Order::None,
            1 => Order::Ascend,
            2 => Order::Descend,
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "a range's order",
                });
            }
        };
        let offset = reader.offset();
        let target = match reader.u8("a range's sort target")? {
            0 => Target::Key,
            1 => Target::Version,
            2 => Target::Create,
            3 => Target::Mod,
            4 => Target::Value,
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "a range's sort target",
                });
            }
        };
        Ok(Self {
            key,
            range_end,
            limit,
            revision,
            order,
            target,
            keys_only,
            count_only,
            min_mod_revision: reader.i64("a range's least mod revision")?,
            max_mod_revision: reader.i64("a range's greatest mod revision")?,
            min_create_revision: reader.i64("a range's least create revision")?,
            max_create_revision: reader.i64("a range's greatest create revision")?,
        })
    }
}

impl Txn {
    fn write(&self, out: &mut impl Sink) {
        let Self {
            compare,
            success,
            failure,
        } = self;
        put_list(out, compare, Compare::write);
        put_list(out, success, Op::write);
        put_list(out, failure, Op::write);
    }

    /// `depth` is how many levels of transactions may yet follow, this one included.
    fn read(reader: &mut Reader, depth: usize) -> Result<Self, Corrupt> {
        let Some(below) = depth.checked_sub(1) else {
            let expected = "a transaction nested less deeply";
            return Err(Corrupt {
                offset: reader.offset(),
                expected,
            });
        };
        let compare = reader.list("compares", Compare::read)?;
        let success = reader.list("operations", |r| Op::read(r, below))?;
        let failure = reader.list("operations", |r| Op::read(r, below))?;
        Ok(Self {
            compare,
            success,
            failure,
        })
    }
}

impl Compare {
    fn write(&self, out: &mut impl Sink) {
        let Self {
            key,
            range_end,
            relation,
            operand,
        } = self;
        put_bytes(out, key);
        put_bytes(out, range_end);
        let relation = match relation {
            Relation::Equal => 0,
            Relation::Greater => 1,
            Relation::Less => 2,
            Relation::NotEqual => 3,
        };
        match operand {
            Operand::Version(version) => {
                out.put(&[relation, 0]);
                put_i64(out, *version);
            }
            Operand::Create(revision) => {
                out.put(&[relation, 1]);
                put_i64(out, *revision);
            }
            Operand::Mod(revision) => {
                out.put(&[relation, 2]);
                put_i64(out, *revision);
            }
            Operand::Value(value) => {
                out.put(&[relation, 3]);
                put_bytes(out, value);
            }
            Operand::Lease(lease) => {
                out.put(&[relation, 4]);
                put_i64(out, *lease);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let key = reader.string("a compare's key")?;
        let range_end = reader.string("a compare's range end")?;
        let offset = reader.offset();
        let relation = match reader.u8("a compare's relation")? {
            0 => Relation::Equal,
            1 => Relation::Greater,
            2 => Relation::Less,
            3 => Relation::NotEqual,
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "a compare's relation",
                });
            }
        };
        let offset = reader.offset();
        let operand = match reader.u8("a compare's field")? {
            0 => Operand::Version(reader.i64("a compare's version")?),
            1 => Operand::Create(reader.i64("a compare's create revision")?),
            2 => Operand::Mod(reader.i64("a compare's mod revision")?),
            3 => Operand::Value(reader.string("a compare's value")?),
            4 => Operand::Lease(reader.i64("a compare's lease")?),
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "a compare's field",
                });
            }
        };
        Ok(Self {
            key,
            range_end,
            relation,
            operand,
        })
    }
}

impl Op {
    fn write(&self, out: &mut impl Sink) {
        match self {
            Self::Range(range) => {
                out.put(&[0]);
                range.write(out);
            }
            Self::Put(put) => {
                out.put(&[1]);
                put.write(out);
            }
            Self::DeleteRange(delete) => {
                out.put(&[2]);
                delete.write(out);
            }
            Self::Txn(txn) => {
                out.put(&[3]);
                txn.write(out);
            }
        }
    }

    fn read(reader: &mut Reader, depth: usize) -> Result<Self, Corrupt> {
        let offset = reader.offset();
        Ok(match reader.u8("an operation's tag")? {
            0 => Self::Range(Range::read(reader)?),
            1 => Self::Put(Put::read(reader)?),
            2 => Self::DeleteRange(DeleteRange::read(reader)?),
            3 => Self::Txn(Txn::read(reader, depth)?),
            _ => {
                return Err(Corrupt {
                    offset,
                    expected: "an operation's tag",
                });
            }
        })
    }
}

/// Where encoded bytes go.
pub(crate) trait Sink {
    /// Appends.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A sink that only counts.
struct Length(usize);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// LEB128, shortest form.
pub(crate) fn put_u64(out: &mut impl Sink, mut number: u64) {
    let mut bytes = [0; 10];
    let mut length = 0;
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        bytes[length] = if number == 0 { low } else { low | 0x80 };
        length += 1;
        if number == 0 {
            out.put(&bytes[..length]);
            return;
        }
    }
}

/// Zigzag, then as [`put_u64`].
pub(crate) fn put_i64(out: &mut impl Sink, number: i64) {
    put_u64(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn put_bytes(out: &mut impl Sink, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.put(bytes);
}

fn put_flags<const N: usize>(out: &mut impl Sink, flags: [bool; N]) {
    let byte = (0..)
        .zip(flags)
        .fold(0, |byte, (bit, flag)| byte | u8::from(flag) << bit);
    out.put(&[byte]);
}

fn put_list<T, S: Sink>(out: &mut S, list: &[T], write: impl Fn(&T, &mut S)) {
    put_u64(out, list.len() as u64);
    for element in list {
        write(element, out);
    }
}

/// Reads bytes that may be anything. It never goes beyond them, and allocates no more than they
/// can hold.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    fn corrupt(&self, expected: &'static str) -> Corrupt {
        Corrupt {
            offset: self.at,
            expected,
        }
    }

    /// What is left to read.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The next `length` bytes.
    pub(crate) fn bytes(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<&[u8], Corrupt> {
        if length > self.bytes.len() - self.at {
            return Err(self.corrupt(expected));
        }
        let start = self.at;
        self.at += length;
        Ok(&self.bytes[start..self.at])
    }

    /// The next `N` bytes, without moving on.
    pub(crate) fn peek_array<const N: usize>(
        &self,
        expected: &'static str,
    ) -> Result<[u8; N], Corrupt> {
        self.rest()
            .first_chunk::<N>()
            .copied()
            .ok_or_else(|| self.corrupt(expected))
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        expected: &'static str,
    ) -> Result<[u8; N], Corrupt> {
        let array = self.peek_array(expected)?;
        self.at += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self, expected: &'static str) -> Result<u8, Corrupt> {
        Ok(self.array::<1>(expected)?[0])
    }

    pub(crate) fn format(&mut self, format: u8, expected: &'static str) -> Result<(), Corrupt> {
        if self.peek_array(expected)? != [format] {
            return Err(self.corrupt(expected));
        }
        self.at += 1;
        Ok(())
    }

    pub(crate) fn fixed_u64(&mut self, expected: &'static str) -> Result<u64, Corrupt> {
        Ok(u64::from_le_bytes(self.array(expected)?))
    }

    /// LEB128; a longer form than necessary is refused.
    pub(crate) fn u64(&mut self, expected: &'static str) -> Result<u64, Corrupt> {
        let mut number = 0;
        for (length, byte) in self.rest().iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if length == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * length);
            if byte & 0x80 == 0 {
                if bits == 0 && length > 0 {
                    break;
                }
                self.at += length + 1;
                return Ok(number);
            }
        }
        Err(self.corrupt(expected))
    }

    pub(crate) fn i64(&mut self, expected: &'static str) -> Result<i64, Corrupt> {
        let number = self.u64(expected)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn u32(&mut self, expected: &'static str) -> Result<u32, Corrupt> {
        let offset = self.at;
        u32::try_from(self.u64(expected)?).map_err(|_| Corrupt { offset, expected })
    }

    /// A byte string that shares the memory read from.
    fn string(&mut self, expected: &'static str) -> Result<Bytes, Corrupt> {
        let offset = self.at;
        let length = self.u64(expected)?;
        self.shared(length).ok_or(Corrupt { offset, expected })
    }

    /// The next bytes, sharing the memory that is read; `None` if there are not so many.
    pub(crate) fn shared(&mut self, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok()?;
        if length > self.bytes.len() - self.at {
            return None;
        }
        let start = self.at;
        self.at += length;
        Some(self.bytes.slice(start..self.at))
    }

    fn flags<const N: usize>(&mut self, expected: &'static str) -> Result<[bool; N], Corrupt> {
        let offset = self.at;
        let byte = self.u8(expected)?;
        if byte >> N != 0 {
            return Err(Corrupt { offset, expected });
        }
        Ok(std::array::from_fn(|bit| byte >> bit & 1 == 1))
    }

    fn list<T>(
        &mut self,
        expected: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Vec<T>, Corrupt> {
        let offset = self.at;
        let count = self.u64(expected)?;
        // Every element takes at least a byte: a count beyond that is wrong, and believing it
        // would be an allocation of any size.
        let count = usize::try_from(count).map_err(|_| Corrupt { offset, expected })?;
        if count > self.bytes.len() - self.at {
            return Err(Corrupt { offset, expected });
        }
        let mut list = Vec::with_capacity(count.min(1_024));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }

    pub(crate) fn end(&self, expected: &'static str) -> Result<(), Corrupt> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.corrupt(expected))
        }
    }
}
