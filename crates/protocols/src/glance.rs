//! What a frame says, for people who look at a run from outside.

use crate::frame::{Frame, Kind};
use crate::peers::Service;
use bytes::Bytes;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Two members make each other's acquaintance.
    Hello,
    /// A member will not talk to another one.
    Refusal(String),
    /// A message that wants no answer.
    Tell(Option<Service>, Bytes),
    /// A message that wants an answer; the number is the asker's.
    Ask(Option<Service>, u64, Bytes),
    /// An answer to the question of that number.
    Answer(Option<Service>, u64, Bytes),
}

/// What a frame says; `None` if it is not one, or not one any more.
#[must_use]
pub fn glance(frame: &Bytes) -> Option<Glance> {
    let message = match Frame::decode(frame)? {
        Frame::Hello(_) => return Some(Glance::Hello),
        Frame::Refuse(refuse) => return Some(Glance::Refusal(format!("{:?}", refuse.reason))),
        Frame::Message(message) => message,
    };
    let service = Service::of(message.service);
    let (request, body) = (message.request, message.body);
    Some(match message.kind {
        Kind::Tell => Glance::Tell(service, body),
        Kind::Ask => Glance::Ask(service, request, body),
        Kind::Answer => Glance::Answer(service, request, body),
    })
}

#[cfg(test)]
mod tests;
