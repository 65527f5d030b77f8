//! A member's disk: operations take time, can fail, and can be the last thing a member does.

use super::choices::Choices;
use super::faults::Faults;
use super::image::{Image, Inode, SECTOR_BYTES};
use super::kernel::Kernel;
use super::state::{Life, State};
use super::trace::{What, checksum};
use crate::disk::{Open, check_path, parent};
use crate::{BoxFuture, Disk, File};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Kinds of disk operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskOp {
    /// `File::read_at` and `File::len`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::sync` and `Disk::sync_dir`.
    Sync,
    /// `open`, `list`, `create_dir`, `rename`, `remove`.
    Name,
}

const OPS: usize = 4;

/// How long each kind of operation takes: least and most, between which it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLatency {
    /// For each read.
    pub read: (Duration, Duration),
    /// For each write, into the cache.
    pub write: (Duration, Duration),
    /// For each sync.
    pub sync: (Duration, Duration),
    /// For each operation on names.
    pub name: (Duration, Duration),
}

impl Default for DiskLatency {
    /// A solid-state disk behind a page cache.
    fn default() -> Self {
        let micros = |least, most| (Duration::from_micros(least), Duration::from_micros(most));
        Self {
            read: micros(5, 50),
            write: micros(2, 10),
            sync: micros(80, 400),
            name: micros(5, 20),
        }
    }
}

/// What a disk has done since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Operations of every kind, failed ones too.
    pub ops: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written into the cache.
    pub written_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Operations that failed because they were told to.
    pub injected_errors: u64,
}

/// A disk and what is planned for it. It outlives the member's incarnations.
pub(super) struct DiskState {
    pub(super) image: Image,
    pub(super) counters: DiskCounters,
    pub(super) latency: DiskLatency,
    /// Room for this many bytes.
    pub(super) capacity_bytes: u64,
    /// The member loses power with this operation, counted like `counters.ops`.
    pub(super) crash_at: Option<u64>,
    /// Nothing reaches the disk, or is read from it, before this moment of true time. Writes into
    /// the cache are not held up.
    pub(super) stalled_until_ns: u64,
    /// In how many of a million operations of each kind the disk reports an error.
    pub(super) error_ppm: [u32; OPS],
    /// How many operations of each kind pass before one fails.
    pub(super) fail_after: [Option<u64>; OPS],
}

impl DiskState {
    pub(super) fn new(latency: DiskLatency) -> Self {
        Self {
            image: Image::new(),
            counters: DiskCounters::default(),
            latency,
            capacity_bytes: u64::MAX,
            crash_at: None,
            stalled_until_ns: 0,
            error_ppm: [0; OPS],
            fail_after: [None; OPS],
        }
    }

    /// Whether the next operation of this kind is to fail.
    fn draw_error(&mut self, op: DiskOp, choices: &mut Choices) -> bool {
        let planned = match &mut self.fail_after[op as usize] {
            None => false,
            Some(0) => {
                self.fail_after[op as usize] = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        };
        planned || choices.chance(self.error_ppm[op as usize])
    }

    /// Until when a stall holds up an operation that starts now. Writes go into the cache, which
    /// does not depend on the disk.
    fn held_until_ns(&self, op: DiskOp) -> u64 {
        match op {
            DiskOp::Read | DiskOp::Sync | DiskOp::Name => self.stalled_until_ns,
            DiskOp::Write => 0,
        }
    }

    /// When an operation that starts now is complete.
    fn draw_done(&self, op: DiskOp, now_ns: u64, choices: &mut Choices) -> u64 {
        let (least, most) = match op {
            DiskOp::Read => self.latency.read,
            DiskOp::Write => self.latency.write,
            DiskOp::Sync => self.latency.sync,
            DiskOp::Name => self.latency.name,
        };
        let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        let takes = choices.between(nanos(least), nanos(most));
        now_ns.max(self.held_until_ns(op)).saturating_add(takes)
    }
}

/// What an operation may use while it takes effect.
struct Effect<'a> {
    disk: &'a mut DiskState,
    choices: &'a mut Choices,
    faults: &'a mut Faults,
    now_ns: u64,
    done_ns: u64,
}

/// What is recorded of an operation.
#[derive(Clone, Copy)]
struct Footprint {
    op: DiskOp,
    offset: u64,
    bytes: u64,
    content: u64,
}

impl Footprint {
    fn name(path: &str) -> Self {
        Self {
            op: DiskOp::Name,
            offset: 0,
            bytes: 0,
            content: checksum(path.as_bytes()),
        }
    }
}

fn injected(what: &str) -> io::Error {
    io::Error::other(format!("input/output error on {what} (injected)"))
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path:?} does not exist"))
}

