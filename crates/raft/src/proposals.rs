//! From a proposal to its place in openraft's queue, and back with what became of it.
//!
//! openraft stops for good when the log refuses an append. So a proposal gets its room in the
//! log before openraft sees it, and keeps it until its entry is committed. While a segment of
//! the log is being prepared there may be no room for a moment: then proposals line up here, in
//! order, rather than being refused.

use crate::engine::Handle;
use crate::runtime::Runtime;
use crate::types::{Batch, LogId, Types, seam_index};
use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use openraft::{AsyncRuntime as _, OptionalSend};
use openraft_rt::Select2;
use std::future::{Future as _, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use synod_env::{BoxFuture, Env, MemberId, oneshot, queue, watch};
use synod_log::{Index, ProposeError};
use synod_storage::{Log, Priority, Refused, Room};

/// Largest batch that may use the reserve, in bytes.
pub(crate) const RESERVED_BYTES_MAX: usize = 2 << 10;

/// Batches that may use the reserve before there is room beside it again. A record and its page
/// padding take at most 8 KiB, so they leave half of the reserve to openraft's own entries and
/// votes.
const RESERVED_MAX: usize = 16;

/// The outcome of one proposal.
type Outcome = Result<Index, ProposeError>;

/// See the module.
pub(crate) struct Proposals {
    env: Env,
    raft: Arc<Handle>,
    flights: Arc<Flights>,
    door: Arc<Door>,
    parking: queue::Sender<Parked>,
}

/// Decides, one after the other, which way proposals go; so their order is that of the calls.
struct Door {
    log: Log,
    order: Mutex<Order>,
}

struct Order {
    /// Proposals that wait for room. While there are any, later ones line up behind them.
    parked: usize,
    /// Proposals that used the reserve since there was last room beside it.
    reserved: usize,
}

/// A proposal that waits for room in the log.
struct Parked {
    batch: Bytes,
    priority: Priority,
    responder: Responder<ClientWriteResult<Types>>,
}

impl Proposals {
    /// Passes proposals on to `raft`, at most `count_max` at a time and of `bytes_max` bytes
    /// together.
    pub(crate) fn new(
        env: &Env,
        raft: Arc<Handle>,
        log: Log,
        count_max: usize,
        bytes_max: usize,
    ) -> Self {
        let (given_back, _) = watch::channel(());
        let flights = Arc::new(Flights {
            count_max,
            bytes_max,
            now: Mutex::new(InTheAir::default()),
            room_is_awaited: AtomicBool::new(false),
            given_back,
        });
        let door = Arc::new(Door {
            log,
            order: Mutex::new(Order {
                parked: 0,
                reserved: 0,
            }),
        });
        // Whoever is parked is in flight, so there is always a place.
        let (parking, parked) = queue::bounded(count_max.max(1));
        let line = Line {
            parked,
            door: Arc::clone(&door),
            flights: Arc::clone(&flights),
            raft: Arc::clone(&raft),
        };
        env.spawn("raft-parking", line.serve());
        Self {
            env: env.clone(),
            raft,
            flights,
            door,
            parking,
        }
    }

    /// Queues a proposal in this very call; its outcome.
    pub(crate) fn submit(&self, batch: Bytes, priority: Priority) -> BoxFuture<'static, Outcome> {
        self.take(batch, priority)
            .unwrap_or_else(|error| Box::pin(ready(Err(error))))
    }

    fn take(
        &self,
        batch: Bytes,
        priority: Priority,
    ) -> Result<BoxFuture<'static, Outcome>, ProposeError> {
        let flight = Flights::enter(&self.flights, batch.len()).ok_or(ProposeError::Busy)?;
        let (mut responder, outcome) = Responder::new(flight);
        let mut order = self.door.order();
        let admitted = if order.parked > 0 {
            Admission::Later
        } else {
            self.door.admit(&mut order, batch.len(), priority)?
        };
        match admitted {
            Admission::Now(room) => responder.room = Some(room),
            Admission::Later => {
                order.parked += 1;
                let parked = Parked {
                    batch,
                    priority,
                    responder,
                };
                if let Err(error) = self.parking.try_send(parked) {
                    match error {
                        // The member is stopping: its tasks are gone.
                        queue::SendError::Closed(_) => return Err(ProposeError::Stopped),
                        queue::SendError::Full(_) => {
                            unreachable!("more proposals are parked than are in flight")
                        }
                    }
                }
                return Ok(Box::pin(judge(outcome)));
            }
        }

        // openraft's queue has room for every proposal in flight (see the configuration), so the
        // first poll puts this one in.
        let raft = Arc::clone(&self.raft);
        let mut send =
            Box::pin(async move { raft.client_write_ff(Batch(batch), Some(responder)).await });
        let sent = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(order);
        match sent {
            Poll::Ready(Ok(())) => Ok(Box::pin(judge(outcome))),
            Poll::Ready(Err(_stopped)) => Err(ProposeError::Stopped),
            Poll::Pending => {
                // openraft has stopped, and the call is collecting its last words. It must not
                // be abandoned on the way: openraft takes that for a defect of its own.
                self.env.spawn("raft-last-words", async move {
                    drop(send.await);
                });
                Err(ProposeError::Stopped)
            }
        }
    }
}

