//! Snapshots: a manifest that lists checksummed chunk files.
//!
//! A new snapshot carries over the chunks that have not changed, so its cost follows the change,
//! not the state. A crash at any moment leaves the old snapshot or the new one: chunks are synced
//! first, then the manifest under a temporary name, then it gets its name, and only then is
//! anything removed that the new one does not need.
//!
//! Calls here await disk calls one after the other: make them from a task of its own.

use crate::error::{Damage, StorageError};
use crate::manifest::{
    self, CHUNK_HEADER, Manifest, Name, SNAPSHOT_DIR, TEMPORARY_PATH, chunk_path, manifest_path,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::disk::Open;
use synod_env::{Disk, Env};

pub use crate::manifest::{Chunk, ChunkId, Meta};

/// A member's snapshots: at most one that counts, and those before it that somebody still reads.
#[derive(Clone)]
pub struct SnapshotStore(Arc<Store>);

struct Store {
    disk: Arc<dyn Disk>,
    damaged: Option<Damage>,
    state: Mutex<State>,
}

struct State {
    current: Option<Arc<Manifest>>,
    /// Replaced but perhaps still being read, or written but not known to be durable.
    former: Vec<Arc<Manifest>>,
    next_number: u64,
    next_chunk: u64,
    /// Chunk files of no manifest: of a writer that was given up.
    orphans: BTreeSet<ChunkId>,
    is_writing: bool,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = self
            .0
            .lock()
            .current
            .as_ref()
            .map(|manifest| manifest.number);
        write!(f, "SnapshotStore({number:?})")
    }
}

impl SnapshotStore {
    /// Opens the directory `snapshot`, making it if there is none, and removes what an unfinished
    /// snapshot left.
    ///
    /// If the newest manifest is damaged while an older one is whole (which is there only shortly
    /// after a new one was written, or while it is being read), the older one counts and nothing
    /// is removed: see [`SnapshotStore::damaged`]. Whether the log reaches back to it is for the
    /// caller to see.
    ///
    /// # Errors
    /// [`StorageError`]: `Io`; `Corrupt`, `Newer`, `Older` if no manifest can be used; `Missing`
    /// if a chunk file is not there; `Foreign`.
    pub async fn open(env: &Env) -> Result<Self, StorageError> {
        let disk = env.disk();
        let io = |doing| StorageError::io(disk.describe(SNAPSHOT_DIR), doing);
        disk.create_dir(SNAPSHOT_DIR).await.map_err(io("create"))?;
        disk.sync_dir("")
            .await
            .map_err(StorageError::io(disk.describe(""), "sync"))?;
        let names = disk.list(SNAPSHOT_DIR).await.map_err(io("list"))?;
        let mut manifests = BTreeSet::new();
        let mut chunks = BTreeSet::new();
        for name in names {
            match Name::parse(&name) {
                Name::Manifest(number) => {
                    manifests.insert(number);
                }
                Name::Chunk(id) => {
                    chunks.insert(id);
                }
                Name::Unfinished => remove(disk.as_ref(), TEMPORARY_PATH).await?,
                Name::Foreign => {
                    let file = disk.describe(&format!("{SNAPSHOT_DIR}/{name}"));
                    return Err(StorageError::Foreign { file });
                }
            }
        }
        let (current, damaged) = newest(disk.as_ref(), &manifests).await?;
        let listed = current
            .iter()
            .flat_map(|manifest| &manifest.chunks)
            .map(|chunk| chunk.id);
        let listed: BTreeSet<_> = listed.collect();
        if let Some(missing) = listed.difference(&chunks).next() {
            let by = current.as_ref().map_or(0, |manifest| manifest.number);
            return Err(StorageError::Missing {
                file: disk.describe(&chunk_path(*missing)),
                evidence: format!("{} lists it", disk.describe(&manifest_path(by))),
            });
        }
        if damaged.is_none() {
            let kept = current.as_ref().map(|manifest| manifest.number);
            for number in manifests.iter().filter(|number| Some(**number) != kept) {
                remove(disk.as_ref(), &manifest_path(*number)).await?;
            }
            for orphan in chunks.difference(&listed) {
                remove(disk.as_ref(), &chunk_path(*orphan)).await?;
            }
        }
        let above = |greatest: Option<u64>| greatest.map_or(1, |greatest| greatest + 1);
        let next_chunk = above(chunks.last().map(|id| id.0))
            .max(current.as_ref().map_or(1, |manifest| manifest.next_chunk));
        let state = State {
            next_number: above(manifests.last().copied()),
            next_chunk,
            current: current.map(Arc::new),
            former: Vec::new(),
            orphans: BTreeSet::new(),
            is_writing: false,
        };
        Ok(Self(Arc::new(Store {
            disk,
            damaged,
            state: Mutex::new(state),
        })))
    }

