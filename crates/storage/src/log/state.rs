//! The log's state in memory: what has its place in the stream, and what of it is durable.
//!
//! Nothing here waits or touches the disk. Every method runs under the log's mutex.

use super::{Done, Index, Options, Preparation, Priority, READ_BYTES_MAX, Refused, Slot, Step};
use crate::error::StorageError;
use crate::group::{GROUP_HEADER, GroupHeader, PAGE, Place, chain, padded};
use crate::record::{self, ENTRY_OVERHEAD, Entry, Framed, Marker, Position, Record, Summary};
use crate::recovery::Found;
use crate::segment::{SEGMENT_HEADER, Segment};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use synod_env::oneshot;

/// A group takes further records up to this many bytes. A longer record has a group of its own.
const GROUP_BYTES_SOFT: u32 = 2 << 20;

/// A segment that holds a part of the stream.
pub(crate) struct Used {
    pub(crate) segment: Arc<Segment>,
    /// The greatest index of an entry in it.
    pub(crate) index_max: Option<u64>,
}

pub(super) struct State {
    options: Options,
    /// As of the last record placed.
    summary: Summary,
    /// The last committed position that is in the stream.
    committed_placed: Option<Position>,
    index: Index,
    /// From the oldest to the one that is being filled.
    used: VecDeque<Used>,
    ready: VecDeque<Arc<Segment>>,
    packing: Packing,
    pending: VecDeque<Group>,
    pending_bytes: usize,
    in_flight: Option<InFlight>,
    /// The end of what is synced.
    durable: Place,
    /// One above the last durable index.
    durable_end: u64,
    /// One above the last index whose purge is durable.
    purged_end: u64,
    /// Room promised by [`super::Log::admit`], in bytes.
    room_given: u64,
    preparation: Preparation,
    /// Something was written that no marker or later group vouches for.
    pub(super) tail_open: bool,
    /// Groups written since the start.
    pub(super) groups_written: u64,
    pub(super) phase: Phase,
    /// Tasks that have not ended.
    tasks: usize,
    closed: Vec<oneshot::Sender<()>>,
    /// The writing task, if it waits.
    pub(super) writer: Option<Waker>,
    /// The preparing task, if it waits.
    pub(super) preparer: Option<Waker>,
}

/// Whether the log takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What waits is written yet.
    Closing,
    /// Closed, or failed.
    Stopped,
}

/// Records that will be written together.
struct Group {
    segment: Arc<Segment>,
    start: u32,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    records: u32,
    records_checksum: u32,
    /// One above the last index once this group is written.
    index_end: u64,
    /// The lowest point to which a record of this group cuts the log.
    truncated_to: Option<u64>,
    purged_end: Option<u64>,
    holds_only_marker: bool,
    done: Vec<Done>,
}

/// A group on its way to the disk.
struct InFlight {
    end: Place,
    index_end: u64,
    purged_end: Option<u64>,
    holds_only_marker: bool,
    done: Vec<Done>,
}

/// A group's bytes and where they go.
pub(super) struct Write {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u32,
    pub(super) data: Bytes,
}

/// How records are packed into groups and groups into one segment. The only place that decides
/// it, so that what is asked before an append and what the append does cannot differ.
#[derive(Clone, Copy, Debug)]
struct Packing {
    segment_bytes: u32,
    /// Where the open group starts, or the next one will if none is open.
    start: u32,
    /// Bytes of the open group without padding; 0 if none is open.
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    OpenGroup,
    NewGroup,
}

impl Packing {
    fn end(self) -> u32 {
        self.start + padded(self.length)
    }

    fn fits_in_open_group(self, record_bytes: u32) -> bool {
        let length = self.length.saturating_add(record_bytes);
        self.length > 0
            && length <= GROUP_BYTES_SOFT
            && padded(length) <= self.segment_bytes - self.start
    }

    /// Puts a record after the last one; `None` if the segment has no room for it.
    fn put(&mut self, record_bytes: u32) -> Option<Spot> {
        if self.fits_in_open_group(record_bytes) {
            self.length += record_bytes;
            return Some(Spot::OpenGroup);
        }
        let start = self.end();
        let length = GROUP_HEADER + record_bytes;
        if padded(length) > self.segment_bytes - start {
            return None;
        }
        *self = Self {
            start,
            length,
            ..*self
        };
        Some(Spot::NewGroup)
    }

