//! Links between members.

use super::kernel::{Kernel, Life, State};
use super::timeline::Due;
use super::trace::{What, checksum};
use crate::net::Full;
use crate::{BoxFuture, Lane, MemberId, Net};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How one direction of a link behaves.
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
}

#[derive(Debug)]
struct Link {
    model: LinkModel,
    lanes: [LaneState; 3],
}

/// A message under way, or waiting to be taken.
pub(super) struct Envelope {
    from: MemberId,
    to: MemberId,
    lane: Lane,
    message: Bytes,
    /// Whether it takes up room in its lane; the second copy of a message does not.
    counted: bool,
}

pub(super) struct Links {
    links: BTreeMap<(MemberId, MemberId), Link>,
    default: LinkModel,
    lane_messages_max: usize,
}

impl Links {
    pub(super) fn new(default: LinkModel, lane_messages_max: usize) -> Self {
        Self {
            links: BTreeMap::new(),
            default,
            lane_messages_max,
        }
    }

    fn link(&mut self, from: MemberId, to: MemberId) -> &mut Link {
        let default = self.default;
        self.links.entry((from, to)).or_insert_with(|| Link {
            model: default,
            lanes: [LaneState::default(); 3],
        })
    }

    pub(super) fn model(&mut self, from: MemberId, to: MemberId) -> &mut LinkModel {
        &mut self.link(from, to).model
    }

    /// Gives back the room of a message that was taken or lost.
    pub(super) fn release(&mut self, envelope: &Envelope) {
        if envelope.counted {
            let lane = &mut self.link(envelope.from, envelope.to).lanes[envelope.lane as usize];
            lane.underway -= 1;
        }
    }
}

/// What has arrived for a member and waits to be taken. Bounded by the room of the lanes.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) waiting: VecDeque<Envelope>,
    wakers: Vec<Waker>,
}

impl State {
    fn send(&mut self, from: usize, to: MemberId, lane: Lane, message: Bytes) -> Result<(), Full> {
        let from_id = self.members[from].id;
        let lane_messages_max = self.links.lane_messages_max;
        let link = self.links.link(from_id, to);
        let model = link.model;
        let state = &mut link.lanes[lane as usize];
        let (bytes, content) = (message.len() as u64, checksum(&message));
        if state.underway >= lane_messages_max {
            return Err(Full);
        }
        let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        let (least, most) = (nanos(model.delay_min), nanos(model.delay_max));
        let mut copies = 0;
        if !model.cut && !self.choices.chance(model.loss_ppm) {
            copies = 1 + u64::from(self.choices.chance(model.duplicate_ppm));
            state.underway += 1;
        }
        for copy in 0..copies {
            let takes = self.choices.between(least, most);
            let mut at_ns = self.now_ns.saturating_add(takes);
            let in_order = copy == 0 && !self.choices.chance(model.reorder_ppm);
            // Messages that keep order arrive one nanosecond apart at least, since events of one
            // moment come in any order.
            if in_order {
                at_ns = at_ns.max(state.last_ns.saturating_add(1));
                state.last_ns = at_ns;
            }
            let envelope = Envelope {
                from: from_id,
                to,
                lane,
                message: message.clone(),
                counted: copy == 0,
            };
            let tie = self.choices.bits();
            self.timeline.insert(at_ns, tie, Due::Arrive(envelope));
        }
        let what = What::Sent {
            to,
            lane,
            bytes,
            content,
            copies,
        };
        self.record(Some(from), what);
        Ok(())
    }

    /// A message arrives; returns who waits for it.
    pub(super) fn arrive(&mut self, envelope: Envelope) -> Vec<Waker> {
        let Envelope { from, to, lane, .. } = envelope;
        let cut = self.links.model(from, to).cut;
        let receiver = self.find(to).filter(|index| self.members[*index].up);
        let Some(index) = receiver.filter(|_| !cut) else {
            self.links.release(&envelope);
            let index = self.find(to);
            self.record(index, What::Dropped { from, lane });
            return Vec::new();
        };
        let bytes = envelope.message.len() as u64;
        let inbox = &mut self.members[index].inbox;
        inbox.waiting.push_back(envelope);
        let wakers = std::mem::take(&mut inbox.wakers);
        self.record(Some(index), What::Arrived { from, lane, bytes });
        wakers
    }
}

pub(super) struct SimNet {
    pub(super) kernel: Arc<Kernel>,
    pub(super) life: Life,
}

impl Net for SimNet {
    fn send(&self, to: MemberId, lane: Lane, message: Bytes) -> Result<(), Full> {
        let mut state = self.kernel.lock();
        if !state.is_alive(self.life) {
            return Ok(());
        }
        state.send(self.life.member, to, lane, message)
    }

    fn receive(&self) -> BoxFuture<'_, (MemberId, Lane, Bytes)> {
        Box::pin(poll_fn(|cx| {
            let mut guard = self.kernel.lock();
            let state = &mut *guard;
            if !state.is_alive(self.life) {
                return Poll::Pending;
            }
            let inbox = &mut state.members[self.life.member].inbox;
            if let Some(envelope) = inbox.waiting.pop_front() {
                state.links.release(&envelope);
                let Envelope {
                    from,
                    lane,
                    message,
                    ..
                } = envelope;
                return Poll::Ready((from, lane, message));
            }
            if !inbox.wakers.iter().any(|held| held.will_wake(cx.waker())) {
                inbox.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        }))
    }
}

#[cfg(test)]
mod tests;
