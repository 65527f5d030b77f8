//! Doors for fuzzing to the decoders of what is on disk.
//!
//! Each takes any bytes for what a checksum protects and makes the checksum right, so that what
//! stands behind it is reached; it asserts that what was read is written and read as the same.

use crate::group::{FoundHeader, GROUP_HEADER, GroupHeader, Place};
use crate::identity::Identity;
use crate::manifest::{Chunk, ChunkId, MANIFEST_MAGIC, Manifest, decode_chunk};
use crate::segment::{self, SEGMENT_HEADER};
use crate::{identity, record};
use bytes::{BufMut as _, Bytes};

/// A record of the log.
///
/// # Panics
/// If it is not written as it was read.
pub fn record(body: &[u8]) {
    let (seed, offset) = (1, 2);
    let mut bytes = Vec::new();
    record::frame(seed, offset, &mut bytes, |into| into.put_slice(body));
    let Ok((found, _)) = record::decode(&bytes.into(), seed, offset) else {
        return;
    };
    let mut written = Vec::new();
    record::encode(&found, seed, offset, &mut written);
    let again = record::decode(&written.into(), seed, offset).map(|(record, _)| record);
    assert_eq!(again.as_ref(), Ok(&found));
}

/// A group's header, wherever in the log it is looked for.
///
/// # Panics
/// If it is not written as it was read.
pub fn group_header(bytes: &[u8]) {
    let mut header = bytes.to_vec();
    if let Some(content) = header.get(8..GROUP_HEADER as usize) {
        let checksum = crc32c::crc32c(content);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
    let Some(found) = GroupHeader::decode(&header) else {
        return;
    };
    assert_eq!(GroupHeader::decode(&found.encode()), Some(found));
    let GroupHeader { salt, place, .. } = found;
    let elsewhere = Place {
        segment: place.segment ^ 1,
        ..place
    };
    for (salt, place) in [(salt, place), (salt ^ 1, place), (salt, elsewhere)] {
        let is_at = GroupHeader::is_at(&header, salt, place, u32::MAX);
        let found = GroupHeader::find(&header, salt, place, u32::MAX);
        assert_eq!(is_at, matches!(found, FoundHeader::Group(_)));
    }
}

/// The header of a segment of the log.
///
/// # Panics
/// If it is not written as it was read.
pub fn segment_header(content: &[u8]) {
    let name = "a segment";
    let mut page = content.to_vec();
    page.resize(page.len().max(SEGMENT_HEADER as usize), 0);
    if let Ok(found) = segment::decode_header(&with_head(segment::MAGIC, &page), name) {
        let again = segment::decode_header(&found.encode(), name);
        assert!(
            again.as_ref().is_ok_and(|again| *again == found),
            "{found:?} becomes {again:?}"
        );
    }
}

/// The table of contents of a snapshot.
///
/// # Panics
/// If it is not written as it was read.
pub fn manifest(content: &[u8]) {
    let bytes = with_head(MANIFEST_MAGIC, content);
    // The file's name tells the number that stands after the format's.
    let number = content.get(4..12).and_then(|number| number.try_into().ok());
    let number = number.map_or(0, u64::from_le_bytes);
    let name = || "a manifest".to_owned();
    if let Ok(found) = Manifest::decode(&bytes, number, name()) {
        let again = Manifest::decode(&found.encode(), number, name());
        assert!(
            again.as_ref().is_ok_and(|again| *again == found),
            "{found:?} becomes {again:?}"
        );
    }
}

/// The file of a chunk of a snapshot: its first byte decides whether the manifest knows it.
///
/// # Panics
/// If anything but the content that the manifest knows is taken out of it.
pub fn chunk_file(bytes: &[u8]) {
    let Some((knows, file)) = bytes.split_first() else {
        return;
    };
    let content = file.get(32..).unwrap_or_default();
    let chunk = Chunk {
        id: ChunkId(1),
        length: u64::try_from(content.len()).expect("u64 holds a length"),
        checksum: if *knows == 0 {
            crc32c::crc32c(content)
        } else {
            0
        },
    };
    let file = Bytes::copy_from_slice(file);
    if let Ok(found) = decode_chunk(&file, &chunk, "a chunk".to_owned()) {
        assert_eq!(crc32c::crc32c(&found), chunk.checksum);
    }
}

/// What tells whose disk it is.
///
/// # Panics
/// If it is not written as it was read.
pub fn identity(content: &[u8]) {
    let name = || "the identity".to_owned();
    if let Ok(found) = Identity::decode(&with_head(identity::MAGIC, content), name()) {
        let again = Identity::decode(&found.encode(), name());
        assert!(
            again.as_ref().is_ok_and(|again| *again == found),
            "{found:?} becomes {again:?}"
        );
    }
}

fn with_head(magic: &[u8; 8], content: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.put_u32_le(crc32c::crc32c(content));
    bytes.put_slice(content);
    bytes
}