    fn close_group(&mut self) {
        *self = Self {
            start: self.end(),
            length: 0,
            ..*self
        };
    }

    /// A new segment, with its opening record.
    fn begin(segment_bytes: u32) -> Self {
        let mut packing = Self {
            segment_bytes,
            start: SEGMENT_HEADER,
            length: 0,
        };
        let spot = packing.put(opening_bytes());
        assert_eq!(
            spot,
            Some(Spot::NewGroup),
            "a segment has room for its opening record"
        );
        packing
    }
}

fn opening_bytes() -> u32 {
    bytes_of(Record::Opening(Summary::default()).length())
}

fn bytes_of(length: usize) -> u32 {
    u32::try_from(length).expect("records are far smaller than 4 GiB")
}

/// The most that an entry can take of a segment, in bytes.
fn entry_cost(payload_bytes: usize) -> u32 {
    padded(GROUP_HEADER + bytes_of(ENTRY_OVERHEAD + payload_bytes))
}

impl State {
    pub(super) fn new(found: Found, options: Options) -> Self {
        let Found {
            summary,
            index,
            used,
            ready,
            end,
            durable,
            torn: _,
        } = found;
        let current = used.back().expect("recovery leaves a segment to write to");
        let packing = Packing {
            segment_bytes: current.segment.bytes,
            start: end.offset,
            length: 0,
        };
        let mut state = Self {
            committed_placed: summary.committed,
            durable_end: index.end(),
            purged_end: summary.purged.map_or(0, |purged| purged.index + 1),
            options,
            summary,
            index,
            used,
            ready,
            packing,
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: None,
            durable,
            room_given: 0,
            preparation: Preparation::Well,
            tail_open: false,
            groups_written: 0,
            phase: Phase::Open,
            tasks: 2,
            closed: Vec::new(),
            writer: None,
            preparer: None,
        };
        if end.offset == SEGMENT_HEADER {
            state.begin_segment();
        }
        state
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn durable_end(&self) -> u64 {
        self.durable_end
    }

    pub(super) fn position(&self, index: u64) -> Option<Position> {
        self.index
            .position(index)
            .or_else(|| self.summary.purged.filter(|purged| purged.index == index))
    }

    pub(super) fn has_purged(&self, index: u64) -> bool {
        self.summary
            .purged
            .is_some_and(|purged| index <= purged.index)
    }

    // Appending.

    pub(super) fn append(
        &mut self,
        entries: Vec<Entry>,
        priority: Priority,
        done: Done,
    ) -> Result<(), Refused> {
        self.check_continues(&entries);
        self.check_taken(&entries, priority)?;
        for entry in entries {
            self.place_entry(entry);
        }
        let group = self
            .pending
            .back_mut()
            .expect("an entry was just placed there");
        group.done.push(done);
        self.index
            .shrink_cache(self.options.cache_bytes_max, self.durable_end);
        Ok(())
    }

    fn check_continues(&self, entries: &[Entry]) {
        let mut last = self.summary.last;
        for Entry { position, .. } in entries {
            match last {
                Some(last) => {
                    assert_eq!(position.index, last.index + 1, "a gap after {last:?}");
                    assert!(position.epoch >= last.epoch, "{position:?} after {last:?}");
                }
                None => assert!(position.index <= 1, "a log that begins with {position:?}"),
            }
            last = Some(*position);
        }
    }

    fn check_taken(&self, entries: &[Entry], priority: Priority) -> Result<(), Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Stopped);
        }
        if entries
            .iter()
            .any(|entry| entry.payload.len() > self.options.entry_bytes_max)
        {
            return Err(Refused::TooLarge);
        }
        let cost = entries
            .iter()
            .map(|entry| u64::from(entry_cost(entry.payload.len())))
            .sum();
        let bytes: usize = entries
            .iter()
            .map(|entry| ENTRY_OVERHEAD + entry.payload.len())
            .sum();
        let is_full =
            self.pending_bytes > 0 && self.pending_bytes + bytes > self.options.queue_bytes_max;
        if is_full && priority == Priority::Ordinary {
            return Err(Refused::Busy);
        }
        let has_room = match priority {
            Priority::Ordinary => self.has_room(cost),
            Priority::Reserve => self.fits(
                entries
                    .iter()
                    .map(|entry| ENTRY_OVERHEAD + entry.payload.len()),
            ),
        };
        if has_room {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    fn refusal(&self) -> Refused {
        match self.preparation {
            Preparation::Well => Refused::Preparing,
            Preparation::NoSpace | Preparation::Failing(_) => Refused::NoSpace,
        }
    }

    /// True if records of these lengths can be placed one after the other.
    fn fits(&self, mut lengths: impl Iterator<Item = usize>) -> bool {
        let mut packing = self.packing;
        let mut ready = self.ready.iter();
        lengths.all(|length| {
            let length = bytes_of(length);
            while packing.put(length).is_none() {
                let Some(segment) = ready.next() else {
                    return false;
                };
                packing = Packing::begin(segment.bytes);
            }
            true
        })
    }

    /// Room for entries of any sizes that add up to it, in bytes. Less than a largest entry may
    /// stay unused at the end of each segment, so that much is not counted.
    fn room(&self) -> u64 {
        let unusable = entry_cost(self.options.entry_bytes_max);
        let current = self.packing.segment_bytes - self.packing.end();
        let ready = self
            .ready
            .iter()
            .map(|segment| segment.bytes - Packing::begin(segment.bytes).end());
        std::iter::once(current)
            .chain(ready)
            .map(|free| u64::from(free.saturating_sub(unusable)))
            .sum()
    }

    /// True if entries that take `cost` bytes leave the reserve alone.
    fn has_room(&self, cost: u64) -> bool {
        cost.saturating_add(u64::from(self.options.reserve_bytes)) <= self.room()
    }

    /// True while a quarter of the reserve is left.
    pub(super) fn has_room_for_votes(&self) -> bool {
        let least = u64::from(self.options.reserve_bytes) / 4;
        self.room_given + least <= self.room()
    }

    /// Gives out room for some of the first entries: its bytes, and for how many it is.
    pub(super) fn take_room(
        &mut self,
        payloads: impl IntoIterator<Item = usize>,
        priority: Priority,
    ) -> Result<(u64, usize), Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Stopped);
        }
        let reserve = u64::from(self.options.reserve_bytes);
        let left_alone = match priority {
            Priority::Ordinary => reserve,
            Priority::Reserve => reserve / 2,
        };
        let free = self.room().saturating_sub(self.room_given + left_alone);
        let (mut cost, mut count) = (0, 0);
        for payload_bytes in payloads {
            if payload_bytes > self.options.entry_bytes_max {
                return Err(Refused::TooLarge);
            }
            let with_this = cost + u64::from(entry_cost(payload_bytes));
            if with_this > free {
                break;
            }
            (cost, count) = (with_this, count + 1);
        }
        if count == 0 {
            return Err(self.refusal());
        }
        self.room_given += cost;
        Ok((cost, count))
    }

    pub(super) fn give_back_room(&mut self, cost: u64) {
        self.room_given -= cost;
    }

    /// Places a vote, truncation or purge; `done` is called once it is durable. It comes back
    /// with a refusal.
    pub(super) fn control(&mut self, record: Record, done: Done) -> Result<(), (Refused, Done)> {
        if self.phase != Phase::Open {
            return Err((Refused::Stopped, done));
        }
        if !self.fits(std::iter::once(record.length())) {
            return Err((self.refusal(), done));
        }
        self.check_control(&record);
        self.place(&record);
        self.apply_control(&record);
        let group = self
            .pending
            .back_mut()
            .expect("a record was just placed there");
        group.index_end = self.index.end();
        group.done.push(done);
        Ok(())
    }

    fn check_control(&self, record: &Record) {
        let held = |position: &Position| self.position(position.index);
        match record {
            Record::Truncate(Some(last)) => {
                assert_eq!(
                    held(last),
                    Some(*last),
                    "truncating after an unknown position"
                );
            }
            Record::Truncate(None) => {
                let purged = self.summary.purged;
                assert_eq!(purged, None, "truncating before what was purged");
            }
            Record::Purge(upto) if held(upto).is_some() => {
                assert_eq!(held(upto), Some(*upto), "purging up to an unknown position");
            }
            Record::Purge(_) | Record::Vote(_) => {}
            Record::Entry(_) | Record::Committed(_) | Record::Opening(_) | Record::Marker(_) => {
                unreachable!("{record:?} has a way of its own into the log")
            }
        }
    }

    fn apply_control(&mut self, record: &Record) {
        apply(record, &mut self.summary, &mut self.index);
        let index_end = self.index.end();
        let group = self
            .pending
            .back_mut()
            .expect("a record was just placed there");
        match record {
            Record::Truncate(_) => {
                group.truncated_to = Some(
                    group
                        .truncated_to
                        .map_or(index_end, |end| end.min(index_end)),
                );
                self.durable_end = self.durable_end.min(index_end);
            }
            Record::Purge(upto) => group.purged_end = group.purged_end.max(Some(upto.index + 1)),
            Record::Entry(_)
            | Record::Vote(_)
            | Record::Committed(_)
            | Record::Opening(_)
            | Record::Marker(_) => {}
        }
    }

    pub(super) fn note_committed(&mut self, upto: Position) {
        self.summary.committed = self.summary.committed.max(Some(upto));
    }

    /// Places a marker if there is room that nothing else needs.
    pub(super) fn place_marker(&mut self, marker: Marker) -> bool {
        let record = Record::Marker(marker);
        let has_room = match marker {
            Marker::Idle => self.has_room(u64::from(padded(GROUP_HEADER))),
            Marker::Opened | Marker::Closed => self.fits(std::iter::once(record.length())),
        };
        if has_room {
            self.place(&record);
        }
        has_room
    }

    /// True if the committed position is not in the stream yet.
    pub(super) fn has_unsaved_commit(&self) -> bool {
        self.committed_placed != self.summary.committed
    }

    fn place(&mut self, record: &Record) {
        let length = bytes_of(record.length());
        let group = self.group_for(length);
        let is_first = group.records == 0;
        let framed = group.put(|seed, offset, bytes| record::encode(record, seed, offset, bytes));
        assert_eq!(
            framed.length, length,
            "{record:?} is as long as it was packed for"
        );
        group.holds_only_marker = is_first && matches!(record, Record::Marker(_));
    }

    fn place_entry(&mut self, entry: Entry) {
        let length = bytes_of(ENTRY_OVERHEAD + entry.payload.len());
        let group = self.group_for(length);
        let offset = group.next_offset();
        let framed =
            group.put(|seed, offset, bytes| record::encode_entry(&entry, seed, offset, bytes));
        assert_eq!(
            framed.length, length,
            "{:?} is as long as packed for",
            entry.position
        );
        group.holds_only_marker = false;
        let Position { epoch, node, index } = entry.position;
        group.index_end = index + 1;
        let segment = Arc::clone(&group.segment);
        self.pending_bytes += length as usize;
        self.index.push(
            index,
            Slot {
                epoch,
                node,
                segment,
                offset,
                length,
            },
        );
        self.summary.last = Some(entry.position);
        self.index.cache(entry);
        let used = self
            .used
            .back_mut()
            .expect("there is always a segment to write to");
        used.index_max = used.index_max.max(Some(index));
    }

    /// The group that takes a record of this length next. The caller has made sure of the room.
    fn group_for(&mut self, record_bytes: u32) -> &mut Group {
        loop {
            match self.packing.put(record_bytes) {
                Some(Spot::OpenGroup) => break,
                Some(Spot::NewGroup) => {
                    self.push_group();
                    break;
                }
                None => {
                    let segment = self
                        .ready
                        .pop_front()
                        .expect("room was checked before placing");
                    self.used.push_back(Used {
                        segment,
                        index_max: None,
                    });
                    self.begin_segment();
                }
            }
        }
        self.pending
            .back_mut()
            .expect("an open group waits at the end")
    }

    /// Begins the last used segment with an opening record.
    fn begin_segment(&mut self) {
        let segment = &self
            .used
            .back()
            .expect("a segment was just put to use")
            .segment;
        self.packing = Packing::begin(segment.bytes);
        self.push_group();
        let opening = Record::Opening(self.summary);
        self.committed_placed = self.summary.committed;
        let group = self.pending.back_mut().expect("a group was just pushed");
        group.put(|seed, offset, bytes| record::encode(&opening, seed, offset, bytes));
        if let Some(preparer) = self.preparer.take() {
            // It only starts to run; waking it under the mutex is harmless.
            preparer.wake();
        }
    }

    fn push_group(&mut self) {
        let used = self
            .used
            .back()
            .expect("there is always a segment to write to");
        let mut bytes = Vec::with_capacity(PAGE as usize);
        bytes.resize(GROUP_HEADER as usize, 0);
        self.pending.push_back(Group {
            segment: Arc::clone(&used.segment),
            start: self.packing.start,
            bytes,
            records: 0,
            records_checksum: 0,
            index_end: self.index.end(),
            truncated_to: None,
            purged_end: None,
            holds_only_marker: false,
            done: Vec::new(),
        });
    }

    // Writing.

    /// The next group to write, if one waits. Only one is on its way at a time.
    pub(super) fn take_group(&mut self) -> Option<Write> {
        assert!(self.in_flight.is_none(), "a group is on its way");
        let mut group = self.pending.pop_front()?;
        if self.pending.is_empty() {
            self.add_committed(&mut group);
            self.packing.close_group();
            self.pending_bytes = 0;
        } else {
            self.pending_bytes = self.pending_bytes.saturating_sub(group.bytes.len());
        }
        let (write, in_flight) = group.seal(self.durable);
        self.in_flight = Some(in_flight);
        Some(write)
    }

    /// The committed position rides along if it fits.
    fn add_committed(&mut self, group: &mut Group) {
        let Some(committed) = self.summary.committed.filter(|_| self.has_unsaved_commit()) else {
            return;
        };
        let record = Record::Committed(committed);
        let length = bytes_of(record.length());
        if self.packing.fits_in_open_group(length) {
            self.packing.put(length);
            group.put(|seed, offset, bytes| record::encode(&record, seed, offset, bytes));
            self.committed_placed = Some(committed);
        }
    }

    /// The group on its way is durable. Who waited for it is to be told.
    pub(super) fn complete_write(&mut self) -> Vec<Done> {
        let written = self.in_flight.take().expect("a group was on its way");
        self.durable = written.end;
        self.durable_end = self
            .pending
            .iter()
            .filter_map(|group| group.truncated_to)
            .fold(written.index_end, u64::min);
        if let Some(purged_end) = written.purged_end {
            self.purged_end = self.purged_end.max(purged_end);
            if let Some(preparer) = self.preparer.take() {
                preparer.wake();
            }
        }
        self.tail_open = !written.holds_only_marker;
        self.groups_written += 1;
        self.index
            .shrink_cache(self.options.cache_bytes_max, self.durable_end);
        written.done
    }

    /// Gives up everything that is not durable. Who waited for it is to be told.
    pub(super) fn fail(&mut self) -> Vec<Done> {
        self.phase = Phase::Stopped;
        let in_flight = self
            .in_flight
            .take()
            .into_iter()
            .flat_map(|group| group.done);
        let pending = self.pending.drain(..).flat_map(|group| group.done);
        in_flight.chain(pending).collect()
    }

    // Segments.

    /// The oldest segment, if nothing in it is needed any more.
    pub(super) fn droppable(&self) -> Option<Arc<Segment>> {
        let front = self.used.front()?;
        // What the next segment begins with stands in for all before it, once it is durable.
        let is_followed = self.durable.segment > front.segment.number;
        let is_purged = front.index_max.is_none_or(|index| index < self.purged_end);
        (is_followed && is_purged).then(|| Arc::clone(&front.segment))
    }

    pub(super) fn drop_oldest(&mut self, segment: &Segment) {
        let front = self
            .used
            .pop_front()
            .expect("a segment being dropped is in use");
        assert_eq!(
            front.segment.number, segment.number,
            "segments are dropped in order"
        );
    }

    /// Number and size of the segment that was made last.
    pub(super) fn newest_segment(&self) -> (u64, u32) {
        let used = self.used.back().map(|used| &used.segment);
        let newest = self
            .ready
            .back()
            .or(used)
            .expect("there is always a segment to write to");
        (newest.number, newest.bytes)
    }

    pub(super) fn add_ready(&mut self, segment: Segment) {
        assert_eq!(
            segment.number,
            self.newest_segment().0 + 1,
            "segments come in order"
        );
        self.ready.push_back(Arc::new(segment));
    }

    pub(super) fn segments_ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn set_preparation(&mut self, preparation: Preparation) {
        self.preparation = preparation;
    }

    // Reading.

    pub(super) fn plan_read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Step>, StorageError> {
        if !range.is_empty() && self.has_purged(range.start) {
            return Err(StorageError::Purged { index: range.start });
        }
        let mut steps = Vec::new();
        let mut bytes = 0;
        for index in self.index.clip(range) {
            let slot = self
                .index
                .slot(index)
                .expect("the range is clipped to the log");
            let is_first = steps.is_empty();
            bytes += slot.length as usize - ENTRY_OVERHEAD;
            if bytes > bytes_max && !is_first {
                break;
            }
            match self.index.cached(index) {
                Some(entry) => steps.push(Step::Memory(entry.clone())),
                None => plan_disk(&mut steps, index, slot),
            }
        }
        Ok(steps)
    }

    // Ending.

    /// Begins to close. The tasks to wake.
    pub(super) fn close(&mut self, closed: Option<oneshot::Sender<()>>) -> Vec<Waker> {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        if self.tasks > 0 {
            self.closed.extend(closed);
        }
        self.writer
            .take()
            .into_iter()
            .chain(self.preparer.take())
            .collect()
    }

    /// One of the two tasks has ended; when both have, whoever waits for it is to be told.
    pub(super) fn task_ended(&mut self) -> Vec<oneshot::Sender<()>> {
        self.tasks -= 1;
        if self.tasks == 0 {
            std::mem::take(&mut self.closed)
        } else {
            Vec::new()
        }
    }
}