/// Lets one operation of a member take effect now, as a system call does, and return when it is
/// complete. An operation of a member that is gone, or goes with it, never returns.
async fn operate<T>(
    kernel: &Arc<Kernel>,
    life: Life,
    footprint: Footprint,
    error: impl FnOnce(&mut Effect<'_>) -> io::Error,
    effect: impl FnOnce(&mut Effect<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let begun = {
        let mut guard = kernel.lock();
        let state = &mut *guard;
        state.is_alive(life).then(|| {
            let begun = begin(state, life, footprint, error, effect);
            let disk = &mut state.members[life.member].disk;
            if disk.crash_at == Some(disk.counters.ops) {
                state.crash(life.member);
            }
            begun
        })
    };
    // Only now, without the lock, may a result be dropped that nobody will see.
    let Some((result, done_ns)) = begun else {
        return std::future::pending().await;
    };
    kernel.reach(life, done_ns).await;
    result
}

/// Lets an operation take effect; returns its result and when it is complete.
fn begin<T>(
    state: &mut State,
    life: Life,
    footprint: Footprint,
    error: impl FnOnce(&mut Effect<'_>) -> io::Error,
    effect: impl FnOnce(&mut Effect<'_>) -> io::Result<T>,
) -> (io::Result<T>, u64) {
    let Footprint {
        op,
        offset,
        bytes,
        content,
    } = footprint;
    let disk = &mut state.members[life.member].disk;
    disk.counters.ops += 1;
    let fails = disk.draw_error(op, &mut state.choices);
    let stalled = disk.held_until_ns(op) > state.now_ns;
    let done_ns = disk.draw_done(op, state.now_ns, &mut state.choices);
    let mut at = Effect {
        disk,
        choices: &mut state.choices,
        faults: &mut state.faults,
        now_ns: state.now_ns,
        done_ns,
    };
    at.faults.disk_stalls += u64::from(stalled);
    let result = if fails {
        at.disk.counters.injected_errors += 1;
        match op {
            DiskOp::Read => at.faults.read_errors += 1,
            DiskOp::Write => at.faults.write_errors += 1,
            DiskOp::Sync => at.faults.sync_errors += 1,
            DiskOp::Name => at.faults.name_errors += 1,
        }
        Err(error(&mut at))
    } else {
        effect(&mut at)
    };
    let what = What::Disk {
        op,
        offset,
        bytes,
        content,
        ok: result.is_ok(),
    };
    state.record(Some(life.member), what);
    (result, done_ns)
}

pub(super) struct SimDisk {
    pub(super) kernel: Arc<Kernel>,
    pub(super) life: Life,
}

impl SimDisk {
    async fn name_op<T>(
        &self,
        path: &str,
        effect: impl FnOnce(&mut Effect<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        check_path(path)?;
        let error = |_: &mut Effect<'_>| injected(path);
        operate(
            &self.kernel,
            self.life,
            Footprint::name(path),
            error,
            effect,
        )
        .await
    }
}

impl Disk for SimDisk {
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        Box::pin(async move {
            let open = |at: &mut Effect<'_>| {
                let image = &mut at.disk.image;
                let inode = match (how, image.lookup(path)) {
                    (Open::Read | Open::Write, Some(inode)) => inode,
                    (Open::Read | Open::Write, None) => return Err(not_found(path)),
                    (Open::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                    (Open::Create, None) if image.has_dir(path) => {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    (Open::Create, None) if !image.has_dir(parent(path)) => {
                        return Err(not_found(parent(path)));
                    }
                    (Open::Create, None) => image.create(path),
                };
                image.open(inode);
                // Made here, so that the handle is given back even if nobody takes the result.
                Ok(SimFile {
                    kernel: Arc::clone(&self.kernel),
                    life: self.life,
                    inode,
                    path: path.to_owned(),
                    writable: how != Open::Read,
                })
            };
            let file = self.name_op(path, open).await?;
            Ok(Arc::new(file) as Arc<dyn File>)
        })
    }

    fn list<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(self.name_op(dir, move |at| {
            if !at.disk.image.has_dir(dir) {
                return Err(not_found(dir));
            }
            Ok(at.disk.image.list(dir))
        }))
    }

    fn create_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.name_op(dir, move |at| {
            if at.disk.image.lookup(dir).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let mut above = parent(dir);
            while !above.is_empty() {
                if at.disk.image.lookup(above).is_some() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                above = parent(above);
            }
            at.disk.image.make_dir(dir);
            Ok(())
        }))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            check_path(to)?;
            let rename = |at: &mut Effect<'_>| {
                let image = &mut at.disk.image;
                let inode = image.lookup(from).ok_or_else(|| not_found(from))?;
                if !image.has_dir(parent(to)) {
                    return Err(not_found(parent(to)));
                }
                if image.has_dir(to) {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                if from != to {
                    image.rename(from, to, inode);
                }
                Ok(())
            };
            self.name_op(from, rename).await
        })
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.name_op(path, move |at| {
            let image = &mut at.disk.image;
            image.lookup(path).ok_or_else(|| not_found(path))?;
            image.remove(path);
            Ok(())
        }))
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            check_path(dir)?;
            let footprint = Footprint {
                op: DiskOp::Sync,
                ..Footprint::name(dir)
            };
            let error = |_: &mut Effect<'_>| injected(dir);
            operate(&self.kernel, self.life, footprint, error, |at| {
                if !at.disk.image.has_dir(dir) {
                    return Err(not_found(dir));
                }
                at.disk.counters.dir_syncs += 1;
                at.disk.image.settle_names(at.now_ns);
                at.disk.image.sync_dir(dir, at.done_ns);
                Ok(())
            })
            .await
        })
    }

    fn describe(&self, path: &str) -> String {
        let kernel = self.kernel.lock();
        let member = kernel.members[self.life.member].id;
        format!("/sim/{member}/{path}")
    }
}

