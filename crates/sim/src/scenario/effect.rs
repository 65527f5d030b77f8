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
    /// All members that the other side of a link does not name by number or role.
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

/// What goes wrong, and where. Unless it says otherwise it is undone when the fault ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// With a process or its machine.
    Process {
        /// Whose.
        who: Who,
        /// What.
        effect: ProcessEffect,
    },
    /// With messages.
    Link {
        /// Where.
        link: Link,
        /// What.
        effect: LinkEffect,
    },
    /// With a disk.
    Disk {
        /// Whose.
        who: Who,
        /// What.
        effect: DiskEffect,
    },
    /// With clocks.
    Clock {
        /// Whose.
        who: Who,
        /// What.
        effect: ClockEffect,
    },
}

/// What goes wrong with a process or its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEffect {
    /// The process dies; its machine and its page cache live. It is started again when the fault
    /// ends.
    Kill,
    /// The machine loses power, and with it what was not synced, wholly or torn. It is started
    /// again when the fault ends.
    Crash {
        /// With which disk operation from then on: 1 is the next; 0 at once.
        disk_operation: u32,
    },
    /// Nothing of it runs, its clocks do.
    Pause,
    /// Nothing of it runs, its clocks neither, and they do not catch up.
    Freeze,
    /// Killed and started again at once. Over in a moment.
    Restart,
    /// The machine loses its disk, and comes back with an empty one when the fault ends. The
    /// cluster refuses it from then on.
    Reformat,
}

/// What goes wrong with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEffect {
    /// Nothing gets through.
    Cut,
    /// Messages take between the two times.
    Delay {
        /// Least.
        min: Duration,
        /// Most.
        max: Duration,
    },
    /// Some messages are lost.
    Loss {
        /// How many.
        ppm: Ppm,
    },
    /// Some messages arrive twice.
    Duplicate {
        /// How many.
        ppm: Ppm,
    },
    /// Some messages overtake others.
    Reorder {
        /// How many.
        ppm: Ppm,
    },
    /// Some messages are altered on their way.
    Corrupt {
        /// How many.
        ppm: Ppm,
    },
    /// No more than so many bytes in a second get through.
    Slow {
        /// At least 1.
        bytes_per_s: u64,
    },
}

/// What goes wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEffect {
    /// Nothing reaches the disk or is read from it before the fault ends; writes into the cache go
    /// on.
    Stall,
    /// Room for no more than so many bytes beyond what is there.
    Full {
        /// Bytes.
        room_bytes: u64,
    },
    /// Some operations report an input/output error.
    Error {
        /// Of which kind.
        operation: DiskOperation,
        /// How many.
        ppm: Ppm,
    },
    /// One byte of what is on the disk changes. Over in a moment and not undone.
    Rot {
        /// Which of its files, in order of their names, counted around.
        file: u32,
        /// Where in the file, in millionths of its length up to the last byte that is not zero.
        position_ppm: Ppm,
        /// Which bits of the byte change; not 0.
        mask: u8,
    },
}

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

/// What goes wrong with clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEffect {
    /// Clocks are off by so many millionths of true time. A member's promises count on two clocks
    /// of which one at least is off by less than `synod_env::time::RATE_ERROR_PPM`.
    Rate {
        /// The timer clock, which people and daemons slew.
        boot_ppm: i32,
        /// The raw clock, which nobody does.
        raw_ppm: i32,
        /// The wall clock.
        wall_ppm: i32,
    },
    /// The wall clock is set. Over in a moment and not undone.
    Step {
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// All clocks but the wall clock jump ahead though no time has passed. Over in a moment and
    /// not undone. No oscillator does this: nothing is promised about a member's leases then.
    Jump {
        /// How far.
        ahead: Duration,
    },
    /// The wall clock is set forth and back again and again.
    Strobe {
        /// How far, in milliseconds.
        by_ms: i64,
        /// How often.
        period: Duration,
    },
    /// The wall clock repeats a second. Over in a moment and not undone.
    Leap,
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

    /// The names of those that damage what is on a disk.
    pub(crate) const DAMAGING: [&'static str; 3] = ["process.reformat", "disk.error", "disk.rot"];

    /// Its name in a scenario file and in a report.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Process { effect, .. } => match effect {
                ProcessEffect::Kill => "process.kill",
                ProcessEffect::Crash { .. } => "process.crash",
                ProcessEffect::Pause => "process.pause",
                ProcessEffect::Freeze => "process.freeze",
                ProcessEffect::Restart => "process.restart",
                ProcessEffect::Reformat => "process.reformat",
            },
            Self::Link { effect, .. } => match effect {
                LinkEffect::Cut => "link.cut",
                LinkEffect::Delay { .. } => "link.delay",
                LinkEffect::Loss { .. } => "link.loss",
                LinkEffect::Duplicate { .. } => "link.duplicate",
                LinkEffect::Reorder { .. } => "link.reorder",
                LinkEffect::Corrupt { .. } => "link.corrupt",
                LinkEffect::Slow { .. } => "link.slow",
            },
            Self::Disk { effect, .. } => match effect {
                DiskEffect::Stall => "disk.stall",
                DiskEffect::Full { .. } => "disk.full",
                DiskEffect::Error { .. } => "disk.error",
                DiskEffect::Rot { .. } => "disk.rot",
            },
            Self::Clock { effect, .. } => match effect {
                ClockEffect::Rate { .. } => "clock.rate",
                ClockEffect::Step { .. } => "clock.step",
                ClockEffect::Jump { .. } => "clock.jump",
                ClockEffect::Strobe { .. } => "clock.strobe",
                ClockEffect::Leap => "clock.leap",
            },
        }
    }

    /// True if it damages what is on a disk, which at most a minority of members may suffer.
    #[must_use]
    pub fn damages_disk(&self) -> bool {
        Self::DAMAGING.contains(&self.name())
    }
}
