//! The log: votes and entries in one ordered stream that survives every crash.
//!
//! The order of calls is the order in the log. A call encodes its record at once, under a mutex,
//! at the very place where it will stand; so whether there is room is known before anything is
//! written, and a refused call leaves no trace. One task, on a thread of its own, takes what has
//! gathered, writes it in one contiguous write, syncs once, and completes everybody (group
//! commit, Gray and Reuter 1993, 9.4.7). While it syncs, the next group gathers.
//!
//! A second task keeps a zero-filled segment ready. When none is left, ordinary appends are
//! refused; a reserve goes on taking votes and the entries that lead out of the trouble. The disk
//! being full while a segment is prepared is not an error of the log: it is tried again each
//! second, and recycling purged segments needs no room at all.
//!
//! Any error of a write or a sync of the log itself is final ([`Health::fatal`]): nobody knows
//! which of the bytes are on the disk, and asking a second time makes some kernels forget that
//! they ever failed (Rebello et al., USENIX ATC 2020). Nothing is retried or acknowledged after.

mod index;
mod preparing;
mod state;
mod writing;

use crate::error::{Damage, StorageError};
use crate::record::{self, Entry, Position, Record, Vote};
use crate::recovery::{self, TornTail};
use crate::segment::Segment;
use state::State;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use synod_env::{Bug, Env, Histogram, Limits, oneshot, planted, watch};

pub(crate) use index::{Index, Slot};
pub(crate) use state::{Used, apply};

/// Called once when an append is durable, or will never be known to be. It runs on the log's
/// thread: it should only pass the news on.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Sizes and times of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment's file, in bytes. The first ones are smaller, so that an empty start is
    /// quick.
    pub segment_bytes: u32,
    /// Largest payload of an entry, in bytes.
    pub entry_bytes_max: usize,
    /// Room that only [`Priority::Reserve`] may use, in bytes.
    pub reserve_bytes: u32,
    /// Encoded records that may wait for the log's thread, in bytes; beyond it an ordinary append
    /// is refused as [`Refused::Busy`], unless nothing waits. What is appended with
    /// [`Priority::Reserve`] is bounded by the [`Room`] given out for it.
    pub queue_bytes_max: usize,
    /// Latest entries kept in memory, in bytes.
    pub cache_bytes_max: usize,
    /// Segments kept ready: if there are fewer, one is filled with zeros.
    pub segments_ready: usize,
    /// Purged segments are made ready again up to this many; in a steady state none is then
    /// filled with zeros any more. Beyond it they are removed.
    pub segments_kept: usize,
    /// After so long without a write, but at most twice as long, a marker closes the tail.
    pub idle: Duration,
    /// How long after a failed preparation of a segment the next attempt waits.
    pub prepare_again: Duration,
}

/// The size of the first segment, in bytes. Each next one is twice as large until
/// [`Options::segment_bytes`].
const FIRST_SEGMENT_BYTES: u32 = 4 << 20;

impl Options {
    /// What a member with these limits needs.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let entry_bytes_max = limits
            .batch_bytes_max
            .max(limits.request_bytes_max)
            .saturating_add(64 << 10)
            .min(6 << 20);
        let entry_span = u64::try_from(entry_bytes_max).expect("u64 holds a length");
        let reserve_bytes: u32 = 256 << 10;
        // An empty segment holds the reserve and two of the largest entries, or a call would be
        // refused although nothing is left to prepare.
        let segment_bytes = limits
            .log_segment_bytes
            .max(2 * u64::from(reserve_bytes) + 4 * entry_span)
            .clamp(64 << 10, 1 << 30);
        Self {
            segment_bytes: u32::try_from(segment_bytes.next_multiple_of(4096))
                .expect("clamped to 1 GiB"),
            entry_bytes_max,
            reserve_bytes,
            queue_bytes_max: 8 << 20,
            cache_bytes_max: 16 << 20,
            segments_ready: 1,
            segments_kept: 3,
            idle: Duration::from_millis(100),
            prepare_again: Duration::from_secs(1),
        }
    }
}

/// Which room an append may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// All but the reserve.
    Ordinary,
    /// The reserve too. For small entries that must get through (a reign, membership,
    /// compaction), and for entries for which the caller holds [`Room`].
    Reserve,
}

/// Why a call was refused. Nothing has been written and nothing will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No segment is ready and the disk has no room for one.
    NoSpace,
    /// No segment is ready yet; one is being prepared.
    Preparing,
    /// Too much waits for the log's thread.
    Busy,
    /// The entry's payload is larger than [`Options::entry_bytes_max`].
    TooLarge,
    /// The log has stopped: see [`Health::fatal`], or it was closed.
    Stopped,
}

