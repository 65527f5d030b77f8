//! Possession of a data directory.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file whose lock means possession. The member does not see it.
pub(crate) const LOCK_FILE: &str = "lock";

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// There is something of that name which is no directory.
    NotADirectory {
        /// What was asked for.
        path: PathBuf,
    },
    /// It cannot be made, or its files cannot be made or written.
    Unwritable {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another host in this one, has it.
    Locked {
        /// What was asked for.
        path: PathBuf,
        /// Who has it, where that can be told.
        holder_pid: Option<u32>,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADirectory { path } => write!(
                f,
                "data directory {} is not a directory; name another or move that file away",
                path.display()
            ),
            Self::Unwritable { path, source } => write!(
                f,
                "cannot write to data directory {}: {source}; name a directory on a local, \
                 writable file system that belongs to the user who runs this",
                path.display()
            ),
            Self::Locked { path, holder_pid } => {
                write!(f, "data directory {} is in use by ", path.display())?;
                match holder_pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop that member first, or name another directory")
            }
        }
    }
}

impl std::error::Error for DataDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } => Some(source),
            Self::NotADirectory { .. } | Self::Locked { .. } => None,
        }
    }
}

/// A data directory that nobody else has. Dropping it lets others have it.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let unwritable = |source| DataDirError::Unwritable {
            path: path.to_owned(),
            source,
        };
        make(path).map_err(|error| {
            use io::ErrorKind::{AlreadyExists, NotADirectory};
            if matches!(error.kind(), AlreadyExists | NotADirectory) {
                let path = path.to_owned();
                return DataDirError::NotADirectory { path };
            }
            unwritable(error)
        })?;
        // Independent of the working directory from here on.
        let resolved = path.canonicalize().map_err(unwritable)?;
        let mut lock = open_lock(&resolved).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::Locked {
                    path: path.to_owned(),
                    holder_pid: read_pid(&mut lock),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        write_pid(&mut lock).map_err(unwritable)?;
        Ok(Self {
            path: resolved,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the directory and those above it, for this user only. One that exists is left as it is:
/// it may be shared with others for a reason.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "possession of the directory comes before there is a disk in it"
)]
fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK_FILE))
}

/// The holder's name for itself. It only serves the message: the lock is what counts.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    let written = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    match written {
        // A member with a full disk must start, to make room.
        Err(error) if crate::disk::is_full(&error) => Ok(()),
        result => result,
    }
}
