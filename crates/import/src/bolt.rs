//! A bbolt database, read-only: etcd's file, and the format of its snapshots.
//!
//! The file is an array of pages. Pages 0 and 1 are metas, written in turn; the newer one that is
//! whole counts. It names the root page of a tree of pages: branches, which lead to leaves, which
//! hold keys with values. A value may be a bucket: a tree of its own, or, if it is small, one page
//! inside the value. All numbers are little-endian, as the machines that etcd runs on write them.
//!
//! | page header | meta, behind it | branch element | leaf element |
//! |---|---|---|---|
//! | number (8) | magic (4) | place of the key (4) | flags (4): 1 for a bucket |
//! | kind (2) | version (4) | length of the key (4) | place of the key (4) |
//! | number of elements (2) | size of a page (4) | page (8) | length of the key (4) |
//! | further pages it takes (4) | flags (4) | | length of the value (4) |
//! | | root page, sequence (16) | | |
//! | | free list, end, transaction (24) | | |
//! | | checksum (8): FNV-1a of the meta so far | | |
//!
//! A place is counted from the start of its element.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const PAGE_HEADER: usize = 16;
const META_BYTES: usize = 64;
const ELEMENT_BYTES: usize = 16;
const BUCKET_HEADER: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const IS_BUCKET: u32 = 0x01;
/// Sizes of a page that are tried.
const PAGE_BYTES: [usize; 8] = [
    512,
    1 << 10,
    2 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
];
/// A tree deeper than this has more keys than a file has bytes.
const DEPTH_MAX: usize = 64;

/// Bytes that bbolt cannot have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where, in bytes from the start of the file.
    pub offset: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for Damaged {}

/// A database, as of its last whole transaction.
#[derive(Clone, Debug)]
pub struct Database {
    bytes: Bytes,
    page_bytes: usize,
    root: u64,
    /// Pages from this one on were never used.
    end: u64,
}

/// A bucket: keys with values.
#[derive(Clone, Debug)]
pub struct Bucket<'a> {
    database: &'a Database,
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    Page(u64),
    /// A page inside a value, which begins there.
    Inline(Page),
}

/// A page with all bytes that are its own.
#[derive(Clone, Debug)]
struct Page {
    offset: usize,
    bytes: Bytes,
    kind: u16,
    count: usize,
}

struct Meta {
    page_bytes: usize,
    root: u64,
    end: u64,
    transaction: u64,
}

/// A key with what is under it.
struct Leaf {
    offset: usize,
    key: Bytes,
    value: Bytes,
    is_bucket: bool,
}

impl Database {
    /// Opens a database. Reads nothing but its metas.
    ///
    /// # Errors
    /// [`Damaged`] if neither meta is whole.
    pub fn open(bytes: Bytes) -> Result<Self, Damaged> {
        let first = meta(&bytes, 0);
        let sizes = match &first {
            Some(meta) => vec![meta.page_bytes],
            None => PAGE_BYTES.to_vec(),
        };
        let second = sizes
            .into_iter()
            .filter_map(|size| meta(&bytes, size).filter(|meta| meta.page_bytes == size))
            .next();
        let newest = first
            .into_iter()
            .chain(second)
            .max_by_key(|meta| meta.transaction);
        let Some(Meta {
            page_bytes,
            root,
            end,
            transaction: _,
        }) = newest
        else {
            let expected = "a bbolt database, with one of its two metas whole";
            return Err(Damaged {
                offset: 0,
                expected,
            });
        };
        Ok(Self {
            bytes,
            page_bytes,
            root,
            end,
        })
    }

    /// The bucket of that name at the top, if there is one.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_>>, Damaged> {
        let top = Bucket {
            database: self,
            root: Root::Page(self.root),
        };
        let mut found = None;
        top.walk(&mut |leaf| {
            if leaf.is_bucket && leaf.key == name {
                found = Some(leaf);
            }
            Ok(())
        })?;
        let Some(Leaf { offset, value, .. }) = found else {
            return Ok(None);
        };
        // The value stands behind the element at `offset`; where exactly does not matter here.
        let root = number(&value, 0).ok_or(Damaged {
            offset,
            expected: "a bucket's header",
        })?;
        let root = if root == 0 {
            Root::Inline(Page::parse(
                offset,
                value.slice(BUCKET_HEADER.min(value.len())..),
            )?)
        } else {
            Root::Page(root)
        };
        Ok(Some(Bucket {
            database: self,
            root,
        }))
    }

    fn page(&self, number: u64) -> Result<Page, Damaged> {
        let missing = |offset| Damaged {
            offset,
            expected: "a page",
        };
        let start = usize::try_from(number).ok();
        let start = start.and_then(|number| number.checked_mul(self.page_bytes));
        let start = start
            .filter(|_| number < self.end)
            .ok_or_else(|| missing(0))?;
        let rest = self
            .bytes
            .len()
            .checked_sub(start)
            .ok_or_else(|| missing(start))?;
        let header = self.bytes.slice(start..start + rest.min(PAGE_HEADER));
        let further = number_u32(&header, 12).ok_or_else(|| missing(start))?;
        let length = u64::from(further) + 1;
        let length = usize::try_from(length).ok();
        let length = length.and_then(|pages| pages.checked_mul(self.page_bytes));
        let length = length
            .filter(|length| *length <= rest)
            .ok_or_else(|| missing(start))?;
        if self::number(&header, 0) != Some(number) {
            let expected = "a page's own number";
            return Err(Damaged {
                offset: start,
                expected,
            });
        }
        Page::parse(start, self.bytes.slice(start..start + length))
    }
}

