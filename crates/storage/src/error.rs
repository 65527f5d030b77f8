//! Errors that say which file, which byte, what was expected, what was found, and what to do.

use std::{fmt, io};

/// Bytes that are not what this member once made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, as a person can find it.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            expected,
            found,
        } = self;
        write!(
            f,
            "{file} at byte {offset}: expected {expected}, found {found}"
        )
    }
}

/// Why stored data cannot be opened or read.
///
/// None of these is cured by trying again, except perhaps [`StorageError::Io`].
#[derive(Debug)]
pub enum StorageError {
    /// The disk failed a call.
    Io {
        /// The file or directory.
        file: String,
        /// What was attempted, as "read", "sync".
        doing: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// Durable bytes have changed.
    Corrupt(Damage),
    /// A newer version of Synod wrote this file.
    Newer {
        /// The file.
        file: String,
        /// Its format version.
        found: u32,
        /// The newest format version this build knows.
        known: u32,
    },
    /// A version of Synod wrote this file whose format this build no longer reads.
    Older {
        /// The file.
        file: String,
        /// Its format version.
        found: u32,
        /// The oldest format version this build knows.
        known: u32,
    },
    /// A file that Synod did not make.
    Foreign {
        /// The file.
        file: String,
    },
    /// A file that must be there is not.
    Missing {
        /// The file.
        file: String,
        /// How its absence shows.
        evidence: String,
    },
    /// The directory belongs to another member or another cluster.
    Mismatch {
        /// The identity file.
        file: String,
        /// What differs, as "cluster id".
        what: &'static str,
        /// What this start asks for.
        expected: String,
        /// What the directory holds.
        found: String,
    },
    /// A directory that is to be filled holds something already.
    Occupied {
        /// What it holds.
        file: String,
    },
    /// The directory was to be filled with a state, and that was not finished.
    Unfinished {
        /// The identity file.
        file: String,
    },
    /// Log entries were asked for that a purge has removed.
    Purged {
        /// The first index asked for.
        index: u64,
    },
}

impl StorageError {
    pub(crate) fn io(file: String, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            file,
            doing,
            source,
        }
    }

    /// What the operator can do about it, as a full sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => {
                "Check the disk, its mount and the rights on the data directory, then start again."
            }
            Self::Corrupt(_) => {
                "Keep a copy of the data directory for analysis; then give the member an empty \
                 directory and let it join anew, or restore it from a backup."
            }
            Self::Newer { .. } => "Start the version of synod that wrote it, or a later one.",
            Self::Older { .. } => {
                "Start a version of synod that knows this format once, to convert it."
            }
            Self::Foreign { .. } => "Move the file out of the data directory, then start again.",
            Self::Missing { .. } => {
                "Put the file back if it was moved away; otherwise give the member an empty \
                 directory and let it join anew, or restore it from a backup."
            }
            Self::Mismatch { .. } => {
                "Point --data-dir at this member's own directory, or at an empty one."
            }
            Self::Occupied { .. } => "Name a directory that is empty or does not exist.",
            Self::Unfinished { .. } => {
                "Restore into this directory again, or remove it: nothing was ever served from it."
            }
            Self::Purged { .. } => "Read from the snapshot that covers the index.",
        }
    }
}

/// The error for a file whose format version is `found` in a build that knows only `known`.
pub(crate) fn version(file: String, found: u32, known: u32) -> StorageError {
    if found > known {
        StorageError::Newer { file, found, known }
    } else {
        StorageError::Older { file, found, known }
    }
}

/// Checks magic and checksum, with which every small file begins: eight bytes, then CRC32C of all
/// that follows it. Returns what follows. Both keep their meaning in all format versions, so that
/// a damaged version number is not taken for a newer version.
pub(crate) fn checked_head<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    bytes_min: usize,
    file: &str,
) -> Result<&'a [u8], StorageError> {
    let damaged = |offset, expected: String, found: String| {
        let file = file.to_owned();
        Err(StorageError::Corrupt(Damage {
            file,
            offset,
            expected,
            found,
        }))
    };
    if bytes.len() < bytes_min {
        let found = format!("{} bytes", bytes.len());
        return damaged(0, format!("at least {bytes_min} bytes"), found);
    }
    let (head, rest) = bytes.split_at(12);
    if head[..8] != magic[..] {
        let expected = magic.escape_ascii().to_string();
        return damaged(0, expected, head[..8].escape_ascii().to_string());
    }
    let (stored, computed) = (&head[8..], crc32c::crc32c(rest).to_le_bytes());
    if stored != computed {
        let hex = |bytes: &[u8]| {
            format!(
                "{:08x}",
                bytes
                    .iter()
                    .rev()
                    .fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte))
            )
        };
        return damaged(8, format!("checksum {}", hex(stored)), hex(&computed));
    }
    Ok(rest)
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                file,
                doing,
                source,
            } => write!(f, "{doing} {file}: {source}")?,
            Self::Corrupt(damage) => write!(f, "corrupt data: {damage}")?,
            Self::Newer { file, found, known } => write!(
                f,
                "{file} has format version {found}, this build knows up to {known}"
            )?,
            Self::Older { file, found, known } => write!(
                f,
                "{file} has format version {found}, this build knows from {known}"
            )?,
            Self::Foreign { file } => write!(f, "{file} is not a file of synod")?,
            Self::Missing { file, evidence } => write!(f, "{file} is missing: {evidence}")?,
            Self::Mismatch {
                file,
                what,
                expected,
                found,
            } => write!(
                f,
                "{file} belongs to another member: expected {what} {expected}, found {found}"
            )?,
            Self::Occupied { file } => write!(f, "the directory is not empty, it holds {file}")?,
            Self::Unfinished { file } => write!(
                f,
                "{file} says that a state was being restored into this directory, and that it is \
                 not complete"
            )?,
            Self::Purged { index } => write!(f, "log entry {index} has been purged")?,
        }
        write!(f, ". {}", self.remedy())
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Corrupt(_)
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Foreign { .. }
            | Self::Missing { .. }
            | Self::Mismatch { .. }
            | Self::Occupied { .. }
            | Self::Unfinished { .. }
            | Self::Purged { .. } => None,
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Io { source, .. } => source.kind(),
            StorageError::Corrupt(_)
            | StorageError::Newer { .. }
            | StorageError::Older { .. }
            | StorageError::Foreign { .. }
            | StorageError::Mismatch { .. }
            | StorageError::Unfinished { .. } => io::ErrorKind::InvalidData,
            StorageError::Occupied { .. } => io::ErrorKind::DirectoryNotEmpty,
            StorageError::Missing { .. } | StorageError::Purged { .. } => io::ErrorKind::NotFound,
        };
        Self::new(kind, error)
    }
}
