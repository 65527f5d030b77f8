//! Segments: the files that the log's stream is cut into.
//!
//! A segment is filled with zeros and synced before it gets its final name, so that a write into
//! it changes neither the file's size nor its extents: the sync that follows is one write of data
//! without a transaction of the file system. After a purge a segment is used again: it gets the
//! next number and a new salt, and what it held can no longer pass.

use crate::error::{Damage, StorageError, checked_head, version};
use crate::group::{PAGE, Place};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use synod_env::disk::Open;
use synod_env::{Bug, Disk, Env, File, planted};

/// The directory of the log.
pub(crate) const LOG_DIR: &str = "log";
/// Bytes before a segment's first group.
pub(crate) const SEGMENT_HEADER: u32 = PAGE;
/// A segment being made.
const PREPARE_PATH: &str = "log/prepare.tmp";
/// A segment being made from a purged one.
const RECYCLE_PATH: &str = "log/recycle.tmp";
/// Zeros written between two syncs. Each sync then waits for a bounded amount of data, and so
/// does a write of the log that meets it at the device.
const SLICE_BYTES: u32 = 1 << 20;

pub(crate) const MAGIC: &[u8; 8] = b"SYNODLOG";
/// The only format version so far.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// One use of a segment's file.
pub(crate) struct Segment {
    /// Its number; the log's segments are numbered without gap.
    pub(crate) number: u64,
    /// Of this use.
    pub(crate) salt: u64,
    /// The seed of its records' checksums: from salt and number.
    pub(crate) seed: u32,
    /// The file's size.
    pub(crate) bytes: u32,
    /// The open file.
    pub(crate) file: Arc<dyn File>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({}, {} bytes)", self.number, self.bytes)
    }
}

impl Segment {
    fn new(number: u64, salt: u64, bytes: u32, file: Arc<dyn File>) -> Self {
        let salted = crc32c::crc32c(&salt.to_le_bytes());
        let seed = if planted(Bug::RecycledRecordAccepted) {
            salted
        } else {
            crc32c::crc32c_append(salted, &number.to_le_bytes())
        };
        Self {
            number,
            salt,
            seed,
            bytes,
            file,
        }
    }

    /// The file's path.
    pub(crate) fn path(&self) -> String {
        path(self.number)
    }

    /// A point in this segment.
    pub(crate) const fn place(&self, offset: u32) -> Place {
        Place {
            segment: self.number,
            offset,
        }
    }

    /// Opens segment `number` and checks its header.
    pub(crate) async fn open(disk: &dyn Disk, number: u64) -> Result<Self, StorageError> {
        let path = path(number);
        let name = || disk.describe(&path);
        let file = disk
            .open(&path, Open::Write)
            .await
            .map_err(StorageError::io(name(), "open"))?;
        let length = file
            .len()
            .await
            .map_err(StorageError::io(name(), "read the size of"))?;
        let header = file
            .read_at(0, SEGMENT_HEADER as usize)
            .await
            .map_err(StorageError::io(name(), "read"))?;
        let header = decode_header(&header, &name())?;
        let damage = |offset, expected: String, found: String| {
            StorageError::Corrupt(Damage {
                file: name(),
                offset,
                expected,
                found,
            })
        };
        if header.number != number {
            return Err(damage(
                16,
                format!("segment number {number}, as in the file's name"),
                header.number.to_string(),
            ));
        }
        if length != u64::from(header.bytes) {
            return Err(damage(
                length.min(u64::from(header.bytes)),
                format!("a file of {} bytes, as its header says", header.bytes),
                format!("{length} bytes"),
            ));
        }
        Ok(Self::new(number, header.salt, header.bytes, file))
    }
}

/// The path of segment `number`.
pub(crate) fn path(number: u64) -> String {
    format!("{LOG_DIR}/{number:016x}.log")
}

/// What a name in the log's directory stands for.
pub(crate) enum Name {
    /// Segment of this number.
    Segment(u64),
    /// A segment that was being made; of no value.
    Unfinished,
    /// Nothing of ours.
    Foreign,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        let full = format!("{LOG_DIR}/{name}");
        if full == PREPARE_PATH || full == RECYCLE_PATH {
            return Self::Unfinished;
        }
        let number = name
            .strip_suffix(".log")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match number {
            Some(number) if path(number) == full => Self::Segment(number),
            Some(_) | None => Self::Foreign,
        }
    }
}

