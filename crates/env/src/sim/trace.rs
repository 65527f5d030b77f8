//! What happened in a world, in order, and its fingerprint.

use super::disk::DiskOp;
use crate::{Lane, MemberId};
use std::fmt;
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// True time since the start of the world.
    pub at: Duration,
    /// Whom it happened to; `None` for the caller of the world.
    pub member: Option<MemberId>,
    /// What it was.
    pub what: What,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A task ran until it had to wait.
    Ran {
        /// The how-manieth task of the world it is; 0 is the caller's own future.
        task: u64,
        /// The name it was spawned with.
        name: &'static str,
    },
    /// A timer rang.
    Rang,
    /// A message was handed to the network.
    Sent {
        /// Whom it is for.
        to: MemberId,
        /// Its lane.
        lane: Lane,
        /// Its length.
        bytes: u64,
        /// A checksum of its content.
        content: u64,
        /// How many copies are under way: none if it was lost.
        copies: u64,
    },
    /// A message arrived.
    Arrived {
        /// Who sent it.
        from: MemberId,
        /// Its lane.
        lane: Lane,
        /// Its length.
        bytes: u64,
    },
    /// A message arrived where nobody could take it.
    Dropped {
        /// Who sent it.
        from: MemberId,
        /// Its lane.
        lane: Lane,
    },
    /// A disk operation was submitted.
    Disk {
        /// Which kind.
        op: DiskOp,
        /// Where in the file, for reads and writes.
        offset: u64,
        /// How many bytes, for reads and writes.
        bytes: u64,
        /// A checksum of what was written or of the path.
        content: u64,
        /// Whether it will succeed.
        ok: bool,
    },
    /// The member started.
    Started,
    /// The member's process was killed.
    Killed,
    /// The member's machine lost power.
    Crashed,
    /// The member stopped running while its clocks ran on.
    Paused,
    /// The member ran on.
    Resumed,
    /// The member's clocks were changed.
    ClockChanged,
    /// A link from this member was changed.
    LinkChanged {
        /// Its other end.
        to: MemberId,
    },
    /// The member's disk was changed or told to fail.
    DiskChanged,
}

/// A fingerprint of everything that happened in a world: equal if and, but for a chance of
/// 2^-128, only if two runs were the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Takes each event as it happens. It must not call the world it observes.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

pub(super) struct Trace {
    fingerprint: u128,
    events: u64,
    observer: Option<Observer>,
}

/// The prime of the 128-bit Fowler/Noll/Vo hash.
const PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        let mut trace = Self {
            fingerprint: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d,
            events: 0,
            observer: None,
        };
        trace.fold(seed);
        trace
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.fingerprint)
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    pub(super) fn record(&mut self, now_ns: u64, member: Option<MemberId>, what: What) {
        self.events += 1;
        self.fold(now_ns);
        let who = member.map_or(u64::MAX, |MemberId(id)| id);
        self.fold(who);
        self.fold_what(&what);
        if let Some(observer) = &mut self.observer {
            observer(&Event {
                at: Duration::from_nanos(now_ns),
                member,
                what,
            });
        }
    }

    fn fold_what(&mut self, what: &What) {
        match *what {
            What::Ran { task, name: _ } => self.fold_all([1, task]),
            What::Rang => self.fold(2),
            What::Sent {
                to,
                lane,
                bytes,
                content,
                copies,
            } => self.fold_all([3, to.0, lane as u64, bytes, content, copies]),
            What::Arrived { from, lane, bytes } => {
                self.fold_all([4, from.0, lane as u64, bytes]);
            }
            What::Dropped { from, lane } => self.fold_all([5, from.0, lane as u64]),
            What::Disk {
                op,
                offset,
                bytes,
                content,
                ok,
            } => self.fold_all([6, op as u64, offset, bytes, content, ok.into()]),
            What::Started => self.fold(7),
            What::Killed => self.fold(8),
            What::Crashed => self.fold(9),
            What::Paused => self.fold(10),
            What::Resumed => self.fold(11),
            What::ClockChanged => self.fold(12),
            What::LinkChanged { to } => self.fold_all([13, to.0]),
            What::DiskChanged => self.fold(14),
        }
    }

    fn fold_all<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.fold(word);
        }
    }

    fn fold(&mut self, word: u64) {
        let mixed = (self.fingerprint ^ u128::from(word)).wrapping_mul(PRIME);
        self.fingerprint = mixed.rotate_left(59);
    }
}

/// A quick checksum of some content, for the fingerprint only.
pub(super) fn checksum(content: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let (words, rest) = content.as_chunks::<8>();
    for word in words {
        sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^= sum >> 29;
    }
    for byte in rest {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    sum
}
