//! Links between members.

use super::kernel::{Kernel, nanos};
use super::state::{Life, State};
use super::timeline::Due;
use super::trace::{What, checksum};
use crate::net::Full;
use crate::{BoxFuture, Lane, MemberId, Net};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The port of [`crate::Env::net`]: where members talk to members.
pub(super) const PEER_PORT: u16 = 0;

/// How one direction of a link behaves, for all ports and lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkModel {
    /// Least time a message takes.
    pub delay_min: Duration,
    /// Most time a message takes, unless an earlier one of its lane is still under way.
    pub delay_max: Duration,
    /// How many of a million messages are lost.
    pub loss_ppm: u32,
    /// How many of a million messages arrive twice.
    pub duplicate_ppm: u32,
    /// How many of a million messages may overtake earlier ones of their lane, or be overtaken.
    pub reorder_ppm: u32,
    /// How many of a million copies arrive with one to eight of their bits flipped.
    pub alter_ppm: u32,
    /// How many bytes pass in a second; messages wait for each other. `None` for no limit, and
    /// `Some(0)` for one byte in a second.
    pub bytes_per_second: Option<u64>,
    /// Nothing gets through, and the sender does not notice.
    pub cut: bool,
}

impl Default for LinkModel {
    /// A quiet local network.
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(100),
            delay_max: Duration::from_micros(500),
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            alter_ppm: 0,
            bytes_per_second: None,
            cut: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct LaneState {
    /// Messages sent and neither taken by the receiver nor lost.
    underway: usize,
    /// When the last message that keeps order arrives.
    last_ns: u64,
    /// The highest number of a message that has arrived.
    arrived: u64,
}

#[derive(Debug)]
struct Link {
    model: LinkModel,
    /// When all that was sent before has passed, where the bandwidth is limited.
    busy_until_ns: u64,
    /// By port; few are in use.
    ports: Vec<(u16, [LaneState; 3])>,
}

impl Link {
    fn lane(&mut self, port: u16, lane: Lane) -> &mut LaneState {
        let at = match self.ports.iter().position(|(held, _)| *held == port) {
            Some(at) => at,
            None => {
                self.ports.push((port, Default::default()));
                self.ports.len() - 1
            }
        };
        &mut self.ports[at].1[lane as usize]
    }

    /// How long a message waits for those before it and then passes.
    fn occupy(&mut self, now_ns: u64, bytes: usize) -> u64 {
        let Some(per_second) = self.model.bytes_per_second else {
            return 0;
        };
        let takes = bytes as u128 * 1_000_000_000 / u128::from(per_second.max(1));
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        let end_ns = self.busy_until_ns.max(now_ns).saturating_add(takes);
        self.busy_until_ns = end_ns;
        end_ns - now_ns
    }
}

/// A message under way, or waiting to be taken.
pub(super) struct Envelope {
    /// Of the link.
    from: usize,
    to: usize,
    port: u16,
    lane: Lane,
    number: u64,
    message: Bytes,
    altered: bool,
    /// Whether it takes up room in its lane; the second copy of a message does not.
    counted: bool,
}

/// All links, by the places of sender and receiver.
pub(super) struct Links {
    links: Vec<Vec<Option<Link>>>,
    default: LinkModel,
    lane_messages_max: usize,
    /// The number of the last message.
    messages: u64,
}

impl Links {
    pub(super) fn new(default: LinkModel, lane_messages_max: usize) -> Self {
        Self {
            links: Vec::new(),
            default,
            lane_messages_max,
            messages: 0,
        }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        if self.links.len() <= from {
            self.links.resize_with(from + 1, Vec::new);
        }
        let outward = &mut self.links[from];
        if outward.len() <= to {
            outward.resize_with(to + 1, || None);
        }
        let default = self.default;
        outward[to].get_or_insert_with(|| Link {
            model: default,
            busy_until_ns: 0,
            ports: Vec::new(),
        })
    }

    pub(super) fn model(&mut self, from: usize, to: usize) -> &mut LinkModel {
        &mut self.link(from, to).model
    }

    /// Gives back the room of a message that was taken or lost.
    pub(super) fn release(&mut self, envelope: &Envelope) {
        if envelope.counted {
            let link = self.link(envelope.from, envelope.to);
            link.lane(envelope.port, envelope.lane).underway -= 1;
        }
    }
}

/// Who waits for something. Nearly always it is one, for whom nothing is allocated.
#[derive(Default)]
pub(super) struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakers {
    pub(super) fn one(waker: Waker) -> Self {
        Self {
            first: Some(waker),
            others: Vec::new(),
        }
    }

    fn add(&mut self, waker: &Waker) {
        let Some(first) = &self.first else {
            self.first = Some(waker.clone());
            return;
        };
        let waits = first.will_wake(waker) || self.others.iter().any(|it| it.will_wake(waker));
        if !waits {
            self.others.push(waker.clone());
        }
    }

    pub(super) fn wake(self) {
        for waker in self.first.into_iter().chain(self.others) {
            waker.wake();
        }
    }
}

/// What has arrived at a port and waits to be taken. Bounded by the room of the lanes.
#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Envelope>,
    wakers: Wakers,
}

/// The inboxes of one member, by port; few are in use.
#[derive(Default)]
pub(super) struct Inboxes(Vec<(u16, Inbox)>);

