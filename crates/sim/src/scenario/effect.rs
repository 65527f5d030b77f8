//! What can go wrong, named by its effect.

use std::time::Duration;

/// Machines, by number or by what they are when the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The member of that number, from 1.
    Member(u32),
    /// The member that leads, as far as it knows; nobody if there is none.
    Leader,
    /// One member that runs and does not lead.
    Follower,
    /// All members that the other side of the link does not name.
    OtherMembers,
    /// The client of that number, from 0.
    Client(u32),
    /// All clients.
    Clients,
}

/// Links between two sides: each machine of one with each of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who sends.
    pub from: Vec<Who>,
    /// Who receives.
    pub to: Vec<Who>,
    /// Only in this direction; otherwise in both.
    pub one_way: bool,
}

/// Parts per million.
pub type Ppm = u32;

/// Kinds of disk operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskOperation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Syncs.
    Sync,
}

/// What goes wrong. Unless it says otherwise it is undone when the fault ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `process.kill`: the process dies; its machine and its page cache live. It is started again
    /// when the fault ends.
    Kill {
        /// Whose.
        who: Who,
    },
    /// `process.crash`: the machine loses power, and with it what was not synced, wholly or torn.
    /// It is started again when the fault ends.
    Crash {
        /// Whose.
        who: Who,
        /// With which disk operation from then on: 1 is the next; 0 at once.
        disk_operation: u32,
    },
    /// `process.pause`: nothing of it runs, its clocks do.
    Pause {
        /// Whose.
        who: Who,
    },
    /// `process.freeze`: nothing of it runs, its clocks neither, and they do not catch up.
    Freeze {
        /// Whose.
        who: Who,
    },
    /// `process.restart`: killed and started again at once. Over in a moment.
    Restart {
        /// Whose.
        who: Who,
    },
    /// `process.reformat`: the machine loses its disk, and comes back with an empty one when the
    /// fault ends. The cluster refuses it from then on.
    Reformat {
        /// Whose.
        who: Who,
    },
    /// `link.cut`: nothing gets through.
    Cut {
        /// Where.
        link: Link,
    },
    /// `link.delay`: messages take between the two times.
    Delay {
        /// Where.
        link: Link,
        /// Least.
        min: Duration,
        /// Most.
        max: Duration,
    },
    /// `link.loss`: some messages are lost.
    Loss {
        /// Where.
        link: Link,
        /// How many.
        ppm: Ppm,
    },
    /// `link.duplicate`: some messages arrive twice.
    Duplicate {
        /// Where.
        link: Link,
        /// How many.
        ppm: Ppm,
    },
    /// `link.reorder`: some messages overtake others.
    Reorder {
        /// Where.
        link: Link,
        /// How many.
        ppm: Ppm,
    },
    /// `link.corrupt`: some messages are altered on their way.
    Corrupt {
        /// Where.
        link: Link,
        /// How many.
        ppm: Ppm,
    },
    /// `link.slow`: no more than so many bytes in a second get through.
    Slow {
        /// Where.
        link: Link,
        /// At least 1.
        bytes_per_s: u64,
    },
    /// `disk.stall`: no operation completes before the fault ends.
    Stall {
        /// Whose.
        who: Who,
    },
    /// `disk.full`: room for no more than so many bytes beyond what is there.
    Full {
        /// Whose.
        who: Who,
        /// Bytes.
        room_bytes: u64,
    },
    /// `disk.error`: some operations report an input/output error.
    DiskError {
        /// Whose.
        who: Who,
        /// Of which kind.
        operation: DiskOperation,
        /// How many.
        ppm: Ppm,
    },
    /// `disk.rot`: one byte of what is on the disk changes. Over in a moment and not undone.
    Rot {
        /// Whose.
        who: Who,
        /// Which of its files, in order of their names, counted around.
        file: u32,
        /// Where in the file, in millionths of its length.
        position_ppm: Ppm,
        /// Which bits of the byte change; not 0.
        mask: u8,
    },
    /// `clock.rate`: clocks are off by so many millionths of true time.
    Rate {
        /// Whose.
        who: Who,
        /// The timer clock, which people and daemons slew.
        boot_ppm: i32,
        /// The raw clock, which nobody does.
        raw_ppm: i32,
        /// The wall clock.
        wall_ppm: i32,
    },
    /// `clock.step`: the wall clock is set. Over in a moment and not undone.
    Step {
        /// Whose.
        who: Who,
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// `clock.jump`: all clocks jump ahead though no time has passed. Over in a moment and not
    /// undone. No oscillator does this: for clients only, unless a scenario has no leases.
    Jump {
        /// Whose.
        who: Who,
        /// How far.
        ahead: Duration,
    },
    /// `clock.strobe`: the wall clock is set forth and back again and again.
    Strobe {
        /// Whose.
        who: Who,
        /// How far, in milliseconds.
        by_ms: i64,
        /// How often.
        period: Duration,
    },
    /// `clock.leap`: the wall clock repeats a second. Over in a moment and not undone.
    Leap {
        /// Whose.
        who: Who,
    },
}

impl Effect {
    /// The names of all effects, in order.
    pub const NAMES: [&'static str; 22] = [
        "process.kill",
        "process.crash",
        "process.pause",
        "process.freeze",
        "process.restart",
        "process.reformat",
        "link.cut",
        "link.delay",
        "link.loss",
        "link.duplicate",
        "link.reorder",
        "link.corrupt",
        "link.slow",
        "disk.stall",
        "disk.full",
        "disk.error",
        "disk.rot",
        "clock.rate",
        "clock.step",
        "clock.jump",
        "clock.strobe",
        "clock.leap",
    ];

    /// Its name in a scenario file and in a report.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "process.kill",
            Self::Crash { .. } => "process.crash",
            Self::Pause { .. } => "process.pause",
            Self::Freeze { .. } => "process.freeze",
            Self::Restart { .. } => "process.restart",
            Self::Reformat { .. } => "process.reformat",
            Self::Cut { .. } => "link.cut",
            Self::Delay { .. } => "link.delay",
            Self::Loss { .. } => "link.loss",
            Self::Duplicate { .. } => "link.duplicate",
            Self::Reorder { .. } => "link.reorder",
            Self::Corrupt { .. } => "link.corrupt",
            Self::Slow { .. } => "link.slow",
            Self::Stall { .. } => "disk.stall",
            Self::Full { .. } => "disk.full",
            Self::DiskError { .. } => "disk.error",
            Self::Rot { .. } => "disk.rot",
            Self::Rate { .. } => "clock.rate",
            Self::Step { .. } => "clock.step",
            Self::Jump { .. } => "clock.jump",
            Self::Strobe { .. } => "clock.strobe",
            Self::Leap { .. } => "clock.leap",
        }
    }

    /// True if it damages what is on a disk, which at most a minority of members may suffer.
    #[must_use]
    pub const fn damages_disk(&self) -> bool {
        match self {
            Self::Reformat { .. } | Self::DiskError { .. } | Self::Rot { .. } => true,
            Self::Kill { .. }
            | Self::Crash { .. }
            | Self::Pause { .. }
            | Self::Freeze { .. }
            | Self::Restart { .. }
            | Self::Cut { .. }
            | Self::Delay { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Reorder { .. }
            | Self::Corrupt { .. }
            | Self::Slow { .. }
            | Self::Stall { .. }
            | Self::Full { .. }
            | Self::Rate { .. }
            | Self::Step { .. }
            | Self::Jump { .. }
            | Self::Strobe { .. }
            | Self::Leap { .. } => false,
        }
    }
}