/// Where a proposal may go.
enum Admission {
    /// To openraft, with its room.
    Now(Room),
    /// To the end of the line.
    Later,
}

impl Door {
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(
        &self,
        order: &mut Order,
        bytes: usize,
        priority: Priority,
    ) -> Result<Admission, ProposeError> {
        match (self.log.admit(bytes), priority) {
            (Ok(room), Priority::Ordinary | Priority::Reserve) => {
                order.reserved = 0;
                Ok(Admission::Now(room))
            }
            (Err(Refused::NoSpace | Refused::Preparing), Priority::Reserve)
                if bytes <= RESERVED_BYTES_MAX && order.reserved < RESERVED_MAX =>
            {
                match self.log.admit_some([bytes], Priority::Reserve) {
                    Ok((room, _)) => {
                        order.reserved += 1;
                        Ok(Admission::Now(room))
                    }
                    Err(Refused::Preparing) => Ok(Admission::Later),
                    Err(refused) => Err(translate(refused, bytes)),
                }
            }
            (Err(Refused::Preparing), Priority::Ordinary | Priority::Reserve) => {
                Ok(Admission::Later)
            }
            (Err(refused), Priority::Ordinary | Priority::Reserve) => {
                Err(translate(refused, bytes))
            }
        }
    }
}

fn translate(refused: Refused, bytes: usize) -> ProposeError {
    match refused {
        Refused::NoSpace => ProposeError::NoSpace,
        Refused::Preparing | Refused::Busy => ProposeError::Busy,
        Refused::Stopped => ProposeError::Stopped,
        Refused::TooLarge => panic!("proposed {bytes} bytes, more than an entry of the log takes"),
    }
}

/// The proposals that wait for room, in order.
struct Line {
    parked: queue::Receiver<Parked>,
    door: Arc<Door>,
    flights: Arc<Flights>,
    raft: Arc<Handle>,
}

impl Line {
    async fn serve(mut self) {
        while let Some(parked) = self.parked.receive().await {
            let Parked {
                batch,
                priority,
                mut responder,
            } = parked;
            match self.admitted(batch.len(), priority).await {
                Ok(room) => {
                    responder.room = Some(room);
                    // If openraft has stopped, the responder is dropped and says so.
                    drop(
                        self.raft
                            .client_write_ff(Batch(batch), Some(responder))
                            .await,
                    );
                }
                Err(error) => responder.refuse(error),
            }
            self.door.order().parked -= 1;
        }
    }

