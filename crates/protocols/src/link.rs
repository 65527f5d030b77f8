//! One link: what a member knows of another, and the session between their present lives.
//!
//! A machine without input or output: received frames and time go in, frames and messages come
//! out. A session stands between one *life* of each side, that is one start of a member on one
//! disk. It comes about like this, whoever begins, and with any frame lost, doubled or late:
//!
//! 1. A says hello. B has *heard* of A's life, and says hello with an echo of it.
//! 2. The echo shows A that B's hello is not an old one: B lives now. A *accepts* B's life, which
//!    ends the session with an earlier one, and says so in its next hello.
//! 3. B accepts A in the same way and, since A has accepted B, is *linked*; it says so.
//! 4. A is linked.
//!
//! A hello that does not say "linked" is answered with a hello, so that the exchange ends after
//! four; a side that is not linked repeats its own. Without the echo, a late hello could bring a
//! life back that is over, and its session with it.
//!
//! Lives on one disk are ordered by their incarnation, and an older one is ignored. Lives on two
//! disks are not: until the disk of the other side is on record (see [`crate::peers`]), a later
//! disk replaces an earlier one and is never replaced by it again.

use crate::frame::{Frame, HelloFrame, Kind, MessageFrame, RefuseFrame, Stage, session};
use crate::window::{Seen, Window};
use bytes::Bytes;
use std::time::Duration;
use synod_env::{Bug, Instant, Lane, MemberId, planted};

/// How many disks of one member may replace each other before the first one is on record. Beyond
/// it the link stays as it is until this member restarts.
const REPLACED_MAX: usize = 16;

/// One start of a member on one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Drawn when the member's directory was founded.
    pub disk_id: u128,
    /// Which start of the member on that disk it is; the first is 1.
    pub incarnation: u64,
}

/// Who a member says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its cluster.
    pub cluster_id: u64,
    /// Its number.
    pub member: MemberId,
    /// Its disk.
    pub disk_id: u128,
    /// Which start on that disk it is.
    pub incarnation: u64,
}

impl Hello {
    /// Its life.
    #[must_use]
    pub fn life(&self) -> Life {
        Life {
            disk_id: self.disk_id,
            incarnation: self.incarnation,
        }
    }
}

/// Why a member will not talk to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a member of another cluster.
    OtherCluster,
    /// The cluster has no member of that number.
    NoMember,
    /// The cluster knows the member by another disk.
    OtherDisk {
        /// The one it has on record.
        on_record: u128,
    },
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It is not as it was sent.
    Altered,
    /// It is of, or for, a life that is over or not known.
    Stale,
    /// It was received before.
    Duplicate,
    /// It is too late to tell whether it was received before.
    TooLate,
    /// Its sender is refused.
    Refused,
}

/// What a frame turned out to be.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// About the link itself.
    Handshake,
    /// A message of the present session, for the first time.
    Message(MessageFrame),
    /// The other side refuses this member.
    RefusedBy(Reason),
    /// Nothing.
    Dropped(Dropped),
}

/// What came of a frame.
#[derive(Debug)]
pub(crate) struct Step {
    /// To be sent to the other side.
    pub(crate) reply: Option<Bytes>,
    /// The session that is over: nothing sent in it will be answered any more.
    pub(crate) ended: Option<u64>,
    /// The link stands, which it did not before.
    pub(crate) linked: bool,
    pub(crate) outcome: Outcome,
}

impl Step {
    fn only(outcome: Outcome) -> Self {
        Self {
            reply: None,
            ended: None,
            linked: false,
            outcome,
        }
    }

    fn dropped(dropped: Dropped) -> Self {
        Self::only(Outcome::Dropped(dropped))
    }
}

#[derive(Debug)]
struct Session {
    life: Life,
    /// The other side is known to have accepted it too.
    linked: bool,
    /// Names of the two directions.
    outward: u64,
    inward: u64,
    /// The number of the last message of each lane.
    sent: [u64; 3],
    seen: [Window; 3],
}