struct SimFile {
    kernel: Arc<Kernel>,
    life: Life,
    inode: Inode,
    path: String,
    writable: bool,
}

impl SimFile {
    async fn op<T>(
        &self,
        footprint: Footprint,
        error: impl FnOnce(&mut Effect<'_>) -> io::Error,
        effect: impl FnOnce(&mut Effect<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let settled = |at: &mut Effect<'_>| {
            at.disk.image.settle(self.inode, at.now_ns);
            effect(at)
        };
        operate(&self.kernel, self.life, footprint, error, settled).await
    }
}

impl File for SimFile {
    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        let footprint = Footprint {
            op: DiskOp::Read,
            ..Footprint::name(&self.path)
        };
        let error = |_: &mut Effect<'_>| injected(&self.path);
        Box::pin(self.op(footprint, error, |at| Ok(at.disk.image.len(self.inode))))
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let footprint = Footprint {
            op: DiskOp::Read,
            offset,
            bytes: len as u64,
            content: checksum(self.path.as_bytes()),
        };
        let error = |_: &mut Effect<'_>| injected(&self.path);
        Box::pin(self.op(footprint, error, move |at| {
            let bytes = at.disk.image.read(self.inode, offset, len);
            let rotten = at.disk.image.rotten_within(self.inode, offset, len);
            at.faults.rotten_bytes_read += rotten;
            at.disk.counters.read_bytes += bytes.len() as u64;
            Ok(bytes)
        }))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        let footprint = Footprint {
            op: DiskOp::Write,
            offset,
            bytes: data.len() as u64,
            content: checksum(&data),
        };
        let partial = data.clone();
        let error = move |at: &mut Effect<'_>| {
            write_part(at, self.inode, offset, partial);
            injected(&self.path)
        };
        Box::pin(self.op(footprint, error, move |at| {
            if !self.writable {
                let text = format!("{:?} is open for reading only", self.path);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            let end = offset.saturating_add(data.len() as u64);
            let grows = end.saturating_sub(at.disk.image.len(self.inode));
            // What was removed gives its room back once that is durable.
            at.disk.image.settle_names(at.now_ns);
            let used = at.disk.image.used_bytes();
            // Overwriting needs no room, even on a disk that is fuller than full.
            if grows > 0 && used.saturating_add(grows) > at.disk.capacity_bytes {
                at.faults.disk_full += 1;
                write_part(at, self.inode, offset, data);
                return Err(io::ErrorKind::StorageFull.into());
            }
            at.disk.counters.written_bytes += data.len() as u64;
            at.disk.image.write(self.inode, offset, data);
            Ok(())
        }))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        let footprint = Footprint {
            op: DiskOp::Sync,
            ..Footprint::name(&self.path)
        };
        let error = |at: &mut Effect<'_>| {
            at.disk.image.settle(self.inode, at.now_ns);
            let losses = at.disk.image.fail_sync(self.inode, at.choices);
            at.faults.lose(losses);
            injected(&self.path)
        };
        Box::pin(self.op(footprint, error, |at| {
            at.disk.counters.syncs += 1;
            at.disk.image.sync(self.inode, at.done_ns);
            Ok(())
        }))
    }
}

/// Writes as much of the start of `data` as fits, and of that only some sectors.
fn write_part(at: &mut Effect<'_>, inode: Inode, offset: u64, data: Bytes) {
    let image = &mut at.disk.image;
    let room = at.disk.capacity_bytes.saturating_sub(image.used_bytes());
    let fits = image
        .len(inode)
        .saturating_sub(offset)
        .saturating_add(room)
        .min(data.len() as u64);
    let sectors = at.choices.between(0, fits / SECTOR_BYTES);
    let bytes = usize::try_from(sectors * SECTOR_BYTES).expect("no more than the data");
    if bytes > 0 {
        at.disk.counters.written_bytes += bytes as u64;
        image.write(inode, offset, data.slice(..bytes));
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.kernel.lock();
        if state.is_alive(self.life) {
            state.members[self.life.member].disk.image.close(self.inode);
        }
    }
}

#[cfg(test)]
mod tests;