/// Makes segment `number` of `bytes` bytes: zeros first, then the header, then the name.
///
/// After each synced slice `go_on` is asked, with the time that the slice took; if it says no,
/// the result is `None`. After an error nothing is left under the final name, or what is left is
/// replaced by the next attempt.
pub(crate) async fn prepare<F: Future<Output = bool>>(
    env: &Env,
    number: u64,
    bytes: u32,
    go_on: impl Fn(Duration) -> F,
) -> Result<Option<Segment>, StorageError> {
    let disk = env.disk();
    // What an earlier attempt left takes room that this one may need.
    remove_if_there(disk.as_ref(), PREPARE_PATH).await?;
    let prepared = match fill(env, bytes, go_on).await {
        Ok(Some(file)) => finish(env, PREPARE_PATH, file, number, bytes)
            .await
            .map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    if !matches!(prepared, Ok(Some(_))) {
        // Others may need the room before the next attempt; if it cannot be given back, that
        // attempt will.
        remove_if_there(disk.as_ref(), PREPARE_PATH).await.ok();
        sync_log_dir(disk.as_ref()).await.ok();
    }
    prepared
}

async fn fill<F: Future<Output = bool>>(
    env: &Env,
    bytes: u32,
    go_on: impl Fn(Duration) -> F,
) -> Result<Option<Arc<dyn File>>, StorageError> {
    let disk = env.disk();
    let io = |doing| StorageError::io(disk.describe(PREPARE_PATH), doing);
    let file = disk
        .open(PREPARE_PATH, Open::Create)
        .await
        .map_err(io("create"))?;
    let zeros = BytesMut::zeroed(SLICE_BYTES.min(bytes) as usize).freeze();
    let mut filled = 0;
    while filled < bytes {
        let began = env.now();
        let slice = SLICE_BYTES.min(bytes - filled);
        let data = zeros.slice(..slice as usize);
        file.write_at(u64::from(filled), data)
            .await
            .map_err(io("fill with zeros"))?;
        file.sync().await.map_err(io("sync"))?;
        filled += slice;
        if !go_on(env.now().saturating_since(began)).await {
            return Ok(None);
        }
    }
    Ok(Some(file))
}

/// Takes the purged segment `old` out of the log so that [`recycle`] can use its file. Once this
/// has succeeded its name is durably gone; after an error it can be called again.
pub(crate) async fn retire(disk: &dyn Disk, old: &Segment) -> Result<(), StorageError> {
    match disk.rename(&old.path(), RECYCLE_PATH).await {
        Ok(()) => {}
        // An earlier attempt got this far.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(StorageError::io(disk.describe(&old.path()), "rename")(
                error,
            ));
        }
    }
    sync_log_dir(disk).await
}

/// Makes segment `number` from the retired segment `old`.
pub(crate) async fn recycle(
    env: &Env,
    old: &Segment,
    number: u64,
) -> Result<Segment, StorageError> {
    finish(env, RECYCLE_PATH, Arc::clone(&old.file), number, old.bytes).await
}

/// Removes a purged segment that is not worth keeping.
pub(crate) async fn discard(disk: &dyn Disk, number: u64) -> Result<(), StorageError> {
    remove_if_there(disk, &path(number)).await?;
    sync_log_dir(disk).await
}

/// Removes what an unfinished preparation left.
pub(crate) async fn remove_unfinished(disk: &dyn Disk) -> Result<(), StorageError> {
    remove_if_there(disk, PREPARE_PATH).await?;
    remove_if_there(disk, RECYCLE_PATH).await?;
    sync_log_dir(disk).await
}

async fn sync_log_dir(disk: &dyn Disk) -> Result<(), StorageError> {
    disk.sync_dir(LOG_DIR)
        .await
        .map_err(StorageError::io(disk.describe(LOG_DIR), "sync"))
}

async fn remove_if_there(disk: &dyn Disk, path: &str) -> Result<(), StorageError> {
    match disk.remove(path).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io(disk.describe(path), "remove")(error)),
    }
}

async fn finish(
    env: &Env,
    temporary: &str,
    file: Arc<dyn File>,
    number: u64,
    bytes: u32,
) -> Result<Segment, StorageError> {
    let disk = env.disk();
    let io = |doing| StorageError::io(disk.describe(temporary), doing);
    let header = Header {
        number,
        salt: if planted(Bug::RecycledRecordAccepted) {
            1
        } else {
            env.random()
        },
        bytes,
    };
    file.write_at(0, header.encode())
        .await
        .map_err(io("write"))?;
    file.sync().await.map_err(io("sync"))?;
    disk.rename(temporary, &path(number))
        .await
        .map_err(io("rename"))?;
    // Only now may the log write into it: a segment whose name is lost takes its records along.
    sync_log_dir(disk.as_ref()).await?;
    Ok(Segment::new(number, header.salt, bytes, file))
}

/// The first page of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    number: u64,
    salt: u64,
    bytes: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Bytes {
        let Self {
            number,
            salt,
            bytes,
        } = *self;
        let mut page = BytesMut::with_capacity(SEGMENT_HEADER as usize);
        page.put_slice(MAGIC);
        page.put_u32_le(0);
        page.put_u32_le(FORMAT_VERSION);
        page.put_u64_le(number);
        page.put_u64_le(salt);
        page.put_u32_le(bytes);
        page.resize(SEGMENT_HEADER as usize, 0);
        let checksum = crc32c::crc32c(&page[12..]);
        page[8..12].copy_from_slice(&checksum.to_le_bytes());
        page.freeze()
    }
}

pub(crate) fn decode_header(page: &[u8], file: &str) -> Result<Header, StorageError> {
    let mut rest = checked_head(page, MAGIC, SEGMENT_HEADER as usize, file)?;
    let found = rest.get_u32_le();
    if found != FORMAT_VERSION {
        return Err(version(file.to_owned(), found, FORMAT_VERSION));
    }
    Ok(Header {
        number: rest.get_u64_le(),
        salt: rest.get_u64_le(),
        bytes: rest.get_u32_le(),
    })
}
