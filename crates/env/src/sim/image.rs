//! What a disk holds, and what of it would survive a loss of power.
//!
//! Every file has two images. Writes change the *volatile* one, which reads see; a sync brings
//! them to the *durable* one. When power fails, each write that was not synced is kept, lost or
//! torn between sectors, each on its own. Names live apart from contents: creating, renaming and
//! removing are durable after a sync of the directory, and until then kept or lost, each on its
//! own (POSIX promises no more; journaling file systems usually keep more).

use super::choices::Choices;
use crate::disk::parent;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A disk writes this many bytes entirely or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A file's content, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(u64);

/// A write that no sync has covered yet.
#[derive(Clone, Debug)]
struct Write {
    sequence: u64,
    offset: u64,
    data: Bytes,
}

impl Write {
    /// The sectors that it touches.
    fn sectors(&self) -> std::ops::Range<u64> {
        let end = self.offset + self.data.len() as u64;
        match self.data.is_empty() {
            true => 0..0,
            false => self.offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES),
        }
    }
}

/// A sync under way: at `done_ns` everything up to `through` is durable.
#[derive(Clone, Copy, Debug)]
struct Syncing {
    done_ns: u64,
    through: u64,
}

/// What did not survive a crash or a failed sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Writes of which nothing is left.
    pub(super) writes_lost: u64,
    /// Writes of which some sectors are left.
    pub(super) writes_torn: u64,
    /// Changes to directories that were undone.
    pub(super) names_lost: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    unsynced: VecDeque<Write>,
    syncing: VecDeque<Syncing>,
    /// Where bytes were flipped and have not been written since.
    rotten: BTreeSet<u64>,
    handles: u32,
}

/// A change to a directory that no sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    MakeDir(String),
    Create(String, Inode),
    Rename(String, String, Inode),
    Remove(String),
}

#[derive(Clone, Debug)]
struct Pending {
    sequence: u64,
    change: Change,
}

/// Files by name, and directories.
#[derive(Clone, Debug)]
struct Names {
    files: BTreeMap<String, Inode>,
    dirs: BTreeSet<String>,
}

impl Names {
    fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            dirs: BTreeSet::from([String::new()]),
        }
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::MakeDir(dir) => {
                self.dirs.insert(dir.clone());
            }
            Change::Create(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            Change::Rename(from, to, inode) => {
                if self.files.get(from) == Some(inode) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *inode);
            }
            Change::Remove(path) => {
                self.files.remove(path);
            }
        }
    }

    /// Forgets what lies in directories that do not exist.
    fn prune(&mut self) {
        let dirs = self.dirs.clone();
        let reachable = |path: &str| {
            let mut dir = parent(path);
            while !dir.is_empty() && dirs.contains(dir) {
                dir = parent(dir);
            }
            dir.is_empty()
        };
        self.dirs.retain(|dir| reachable(dir));
        self.files.retain(|path, _| reachable(path));
    }
}

/// How much of a lost sync or of unsynced data survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

fn fate(choices: &mut Choices) -> Fate {
    match choices.below(3) {
        0 => Fate::Kept,
        1 => Fate::Lost,
        _torn => Fate::Torn,
    }
}

/// All of one member's disk.
#[derive(Clone, Debug)]
pub(super) struct Image {
    contents: BTreeMap<Inode, Content>,
    volatile: Names,
    durable: Names,
    changes: Vec<Pending>,
    syncing: VecDeque<(String, Syncing)>,
    next_inode: u64,
    next_sequence: u64,
    used_bytes: u64,
}

impl Image {
    pub(super) fn new() -> Self {
        Self {
            contents: BTreeMap::new(),
            volatile: Names::new(),
            durable: Names::new(),
            changes: Vec::new(),
            syncing: VecDeque::new(),
            next_inode: 0,
            next_sequence: 0,
            used_bytes: 0,
        }
    }

    fn content(&self, inode: Inode) -> &Content {
        self.contents
            .get(&inode)
            .expect("a named or open file has content")
    }

    fn content_mut(&mut self, inode: Inode) -> &mut Content {
        self.contents
            .get_mut(&inode)
            .expect("a named or open file has content")
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn change(&mut self, change: Change) {
        self.volatile.make(&change);
        let sequence = self.sequence();
        self.changes.push(Pending { sequence, change });
    }

    // Names.

    pub(super) fn lookup(&self, path: &str) -> Option<Inode> {
        self.volatile.files.get(path).copied()
    }

    pub(super) fn has_dir(&self, dir: &str) -> bool {
        self.volatile.dirs.contains(dir)
    }

    /// Names of what lies in `dir`, sorted.
    pub(super) fn list(&self, dir: &str) -> Vec<String> {
        let files = self.volatile.files.keys();
        let dirs = self.volatile.dirs.iter().filter(|name| !name.is_empty());
        let inside = |path: &&String| parent(path) == dir;
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let names: BTreeSet<_> = files.chain(dirs).filter(inside).map(name).collect();
        names.into_iter().collect()
    }

    /// All files by path, with their lengths.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let files = self.volatile.files.iter();
        files.map(|(path, inode)| (path.clone(), self.len(*inode)))
    }