impl Group {
    fn next_offset(&self) -> u32 {
        self.start + bytes_of(self.bytes.len())
    }

    fn put(&mut self, encode: impl FnOnce(u32, u32, &mut Vec<u8>) -> Framed) -> Framed {
        let offset = self.next_offset();
        let framed = encode(self.segment.seed, offset, &mut self.bytes);
        self.records += 1;
        self.records_checksum = chain(self.records_checksum, framed);
        framed
    }

    /// Completes the bytes: header, padding, and zeros up to the end of the page. With them the
    /// page cache need not read the page from the disk first, and what follows the end of the
    /// log is zero even in a segment that is used again.
    fn seal(self, durable: Place) -> (Write, InFlight) {
        let Self {
            segment,
            start,
            mut bytes,
            records,
            records_checksum,
            ..
        } = self;
        let records_length = bytes_of(bytes.len()) - GROUP_HEADER;
        let length = padded(GROUP_HEADER + records_length);
        let header = GroupHeader {
            salt: segment.salt,
            place: segment.place(start),
            length,
            records_length,
            records,
            records_checksum,
            durable,
        };
        bytes[..GROUP_HEADER as usize].copy_from_slice(&header.encode());
        let end = start + length;
        let page_end = end.next_multiple_of(PAGE).min(segment.bytes);
        bytes.resize((page_end - start) as usize, 0);
        let in_flight = InFlight {
            end: segment.place(end),
            index_end: self.index_end,
            purged_end: self.purged_end,
            holds_only_marker: self.holds_only_marker,
            done: self.done,
        };
        (
            Write {
                segment,
                offset: start,
                data: Bytes::from(bytes),
            },
            in_flight,
        )
    }
}