impl Inboxes {
    fn port(&mut self, port: u16) -> &mut Inbox {
        let at = match self.0.iter().position(|(held, _)| *held == port) {
            Some(at) => at,
            None => {
                self.0.push((port, Inbox::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[at].1
    }

    /// All that waits.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = Envelope> {
        self.0.into_iter().flat_map(|(_, inbox)| inbox.waiting)
    }
}

impl State {
    fn send(
        &mut self,
        from: usize,
        to_id: MemberId,
        port: u16,
        lane: Lane,
        message: Bytes,
    ) -> Result<(), Full> {
        let to = self.machine(to_id);
        let lane_messages_max = self.links.lane_messages_max;
        self.links.messages += 1;
        let number = self.links.messages;
        let link = self.links.link(from, to);
        if link.lane(port, lane).underway >= lane_messages_max {
            self.faults.lanes_full += 1;
            return Err(Full);
        }
        let model = link.model;
        let (bytes, content) = (message.len() as u64, checksum(&message));
        self.trace.tell(number, &message);
        let mut copies = 0;
        if model.cut {
            self.faults.messages_cut += 1;
        } else if self.choices.chance(model.loss_ppm) {
            self.faults.messages_lost += 1;
        } else {
            copies = 1 + u64::from(self.choices.chance(model.duplicate_ppm));
            self.faults.messages_duplicated += copies - 1;
            link.lane(port, lane).underway += 1;
        }
        let waits_ns = match copies {
            0 => 0,
            1.. => link.occupy(self.now_ns, message.len()),
        };
        self.faults.messages_slowed += u64::from(waits_ns > 0);
        let (least, most) = (nanos(model.delay_min), nanos(model.delay_max));
        let mut left = Some(message);
        for copy in 0..copies {
            let takes = self.choices.between(least, most).saturating_add(waits_ns);
            let mut at_ns = self.now_ns.saturating_add(takes);
            let in_order = copy == 0 && !self.choices.chance(model.reorder_ppm);
            // Messages that keep order arrive one nanosecond apart at least, since events of one
            // moment come in any order.
            if in_order {
                let state = link.lane(port, lane);
                at_ns = at_ns.max(state.last_ns.saturating_add(1));
                state.last_ns = at_ns;
            }
            let message = match copy + 1 == copies {
                true => left.take(),
                false => left.clone(),
            };
            let mut message = message.expect("the last copy takes what is left");
            let altered = !message.is_empty() && self.choices.chance(model.alter_ppm);
            if altered {
                self.faults.messages_altered += 1;
                let mut content = message.to_vec();
                for _ in 0..self.choices.between(1, 8) {
                    let bit = self.choices.index(content.len() * 8);
                    content[bit / 8] ^= 1 << (bit % 8);
                }
                message = content.into();
            }
            let envelope = Envelope {
                from,
                to,
                port,
                lane,
                number,
                message,
                altered,
                counted: copy == 0,
            };
            let tie = self.choices.bits();
            self.timeline.insert(at_ns, tie, Due::Arrive(envelope));
        }
        let what = What::Sent {
            to: to_id,
            port,
            lane,
            number,
            bytes,
            content,
            copies,
        };
        self.record(Some(from), what);
        Ok(())
    }

    /// A message arrives; returns who waits for it.
    pub(super) fn arrive(&mut self, envelope: Envelope) -> Wakers {
        let Envelope {
            from,
            to,
            port,
            lane,
            number,
            altered,
            ..
        } = envelope;
        let from_id = self.members[from].id;
        let link = self.links.link(from, to);
        let cut = link.model.cut;
        if cut || !self.members[to].up {
            if cut {
                self.faults.messages_cut += 1;
            } else {
                self.faults.messages_unreceived += 1;
            }
            self.links.release(&envelope);
            let what = What::Dropped {
                from: from_id,
                port,
                lane,
                number,
            };
            self.record(Some(to), what);
            return Wakers::default();
        }
        let state = link.lane(port, lane);
        self.faults.messages_reordered += u64::from(envelope.counted && number < state.arrived);
        state.arrived = state.arrived.max(number);
        let bytes = envelope.message.len() as u64;
        let inbox = self.members[to].inboxes.port(port);
        inbox.waiting.push_back(envelope);
        let wakers = std::mem::take(&mut inbox.wakers);
        let what = What::Arrived {
            from: from_id,
            port,
            lane,
            number,
            bytes,
            altered,
        };
        self.record(Some(to), what);
        wakers
    }
}

pub(super) struct SimNet {
    pub(super) kernel: Arc<Kernel>,
    pub(super) life: Life,
    pub(super) port: u16,
}

impl Net for SimNet {
    fn send(&self, to: MemberId, lane: Lane, message: Bytes) -> Result<(), Full> {
        let mut state = self.kernel.lock();
        if !state.is_alive(self.life) {
            return Ok(());
        }
        state.send(self.life.member, to, self.port, lane, message)
    }

    fn receive(&self) -> BoxFuture<'_, (MemberId, Lane, Bytes)> {
        Box::pin(poll_fn(|cx| {
            let mut guard = self.kernel.lock();
            let state = &mut *guard;
            if !state.is_alive(self.life) {
                return Poll::Pending;
            }
            let inbox = state.members[self.life.member].inboxes.port(self.port);
            if let Some(envelope) = inbox.waiting.pop_front() {
                state.links.release(&envelope);
                let Envelope {
                    from,
                    lane,
                    message,
                    ..
                } = envelope;
                return Poll::Ready((state.members[from].id, lane, message));
            }
            inbox.wakers.add(cx.waker());
            Poll::Pending
        }))
    }
}

#[cfg(test)]
mod tests;