/// What a log is able to do at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the log has stopped for good, if it has.
    pub fatal: Option<String>,
    /// How the preparation of segments goes.
    pub preparation: Preparation,
    /// Segments that are ready to be written.
    pub segments_ready: usize,
}

/// How the preparation of segments goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Preparation {
    /// As it should.
    #[default]
    Well,
    /// The disk has no room; tried again until it has.
    NoSpace,
    /// The disk failed otherwise, as the text says; tried again.
    Failing(String),
}

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The latest vote.
    pub vote: Option<Vote>,
    /// The last position known to be committed when it was last saved.
    pub committed: Option<Position>,
    /// Entries up to here are gone.
    pub purged: Option<Position>,
    /// The last entry, or `purged` if there is none after it.
    pub last: Option<Position>,
    /// The unfinished write at the end that was cut off. It was never acknowledged.
    pub torn: Option<TornTail>,
}

/// A handle to an open log; clones share it. When the last is dropped the log closes by itself.
#[derive(Clone)]
pub struct Log(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
}

/// What the handle, the writing task and the preparing task share.
struct Shared {
    env: Env,
    options: Options,
    state: Mutex<State>,
    /// One above the last durable index; 0 if there is none.
    durable_end: AtomicU64,
    health: watch::Sender<Health>,
    sync_times: Arc<Histogram>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lowers or raises the durable end to what `state` says. Called with the state locked, so
    /// that no older value overtakes a newer one.
    fn publish_durable(&self, state: &State) {
        self.durable_end
            .store(state.durable_end(), Ordering::Release);
    }
}

/// Ends when what the call asked for is durable. The call itself has taken its place in the log
/// already: dropping this only gives up the news.
#[must_use = "await it, or say with drop() that the news does not matter"]
#[derive(Debug)]
pub struct Flush(oneshot::Receiver<io::Result<()>>);

impl Future for Flush {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|result| result.unwrap_or_else(|oneshot::Dropped| Err(Refused::Stopped.into())))
    }
}

/// Room kept for entries that its holder will append with [`Priority::Reserve`]. Drop it when
/// they are in the log, or will not come.
#[derive(Debug)]
pub struct Room {
    log: Log,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.log.0.shared.lock().give_back_room(self.bytes);
    }
}

impl Log {
    /// Opens the log in the directory `log`, making it if there is none, and starts its two
    /// tasks. Awaits disk calls: call it where blocking on the disk is allowed.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails, if durable bytes have changed, if a segment is
    /// missing, foreign, or of another format version. A torn last write is no error.
    pub async fn open(env: &Env, options: Options) -> Result<(Self, Recovered), StorageError> {
        let found = recovery::recover(env, options.segment_bytes.min(FIRST_SEGMENT_BYTES)).await?;
        let recovered = Recovered {
            vote: found.summary.vote,
            committed: found.summary.committed,
            purged: found.summary.purged,
            last: found.summary.last,
            torn: found.torn.clone(),
        };
        let (health, _) = watch::channel(Health {
            segments_ready: found.ready.len(),
            ..Health::default()
        });
        let state = State::new(found, options.clone());
        let shared = Arc::new(Shared {
            env: env.clone(),
            durable_end: AtomicU64::new(state.durable_end()),
            state: Mutex::new(state),
            options,
            health,
            sync_times: Arc::default(),
        });
        writing::write_opening_marker(&shared).await?;
        env.spawn_dedicated("synod-log", writing::run(Arc::clone(&shared)));
        env.spawn_dedicated("synod-log-prepare", preparing::run(Arc::clone(&shared)));
        Ok((Self(Arc::new(Handle { shared })), recovered))
    }

    /// Appends entries, which can be read at once; `done` is called once when all of them are
    /// durable. If there are none it is called at once.
    ///
    /// # Errors
    /// [`Refused`]: nothing was appended and `done` will not be called.
    ///
    /// # Panics
    /// If the indexes do not continue the log without gap, or an epoch is below the last one.
    pub fn append(
        &self,
        entries: Vec<Entry>,
        priority: Priority,
        done: Done,
    ) -> Result<(), Refused> {
        if entries.is_empty() {
            done(Ok(()));
            return Ok(());
        }
        let waker = {
            let mut state = self.0.shared.lock();
            state.append(entries, priority, done)?;
            state.writer.take()
        };
        wake(waker);
        Ok(())
    }