/// What a record that is not an entry does to the log. Recovery and the running log share it.
pub(crate) fn apply(record: &Record, summary: &mut Summary, index: &mut Index) {
    match record {
        Record::Vote(vote) => summary.vote = Some(*vote),
        Record::Truncate(last) => {
            index.truncate(last.map_or(0, |last| last.index + 1));
            summary.last = *last;
        }
        Record::Purge(upto) => {
            index.purge(upto.index + 1);
            if summary
                .purged
                .is_none_or(|purged| purged.index < upto.index)
            {
                summary.purged = Some(*upto);
            }
            if summary.last.is_none_or(|last| last.index < upto.index) {
                summary.last = Some(*upto);
            }
        }
        Record::Committed(upto) => summary.committed = Some(*upto),
        Record::Entry(_) | Record::Opening(_) | Record::Marker(_) => {}
    }
}

fn plan_disk(steps: &mut Vec<Step>, index: u64, slot: &Slot) {
    if let Some(Step::Disk { segment, records }) = steps.last_mut() {
        let first = &records.first().expect("a step has records").1;
        let is_near = segment.number == slot.segment.number
            && slot.offset > first.offset
            && slot.offset + slot.length - first.offset <= READ_BYTES_MAX;
        if is_near {
            records.push((index, slot.clone()));
            return;
        }
    }
    let segment = Arc::clone(&slot.segment);
    steps.push(Step::Disk {
        segment,
        records: vec![(index, slot.clone())],
    });
}