#[derive(Debug)]
pub(crate) struct Link {
    me: Hello,
    other: MemberId,
    /// The only disk whose lives are accepted.
    on_record: Option<u128>,
    /// Disks that another one has taken the place of.
    replaced: Vec<u128>,
    heard: Option<Life>,
    session: Option<Session>,
    hello_every: Duration,
    hello_at: Instant,
}

impl Link {
    pub(crate) fn new(
        me: Hello,
        other: MemberId,
        on_record: Option<u128>,
        hello_every: Duration,
        now: Instant,
    ) -> Self {
        Self {
            me,
            other,
            on_record,
            replaced: Vec::new(),
            heard: None,
            session: None,
            hello_every,
            hello_at: now,
        }
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.linked)
    }

    /// The disk of the life that is accepted.
    pub(crate) fn disk_id(&self) -> Option<u128> {
        Some(self.session.as_ref()?.life.disk_id)
    }

    /// From now on only lives on the disk of the present one are accepted.
    pub(crate) fn put_on_record(&mut self) {
        self.on_record = self.disk_id();
    }

    /// When [`Link::say_hello`] is due; `None` while the link stands.
    pub(crate) fn hello_due(&self) -> Option<Instant> {
        (!self.is_linked()).then_some(self.hello_at)
    }

    /// The hello that is due, if one is.
    pub(crate) fn say_hello(&mut self, now: Instant) -> Option<Bytes> {
        if self.hello_due()? > now {
            return None;
        }
        self.hello_at = now + self.hello_every;
        Some(self.hello())
    }

    fn hello(&self) -> Bytes {
        let stage = |life| match &self.session {
            Some(session) if session.life == life && session.linked => Stage::Linked,
            Some(session) if session.life == life => Stage::Accepted,
            Some(_) | None => Stage::Heard,
        };
        let frame = HelloFrame {
            cluster_id: self.me.cluster_id,
            from: self.me.member,
            to: self.other,
            life: self.me.life(),
            echo: self.heard.map(|life| (life, stage(life))),
        };
        Frame::Hello(frame).encode()
    }

    /// Numbers a message of the present session. `None` while the link does not stand.
    pub(crate) fn number(&mut self, lane: Lane) -> Option<(u64, u64)> {
        let session = self.session.as_mut().filter(|session| session.linked)?;
        let sent = &mut session.sent[lane as usize];
        *sent += 1;
        Some((session.outward, *sent))
    }

    /// The name of the present session's outward direction, while the link stands.
    pub(crate) fn session(&self) -> Option<u64> {
        let session = self.session.as_ref().filter(|session| session.linked)?;
        Some(session.outward)
    }

    /// A frame from the other side.
    pub(crate) fn receive(&mut self, lane: Lane, frame: &Bytes) -> Step {
        match Frame::decode(frame) {
            None => Step::dropped(Dropped::Altered),
            Some(Frame::Hello(hello)) => self.on_hello(&hello),
            Some(Frame::Refuse(refuse)) => self.on_refuse(&refuse),
            Some(Frame::Message(message)) => self.on_message(lane, message),
        }
    }

    fn on_hello(&mut self, hello: &HelloFrame) -> Step {
        if hello.from != self.other || hello.to != self.me.member {
            return Step::dropped(Dropped::Stale);
        }
        let known = |disk_id: &u128| *disk_id == hello.life.disk_id;
        let reason = if hello.cluster_id != self.me.cluster_id {
            Some(Reason::OtherCluster)
        } else {
            let on_record = self.on_record.filter(|disk_id| !known(disk_id));
            on_record.map(|on_record| Reason::OtherDisk { on_record })
        };
        if let Some(reason) = reason {
            let reply = refuse(&self.me, hello, reason);
            return Step {
                reply: Some(reply),
                ..Step::dropped(Dropped::Refused)
            };
        }
        let accepted = self.session.as_ref().map(|session| session.life);
        let later = |life: Life| {
            life.disk_id == hello.life.disk_id && life.incarnation > hello.life.incarnation
        };
        let is_over = self.heard.is_some_and(later) || accepted.is_some_and(later);
        if is_over || self.replaced.iter().any(known) {
            return Step::dropped(Dropped::Stale);
        }
        self.heard = Some(hello.life);

        // Only an echo of this very life shows that the other one lives at the same time.
        let mine = self.me.life();
        let stage = hello.echo.filter(|(life, _)| *life == mine);
        let mut step = Step::only(Outcome::Handshake);
        if let Some((_, stage)) = stage {
            match self.accept(hello.life) {
                Ok(ended) => step.ended = ended,
                Err(why) => return Step::dropped(why),
            }
            step.linked = stage >= Stage::Accepted && self.link();
        }
        if stage.is_none_or(|(_, stage)| stage < Stage::Linked) {
            step.reply = Some(self.hello());
        }
        step
    }

    /// Takes a life up, if that has not been done; returns the session that is over by that.
    fn accept(&mut self, life: Life) -> Result<Option<u64>, Dropped> {
        let mut ended = None;
        if let Some(session) = &self.session {
            if session.life == life {
                return Ok(None);
            }
            if session.life.disk_id != life.disk_id {
                if self.replaced.len() == REPLACED_MAX {
                    return Err(Dropped::Refused);
                }
                self.replaced.push(session.life.disk_id);
            }
            ended = Some(session.outward);
        }
        let (mine, other) = ((self.me.member, self.me.life()), (self.other, life));
        self.session = Some(Session {
            life,
            linked: false,
            outward: session(self.me.cluster_id, mine, other),
            inward: session(self.me.cluster_id, other, mine),
            sent: [0; 3],
            seen: [Window::new(), Window::new(), Window::new()],
        });
        Ok(ended)
    }

    /// The other side has accepted this one. True if that is news.
    fn link(&mut self) -> bool {
        let session = self.session.as_mut();
        session.is_some_and(|session| !std::mem::replace(&mut session.linked, true))
    }

    fn on_refuse(&self, refuse: &RefuseFrame) -> Step {
        let for_me = refuse.to == self.me.member && refuse.life == self.me.life();
        if refuse.from != self.other || !for_me {
            return Step::dropped(Dropped::Stale);
        }
        Step::only(Outcome::RefusedBy(refuse.reason))
    }

    fn on_message(&mut self, lane: Lane, message: MessageFrame) -> Step {
        let session = self.session.as_mut();
        let session = session.filter(|session| session.inward == message.session);
        let Some(session) = session.filter(|_| lane == message.lane) else {
            return Step::dropped(Dropped::Stale);
        };
        match session.seen[lane as usize].mark(message.sequence) {
            Seen::New => {}
            Seen::Before if planted(Bug::ForwardAppliesTwice) => {}
            Seen::Before => return Step::dropped(Dropped::Duplicate),
            Seen::TooOld => return Step::dropped(Dropped::TooLate),
        }
        // Only who is linked sends messages.
        let linked = self.link();
        Step {
            linked,
            ..Step::only(Outcome::Message(message))
        }
    }
}

fn refuse(me: &Hello, hello: &HelloFrame, reason: Reason) -> Bytes {
    let frame = RefuseFrame {
        cluster_id: me.cluster_id,
        from: me.member,
        to: hello.from,
        life: hello.life,
        reason,
    };
    Frame::Refuse(frame).encode()
}

/// What to answer to a frame from somebody who is no member: a refusal, if it is a hello.
pub(crate) fn refuse_stranger(me: &Hello, frame: &Bytes) -> Option<Bytes> {
    let Some(Frame::Hello(hello)) = Frame::decode(frame) else {
        return None;
    };
    let reason = if hello.cluster_id == me.cluster_id {
        Reason::NoMember
    } else {
        Reason::OtherCluster
    };
    Some(refuse(me, &hello, reason))
}

/// A message, numbered, as it goes to the network.
pub(crate) fn encode(
    kind: Kind,
    service: u8,
    lane: Lane,
    (session, sequence): (u64, u64),
    request: u64,
    body: Bytes,
) -> Bytes {
    let frame = MessageFrame {
        kind,
        service,
        lane,
        session,
        sequence,
        request,
        body,
    };
    Frame::Message(frame).encode()
}

#[cfg(test)]
mod tests;
