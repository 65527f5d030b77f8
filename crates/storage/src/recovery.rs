//! Finding out, at the start, what the log holds.
//!
//! The stream is read from the oldest segment on until a group is not whole. What that means is
//! decided by what comes after it: each group states what was durable before it was written, so
//! if any later group of the present use exists, the bad one had been durable and data is lost:
//! an error, with file and offset. If none exists, the bad group is the last write, which never
//! completed and was never acknowledged: it is cut off (compare Alagappan et al., "Protocol-aware
//! recovery", FAST 2018, section 3.3: the difference between a crash and corruption).

use crate::error::{Damage, StorageError};
use crate::group::{
    FoundHeader, GROUP_BYTES_MAX, GROUP_HEADER, GroupHeader, PAGE, Place, SECTOR, chain,
};
use crate::log::{Index, Slot, Used, apply};
use crate::record::{self, Bad, Entry, Position, Record, Summary};
use crate::segment::{self, LOG_DIR, Name, SEGMENT_HEADER, Segment};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use synod_env::{Bug, Disk, Env, planted};

/// The unfinished write at the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file that holds it.
    pub file: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How it shows, for the operator's log.
    pub reason: String,
}

/// What recovery found.
pub(crate) struct Found {
    pub(crate) summary: Summary,
    pub(crate) index: Index,
    /// Segments with records, the last of them to be written on; at least one.
    pub(crate) used: VecDeque<Used>,
    /// Segments without records.
    pub(crate) ready: VecDeque<Arc<Segment>>,
    /// Where the next group goes.
    pub(crate) end: Place,
    /// Where the last group ends; not always `end`, if that is the start of a segment.
    pub(crate) durable: Place,
    pub(crate) torn: Option<TornTail>,
}

/// Reads the log, or makes an empty one whose first segment has `first_segment_bytes` bytes.
pub(crate) async fn recover(env: &Env, first_segment_bytes: u32) -> Result<Found, StorageError> {
    let disk = env.disk();
    let disk = disk.as_ref();
    disk.create_dir(LOG_DIR)
        .await
        .map_err(StorageError::io(disk.describe(LOG_DIR), "create"))?;
    disk.sync_dir("")
        .await
        .map_err(StorageError::io(disk.describe(""), "sync"))?;
    let numbers = list(disk).await?;
    segment::remove_unfinished(disk).await?;
    if numbers.is_empty() {
        return create(env, first_segment_bytes).await;
    }
    let (dropped, kept) = numbers.split_at(last_run(&numbers));
    let mut segments = Vec::new();
    for number in kept {
        segments.push(Arc::new(Segment::open(disk, *number).await?));
    }
    let found = Scan::new(disk, segments)
        .run(dropped.last().copied())
        .await?;
    // Segments before a gap are remains of a purge that was not completed: all that is needed
    // has been found after them.
    for number in dropped {
        segment::discard(disk, *number).await?;
    }
    Ok(found)
}

