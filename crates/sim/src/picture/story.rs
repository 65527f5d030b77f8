//! What a picture shows: lanes, and what happens on and between them.

use crate::Machine;
use std::time::Duration;

/// One message from one machine to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: Machine,
    /// Whom it was for.
    pub to: Machine,
    /// When it was sent.
    pub sent: Duration,
    /// When it was there; `None` if it never was.
    pub arrived: Option<Duration>,
    /// What it belongs to.
    pub kind: MessageKind,
    /// What became of it.
    pub fate: Fate,
    /// What it says, in a few words.
    pub what: String,
    /// The rest.
    pub detail: String,
}

/// What a message belongs to; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// Replication of the log, and its answers.
    Append,
    /// Elections.
    Vote,
    /// The transfer of a snapshot.
    Snapshot,
    /// What members forward and ask of each other.
    Forward,
    /// The sessions of the links themselves.
    Link,
    /// Between clients and members.
    Request,
    /// Nobody can tell.
    Other,
}

impl MessageKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Vote => "vote",
            Self::Snapshot => "snapshot",
            Self::Forward => "forward",
            Self::Link => "link",
            Self::Request => "request",
            Self::Other => "other",
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It arrived once, or is still under way.
    Whole,
    /// The network lost it.
    Lost,
    /// It arrived altered.
    Altered,
    /// It arrived a second time.
    Again,
    /// Nobody was there to take it.
    Refused,
}

impl Fate {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Lost => "lost",
            Self::Altered => "altered",
            Self::Again => "again",
            Self::Refused => "refused",
        }
    }
}

/// What a fault harms; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BandKind {
    /// A process, or the machine under it.
    Process,
    /// Links.
    Link,
    /// A disk.
    Disk,
    /// Clocks.
    Clock,
}

impl BandKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Link => "link",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}

/// A stretch of time on a lane in which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// On which lane.
    pub lane: Machine,
    /// From when.
    pub from: Duration,
    /// Until when; `None` beyond the end.
    pub to: Option<Duration>,
    /// What is harmed.
    pub kind: BandKind,
    /// In a few words.
    pub what: String,
    /// The rest.
    pub detail: String,
}

/// A stretch of time in which a member leads, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Which member.
    pub member: u32,
    /// From when.
    pub from: Duration,
    /// Until when; `None` beyond the end.
    pub to: Option<Duration>,
    /// The engine's epoch.
    pub epoch: u64,
}

/// What a moment on a lane means; each has a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// A process starts.
    Started,
    /// A process ends: killed, without power, or by itself.
    Stopped,
    /// A member has applied its log up to here.
    Applied,
    /// A snapshot was written or installed.
    Snapshot,
    /// A fault that is over in a moment.
    Fault,
    /// Something else.
    Note,
}

impl MarkKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Applied => "applied",
            Self::Snapshot => "snapshot",
            Self::Fault => "fault",
            Self::Note => "note",
        }
    }
}

/// A moment on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// On which lane.
    pub lane: Machine,
    /// When.
    pub at: Duration,
    /// What it means.
    pub kind: MarkKind,
    /// In a few words.
    pub what: String,
    /// The rest.
    pub detail: String,
}

/// How an operation ended; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Done.
    Done,
    /// Certainly not done.
    Refused,
    /// Nobody can say.
    Unknown,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// What a client asked, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which client.
    pub client: u32,
    /// When it asked.
    pub from: Duration,
    /// When it knew; `None` beyond the end.
    pub to: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// True if it belongs to the violation.
    pub witness: bool,
    /// In a few words.
    pub what: String,
    /// The rest.
    pub detail: String,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was seen.
    pub at: Duration,
    /// What was promised.
    pub property: String,
    /// What shows that it does not hold.
    pub witness: String,
}