impl Bucket<'_> {
    /// Shows each key with its value, in order, until `see` fails. Buckets inside are left out.
    ///
    /// # Errors
    /// [`Damaged`], of the pages or as `see` says.
    pub fn for_each(
        &self,
        mut see: impl FnMut(Bytes, Bytes) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        self.walk(&mut |leaf| {
            if leaf.is_bucket {
                return Ok(());
            }
            see(leaf.key, leaf.value)
        })
    }

    fn walk(&self, see: &mut dyn FnMut(Leaf) -> Result<(), Damaged>) -> Result<(), Damaged> {
        // Each page is met once, so the walk ends, and is no longer than the file.
        let mut met = BTreeSet::new();
        let mut last: Option<Bytes> = None;
        let mut see_in_order = |leaf: Leaf| {
            if last.as_ref().is_some_and(|last| *last >= leaf.key) {
                let (offset, expected) = (leaf.offset, "keys in order");
                return Err(Damaged { offset, expected });
            }
            last = Some(leaf.key.clone());
            see(leaf)
        };
        // From the page that is read next to the one read last.
        let mut waiting: Vec<(u64, usize)> = Vec::new();
        match &self.root {
            Root::Page(number) => waiting.push((*number, 0)),
            Root::Inline(page) => {
                if page.kind != LEAF {
                    let (offset, expected) = (page.offset, "a leaf inside a bucket");
                    return Err(Damaged { offset, expected });
                }
                return page.leaves().try_for_each(|leaf| see_in_order(leaf?));
            }
        }
        while let Some((number, depth)) = waiting.pop() {
            let page = self.database.page(number)?;
            let damaged = |expected| {
                let offset = page.offset;
                Err(Damaged { offset, expected })
            };
            if !met.insert(number) {
                return damaged("a page that was not met before");
            }
            match page.kind {
                LEAF => page.leaves().try_for_each(|leaf| see_in_order(leaf?))?,
                BRANCH if depth < DEPTH_MAX => {
                    let mut below: Vec<_> = page
                        .children()
                        .map(|child| Ok((child?, depth + 1)))
                        .collect::<Result<_, Damaged>>()?;
                    below.reverse();
                    waiting.append(&mut below);
                }
                _ => return damaged("a branch or a leaf"),
            }
        }
        Ok(())
    }
}

impl Page {
    fn parse(offset: usize, bytes: Bytes) -> Result<Self, Damaged> {
        let (kind, count) = number_u16(&bytes, 8)
            .zip(number_u16(&bytes, 10))
            .ok_or(Damaged {
                offset,
                expected: "a page's header",
            })?;
        let count = usize::from(count);
        if PAGE_HEADER + count * ELEMENT_BYTES > bytes.len() {
            let expected = "as many elements as the page has room for";
            return Err(Damaged { offset, expected });
        }
        Ok(Self {
            offset,
            bytes,
            kind,
            count,
        })
    }

    /// Where its elements stand, within the page.
    fn elements(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.count).map(|place| PAGE_HEADER + place * ELEMENT_BYTES)
    }

    fn children(&self) -> impl Iterator<Item = Result<u64, Damaged>> {
        self.elements().map(|at| {
            number(&self.bytes, at + 8).ok_or(Damaged {
                offset: self.offset + at,
                expected: "a child's page",
            })
        })
    }

    fn leaves(&self) -> impl Iterator<Item = Result<Leaf, Damaged>> {
        self.elements().map(|at| {
            let offset = self.offset + at;
            self.leaf(at, offset).ok_or(Damaged {
                offset,
                expected: "a key and a value within their page",
            })
        })
    }

    fn leaf(&self, at: usize, offset: usize) -> Option<Leaf> {
        let field = |place: usize| {
            let number = number_u32(&self.bytes, at + 4 * place)?;
            usize::try_from(number).ok()
        };
        let flags = number_u32(&self.bytes, at)?;
        let key_at = at.checked_add(field(1)?)?;
        let value_at = key_at.checked_add(field(2)?)?;
        let end = value_at.checked_add(field(3)?)?;
        (end <= self.bytes.len()).then(|| Leaf {
            offset,
            key: self.bytes.slice(key_at..value_at),
            value: self.bytes.slice(value_at..end),
            is_bucket: flags & IS_BUCKET != 0,
        })
    }
}

/// The meta in the page that begins at `offset`, if it is whole.
fn meta(bytes: &Bytes, offset: usize) -> Option<Meta> {
    let page = bytes.get(offset..offset + PAGE_HEADER + META_BYTES)?;
    let page = Bytes::copy_from_slice(page);
    if number_u16(&page, 8)? & META == 0 {
        return None;
    }
    let meta = page.slice(PAGE_HEADER..);
    let page_bytes = usize::try_from(number_u32(&meta, 8)?).ok()?;
    let is_whole = number_u32(&meta, 0)? == MAGIC
        && number_u32(&meta, 4)? == VERSION
        && number(&meta, 56)? == fnv_1a(&meta[..56])
        && PAGE_BYTES.contains(&page_bytes);
    is_whole.then_some(Meta {
        page_bytes,
        root: number(&meta, 16)?,
        end: number(&meta, 40)?,
        transaction: number(&meta, 48)?,
    })
}

/// The checksum of metas (Fowler, Noll and Vo, 64 bits, variant 1a).
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn number(bytes: &Bytes, at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

fn number_u32(bytes: &Bytes, at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn number_u16(bytes: &Bytes, at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests;
