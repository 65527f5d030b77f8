//! The bytes of a snapshot's two kinds of file.

use crate::error::{Damage, StorageError, checked_head, version};
use bytes::{Buf, BufMut, Bytes};

/// The directory of snapshots.
pub(crate) const SNAPSHOT_DIR: &str = "snapshot";
/// A manifest being written.
pub(crate) const TEMPORARY_PATH: &str = "snapshot/manifest.tmp";
/// Bytes before a chunk's content.
pub(crate) const CHUNK_HEADER: usize = 8 + 4 + 4 + 8 + 8;

pub(crate) const MANIFEST_MAGIC: &[u8; 8] = b"SYNODSNP";
const CHUNK_MAGIC: &[u8; 8] = b"SYNODCHK";
/// The only format version so far.
const FORMAT_VERSION: u32 = 1;

/// Names a chunk among all that the store ever held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u64);

/// One chunk of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its name.
    pub id: ChunkId,
    /// Length of its content in bytes.
    pub length: u64,
    /// CRC32C of its content.
    pub checksum: u32,
}

/// What a snapshot says of itself beside its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The last log index that the state has applied.
    pub index: u64,
    /// The engine's own part, opaque: its place in the log and its membership. Apart from the
    /// state, so that a restore can write another one.
    pub position: Bytes,
    /// What the state needs to begin loading, opaque.
    pub header: Bytes,
}

/// A snapshot's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Counts the store's snapshots.
    pub(crate) number: u64,
    /// No chunk has had this id or a greater one.
    pub(crate) next_chunk: u64,
    pub(crate) meta: Meta,
    /// In the order in which they were added or carried.
    pub(crate) chunks: Vec<Chunk>,
}

/// The path of manifest `number`.
pub(crate) fn manifest_path(number: u64) -> String {
    format!("{SNAPSHOT_DIR}/{number:016x}.manifest")
}

/// The path of a chunk.
pub(crate) fn chunk_path(id: ChunkId) -> String {
    format!("{SNAPSHOT_DIR}/{:016x}.chunk", id.0)
}

/// What a name in the directory of snapshots stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Manifest(u64),
    Chunk(ChunkId),
    /// A manifest that was being written; of no value.
    Unfinished,
    /// Nothing of ours.
    Foreign,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        let full = format!("{SNAPSHOT_DIR}/{name}");
        if full == TEMPORARY_PATH {
            return Self::Unfinished;
        }
        let Some((number, kind)) = name.split_once('.') else {
            return Self::Foreign;
        };
        let Ok(number) = u64::from_str_radix(number, 16) else {
            return Self::Foreign;
        };
        match kind {
            "manifest" if full == manifest_path(number) => Self::Manifest(number),
            "chunk" if full == chunk_path(ChunkId(number)) => Self::Chunk(ChunkId(number)),
            _ => Self::Foreign,
        }
    }
}

impl Manifest {
    pub(crate) fn encode(&self) -> Bytes {
        let Self {
            number,
            next_chunk,
            meta:
                Meta {
                    index,
                    position,
                    header,
                },
            chunks,
        } = self;
        let mut bytes = Vec::new();
        bytes.put_slice(MANIFEST_MAGIC);
        bytes.put_u32_le(0);
        bytes.put_u32_le(FORMAT_VERSION);
        bytes.put_u64_le(*number);
        bytes.put_u64_le(*next_chunk);
        bytes.put_u64_le(*index);
        put_opaque(position, &mut bytes);
        put_opaque(header, &mut bytes);
        bytes.put_u64_le(u64::try_from(chunks.len()).expect("u64 holds a length"));
        for Chunk {
            id,
            length,
            checksum,
        } in chunks
        {
            bytes.put_u64_le(id.0);
            bytes.put_u64_le(*length);
            bytes.put_u32_le(*checksum);
        }
        seal(bytes)
    }