/// Everything a picture shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// The headline.
    pub title: String,
    /// Names and values of the run: seed, members, fingerprint, command.
    pub facts: Vec<(String, String)>,
    /// All lanes, from top to bottom.
    pub lanes: Vec<Machine>,
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// Messages.
    pub messages: Vec<Message>,
    /// Faults that last.
    pub bands: Vec<Band>,
    /// Who led when.
    pub reigns: Vec<Reign>,
    /// Moments.
    pub marks: Vec<Mark>,
    /// Clients' operations.
    pub operations: Vec<Operation>,
    /// Parts of the run, each from its time on.
    pub phases: Vec<(Duration, String)>,
    /// What does not hold, if anything.
    pub violation: Option<Violation>,
    /// The scenario file.
    pub scenario: String,
    /// What was left out, as a sentence; empty if nothing was.
    pub left_out: String,
}

/// How much a picture may hold, so that a browser shows it at once and a mail carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages_max: usize,
    /// Operations, marks and bands together.
    pub others_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            messages_max: 6_000,
            others_max: 6_000,
        }
    }
}

impl Story {
    /// Keeps the largest stretch of time around the violation (or the end of the faults, or the
    /// middle) that the bounds allow, five parts before to one after, and says what was left out.
    /// What belongs to the violation is kept wherever it lies.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        let fits = |story: &Self, from: Duration, to: Duration| {
            let inside = |at: Duration, until: Option<Duration>| {
                at <= to && until.is_none_or(|until| until >= from)
            };
            let messages = story.messages.iter();
            let messages = messages.filter(|m| inside(m.sent, Some(m.arrived.unwrap_or(m.sent))));
            let operations = story.operations.iter().filter(|o| inside(o.from, o.to));
            let marks = story.marks.iter().filter(|m| inside(m.at, Some(m.at)));
            let bands = story.bands.iter().filter(|b| inside(b.from, b.to));
            messages.count() <= bounds.messages_max
                && operations.count() + marks.count() + bands.count() <= bounds.others_max
        };
        if fits(&self, self.from, self.to) {
            return self;
        }
        let centre = self.violation.as_ref().map_or_else(
            || self.from + (self.to.saturating_sub(self.from)) / 2,
            |it| it.at,
        );
        let window = |span: Duration| {
            let from = centre.saturating_sub(span / 6 * 5).max(self.from);
            (from, (centre + span / 6).min(self.to))
        };
        // The largest span that fits, to a microsecond: what fits in one fits in a part of it.
        let (mut fitting, mut too_large) = (Duration::ZERO, (self.to - self.from) * 2);
        while too_large.saturating_sub(fitting) > Duration::from_micros(1) {
            let middle = fitting + (too_large - fitting) / 2;
            let (from, to) = window(middle);
            if fits(&self, from, to) {
                fitting = middle;
            } else {
                too_large = middle;
            }
        }
        let (from, to) = window(fitting);
        self.cut(from, to);
        self
    }

    fn cut(&mut self, from: Duration, to: Duration) {
        let inside =
            |at: Duration, until: Option<Duration>| at <= to && until.is_none_or(|it| it >= from);
        let before = (self.messages.len(), self.operations.len());
        self.messages
            .retain(|m| inside(m.sent, Some(m.arrived.unwrap_or(m.sent))));
        self.operations
            .retain(|o| o.witness || inside(o.from, o.to));
        self.marks.retain(|m| {
            inside(m.at, Some(m.at)) || matches!(m.kind, MarkKind::Started | MarkKind::Stopped)
        });
        self.bands.retain(|b| inside(b.from, b.to));
        self.reigns.retain(|r| inside(r.from, r.to));
        let seconds = |it: Duration| format!("{:.3} s", it.as_secs_f64());
        self.left_out = format!(
            "Shown: {} to {} of a run from {} to {}. Left out: {} of {} messages and {} of {} \
             operations.",
            seconds(from),
            seconds(to),
            seconds(self.from),
            seconds(self.to),
            before.0 - self.messages.len(),
            before.0,
            before.1 - self.operations.len(),
            before.1,
        );
        let witnesses = self.operations.iter().filter(|o| o.witness);
        self.from = witnesses.map(|o| o.from).fold(from, Duration::min);
        self.to = to;
    }
}

#[cfg(test)]
mod tests;