    /// Appends a vote. It may use the reserve.
    pub fn save_vote(&self, vote: Vote) -> Flush {
        let flush = self.control(Record::Vote(vote));
        if planted(Bug::VoteNotSynced) {
            let (sender, at_once) = oneshot::channel();
            sender.send(Ok(())).ok();
            return Flush(at_once);
        }
        flush
    }

    /// Makes every entry after `last` void, or all of them if `None`.
    ///
    /// # Panics
    /// If `last` is neither in the log nor the end of what was purged.
    pub fn truncate_after(&self, last: Option<Position>) -> Flush {
        self.control(Record::Truncate(last))
    }

    /// Gives up every entry up to `upto`, so that their segments can be used again. If `upto` is
    /// beyond the last entry, the log then is empty and goes on after `upto`.
    ///
    /// # Panics
    /// If the log holds another entry at that index.
    pub fn purge(&self, upto: Position) -> Flush {
        self.control(Record::Purge(upto))
    }

    /// Notes that entries up to `upto` are committed. It gets to the disk with the next write,
    /// or with the marker that closes the tail; it is a hint for the next start, not a promise.
    pub fn save_committed(&self, upto: Position) {
        self.0.shared.lock().note_committed(upto);
    }

    /// Keeps room for an entry with a payload of `bytes` bytes, so that its later append with
    /// [`Priority::Reserve`] cannot be refused for lack of room.
    ///
    /// # Errors
    /// [`Refused`]; the reserve is left alone.
    pub fn admit(&self, bytes: usize) -> Result<Room, Refused> {
        let (room, _) = self.admit_some([bytes], Priority::Ordinary)?;
        Ok(room)
    }

    /// As [`Log::admit`] for several entries, given the lengths of their payloads: room for as
    /// many of the first ones as there is room for, and how many these are. With
    /// [`Priority::Reserve`] it may be a part of the reserve, of which half is left in any case,
    /// for votes.
    ///
    /// # Errors
    /// [`Refused`] if there is no room even for the first.
    pub fn admit_some(
        &self,
        payloads: impl IntoIterator<Item = usize>,
        priority: Priority,
    ) -> Result<(Room, usize), Refused> {
        let (bytes, count) = self.0.shared.lock().take_room(payloads, priority)?;
        let room = Room {
            log: self.clone(),
            bytes,
        };
        Ok((room, count))
    }

    /// How long the syncs of groups took, those that failed included.
    #[must_use]
    pub fn sync_times(&self) -> Arc<Histogram> {
        Arc::clone(&self.0.shared.sync_times)
    }

    /// True while there is room for some dozens of votes and blank entries, which may use all of
    /// the reserve.
    #[must_use]
    pub fn has_room_for_votes(&self) -> bool {
        self.0.shared.lock().has_room_for_votes()
    }

    /// As [`Log::admit`], but waits while a segment is being prepared.
    ///
    /// # Errors
    /// [`Refused`], except [`Refused::Preparing`].
    pub async fn admitted(&self, bytes: usize) -> Result<Room, Refused> {
        let mut health = self.health();
        loop {
            health.borrow_seen();
            match self.admit(bytes) {
                Err(Refused::Preparing) => {
                    if health.changed().await.is_err() {
                        return Err(Refused::Stopped);
                    }
                }
                other => return other,
            }
        }
    }

    /// The last durable index; `None` if no entry is durable. What is true of an index here may
    /// be acknowledged.
    #[must_use]
    pub fn durable(&self) -> Option<u64> {
        self.0
            .shared
            .durable_end
            .load(Ordering::Acquire)
            .checked_sub(1)
    }