    pub(crate) fn decode(bytes: &[u8], number: u64, file: String) -> Result<Self, StorageError> {
        let mut rest = checked_head(bytes, MANIFEST_MAGIC, 8 + 4 + 4, &file)?;
        let found = rest.get_u32_le();
        if found != FORMAT_VERSION {
            return Err(version(file, found, FORMAT_VERSION));
        }
        let manifest = Self::decode_fields(rest).filter(|manifest| manifest.number == number);
        manifest.ok_or_else(|| {
            StorageError::Corrupt(Damage {
                file,
                offset: 16,
                expected: format!("manifest number {number}, as in the file's name"),
                found: "another number, or fields that do not add up".to_owned(),
            })
        })
    }

    fn decode_fields(mut rest: &[u8]) -> Option<Self> {
        let number = rest.try_get_u64_le().ok()?;
        let next_chunk = rest.try_get_u64_le().ok()?;
        let index = rest.try_get_u64_le().ok()?;
        let position = get_opaque(&mut rest)?;
        let header = get_opaque(&mut rest)?;
        let count = rest.try_get_u64_le().ok()?;
        let mut chunks = Vec::new();
        for _ in 0..count {
            chunks.push(Chunk {
                id: ChunkId(rest.try_get_u64_le().ok()?),
                length: rest.try_get_u64_le().ok()?,
                checksum: rest.try_get_u32_le().ok()?,
            });
        }
        let meta = Meta {
            index,
            position,
            header,
        };
        rest.is_empty().then_some(Self {
            number,
            next_chunk,
            meta,
            chunks,
        })
    }
}

/// The header of a chunk's file.
pub(crate) fn encode_chunk_header(chunk: &Chunk) -> Bytes {
    let Chunk {
        id,
        length,
        checksum,
    } = *chunk;
    let mut bytes = Vec::with_capacity(CHUNK_HEADER);
    bytes.put_slice(CHUNK_MAGIC);
    bytes.put_u32_le(checksum);
    bytes.put_u32_le(FORMAT_VERSION);
    bytes.put_u64_le(id.0);
    bytes.put_u64_le(length);
    Bytes::from(bytes)
}

/// Takes a chunk's content out of its file, if it is what the manifest says.
pub(crate) fn decode_chunk(
    bytes: &Bytes,
    chunk: &Chunk,
    file: String,
) -> Result<Bytes, StorageError> {
    let header = encode_chunk_header(chunk);
    let found = &bytes[..bytes.len().min(CHUNK_HEADER)];
    let damaged = |offset: usize, expected: String, found: String| {
        let offset = u64::try_from(offset).expect("u64 holds a length");
        StorageError::Corrupt(Damage {
            file,
            offset,
            expected,
            found,
        })
    };
    if *found != header[..] {
        let same = found
            .iter()
            .zip(&header)
            .take_while(|(found, other)| found == other)
            .count();
        let expected = format!("the header of chunk {:x}", chunk.id.0);
        return Err(damaged(same, expected, found.escape_ascii().to_string()));
    }
    let content = bytes.slice(CHUNK_HEADER..);
    if u64::try_from(content.len()) != Ok(chunk.length) {
        let expected = format!("a chunk of {} bytes", chunk.length);
        let found = format!("{} bytes", content.len());
        return Err(damaged(bytes.len(), expected, found));
    }
    let computed = crc32c::crc32c(&content);
    if computed != chunk.checksum {
        let expected = format!("content with checksum {:08x}", chunk.checksum);
        return Err(damaged(CHUNK_HEADER, expected, format!("{computed:08x}")));
    }
    Ok(content)
}

fn put_opaque(opaque: &Bytes, bytes: &mut Vec<u8>) {
    bytes.put_u64_le(u64::try_from(opaque.len()).expect("u64 holds a length"));
    bytes.put_slice(opaque);
}

fn get_opaque(rest: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(rest.try_get_u64_le().ok()?).ok()?;
    let (opaque, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Bytes::copy_from_slice(opaque))
}

/// Fills in the checksum that [`checked_head`] checks.
fn seal(mut bytes: Vec<u8>) -> Bytes {
    let checksum = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    Bytes::from(bytes)
}