    pub(super) fn make_dir(&mut self, dir: &str) {
        if self.has_dir(dir) {
            return;
        }
        self.make_dir(parent(dir));
        self.change(Change::MakeDir(dir.to_owned()));
    }

    pub(super) fn create(&mut self, path: &str) -> Inode {
        let inode = Inode(self.next_inode);
        self.next_inode += 1;
        self.contents.insert(inode, Content::default());
        self.change(Change::Create(path.to_owned(), inode));
        inode
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, inode: Inode) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.change(Change::Remove(path.to_owned()));
    }

    /// Makes the changes so far to what lies in `dir` durable at `done_ns`.
    pub(super) fn sync_dir(&mut self, dir: &str, done_ns: u64) {
        let through = self.next_sequence;
        self.syncing
            .push_back((dir.to_owned(), Syncing { done_ns, through }));
    }

    /// Counts a handle, which keeps content alive whose name is gone.
    pub(super) fn open(&mut self, inode: Inode) {
        self.content_mut(inode).handles += 1;
    }

    pub(super) fn close(&mut self, inode: Inode) {
        // After a crash the content may be gone while a handle of before still lies about.
        if let Some(content) = self.contents.get_mut(&inode) {
            content.handles = content.handles.saturating_sub(1);
        }
    }

    /// The process is gone, and its handles with it.
    pub(super) fn close_all(&mut self) {
        for content in self.contents.values_mut() {
            content.handles = 0;
        }
        self.forget_unreachable();
    }

    // Contents.

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn len(&self, inode: Inode) -> u64 {
        self.content(inode).volatile.len() as u64
    }

    pub(super) fn read(&self, inode: Inode, offset: u64, len: usize) -> Bytes {
        Bytes::copy_from_slice(part(&self.content(inode).volatile, offset, len as u64))
    }

    /// How many of the bytes there were flipped and have not been written since.
    pub(super) fn rotten_within(&self, inode: Inode, offset: u64, len: usize) -> u64 {
        let end = offset.saturating_add(len as u64);
        self.content(inode).rotten.range(offset..end).count() as u64
    }

    /// The length up to the last byte that is not zero.
    pub(super) fn written_bytes(&self, path: &str) -> u64 {
        let Some(inode) = self.lookup(path) else {
            return 0;
        };
        let bytes = &self.content(inode).volatile;
        let last = bytes.iter().rposition(|byte| *byte != 0);
        last.map_or(0, |last| last as u64 + 1)
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, data: Bytes) {
        let sequence = self.sequence();
        let content = self.content_mut(inode);
        let before = content.volatile.len();
        overwrite(&mut content.volatile, offset, &data);
        let grown = content.volatile.len() - before;
        let end = offset + data.len() as u64;
        content.rotten.retain(|at| !(offset..end).contains(at));
        content.unsynced.push_back(Write {
            sequence,
            offset,
            data,
        });
        self.used_bytes += grown as u64;
    }

    /// Makes the writes so far durable at `done_ns`.
    pub(super) fn sync(&mut self, inode: Inode, done_ns: u64) {
        let through = self.next_sequence;
        let content = self.content_mut(inode);
        content.syncing.push_back(Syncing { done_ns, through });
    }

    /// A sync that failed has dropped the writes it was to make durable, each kept, lost or torn;
    /// reads still see them all, and no later sync will bring them back. What earlier syncs, still
    /// under way, have promised is kept.
    pub(super) fn fail_sync(&mut self, inode: Inode, choices: &mut Choices) -> Losses {
        let mut losses = Losses::default();
        let content = self.content_mut(inode);
        content.settle(u64::MAX);
        content.scatter(choices, &mut losses);
        losses
    }

    /// Completes what syncs have completed by `now_ns`.
    pub(super) fn settle(&mut self, inode: Inode, now_ns: u64) {
        self.content_mut(inode).settle(now_ns);
    }

    pub(super) fn settle_names(&mut self, now_ns: u64) {
        let mut settled = false;
        while let Some((dir, syncing)) = self.syncing.pop_front_if(|(_, s)| s.done_ns <= now_ns) {
            settled = true;
            let durable = &mut self.durable;
            self.changes.retain(|pending| {
                let covered =
                    pending.sequence <= syncing.through && pending.change.lies_in() == dir;
                if covered {
                    durable.make(&pending.change);
                }
                !covered
            });
        }
        if settled {
            self.forget_unreachable();
        }
    }

    /// Frees contents that no name, no possible name and no handle reaches.
    fn forget_unreachable(&mut self) {
        let names = [&self.volatile, &self.durable];
        let mut reachable: BTreeSet<Inode> = names
            .iter()
            .flat_map(|names| names.files.values().copied())
            .collect();
        reachable.extend(self.changes.iter().filter_map(|it| it.change.inode()));
        self.contents
            .retain(|inode, content| content.handles > 0 || reachable.contains(inode));
        let used: usize = self.contents.values().map(|it| it.volatile.len()).sum();
        self.used_bytes = used as u64;
    }

    /// The power fails at `now_ns`: what is durable survives, of the rest some does.
    pub(super) fn crash(&mut self, now_ns: u64, choices: &mut Choices) -> Losses {
        let mut losses = Losses::default();
        self.settle_names(now_ns);
        self.syncing.clear();
        for pending in std::mem::take(&mut self.changes) {
            if choices.below(2) == 0 {
                self.durable.make(&pending.change);
            } else {
                losses.names_lost += 1;
            }
        }
        self.durable.prune();
        self.volatile = self.durable.clone();
        for content in self.contents.values_mut() {
            content.settle(now_ns);
            // The rest was under way when the power failed.
            content.syncing.clear();
            content.scatter(choices, &mut losses);
            content.volatile.clone_from(&content.durable);
        }
        self.close_all();
        losses
    }

    /// What of `path` would survive if the power failed at `now_ns` and all that is not certain
    /// to survive were lost.
    pub(super) fn durable(&mut self, path: &str, now_ns: u64) -> Option<Bytes> {
        self.settle_names(now_ns);
        let inode = *self.durable.files.get(path)?;
        self.settle(inode, now_ns);
        Some(Bytes::copy_from_slice(&self.content(inode).durable))
    }

    /// Flips the bits of `mask` in one byte of a file, in both images and in what is on its way
    /// from one to the other. False if there is no such byte.
    pub(super) fn flip(&mut self, path: &str, offset: u64, mask: u8, now_ns: u64) -> bool {
        let Some(inode) = self.lookup(path) else {
            return false;
        };
        let content = self.content_mut(inode);
        if offset >= content.volatile.len() as u64 {
            return false;
        }
        content.settle(now_ns);
        let place = place(offset);
        content.rotten.insert(offset);
        content.volatile[place] ^= mask;
        if let Some(byte) = content.durable.get_mut(place) {
            *byte ^= mask;
        }
        for write in &mut content.unsynced {
            let end = write.offset + write.data.len() as u64;
            if (write.offset..end).contains(&offset) {
                let mut data = write.data.to_vec();
                data[self::place(offset - write.offset)] ^= mask;
                write.data = data.into();
            }
        }
        true
    }
}