    /// What was wrong with the newest manifest when the store was opened, if an older one had to
    /// stand in for it. The operator should know.
    #[must_use]
    pub fn damaged(&self) -> Option<&Damage> {
        self.0.damaged.as_ref()
    }

    /// The snapshot that counts, if there is one. Its files stay as long as the handle is held.
    #[must_use]
    pub fn load(&self) -> Option<Snapshot> {
        let manifest = Arc::clone(self.0.lock().current.as_ref()?);
        Some(Snapshot {
            disk: Arc::clone(&self.0.disk),
            manifest,
        })
    }

    /// Begins a new snapshot. Nothing counts until [`Writer::finish`]; a writer that is dropped
    /// has done nothing.
    ///
    /// # Panics
    /// If another writer is at work.
    #[must_use]
    pub fn begin(&self, meta: Meta) -> Writer {
        let mut state = self.0.lock();
        assert!(!state.is_writing, "one snapshot is written at a time");
        state.is_writing = true;
        let former = state.current.iter().flat_map(|manifest| &manifest.chunks);
        let carried = former.map(|chunk| (chunk.id, *chunk)).collect();
        drop(state);
        Writer {
            store: self.clone(),
            meta,
            former: carried,
            chunks: Vec::new(),
            has_begun: false,
        }
    }
}

/// The newest manifest that is whole, and what is wrong with a newer one, if there is one. An
/// error if there are manifests but none is whole.
async fn newest(
    disk: &dyn Disk,
    numbers: &BTreeSet<u64>,
) -> Result<(Option<Manifest>, Option<Damage>), StorageError> {
    let mut damaged = None;
    for number in numbers.iter().rev() {
        match read_manifest(disk, *number).await {
            Ok(manifest) => return Ok((Some(manifest), damaged)),
            Err(StorageError::Corrupt(damage)) => damaged = damaged.or(Some(damage)),
            Err(error) => return Err(error),
        }
    }
    damaged.map_or(Ok((None, None)), |damage| {
        Err(StorageError::Corrupt(damage))
    })
}

async fn read_manifest(disk: &dyn Disk, number: u64) -> Result<Manifest, StorageError> {
    let path = manifest_path(number);
    let bytes = read_file(disk, &path).await?;
    Manifest::decode(&bytes, number, disk.describe(&path))
}

async fn read_file(disk: &dyn Disk, path: &str) -> Result<Bytes, StorageError> {
    let io = |doing| StorageError::io(disk.describe(path), doing);
    let file = match disk.open(path, Open::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let evidence = "it was there when the member started".to_owned();
            return Err(StorageError::Missing {
                file: disk.describe(path),
                evidence,
            });
        }
        Err(error) => return Err(io("open")(error)),
    };
    let length = file.len().await.map_err(io("read the size of"))?;
    let length =
        usize::try_from(length).map_err(|_| io("read")(io::ErrorKind::FileTooLarge.into()))?;
    file.read_at(0, length).await.map_err(io("read"))
}

