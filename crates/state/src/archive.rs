//! The state as one stream of bytes, to be kept outside a member.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `synod snapshot`, 0, format (1) |
//! | 8 + n | length of the header, the header |
//! | 8 + n, for each chunk | length of the chunk, the chunk |
//! | 8 | 0 |
//! | | zeros up to a multiple of 512 |
//!
//! Lengths are little-endian. Header and chunks are as in a member's own snapshots, and have their
//! own checks. Whoever sends an archive may put a digest of it behind it: what follows the padding
//! is not looked at here.

use crate::codec::{Corrupt, Reader};
use crate::root::Root;
use crate::snapshot::Chunk;
use bytes::Bytes;

/// With these bytes every archive begins.
pub const MAGIC: &[u8; 15] = b"synod snapshot\0";
const FORMAT: u8 = 1;
/// Archives are padded to a multiple of this, as the files are that etcd's tools expect.
const BLOCK_BYTES: u64 = 512;

/// An archive that is yet to be written.
#[derive(Clone, Debug)]
pub struct Archive {
    header: Bytes,
    chunks: Vec<Chunk>,
}

impl Archive {
    /// Of the state as it is in `root`. `chunk_bytes` is about the length of one part.
    #[must_use]
    pub fn new(root: &Root, chunk_bytes: usize) -> Self {
        Self {
            header: root.header(),
            chunks: root.chunks(chunk_bytes),
        }
    }

    /// How many bytes it will have: a multiple of 512.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        self.content_len().next_multiple_of(BLOCK_BYTES)
    }

    fn content_len(&self) -> u64 {
        let chunks = self.chunks.iter().map(|chunk| 8 + chunk.encoded_len());
        let magic = MAGIC.len() as u64 + 1;
        magic + 8 + self.header.len() as u64 + chunks.sum::<u64>() + 8
    }

    /// Its bytes in pieces, each made when it is asked for.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> + Send {
        let padding = self.encoded_len() - self.content_len();
        let padding = usize::try_from(padding).expect("less than a block");
        let Self { header, chunks } = self;
        let mut start = MAGIC.to_vec();
        start.push(FORMAT);
        start.extend_from_slice(&with_length(&header));
        let end = vec![0; 8 + padding];
        std::iter::once(start.into())
            .chain(
                chunks
                    .into_iter()
                    .map(|chunk| with_length(&chunk.encode()).into()),
            )
            .chain(std::iter::once(end.into()))
    }
}

fn with_length(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + part.len());
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
    out
}

/// What an archive holds, for [`State::load`](crate::State::load).
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The state's header.
    pub header: Bytes,
    /// Its chunks, to be decoded.
    pub chunks: Vec<Bytes>,
}

impl Unpacked {
    /// Takes an archive apart. Copies nothing.
    ///
    /// # Errors
    /// [`Corrupt`] if it is none, or is cut short. Whether the parts are sound is found out when
    /// they are decoded and loaded.
    pub fn read(archive: Bytes) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(archive);
        if reader.array("an archive's first bytes")? != *MAGIC {
            return Err(Corrupt {
                offset: 0,
                expected: "an archive's first bytes",
            });
        }
        reader.format(FORMAT, "archive format 1")?;
        let header = part(&mut reader)?;
        let mut chunks = Vec::new();
        loop {
            let chunk = part(&mut reader)?;
            if chunk.is_empty() {
                return Ok(Self { header, chunks });
            }
            chunks.push(chunk);
        }
    }
}

fn part(reader: &mut Reader) -> Result<Bytes, Corrupt> {
    let offset = reader.offset();
    let length = reader.fixed_u64("a part's length")?;
    reader.shared(length).ok_or(Corrupt {
        offset,
        expected: "a whole part",
    })
}
