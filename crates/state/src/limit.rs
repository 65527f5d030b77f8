//! Bounds that hold for the whole cluster once somebody has set them, instead of what each member
//! was started with.
//!
//! They are part of the state because members must judge alike: whether there is room for a put
//! is decided by apply, and what a leader forgets must not depend on who leads. With each goes who
//! changed it last, and when.

use crate::codec::{Corrupt, Reader};
use crate::digest::kind;
use crate::root::Root;
use crate::state::State;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use synod_env::HistoryKeep;

/// Longest text that says who changed a bound, in bytes.
pub const BY_BYTES_MAX: usize = 256;

/// Which bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// Of the state, in bytes.
    QuotaBytes,
    /// Of a request, in bytes; no member takes more than it was started with.
    RequestBytes,
    /// Of the operations in a branch of a transaction.
    TxnOps,
    /// How long history is kept, in milliseconds; 0 for ever.
    HistoryMs,
    /// How many revisions are kept; 0 for all.
    HistoryRevisions,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::QuotaBytes,
        Self::RequestBytes,
        Self::TxnOps,
        Self::HistoryMs,
        Self::HistoryRevisions,
    ];

    /// Its number in files.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::QuotaBytes => 1,
            Self::RequestBytes => 2,
            Self::TxnOps => 3,
            Self::HistoryMs => 4,
            Self::HistoryRevisions => 5,
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        let offset = reader.offset();
        let code = reader.u8("a limit's kind")?;
        let found = Self::ALL.into_iter().find(|kind| kind.code() == code);
        found.ok_or(Corrupt {
            offset,
            expected: "a limit's kind",
        })
    }

    /// The other way to say the same.
    const fn alternative(self) -> Option<Self> {
        match self {
            Self::HistoryMs => Some(Self::HistoryRevisions),
            Self::HistoryRevisions => Some(Self::HistoryMs),
            Self::QuotaBytes | Self::RequestBytes | Self::TxnOps => None,
        }
    }

    /// The values that make sense.
    #[must_use]
    pub const fn range(self) -> std::ops::RangeInclusive<u64> {
        // Ten years of 365 days.
        const HISTORY_MS_MAX: u64 = 315_360_000_000;
        match self {
            Self::QuotaBytes => 1..=i64::MAX.cast_unsigned(),
            Self::RequestBytes => 1..=64 << 20,
            Self::TxnOps => 1..=65_536,
            Self::HistoryMs => 0..=HISTORY_MS_MAX,
            Self::HistoryRevisions => 0..=i64::MAX.cast_unsigned(),
        }
    }
}

/// What somebody made of a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitChange {
    /// Of which.
    pub kind: LimitKind,
    /// What holds from then on; `None` for what each member was started with.
    pub value: Option<u64>,
    /// When, in milliseconds since 1970 by the clock of the member that was asked: for people.
    pub wall_ms: u64,
    /// Who, as they say themselves, and from where: for people. At most [`BY_BYTES_MAX`].
    pub by: Bytes,
}

impl LimitChange {
    /// Kind of record, kind of limit, 1 for a value or 0, value, time (8 each), length of the text
    /// (2), the text.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self {
            kind,
            value,
            wall_ms,
            by,
        } = self;
        let by = &by[..by.len().min(BY_BYTES_MAX)];
        let mut bytes = vec![kind::LIMIT, kind.code(), u8::from(value.is_some())];
        bytes.extend_from_slice(&value.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&wall_ms.to_le_bytes());
        let length = u16::try_from(by.len()).expect("at most 256 bytes");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(by);
        bytes
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        reader.format(kind::LIMIT, "a limit")?;
        let kind = LimitKind::read(reader)?;
        let offset = reader.offset();
        let has_value = reader.u8("whether a limit has a value")?;
        let value = reader.fixed_u64("a limit's value")?;
        let wall_ms = reader.fixed_u64("a limit's time")?;
        let length = u16::from_le_bytes(reader.array("the length of a text")?);
        let by = reader.shared(u64::from(length));
        let by = by.filter(|by| by.len() <= BY_BYTES_MAX).ok_or(Corrupt {
            offset,
            expected: "who changed a limit",
        })?;
        let value = match (has_value, value) {
            (0, 0) => None,
            (1, value) => Some(value),
            (_, _) => {
                let expected = "a limit's value or none";
                return Err(Corrupt { offset, expected });
            }
        };
        Ok(Self {
            kind,
            value,
            wall_ms,
            by,
        })
    }
}

/// The last change of each bound that was ever changed.
pub(crate) type Limits = Arc<BTreeMap<LimitKind, LimitChange>>;

impl Root {
    /// What was set for a bound, if anything: it holds instead of what a member was started with.
    #[must_use]
    pub fn limit(&self, kind: LimitKind) -> Option<u64> {
        self.limits.get(&kind)?.value
    }

    /// The last change of each bound that was ever changed.
    pub fn limit_changes(&self) -> impl Iterator<Item = &LimitChange> {
        self.limits.values()
    }

    /// How much history is to be kept, if that was set.
    #[must_use]
    pub fn history_keep(&self) -> Option<HistoryKeep> {
        let revisions = self.limit(LimitKind::HistoryRevisions);
        let time = self.limit(LimitKind::HistoryMs);
        match (revisions, time) {
            (None, None) => None,
            (Some(0), _) | (None, Some(0)) => Some(HistoryKeep::Everything),
            (Some(revisions), _) => Some(HistoryKeep::Revisions(revisions)),
            (None, Some(ms)) => Some(HistoryKeep::For(Duration::from_millis(ms))),
        }
    }
}

impl State {
    /// Sets a bound, or gives it back to the members.
    pub(crate) fn set_limit(&mut self, change: &LimitChange) {
        let root = &mut self.root;
        let limits = Arc::make_mut(&mut root.limits);
        // Of two ways to say the same, the last one counts.
        let alternative = change.kind.alternative().filter(|_| change.value.is_some());
        let replaced = alternative.and_then(|kind| limits.remove(&kind));
        root.records.add(&change.encode());
        let before = limits.insert(change.kind, change.clone());
        for gone in replaced.iter().chain(&before) {
            root.records.remove(&gone.encode());
        }
        if let (LimitKind::QuotaBytes, Some(bytes)) = (change.kind, change.value) {
            root.scalars.quota_bytes = bytes;
        }
    }
}