impl Change {
    /// The directory whose sync makes the change durable.
    fn lies_in(&self) -> &str {
        match self {
            Self::MakeDir(path)
            | Self::Create(path, _)
            | Self::Rename(_, path, _)
            | Self::Remove(path) => parent(path),
        }
    }

    fn inode(&self) -> Option<Inode> {
        match self {
            Self::Create(_, inode) | Self::Rename(_, _, inode) => Some(*inode),
            Self::MakeDir(_) | Self::Remove(_) => None,
        }
    }
}

impl Content {
    fn settle(&mut self, now_ns: u64) {
        while let Some(syncing) = self.syncing.pop_front_if(|it| it.done_ns <= now_ns) {
            while let Some(write) = self
                .unsynced
                .pop_front_if(|it| it.sequence <= syncing.through)
            {
                overwrite(&mut self.durable, write.offset, &write.data);
            }
        }
    }

    /// Decides for each unsynced write how much of it reaches the durable image. A sector shows
    /// the writes to it up to some moment, because a cache writes back whole sectors.
    fn scatter(&mut self, choices: &mut Choices, losses: &mut Losses) {
        let unsynced = std::mem::take(&mut self.unsynced);
        // For each sector, up to which write it has been written back.
        let mut written_back = BTreeMap::<u64, usize>::new();
        for (index, write) in unsynced.iter().enumerate() {
            let fate = fate(choices);
            if fate == Fate::Lost {
                continue;
            }
            for sector in write.sectors() {
                if fate == Fate::Kept || choices.below(2) == 0 {
                    written_back.insert(sector, index);
                }
            }
        }
        for (index, write) in unsynced.iter().enumerate() {
            let left = write.sectors().filter(|sector| {
                let back = written_back.get(sector);
                back.is_some_and(|last| *last >= index)
            });
            match (left.count(), write.sectors().count()) {
                (left, all) if left == all => {}
                (0, _) => losses.writes_lost += 1,
                _some => losses.writes_torn += 1,
            }
        }
        for (sector, last) in written_back {
            let start = sector * SECTOR_BYTES;
            for write in unsynced.iter().take(last + 1) {
                let from = write.offset.max(start);
                let to = (write.offset + write.data.len() as u64).min(start + SECTOR_BYTES);
                if from < to {
                    let piece = part(&write.data, from - write.offset, to - from);
                    overwrite(&mut self.durable, from, piece);
                }
            }
        }
        // The length is kept apart from the data: a file may have grown and show zeros.
        if self.durable.len() < self.volatile.len() && choices.below(4) == 0 {
            self.durable.resize(self.volatile.len(), 0);
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits into memory")
}

/// Up to `len` bytes at `offset`, fewer at the end.
fn part(bytes: &[u8], offset: u64, len: u64) -> &[u8] {
    let start = place(offset).min(bytes.len());
    let end = place(offset.saturating_add(len)).min(bytes.len());
    &bytes[start..end]
}

/// Writes `data` at `offset`, filling a gap before it with zeros.
fn overwrite(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = place(offset);
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests;