    /// Waits until there is room, or certainly none.
    async fn admitted(&self, bytes: usize, priority: Priority) -> Result<Room, ProposeError> {
        let mut health = self.door.log.health();
        let mut given_back = self.flights.given_back.subscribe();
        // Set before the look at the room: whoever gives room back after it sees this.
        self.flights.room_is_awaited.store(true, Ordering::SeqCst);
        let outcome = loop {
            health.borrow_seen();
            given_back.borrow_seen();
            match self.door.admit(&mut self.door.order(), bytes, priority) {
                Ok(Admission::Now(room)) => break Ok(room),
                Ok(Admission::Later) => {}
                Err(error) => break Err(error),
            }
            if let Select2::First(Err(watch::Closed)) =
                Runtime::select2(health.changed(), given_back.changed()).await
            {
                break Err(ProposeError::Stopped);
            }
        };
        self.flights.room_is_awaited.store(false, Ordering::SeqCst);
        outcome
    }
}

/// What became of a proposal.
async fn judge(
    outcome: oneshot::Receiver<Result<ClientWriteResult<Types>, ProposeError>>,
) -> Outcome {
    match outcome.await {
        Ok(Ok(Ok(applied))) => Ok(seam_index(applied.log_id.index)),
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => Err(match forward.reason {
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                ProposeError::NotLeader(forward.leader_id.map(MemberId))
            }
            ForwardReason::LeaseExpired => ProposeError::NoQuorum,
        }),
        Ok(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => Err(ProposeError::Unknown),
        Ok(Ok(Err(
            error @ (ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ))) => unreachable!("a batch without preconditions was refused as such: {error}"),
        Ok(Err(refused)) => Err(refused),
        Err(oneshot::Dropped) => Err(ProposeError::Stopped),
    }
}

/// Takes the outcome of a proposal to whoever waits for it.
pub(crate) struct Responder<T> {
    outcome: oneshot::Sender<Result<T, ProposeError>>,
    /// Given back when the entry is committed, since it then surely is in the log.
    room: Option<Room>,
    /// After the room, so that its end tells of room given back.
    _flight: Flight,
}

impl<T> Responder<T> {
    fn new(flight: Flight) -> (Self, oneshot::Receiver<Result<T, ProposeError>>) {
        let (outcome, receiver) = oneshot::channel();
        let responder = Self {
            outcome,
            room: None,
            _flight: flight,
        };
        (responder, receiver)
    }

    /// Openraft never saw the proposal.
    fn refuse(self, error: ProposeError) {
        // Whoever asked may have stopped waiting.
        drop(self.outcome.send(Err(error)));
    }
}

impl<T: OptionalSend + 'static> openraft::raft::responder::Responder<Types, T> for Responder<T> {
    fn on_commit(&mut self, _entry: LogId) {
        self.room = None;
    }

    fn on_complete(self, outcome: T) {
        // Whoever asked may have stopped waiting; the entry is applied all the same.
        drop(self.outcome.send(Ok(outcome)));
    }
}

/// Bounds on what is between being proposed and being done with.
struct Flights {
    count_max: usize,
    bytes_max: usize,
    now: Mutex<InTheAir>,
    room_is_awaited: AtomicBool,
    /// Changes when a flight ends, and with it its room, while room is awaited.
    given_back: watch::Sender<()>,
}

#[derive(Default)]
struct InTheAir {
    count: usize,
    bytes: usize,
}

impl Flights {
    fn now(&self) -> MutexGuard<'_, InTheAir> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one more in, if the bounds allow it. One larger than the bound goes alone.
    fn enter(this: &Arc<Self>, bytes: usize) -> Option<Flight> {
        let mut now = this.now();
        let fits = now.count < this.count_max
            && (now.count == 0 || now.bytes.saturating_add(bytes) <= this.bytes_max);
        if !fits {
            return None;
        }
        now.count += 1;
        now.bytes += bytes;
        drop(now);
        Some(Flight {
            flights: Arc::clone(this),
            bytes,
        })
    }
}

/// One proposal's part of the bounds, until dropped.
struct Flight {
    flights: Arc<Flights>,
    bytes: usize,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut now = self.flights.now();
        now.count -= 1;
        now.bytes -= self.bytes;
        drop(now);
        if self.flights.room_is_awaited.load(Ordering::SeqCst) {
            self.flights.given_back.send(());
        }
    }
}

#[cfg(test)]
mod tests;
