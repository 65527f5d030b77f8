//! Appends of one sender, in the order of their places.
//!
//! openraft appends in the order in which it is asked, and takes a request whose predecessor it
//! has not seen for a conflict. So requests that come early are held until the missing one is
//! there; if it does not come, the sender is told, and begins a new stream.
//!
//! A request for which the log has no room is refused here. openraft never sees it: for openraft
//! an append that fails is the end.

use super::{Side, Taken, append, next_of};
use crate::network::REQUESTS_MAX;
use crate::proposals::RESERVED_BYTES_MAX;
use crate::runtime::Runtime;
use crate::storage::{position, to_stored_payload};
use crate::types::{Entry, Types, seam_index};
use crate::wire::{Appended, Place};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use openraft::AsyncRuntime as _;
use openraft::raft::AppendEntriesRequest;
use openraft_rt::Select4;
use std::collections::BTreeMap;
use std::future::pending;
use std::task::{Context, Waker};
use std::time::Duration;
use synod_env::{BoxFuture, Env, Instant, queue, watch};
use synod_protocols::Answer;
use synod_storage::{Log, Priority, Refused, Room};

/// How long a request is waited for that later ones have overtaken. Messages overtake each other
/// by less than a round trip; what takes longer is most likely lost.
const GAP_MAX: Duration = Duration::from_millis(20);

/// Requests of one sender that openraft has and has not answered: of its present stream and of
/// one before that it has given up.
pub(super) const UNDER_WAY_MAX: usize = 2 * REQUESTS_MAX;

/// A request that arrived.
pub(super) struct Arrival {
    pub(super) place: Place,
    pub(super) request: AppendEntriesRequest<Types>,
    pub(super) answer: Answer,
}

/// See the module.
pub(super) struct Appends {
    side: Side,
    queue: queue::Receiver<Arrival>,
    end: watch::Receiver<()>,
    order: Order,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// Puts the requests of the latest stream in order.
#[derive(Default)]
struct Order {
    /// The leader's term and the number of its stream: the later of two streams is the greater.
    stream: (u64, u64),
    /// The number that is due.
    next: u32,
    /// Nothing more is taken of this stream: a request of it was refused or is lost.
    broken: bool,
    early: BTreeMap<u32, Arrival>,
    /// When the request that is due is given up.
    give_up: Option<Instant>,
}

impl Appends {
    pub(super) fn new(
        side: Side,
        queue: queue::Receiver<Arrival>,
        end: watch::Receiver<()>,
    ) -> Self {
        Self {
            side,
            queue,
            end,
            order: Order::default(),
            under_way: FuturesUnordered::new(),
        }
    }

    pub(super) async fn serve(mut self) {
        loop {
            let next = Runtime::select4(
                self.end.changed(),
                next_of(&mut self.under_way),
                self.queue.receive(),
                until(&self.side.env, self.order.give_up),
            );
            match next.await {
                Select4::First(_) | Select4::Third(None) => break,
                Select4::Second(()) => self.advance(),
                Select4::Third(Some(arrival)) => {
                    self.order.put(arrival);
                    self.advance();
                }
                Select4::Fourth(()) => self.order.break_off(),
            }
        }
        // openraft does not allow a call to be abandoned.
        while let Some(()) = self.under_way.next().await {}
    }

    /// Submits what is due.
    fn advance(&mut self) {
        let mut moved = false;
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(arrival) = self.order.take()
        {
            moved = true;
            self.submit(arrival);
        }
        self.order.watch_gap(&self.side.env, moved);
    }

    /// Hands a request to openraft in this very call, if the log has room for it.
    fn submit(&mut self, arrival: Arrival) {
        let Arrival {
            mut request,
            answer,
            ..
        } = arrival;
        let (room, count) = match room_for(&self.side.log, &request.entries) {
            Ok(room) => room,
            Err(refused) => {
                tracing::debug!(%refused, "an append is refused");
                answer.send(Appended::NoRoom.encode());
                self.order.break_off();
                return;
            }
        };
        let mut taken = Taken::All;
        if count < request.entries.len() {
            request.entries.truncate(count);
            taken = Taken::Part;
            self.order.break_off();
        }
        let side = self.side.clone();
        let mut appended: BoxFuture<'static, ()> = Box::pin(async move {
            append(&side, request, taken, answer).await;
            // What was sent is in the log by now, or will never be.
            drop(room);
        });
        // openraft's queue has room for all that can be under way (see the configuration), so
        // the first poll puts this one in: the order is kept.
        let polled = appended
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.under_way.push(appended);
        }
    }
}

async fn until(env: &Env, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => env.sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Room for those of the entries that the log does not hold already, or for the first of these,
/// and how many of all entries that makes.
///
/// Less than a whole request must do: what a log has room for between two segments can be less
/// than a request of many entries needs at worst. A small entry alone may use the reserve: among
/// such are those that lead a cluster with full disks out of its trouble.
fn room_for(log: &Log, entries: &[Entry]) -> Result<(Option<Room>, usize), Refused> {
    let is_held = |entry: &&Entry| {
        let index = seam_index(entry.log_id.index).0;
        log.position(index) == Some(position(&entry.log_id))
    };
    let held = entries.iter().take_while(is_held).count();
    let lengths = entries[held..]
        .iter()
        .map(|entry| to_stored_payload(&entry.payload).1.len());
    let lengths: Vec<usize> = lengths.collect();
    let Some(first) = lengths.first().copied() else {
        return Ok((None, held));
    };
    let admitted = match log.admit_some(lengths, Priority::Ordinary) {
        Err(Refused::NoSpace | Refused::Preparing) if first <= RESERVED_BYTES_MAX => {
            log.admit_some([first], Priority::Reserve)
        }
        admitted => admitted,
    };
    match admitted {
        Ok((room, count)) => Ok((Some(room), held + count)),
        // What is there already is worth an answer.
        Err(Refused::NoSpace | Refused::Preparing) if held > 0 => Ok((None, held)),
        Err(refused) => Err(refused),
    }
}

impl Order {
    /// Takes a request up, unless a later stream has begun.
    fn put(&mut self, arrival: Arrival) {
        let stream = (arrival.request.vote.leader_id.term, arrival.place.stream);
        if stream < self.stream {
            return;
        }
        if stream > self.stream {
            *self = Self {
                stream,
                ..Self::default()
            };
        }
        if self.broken {
            arrival.answer.send(Appended::Missing.encode());
            return;
        }
        self.early.insert(arrival.place.number, arrival);
        if self.early.len() > REQUESTS_MAX {
            // No sender of this protocol is so far ahead.
            self.break_off();
        }
    }

    /// The request that is due, if it is there.
    fn take(&mut self) -> Option<Arrival> {
        let arrival = self.early.remove(&self.next)?;
        self.next += 1;
        Some(arrival)
    }

    /// Sets the time at which a missing request is given up; anew if there was progress.
    fn watch_gap(&mut self, env: &Env, moved: bool) {
        if self.early.is_empty() {
            self.give_up = None;
        } else if moved || self.give_up.is_none() {
            self.give_up = Some(env.now() + GAP_MAX);
        }
    }

    /// Gives the stream up. Its sender learns it from the answer to any of its requests.
    fn break_off(&mut self) {
        self.broken = true;
        self.give_up = None;
        for (_, arrival) in std::mem::take(&mut self.early) {
            arrival.answer.send(Appended::Missing.encode());
        }
    }
}
