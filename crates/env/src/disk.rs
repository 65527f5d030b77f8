//! Files in one member's data directory.
//!
//! Every call is asynchronous so that the simulator can let time pass, reorder and fail it. In
//! production a call does its system call when first polled and is then ready: long or syncing
//! calls therefore belong on a task of their own thread ([`crate::Env::spawn_dedicated`]).

use crate::BoxFuture;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// How [`Disk::open`] treats a file that is there, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist; for reading.
    Read,
    /// It must exist; for reading and writing.
    Write,
    /// It must not exist and is made, empty; for reading and writing.
    Create,
}

/// A member's data directory. Paths are relative to it, `/`-separated, without `..`.
///
/// Creating, renaming and removing become durable only with [`Disk::sync_dir`] of the parent.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` as [`Open`] says; others as the disk has them.
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>>;

    /// Names in a directory (`""` is the top), sorted, without their path.
    fn list<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>>;

    /// Makes a directory and its missing parents. It is no error if it exists.
    fn create_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Renames a file, replacing what has the new name.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Removes a file. `NotFound` if it is not there.
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// A path a person can find, for messages.
    fn describe(&self, path: &str) -> String;
}

/// An open file. Writes reach the disk only with [`File::sync`].
#[expect(
    clippy::len_without_is_empty,
    reason = "nobody asks a file on disk whether it is empty"
)]
pub trait File: Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> BoxFuture<'_, io::Result<u64>>;

    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>>;

    /// Writes all of `data` at `offset`, growing the file if needed.
    ///
    /// # Errors
    /// `StorageFull` when there is no room; any part of `data` may then have been written.
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// Makes all completed writes durable (fdatasync). An error is final: what was written since
    /// the last success may be lost whatever later calls say, so the caller must stop.
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// Refuses a path that is not relative, `/`-separated and free of `.`, `..` and empty parts. Both
/// worlds ask it, so that a path that works in one works in the other. `""` is the top.
///
/// # Errors
/// `InvalidInput` with the path.
pub fn check_path(path: &str) -> io::Result<()> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if !path.is_empty() && path.split('/').any(bad) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path:?} is not a path relative to the data directory"),
        ));
    }
    Ok(())
}

/// The directory that holds `path`; `""` for what lies at the top.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
