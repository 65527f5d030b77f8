//! Groups: records written together, in one contiguous write.
//!
//! A group starts on a sector boundary, because a sector is the largest unit that devices write
//! whole: writing the next group never touches a sector that is already durable. Its header
//! states what was durable before it was written. A group that follows therefore vouches for all
//! before it, and recovery can tell a torn tail from lost data.

use crate::record::{Bad, Framed};
use bytes::{Buf, BufMut};
use synod_env::{Bug, planted};

/// The alignment of groups, in bytes.
pub(crate) const SECTOR: u32 = 512;
/// The alignment of the end of a write, in bytes: the page of the page cache.
pub(crate) const PAGE: u32 = 4096;
/// Bytes before a group's first record.
pub(crate) const GROUP_HEADER: u32 = 64;
/// No group is longer, padding included. Recovery looks this far ahead for what follows a bad
/// group.
pub(crate) const GROUP_BYTES_MAX: u32 = 8 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"SYNg");

/// A point in the log's stream of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The segment's number.
    pub(crate) segment: u64,
    /// Bytes from the start of the segment's file.
    pub(crate) offset: u32,
}

/// What stands at the start of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// The salt of the segment's present use.
    pub(crate) salt: u64,
    /// Where the group itself stands.
    pub(crate) place: Place,
    /// Header, records and padding, in bytes; a multiple of [`SECTOR`].
    pub(crate) length: u32,
    /// Records alone, in bytes.
    pub(crate) records_length: u32,
    /// How many records.
    pub(crate) records: u32,
    /// [`chain`] over the checksums of the records, so that a record of an earlier, torn group
    /// at the same place cannot stand in for one of this group.
    pub(crate) records_checksum: u32,
    /// Everything before this point was durable when the group was written.
    pub(crate) durable: Place,
}

/// Adds a record's checksum to those of the records before it in the group.
pub(crate) fn chain(before: u32, record: Framed) -> u32 {
    crc32c::crc32c_append(before, &record.checksum.to_le_bytes())
}

/// `length` rounded up to whole sectors.
pub(crate) const fn padded(length: u32) -> u32 {
    length.div_ceil(SECTOR) * SECTOR
}

impl GroupHeader {
    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; GROUP_HEADER as usize] {
        let Self {
            salt,
            place,
            length,
            records_length,
            records,
            records_checksum,
            durable,
        } = *self;
        let mut bytes = [0; GROUP_HEADER as usize];
        let mut rest = &mut bytes[..];
        rest.put_u32_le(MAGIC);
        rest.put_u32_le(0);
        rest.put_u64_le(salt);
        rest.put_u64_le(place.segment);
        rest.put_u32_le(place.offset);
        rest.put_u32_le(length);
        rest.put_u32_le(records_length);
        rest.put_u32_le(records);
        rest.put_u32_le(records_checksum);
        rest.put_u32_le(durable.offset);
        rest.put_u64_le(durable.segment);
        let checksum = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, whoever wrote it; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..GROUP_HEADER as usize)?;
        let checksum = crc32c::crc32c(&rest[8..]);
        if rest.get_u32_le() != MAGIC || rest.get_u32_le() != checksum {
            return None;
        }
        let salt = rest.get_u64_le();
        let place = Place {
            segment: rest.get_u64_le(),
            offset: rest.get_u32_le(),
        };
        let length = rest.get_u32_le();
        let records_length = rest.get_u32_le();
        let records = rest.get_u32_le();
        let records_checksum = rest.get_u32_le();
        let durable_offset = rest.get_u32_le();
        let durable = Place {
            segment: rest.get_u64_le(),
            offset: durable_offset,
        };
        Some(Self {
            salt,
            place,
            length,
            records_length,
            records,
            records_checksum,
            durable,
        })
    }

    /// True if a whole header of this use stands at `place`. Quick, for looking at many places.
    pub(crate) fn is_at(bytes: &[u8], salt: u64, place: Place, segment_bytes: u32) -> bool {
        let is_of_this_use = bytes.get(..4) == Some(&MAGIC.to_le_bytes()[..])
            && bytes.get(8..16) == Some(&salt.to_le_bytes()[..]);
        is_of_this_use
            && matches!(
                Self::find(bytes, salt, place, segment_bytes),
                FoundHeader::Group(_)
            )
    }

    /// Finds out what stands at `place` of a segment used with `salt` whose file has
    /// `segment_bytes` bytes.
    pub(crate) fn find(bytes: &[u8], salt: u64, place: Place, segment_bytes: u32) -> FoundHeader {
        let ours = |header: &Self| {
            let place_matches = if planted(Bug::RecycledRecordAccepted) {
                header.place.offset == place.offset
            } else {
                header.place == place
            };
            header.salt == salt && place_matches
        };
        match Self::decode(bytes) {
            Some(header) if ours(&header) => {
                let Self {
                    length,
                    records_length,
                    ..
                } = header;
                let fits = length <= GROUP_BYTES_MAX
                    && length.is_multiple_of(SECTOR)
                    && place
                        .offset
                        .checked_add(length)
                        .is_some_and(|end| end <= segment_bytes)
                    && records_length
                        .checked_add(GROUP_HEADER)
                        .is_some_and(|end| end <= length);
                if fits {
                    FoundHeader::Group(header)
                } else {
                    FoundHeader::Damaged(Bad::new(
                        format!("a group of at most {GROUP_BYTES_MAX} bytes within the file"),
                        format!("{length} bytes of which {records_length} are records"),
                    ))
                }
            }
            Some(stale) => FoundHeader::End(Bad::new(
                format!("a group header with salt {salt:016x}"),
                format!(
                    "one with salt {:016x} for byte {}",
                    stale.salt, stale.place.offset
                ),
            )),
            None => {
                let start = bytes.get(..16).unwrap_or(bytes);
                let bad = Bad::new(
                    format!("a group header with salt {salt:016x}"),
                    format!("bytes {}", hex(start)),
                );
                // The magic and the salt of this use: the rest has been hit.
                let is_of_this_use = start.len() == 16
                    && start[..4] == MAGIC.to_le_bytes()
                    && start[8..] == salt.to_le_bytes();
                if is_of_this_use {
                    FoundHeader::Damaged(bad)
                } else {
                    FoundHeader::End(bad)
                }
            }
        }
    }
}

/// What stands where a group's header might.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoundHeader {
    /// A header of this use of the segment.
    Group(GroupHeader),
    /// Something of this use that is not whole.
    Damaged(Bad),
    /// Nothing of this use: zeros, remains of the segment's former use, or anything.
    End(Bad),
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