async fn list(disk: &dyn Disk) -> Result<Vec<u64>, StorageError> {
    let names = disk
        .list(LOG_DIR)
        .await
        .map_err(StorageError::io(disk.describe(LOG_DIR), "list"))?;
    let mut numbers = Vec::new();
    for name in names {
        match Name::parse(&name) {
            Name::Segment(number) => numbers.push(number),
            Name::Unfinished => {}
            Name::Foreign => {
                let file = disk.describe(&format!("{LOG_DIR}/{name}"));
                return Err(StorageError::Foreign { file });
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the last run of numbers without gap begins.
fn last_run(numbers: &[u64]) -> usize {
    numbers
        .windows(2)
        .rposition(|pair| pair[0] + 1 != pair[1])
        .map_or(0, |before_gap| before_gap + 1)
}

async fn create(env: &Env, bytes: u32) -> Result<Found, StorageError> {
    let segment = segment::prepare(env, 1, bytes, |_| std::future::ready(true))
        .await?
        .expect("nobody stops this preparation");
    let end = segment.place(SEGMENT_HEADER);
    Ok(Found {
        summary: Summary::default(),
        index: Index::default(),
        used: VecDeque::from([Used {
            segment: Arc::new(segment),
            index_max: None,
        }]),
        ready: VecDeque::new(),
        end,
        durable: end,
        torn: None,
    })
}

/// A group that is whole.
struct Group {
    header: GroupHeader,
    bytes: Bytes,
    records: Vec<(u32, record::Framed, Record)>,
}

/// What stands at a place.
enum Content {
    Group(Group),
    /// Of the present use of the segment, but not whole.
    Damaged(Damage),
    /// Nothing of the present use.
    End(Damage),
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    segments: Vec<Arc<Segment>>,
    summary: Summary,
    index: Index,
    used: VecDeque<Used>,
    /// The last whole group: nothing vouches for it yet.
    last_group: Option<(Arc<Segment>, u32, Bytes)>,
}

impl<'a> Scan<'a> {
    fn new(disk: &'a dyn Disk, segments: Vec<Arc<Segment>>) -> Self {
        Self {
            disk,
            segments,
            summary: Summary::default(),
            index: Index::default(),
            used: VecDeque::new(),
            last_group: None,
        }
    }

    /// `dropped` is the last segment before a gap, if there is one.
    async fn run(mut self, dropped: Option<u64>) -> Result<Found, StorageError> {
        let mut torn = None;
        let mut current = 0;
        let end = loop {
            let segment = Arc::clone(&self.segments[current]);
            let (offset, content) = self.read_segment(&segment).await?;
            let end = segment.place(offset);
            let damage = match content {
                Content::Group(_) => unreachable!("the segment is read until none is left"),
                Content::Damaged(damage) => {
                    torn = Some(damage.clone());
                    damage
                }
                Content::End(damage) => damage,
            };
            match self.following(current, end).await? {
                // The log went on in the next segment, and says where it ended in this one.
                Following::NextSegment { durable } if durable == end => {
                    torn = None;
                    current += 1;
                }
                Following::NextSegment { .. } | Following::Later { .. }
                    if planted(Bug::TornTailAccepted) =>
                {
                    break end;
                }
                Following::NextSegment { durable } => {
                    let expected = format!("whole groups up to byte {}", durable.offset);
                    let Damage {
                        file,
                        offset,
                        expected: reason,
                        found,
                    } = damage;
                    let found = format!("{found} instead of {reason}");
                    return Err(StorageError::Corrupt(Damage {
                        file,
                        offset,
                        expected,
                        found,
                    }));
                }
                Following::Later { segment } if segment == end.segment => {
                    return Err(StorageError::Corrupt(damage));
                }
                Following::Later { segment } => {
                    return Err(StorageError::Corrupt(Damage {
                        file: self.disk.describe(&segment::path(segment)),
                        offset: u64::from(SEGMENT_HEADER),
                        expected: "the group that opens the segment, since later ones exist"
                            .to_owned(),
                        found: "none that is whole".to_owned(),
                    }));
                }
                Following::Nothing => break end,
            }
        };
        self.check_complete(dropped)?;
        self.confirm_last_group().await?;
        Ok(self.found(current, end, torn))
    }

    /// Reads groups until one is not whole; where that is, and what is there.
    async fn read_segment(
        &mut self,
        segment: &Arc<Segment>,
    ) -> Result<(u32, Content), StorageError> {
        let mut window = Window::new(self.disk, segment);
        let mut offset = SEGMENT_HEADER;
        loop {
            match window.content(offset).await? {
                Content::Group(group) => {
                    self.take_group(segment, &group)?;
                    offset += group.header.length;
                    let place = group.header.place.offset;
                    self.last_group = Some((Arc::clone(segment), place, group.bytes));
                }
                other @ (Content::Damaged(_) | Content::End(_)) => return Ok((offset, other)),
            }
        }
    }

    fn take_group(&mut self, segment: &Arc<Segment>, group: &Group) -> Result<(), StorageError> {
        let disk = self.disk;
        for (offset, framed, record) in &group.records {
            let damage = |bad: Bad| StorageError::Corrupt(damage(disk, segment, *offset, bad));
            let is_first = *offset == SEGMENT_HEADER + GROUP_HEADER;
            match record {
                Record::Opening(summary) if is_first => {
                    self.take_opening(segment, summary).map_err(damage)?;
                }
                _ if is_first => {
                    let bad = Bad::new("the opening record of a segment", format!("{record:?}"));
                    return Err(damage(bad));
                }
                Record::Opening(_) => {
                    return Err(damage(Bad::new("any record but an opening", "one")));
                }
                Record::Entry(entry) => {
                    self.check_continues(entry).map_err(damage)?;
                    self.take_entry(segment, *offset, framed.length, entry);
                }
                Record::Vote(_)
                | Record::Truncate(_)
                | Record::Purge(_)
                | Record::Committed(_)
                | Record::Marker(_) => apply(record, &mut self.summary, &mut self.index),
            }
        }
        Ok(())
    }

    fn take_opening(&mut self, segment: &Arc<Segment>, opening: &Summary) -> Result<(), Bad> {
        if self.used.is_empty() {
            // What the segments before this one held is summed up in it.
            self.summary = *opening;
            self.index
                .truncate(opening.last.map_or(0, |last| last.index + 1));
        } else {
            // The committed position rides along when there is room: it may be newer here.
            let expected = Summary {
                committed: opening.committed,
                ..self.summary
            };
            if *opening != expected {
                return Err(Bad::new(format!("{expected:?}"), format!("{opening:?}")));
            }
            self.summary = *opening;
        }
        self.used.push_back(Used {
            segment: Arc::clone(segment),
            index_max: None,
        });
        Ok(())
    }

    fn check_continues(&self, entry: &Entry) -> Result<(), Bad> {
        let Position { epoch, index, .. } = entry.position;
        let continues = match self.summary.last {
            Some(last) => index == last.index + 1 && epoch >= last.epoch,
            None => index <= 1,
        };
        if continues {
            return Ok(());
        }
        let expected = format!("the entry after {:?}", self.summary.last);
        Err(Bad::new(expected, format!("{:?}", entry.position)))
    }

    fn take_entry(&mut self, segment: &Arc<Segment>, offset: u32, length: u32, entry: &Entry) {
        let Position { epoch, node, index } = entry.position;
        let slot = Slot {
            epoch,
            node,
            segment: Arc::clone(segment),
            offset,
            length,
        };
        self.index.push(index, slot);
        self.summary.last = Some(entry.position);
        let used = self.used.back_mut().expect("an opening record came first");
        used.index_max = used.index_max.max(Some(index));
    }

    /// Looks for groups that were written after `end`, where segment number `current` of those
    /// found stops being whole.
    async fn following(&self, current: usize, end: Place) -> Result<Following, StorageError> {
        let segment = &self.segments[current];
        if Window::new(self.disk, segment)
            .has_group_after(end.offset)
            .await?
        {
            return Ok(Following::Later {
                segment: segment.number,
            });
        }
        for (ahead, later) in self.segments[current + 1..].iter().enumerate() {
            let mut window = Window::new(self.disk, later);
            let opening = window.header(SEGMENT_HEADER).await?;
            match opening {
                FoundHeader::Group(header) if ahead == 0 => {
                    return Ok(Following::NextSegment {
                        durable: header.durable,
                    });
                }
                FoundHeader::Group(_) => {
                    let missed = self.segments[current + 1].number;
                    return Ok(Following::Later { segment: missed });
                }
                FoundHeader::Damaged(_) | FoundHeader::End(_) => {
                    if window.has_group_after(SEGMENT_HEADER).await? {
                        return Ok(Following::Later {
                            segment: later.number,
                        });
                    }
                }
            }
        }
        Ok(Following::Nothing)
    }

    /// Every entry after the purged ones must be there.
    fn check_complete(&self, dropped: Option<u64>) -> Result<(), StorageError> {
        let first = self.segments[0].number;
        let missing = |evidence| StorageError::Missing {
            file: self.disk.describe(&segment::path(first - 1)),
            evidence,
        };
        if self.used.is_empty() {
            // Nothing was ever written, or what was written is gone.
            if first == 1 {
                return Ok(());
            }
            let before = dropped.map_or(String::new(), |before| format!(" after {before:016x}"));
            return Err(missing(format!("no segment{before} holds a record")));
        }
        let is_complete = match self.summary.purged {
            Some(purged) => self.index.first() <= purged.index + 1,
            None => {
                self.index.is_empty() && self.summary.last.is_none()
                    || self.index.first() <= 1 && !self.index.is_empty()
            }
        };
        if is_complete {
            return Ok(());
        }
        let purged = self
            .summary
            .purged
            .map_or("none".to_owned(), |p| p.index.to_string());
        Err(missing(format!(
            "the log begins with entry {}, but the last one purged is {purged}",
            self.index.first()
        )))
    }

    /// Writes the last group once more and syncs it. It was read, but it may never have reached
    /// the disk: if the sync of the former process failed, the page cache still shows it, clean.
    async fn confirm_last_group(&self) -> Result<(), StorageError> {
        let Some((segment, offset, bytes)) = &self.last_group else {
            return Ok(());
        };
        let name = || self.disk.describe(&segment.path());
        let write = segment
            .file
            .write_at(u64::from(*offset), bytes.clone())
            .await;
        write.map_err(StorageError::io(name(), "write"))?;
        segment
            .file
            .sync()
            .await
            .map_err(StorageError::io(name(), "sync"))
    }

    fn found(self, current: usize, end: Place, torn: Option<Damage>) -> Found {
        let durable = self
            .last_group
            .as_ref()
            .map_or(end, |(segment, offset, bytes)| {
                let length = u32::try_from(bytes.len()).expect("a group is far smaller than 4 GiB");
                segment.place(offset + length)
            });
        let mut ready: VecDeque<_> = self.segments.into();
        let written: Vec<_> = ready.drain(..=current).collect();
        let mut used = self.used;
        if used.len() < written.len() {
            // The last one has a damaged opening group at most: it is begun again.
            let segment = Arc::clone(&written[current]);
            used.push_back(Used {
                segment,
                index_max: None,
            });
        }
        assert_eq!(used.len(), written.len(), "each segment has one opening");
        let torn = torn.map(
            |Damage {
                 file,
                 offset,
                 expected,
                 found,
             }| TornTail {
                file,
                offset,
                reason: format!("expected {expected}, found {found}"),
            },
        );
        Found {
            summary: self.summary,
            index: self.index,
            used,
            ready,
            end,
            durable,
            torn,
        }
    }
}

/// What was written after a place that is not whole.
enum Following {
    Nothing,
    /// The next segment was begun when this much was durable.
    NextSegment {
        durable: Place,
    },
    /// Somewhere in this segment there is a group before which one is missing.
    Later {
        segment: u64,
    },
}

fn damage(disk: &dyn Disk, segment: &Segment, offset: u32, bad: Bad) -> Damage {
    Damage {
        file: disk.describe(&segment.path()),
        offset: u64::from(offset),
        expected: bad.expected,
        found: bad.found,
    }
}

/// Reads a segment from front to back in large pieces.
struct Window<'a> {
    disk: &'a dyn Disk,
    segment: &'a Segment,
    start: u32,
    bytes: Bytes,
}

/// Read at a time, in bytes.
const WINDOW_BYTES: u32 = 1 << 20;

impl<'a> Window<'a> {
    fn new(disk: &'a dyn Disk, segment: &'a Segment) -> Self {
        Self {
            disk,
            segment,
            start: 0,
            bytes: Bytes::new(),
        }
    }

    /// `length` bytes at `offset`; fewer at the end of the file.
    async fn get(&mut self, offset: u32, length: u32) -> Result<Bytes, StorageError> {
        let length = length.min(self.segment.bytes - offset);
        let has_it = |window: &Self| {
            let end = window.start as usize + window.bytes.len();
            window.start <= offset && (offset + length) as usize <= end
        };
        if !has_it(self) {
            let most = length.max(WINDOW_BYTES).min(self.segment.bytes - offset);
            let name = || self.disk.describe(&self.segment.path());
            let read = self
                .segment
                .file
                .read_at(u64::from(offset), most as usize)
                .await;
            self.bytes = read.map_err(StorageError::io(name(), "read"))?;
            self.start = offset;
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        let to = (from + length as usize).min(self.bytes.len());
        Ok(self.bytes.slice(from..to))
    }

    async fn header(&mut self, offset: u32) -> Result<FoundHeader, StorageError> {
        let bytes = self.get(offset, GROUP_HEADER).await?;
        let Segment {
            salt,
            bytes: segment_bytes,
            ..
        } = *self.segment;
        Ok(GroupHeader::find(
            &bytes,
            salt,
            self.segment.place(offset),
            segment_bytes,
        ))
    }

    async fn content(&mut self, offset: u32) -> Result<Content, StorageError> {
        if offset >= self.segment.bytes {
            let bad = Bad::new("a group", "the end of the file");
            return Ok(Content::End(damage(self.disk, self.segment, offset, bad)));
        }
        let header = match self.header(offset).await? {
            FoundHeader::Group(header) => header,
            FoundHeader::Damaged(bad) => {
                return Ok(Content::Damaged(damage(
                    self.disk,
                    self.segment,
                    offset,
                    bad,
                )));
            }
            FoundHeader::End(bad) => {
                return Ok(Content::End(damage(self.disk, self.segment, offset, bad)));
            }
        };
        let bytes = self.get(offset, header.length).await?;
        Ok(match self.records(&header, &bytes) {
            Ok(records) => Content::Group(Group {
                header,
                bytes,
                records,
            }),
            Err((at, bad)) => Content::Damaged(damage(self.disk, self.segment, at, bad)),
        })
    }

    /// Takes a group apart; an error comes with the place that is bad.
    fn records(
        &self,
        header: &GroupHeader,
        bytes: &Bytes,
    ) -> Result<Vec<(u32, record::Framed, Record)>, (u32, Bad)> {
        let group_start = header.place.offset;
        if bytes.len() < header.length as usize {
            let expected = format!("a group of {} bytes", header.length);
            return Err((
                group_start,
                Bad::new(expected, format!("{} bytes", bytes.len())),
            ));
        }
        let records_end = GROUP_HEADER + header.records_length;
        let mut records = Vec::new();
        let mut checksum = 0;
        let mut at = GROUP_HEADER;
        while at < records_end {
            let offset = group_start + at;
            let (record, framed) = record::decode(
                &bytes.slice(at as usize..records_end as usize),
                self.segment.seed,
                offset,
            )
            .map_err(|bad| (offset, bad))?;
            checksum = chain(checksum, framed);
            at += framed.length;
            records.push((offset, framed, record));
        }
        if records.len() != header.records as usize || checksum != header.records_checksum {
            let expected = format!(
                "{} records with checksum {:08x}",
                header.records, header.records_checksum
            );
            let found = format!("{} records with checksum {checksum:08x}", records.len());
            return Err((group_start, Bad::new(expected, found)));
        }
        let padding = &bytes[records_end as usize..];
        if let Some(at) = padding.iter().position(|byte| *byte != 0) {
            let offset = records_end + u32::try_from(at).expect("padding is short");
            let bad = Bad::new(
                "zeros up to the end of the group",
                format!("{:02x}", padding[at]),
            );
            return Err((group_start + offset, bad));
        }
        Ok(records)
    }

    /// True if a group of the present use begins after `offset`, as far away as the longest
    /// group reaches, and then as far as there is anything but zeros.
    async fn has_group_after(&mut self, offset: u32) -> Result<bool, StorageError> {
        let near = offset.saturating_add(GROUP_BYTES_MAX);
        let mut at = offset + SECTOR;
        while at < self.segment.bytes {
            let bytes = self.get(at, GROUP_HEADER).await?;
            let place = self.segment.place(at);
            if GroupHeader::is_at(&bytes, self.segment.salt, place, self.segment.bytes) {
                return Ok(true);
            }
            at += SECTOR;
            let is_page = at.is_multiple_of(PAGE);
            if at > near && is_page && self.get(at, PAGE).await?.iter().all(|byte| *byte == 0) {
                break;
            }
        }
        Ok(false)
    }
}