async fn remove(disk: &dyn Disk, path: &str) -> Result<(), StorageError> {
    match disk.remove(path).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io(disk.describe(path), "remove")(error)),
    }
}

/// A snapshot that can be read. Clones share it: several tasks may read chunks at once.
#[derive(Clone)]
pub struct Snapshot {
    disk: Arc<dyn Disk>,
    manifest: Arc<Manifest>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Manifest {
            number,
            chunks,
            meta,
            ..
        } = &*self.manifest;
        write!(
            f,
            "Snapshot({number}, index {}, {} chunks)",
            meta.index,
            chunks.len()
        )
    }
}

impl Snapshot {
    /// What it says of itself.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.manifest.meta
    }

    /// Its chunks, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.manifest.chunks
    }

    /// Bytes of all chunks together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks().iter().map(|chunk| chunk.length).sum()
    }

    /// Reads one of its chunks and verifies the checksum.
    ///
    /// # Errors
    /// [`StorageError`]: `Io`; `Corrupt` with file and offset; `Missing`.
    pub async fn read(&self, chunk: &Chunk) -> Result<Bytes, StorageError> {
        let path = chunk_path(chunk.id);
        let bytes = read_file(self.disk.as_ref(), &path).await?;
        manifest::decode_chunk(&bytes, chunk, self.disk.describe(&path))
    }
}

/// Writes one snapshot.
#[derive(Debug)]
pub struct Writer {
    store: SnapshotStore,
    meta: Meta,
    /// Chunks of the snapshot before, which can be carried over.
    former: BTreeMap<ChunkId, Chunk>,
    chunks: Vec<Chunk>,
    /// A chunk has been written.
    has_begun: bool,
}

impl Writer {
    /// Takes over a chunk of the snapshot before, without touching its file.
    ///
    /// # Panics
    /// If that snapshot has no such chunk.
    pub fn carry(&mut self, id: ChunkId) {
        let chunk = self.former.get(&id);
        let chunk = chunk.unwrap_or_else(|| panic!("{id:?} is not in the snapshot before"));
        self.chunks.push(*chunk);
    }

    /// Writes a new chunk and syncs it.
    ///
    /// # Errors
    /// [`StorageError::Io`]. The chunk is not part of the snapshot then; the writer can be used
    /// on, but most callers will drop it and begin anew later.
    pub async fn add(&mut self, content: Bytes) -> Result<ChunkId, StorageError> {
        let store = &self.store.0;
        let mut abandoned = BTreeSet::new();
        let id = {
            let mut state = store.lock();
            if !self.has_begun {
                // Of a writer that was given up, perhaps because its chunks left no room.
                abandoned = std::mem::take(&mut state.orphans);
            }
            let id = ChunkId(state.next_chunk);
            state.next_chunk += 1;
            state.orphans.insert(id);
            id
        };
        self.has_begun = true;
        remove_chunks(store, abandoned).await;
        let path = chunk_path(id);
        let io = |doing| StorageError::io(store.disk.describe(&path), doing);
        let chunk = Chunk {
            id,
            length: u64::try_from(content.len()).expect("u64 holds a length"),
            checksum: crc32c::crc32c(&content),
        };
        let header = manifest::encode_chunk_header(&chunk);
        let offset = u64::try_from(CHUNK_HEADER).expect("u64 holds a length");
        let file = store
            .disk
            .open(&path, Open::Create)
            .await
            .map_err(io("create"))?;
        file.write_at(0, header).await.map_err(io("write"))?;
        file.write_at(offset, content).await.map_err(io("write"))?;
        file.sync().await.map_err(io("sync"))?;
        self.chunks.push(chunk);
        Ok(id)
    }

    /// Gives the snapshot up and removes the chunks that were written for it. A writer that is
    /// only dropped leaves them for the next one to remove.
    pub async fn give_up(self) {
        let abandoned = std::mem::take(&mut self.store.0.lock().orphans);
        remove_chunks(&self.store.0, abandoned).await;
    }

