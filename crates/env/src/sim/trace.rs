//! What happened in a world, in order, and its fingerprint.

use super::disk::DiskOp;
use crate::{Lane, MemberId};
use bytes::Bytes;
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
        /// Its port; 0 is that of [`crate::Env::net`].
        port: u16,
        /// Its lane.
        lane: Lane,
        /// Which message of the world it is, from 1.
        number: u64,
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
        /// Its port.
        port: u16,
        /// Its lane.
        lane: Lane,
        /// Which message of the world it is.
        number: u64,
        /// Its length.
        bytes: u64,
        /// Whether some of its bits were flipped on the way.
        altered: bool,
    },
    /// A message arrived where nobody could take it.
    Dropped {
        /// Who sent it.
        from: MemberId,
        /// Its port.
        port: u16,
        /// Its lane.
        lane: Lane,
        /// Which message of the world it is.
        number: u64,
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
    /// The member's machine stopped, and its clocks with it.
    Frozen,
    /// The machine went on where it had stopped.
    Thawed,
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

/// A fingerprint of everything that happened in a world: equal if and, but for a tiny chance,
/// only if two runs were the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Takes each event as it happens. It must not call the world it observes.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

/// Takes the number and the content of each message, before the event that it was sent. It must
/// not call the world it listens to.
pub type Listener = Box<dyn FnMut(u64, &Bytes) + Send>;

pub(super) struct Trace {
    fingerprint: u128,
    events: u64,
    observer: Option<Observer>,
    listener: Option<Listener>,
}

/// The prime of the 128-bit Fowler/Noll/Vo hash.
const PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        let mut trace = Self {
            fingerprint: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d,
            events: 0,
            observer: None,
            listener: None,
        };
        trace.mix(seed, 0);
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

    pub(super) fn listen(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    /// Tells the listener what a message says; that leaves no trace.
    pub(super) fn tell(&mut self, number: u64, message: &Bytes) {
        if let Some(listener) = &mut self.listener {
            listener(number, message);
        }
    }

    pub(super) fn record(&mut self, now_ns: u64, member: Option<MemberId>, what: What) {
        self.events += 1;
        let who = member.map_or(u64::MAX, |MemberId(id)| id);
        self.fold_what(now_ns, who, &what);
        if let Some(observer) = &mut self.observer {
            observer(&Event {
                at: Duration::from_nanos(now_ns),
                member,
                what,
            });
        }
    }

    fn fold_what(&mut self, now_ns: u64, who: u64, what: &What) {
        match *what {
            What::Ran { task, name: _ } => self.fold(now_ns, who, 1, [0, task]),
            What::Rang => self.fold(now_ns, who, 2, [0, 0]),
            What::Sent {
                to,
                port,
                lane,
                number,
                bytes,
                content,
                copies,
            } => {
                let place = u64::from(port) << 16 | (lane as u64) << 8 | copies;
                self.fold(now_ns, who, 3, [place, number]);
                self.mix(to.0, bytes);
                self.mix(content, 0);
            }
            What::Arrived {
                from,
                port,
                lane,
                number,
                bytes,
                altered,
            } => {
                let place = u64::from(port) << 16 | (lane as u64) << 8 | u64::from(altered);
                self.fold(now_ns, who, 4, [place, number]);
                self.mix(from.0, bytes);
            }
            What::Dropped {
                from,
                port,
                lane,
                number,
            } => {
                let place = u64::from(port) << 16 | (lane as u64) << 8;
                self.fold(now_ns, who, 5, [place, number]);
                self.mix(from.0, 0);
            }
            What::Disk {
                op,
                offset,
                bytes,
                content,
                ok,
            } => {
                let kind = (op as u64) << 8 | u64::from(ok);
                self.fold(now_ns, who, 6, [kind, offset]);
                self.mix(bytes, content);
            }
            What::Started => self.fold(now_ns, who, 7, [0, 0]),
            What::Killed => self.fold(now_ns, who, 8, [0, 0]),
            What::Crashed => self.fold(now_ns, who, 9, [0, 0]),
            What::Paused => self.fold(now_ns, who, 10, [0, 0]),
            What::Resumed => self.fold(now_ns, who, 11, [0, 0]),
            What::ClockChanged => self.fold(now_ns, who, 12, [0, 0]),
            What::LinkChanged { to } => self.fold(now_ns, who, 13, [0, to.0]),
            What::DiskChanged => self.fold(now_ns, who, 14, [0, 0]),
            What::Frozen => self.fold(now_ns, who, 15, [0, 0]),
            What::Thawed => self.fold(now_ns, who, 16, [0, 0]),
        }
    }

    /// Takes in an event: when, to whom, which kind, and what differs within the kind, of which
    /// the first word has 56 bits.
    fn fold(&mut self, now_ns: u64, who: u64, kind: u64, detail: [u64; 2]) {
        self.mix(now_ns, detail[0] << 8 | kind);
        self.mix(who, detail[1]);
    }

    /// Each step can be undone, so that two runs which differ in one word never come out equal.
    fn mix(&mut self, low: u64, high: u64) {
        let word = u128::from(high) << 64 | u128::from(low);
        let mixed = (self.fingerprint ^ word).wrapping_mul(PRIME);
        self.fingerprint = mixed.rotate_left(59);
    }
}

/// A quick checksum of some content, for the fingerprint only. Four sums side by side, since one
/// multiplication waits for the one before it.
pub(super) fn checksum(content: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let mut sums = [0x6c62_272e_07bb_0142_u64, 1, 2, content.len() as u64];
    let (blocks, rest) = content.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = step(*sum, u64::from_le_bytes(*word));
        }
    }
    let [mut sum, others @ ..] = sums;
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        sum = step(sum, u64::from_le_bytes(*word));
    }
    for byte in rest {
        sum = step(sum, u64::from(*byte));
    }
    others.into_iter().fold(sum, step)
}
