//! Where one service of a member sends and receives.

use super::inbox::Received;
use super::{Service, Shared, Waiting};
use crate::frame::{Kind, MessageFrame};
use crate::link::encode;
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use synod_env::{BoxFuture, Instant, Lane, MemberId, oneshot};

/// Why a message was not sent: it will certainly never be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There is no session with that member now.
    Unlinked,
    /// A queue towards it is full, or too many requests wait for answers.
    Full,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// It was certainly never delivered.
    NotSent(NotSent),
    /// It may have been delivered, and acted upon.
    NoAnswer,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unlinked => "not sent: no session with the member",
            Self::Full => "not sent: the queue is full",
        })
    }
}

impl std::error::Error for NotSent {}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => why.fmt(f),
            Self::NoAnswer => f.write_str("no answer: whether it arrived is unknown"),
        }
    }
}

impl std::error::Error for AskError {}

/// A message from another member. Each is received at most once.
#[derive(Debug)]
pub struct Incoming {
    /// Who sent it.
    pub from: MemberId,
    /// The lane it came in.
    pub lane: Lane,
    /// What it says.
    pub body: Bytes,
    /// How to answer it, if it asks for that.
    pub answer: Option<Answer>,
}

/// The way back for one answer. Dropped, the asker waits until its deadline.
pub struct Answer {
    shared: Arc<Shared>,
    to: MemberId,
    /// The session of the request.
    session: u64,
    service: Service,
    lane: Lane,
    request: u64,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} to {})", self.request, self.to)
    }
}

impl Answer {
    /// Sends the answer, in the lane of the request. Like any message it may be lost; if the
    /// session is over it is not sent.
    pub fn send(self, body: Bytes) {
        let Self {
            shared,
            to,
            session,
            service,
            lane,
            request,
        } = self;
        let number = {
            let mut state = shared.lock();
            let link = state.links.get_mut(&to);
            let link = link.filter(|link| link.session() == Some(session));
            link.and_then(|link| link.number(lane))
        };
        if let Some(number) = number {
            let frame = encode(Kind::Answer, service as u8, lane, number, request, body);
            // The asker cannot tell it from an answer that the network lost.
            let _lost = shared.net.send(to, lane, frame);
        }
    }
}

/// Where one service sends and receives; clones share its queues.
#[derive(Clone)]
pub struct Port {
    shared: Arc<Shared>,
    service: Service,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({:?} of {})", self.service, self.member())
    }
}

impl Port {
    pub(super) fn new(shared: Arc<Shared>, service: Service) -> Self {
        Self { shared, service }
    }

    /// This member.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.shared.me.member
    }

    /// All other founding members, in order.
    #[must_use]
    pub fn others(&self) -> &[MemberId] {
        &self.shared.others
    }

    /// True if a session stands with that member, as far as this one knows: it may have died
    /// since. Never before the cluster is founded.
    #[must_use]
    pub fn is_linked(&self, to: MemberId) -> bool {
        let state = self.shared.lock();
        state.open && state.links.get(&to).is_some_and(|link| link.is_linked())
    }

    /// Sends a message that may be lost. It is received at most once, by the life of the receiver
    /// that is linked now; messages of one lane may overtake each other.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn tell(&self, to: MemberId, lane: Lane, body: Bytes) -> Result<(), NotSent> {
        let number = {
            let mut state = self.shared.lock();
            let open = state.open;
            let link = state.links.get_mut(&to).filter(|_| open);
            link.and_then(|link| link.number(lane))
        };
        let number = number.ok_or(NotSent::Unlinked)?;
        let frame = encode(Kind::Tell, self.service as u8, lane, number, 0, body);
        let sent = self.shared.net.send(to, lane, frame);
        sent.map_err(|_full| NotSent::Full)
    }

    /// Sends a request, at once and not only when the future is polled, and awaits the answer: at
    /// most until `deadline`, and no longer than the session stands in which it was sent.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask(
        &self,
        to: MemberId,
        lane: Lane,
        body: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Bytes, AskError>> {
        let asked = self.send_request(to, lane, body);
        Box::pin(async move {
            let mut asked = asked.map_err(AskError::NotSent)?;
            let env = asked.shared.env.clone();
            match env.deadline(deadline, &mut asked.answer).await {
                Ok(Ok(body)) => Ok(body),
                Ok(Err(oneshot::Dropped)) | Err(_) => Err(AskError::NoAnswer),
            }
        })
    }

    fn send_request(&self, to: MemberId, lane: Lane, body: Bytes) -> Result<Asked, NotSent> {
        let (sender, answer) = oneshot::channel();
        let (number, request) = {
            let mut state = self.shared.lock();
            let state = &mut *state;
            let open = state.open;
            let link = state.links.get_mut(&to).filter(|_| open);
            let link = link.ok_or(NotSent::Unlinked)?;
            if link.is_linked() && state.asks.len() >= self.shared.asks_max {
                return Err(NotSent::Full);
            }
            let number = link.number(lane).ok_or(NotSent::Unlinked)?;
            let request = state.next_request;
            state.next_request += 1;
            let waiting = Waiting {
                session: number.0,
                answer: sender,
            };
            state.asks.insert(request, waiting);
            (number, request)
        };
        let asked = Asked {
            shared: Arc::clone(&self.shared),
            request,
            answer,
        };
        let frame = encode(Kind::Ask, self.service as u8, lane, number, request, body);
        match self.shared.net.send(to, lane, frame) {
            Ok(()) => Ok(asked),
            Err(_full) => Err(NotSent::Full),
        }
    }

    /// The next message: of the first lane, from control to bulk, in which one waits. A service
    /// that does not receive loses messages once its queue is full, and nobody else's.
    pub async fn receive(&self) -> Incoming {
        let inbox = &self.shared.inboxes[self.service as usize];
        let Received {
            from,
            lane,
            body,
            request,
        } = poll_fn(|cx| inbox.poll_take(cx)).await;
        let answer = request.map(|(session, request)| Answer {
            shared: Arc::clone(&self.shared),
            to: from,
            session,
            service: self.service,
            lane,
            request,
        });
        Incoming {
            from,
            lane,
            body,
            answer,
        }
    }
}

/// A request under way; forgotten when it is dropped.
struct Asked {
    shared: Arc<Shared>,
    request: u64,
    answer: oneshot::Receiver<Bytes>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let waiting = self.shared.lock().asks.remove(&self.request);
        drop(waiting);
    }
}

impl Shared {
    /// Hands a message to the service that it is for.
    pub(super) fn deliver(&self, from: MemberId, session: u64, message: MessageFrame) {
        let Some(service) = Service::of(message.service) else {
            self.lock().counters.stale += 1;
            return;
        };
        let received = Received {
            from,
            lane: message.lane,
            body: message.body,
            request: match message.kind {
                Kind::Tell | Kind::Answer => None,
                Kind::Ask => Some((session, message.request)),
            },
        };
        if !self.inboxes[service as usize].put(received) {
            self.lock().counters.overflow += 1;
        }
    }
}