    /// Makes the snapshot the one that counts. When this ends it is durable, and what only the
    /// one before needed is gone, unless somebody still reads it.
    ///
    /// # Errors
    /// [`StorageError::Io`]: the snapshot before still counts, for this start; at the next one
    /// either may.
    pub async fn finish(self) -> Result<Snapshot, StorageError> {
        let store = Arc::clone(&self.store.0);
        let disk = store.disk.as_ref();
        let manifest = {
            let mut state = store.lock();
            let number = state.next_number;
            state.next_number += 1;
            Arc::new(Manifest {
                number,
                next_chunk: state.next_chunk,
                meta: self.meta.clone(),
                chunks: self.chunks.clone(),
            })
        };
        let dir = |doing| StorageError::io(disk.describe(SNAPSHOT_DIR), doing);
        // The names of the chunks must be durable before a manifest lists them.
        disk.sync_dir(SNAPSHOT_DIR).await.map_err(dir("sync"))?;
        remove(disk, TEMPORARY_PATH).await?;
        let io = |doing| StorageError::io(disk.describe(TEMPORARY_PATH), doing);
        let file = disk
            .open(TEMPORARY_PATH, Open::Create)
            .await
            .map_err(io("create"))?;
        file.write_at(0, manifest.encode())
            .await
            .map_err(io("write"))?;
        file.sync().await.map_err(io("sync"))?;
        {
            // From here on it may count at the next start, whatever happens: its chunks stay until
            // a later snapshot is durable.
            let mut state = store.lock();
            for chunk in &manifest.chunks {
                state.orphans.remove(&chunk.id);
            }
            state.former.push(Arc::clone(&manifest));
        }
        let path = manifest_path(manifest.number);
        disk.rename(TEMPORARY_PATH, &path)
            .await
            .map_err(io("rename"))?;
        disk.sync_dir(SNAPSHOT_DIR).await.map_err(dir("sync"))?;
        {
            let mut state = store.lock();
            state
                .former
                .retain(|former| former.number != manifest.number);
            let former = state.current.replace(Arc::clone(&manifest));
            state.former.extend(former);
        }
        clean(&store).await;
        Ok(Snapshot {
            disk: Arc::clone(&store.disk),
            manifest,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.store.0.lock().is_writing = false;
    }
}

/// Removes what nobody needs. What cannot be removed now is removed at the next start.
async fn clean(store: &Store) {
    let (manifests, chunks) = {
        let mut state = store.lock();
        let (read, unread): (Vec<_>, Vec<_>) = std::mem::take(&mut state.former)
            .into_iter()
            .partition(|manifest| Arc::strong_count(manifest) > 1);
        let needed: BTreeSet<_> = read
            .iter()
            .chain(&state.current)
            .flat_map(|manifest| &manifest.chunks)
            .map(|chunk| chunk.id)
            .collect();
        state.former = read;
        let mut chunks = std::mem::take(&mut state.orphans);
        chunks.extend(
            unread
                .iter()
                .flat_map(|manifest| &manifest.chunks)
                .map(|it| it.id),
        );
        chunks.retain(|id| !needed.contains(id));
        (unread, chunks)
    };
    for manifest in manifests {
        remove(store.disk.as_ref(), &manifest_path(manifest.number))
            .await
            .ok();
    }
    remove_chunks(store, chunks).await;
}

async fn remove_chunks(store: &Store, chunks: BTreeSet<ChunkId>) {
    if chunks.is_empty() {
        return;
    }
    for id in chunks {
        remove(store.disk.as_ref(), &chunk_path(id)).await.ok();
    }
    // Some file systems give the room back only then.
    store.disk.sync_dir(SNAPSHOT_DIR).await.ok();
}

#[cfg(test)]
mod tests;
