//! Which keys a request means.

use bytes::Bytes;

/// The keys that a key and a range end mean, by etcd's rules: an empty end means the key alone,
/// the end `"\0"` all keys from the key on, any other end the keys before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange<'a> {
    start: &'a [u8],
    end: End<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End<'a> {
    /// After the first key.
    Single,
    /// Nowhere.
    Open,
    /// Before this key.
    Before(&'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// The keys meant by a request's `key` and `range_end`.
    #[must_use]
    pub fn new(key: &'a Bytes, range_end: &'a Bytes) -> Self {
        let end = match &range_end[..] {
            [] => End::Single,
            [0] => End::Open,
            end => End::Before(end),
        };
        Self { start: key, end }
    }

    /// The least key that can be in the range.
    #[must_use]
    pub fn start(&self) -> &'a [u8] {
        self.start
    }

    /// The only key that can be in the range, if it is for a single one.
    #[must_use]
    pub fn single(&self) -> Option<&'a [u8]> {
        match self.end {
            End::Single => Some(self.start),
            End::Open | End::Before(_) => None,
        }
    }

    /// No key can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.end {
            End::Single | End::Open => false,
            End::Before(end) => self.start >= end,
        }
    }

    /// `key` and all keys after it are beyond the range.
    #[must_use]
    pub fn ends_before(&self, key: &[u8]) -> bool {
        match self.end {
            End::Single => key > self.start,
            End::Open => false,
            End::Before(end) => key >= end,
        }
    }

    /// `key` is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start && !self.ends_before(key)
    }
}