    /// The last entry, durable or not; or the end of what was purged.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.0.shared.lock().summary().last
    }

    /// The end of what was purged.
    #[must_use]
    pub fn purged(&self) -> Option<Position> {
        self.0.shared.lock().summary().purged
    }

    /// The latest vote, durable or not.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.0.shared.lock().summary().vote
    }

    /// The position of the entry at `index`, if it is in the log or the last one purged.
    #[must_use]
    pub fn position(&self, index: u64) -> Option<Position> {
        self.0.shared.lock().position(index)
    }

    /// Bytes of the records of all entries in the log. Snapshots are started by it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.shared.lock().index().record_bytes()
    }

    /// The last position that can be purged if records of `bytes` bytes are to stay behind it.
    /// `None` if the log is not longer than that.
    #[must_use]
    pub fn position_with_bytes_after(&self, bytes: u64) -> Option<Position> {
        let state = self.0.shared.lock();
        let index = state.index().index_with_bytes_after(bytes)?;
        state.index().position(index)
    }

    /// The entries of `range`, from memory or disk, as far as they are in the log: the first
    /// one in any case, further ones while all payloads together have at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`StorageError::Purged`] if the first is no longer in the log; `Io` and `Corrupt`.
    pub async fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let plan = self.0.shared.lock().plan_read(range.clone(), bytes_max)?;
        let result = self.read_planned(plan).await;
        // A segment may have been used again while it was being read.
        if result.is_err() && self.0.shared.lock().has_purged(range.start) {
            return Err(StorageError::Purged { index: range.start });
        }
        result
    }

    async fn read_planned(&self, plan: Vec<Step>) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        for step in plan {
            match step {
                Step::Memory(entry) => entries.push(entry),
                Step::Disk { segment, records } => {
                    read_records(&self.0.shared.env, &segment, &records, &mut entries).await?;
                }
            }
        }
        Ok(entries)
    }

    /// The log's health, and each change of it.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.shared.health.subscribe()
    }

    /// Writes what waits, closes the tail with a marker, and ends the log's tasks. Later calls
    /// are refused as stopped.
    pub async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        let wakers = self.0.shared.lock().close(Some(closed));
        wakers.into_iter().for_each(Waker::wake);
        // Without an answer the log had stopped before.
        wait.await.ok();
    }

    fn control(&self, record: Record) -> Flush {
        let (sender, flush) = oneshot::channel();
        let done: Done = Box::new(move |result| {
            // Nobody may be waiting any more.
            sender.send(result).ok();
        });
        let waker = {
            let mut state = self.0.shared.lock();
            let refused = state.control(record, done);
            self.0.shared.publish_durable(&state);
            let waker = state.writer.take();
            drop(state);
            if let Err((refused, done)) = refused {
                done(Err(refused.into()));
            }
            waker
        };
        wake(waker);
        Flush(flush)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let wakers = self.shared.lock().close(None);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::NoSpace => io::ErrorKind::StorageFull,
            Refused::Preparing | Refused::Busy => io::ErrorKind::WouldBlock,
            Refused::TooLarge => io::ErrorKind::InvalidInput,
            Refused::Stopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, refused)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "no room on the disk for the log",
            Self::Preparing => "the next segment of the log is still being prepared",
            Self::Busy => "too much waits to be written to the log",
            Self::TooLarge => "the entry is larger than the log takes",
            Self::Stopped => "the log has stopped",
        })
    }
}

impl std::error::Error for Refused {}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Log(last {:?}, durable {:?})",
            self.last(),
            self.durable()
        )
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The size of the next segment after one of `before` bytes.
fn next_segment_bytes(before: u32, options: &Options) -> u32 {
    before.saturating_mul(2).min(options.segment_bytes)
}

/// What a read does next.
enum Step {
    Memory(Entry),
    /// Records that stand close together in one segment.
    Disk {
        segment: Arc<Segment>,
        records: Vec<(u64, Slot)>,
    },
}

/// Most bytes that one call reads from the disk.
const READ_BYTES_MAX: u32 = 1 << 20;

async fn read_records(
    env: &Env,
    segment: &Segment,
    records: &[(u64, Slot)],
    into: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    let (Some((_, first)), Some((_, last))) = (records.first(), records.last()) else {
        return Ok(());
    };
    let name = || env.disk().describe(&segment.path());
    let span = (last.offset + last.length - first.offset) as usize;
    let bytes = segment
        .file
        .read_at(u64::from(first.offset), span)
        .await
        .map_err(StorageError::io(name(), "read"))?;
    for (index, slot) in records {
        let start = ((slot.offset - first.offset) as usize).min(bytes.len());
        let end = (start + slot.length as usize).min(bytes.len());
        let corrupt = |bad: record::Bad| {
            StorageError::Corrupt(Damage {
                file: name(),
                offset: u64::from(slot.offset),
                expected: bad.expected,
                found: bad.found,
            })
        };
        let expected = Position {
            epoch: slot.epoch,
            node: slot.node,
            index: *index,
        };
        let record = record::decode(&bytes.slice(start..end), segment.seed, slot.offset);
        let record = record.map_err(corrupt)?.0;
        if let Record::Entry(entry) = &record
            && entry.position == expected
        {
            into.push(entry.clone());
        } else {
            let expected = format!("the entry at {expected:?}");
            return Err(corrupt(record::Bad::new(expected, format!("{record:?}"))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
