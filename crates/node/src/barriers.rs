//! Read barriers for a member that does not lead: asked of the leader, one for many readers.
//!
//! A *round* is one question to the leader. Its answer is good for the readers that asked before
//! the question was sent, and for nobody else: what it proves was proved too early for a reader
//! that came later (etcd#20418). Readers have tickets in the order in which they asked, and each
//! round knows up to which ticket it serves; whichever round answers first serves. A round that
//! takes long is not given up but overtaken by another, so that a lost message costs little and a
//! slow link is waited for.

use crate::messages::{Ask, decode_barrier};
use crate::proposer::Leadership;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_env::{BoxFuture, Bug, Env, Instant, Lane, MemberId, oneshot, planted, queue, watch};
use synod_log::{BarrierError, Engine, Index};
use synod_protocols::peers::Port;

/// Readers that may wait to be taken into a round; the next one waits to be let in.
const WAITING_MAX: usize = 1_024;

/// Rounds that may be under way at a time.
const ROUNDS_MAX: usize = 4;

/// After so long a round is overtaken by another for the same readers.
const OVERTAKE: Duration = Duration::from_millis(250);

/// After so long the answer to a round is not waited for any more.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(2);

/// How long to wait after a round that failed.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Asks for barriers.
#[derive(Clone)]
pub(crate) struct Barriers(queue::Sender<oneshot::Sender<Index>>);

impl Barriers {
    /// Begins to serve. Ends when the leadership is closed, which is when the engine ends.
    pub(crate) fn serve(
        env: &Env,
        engine: Arc<dyn Engine>,
        port: Port,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        let (sender, asking) = queue::bounded(WAITING_MAX);
        let rounds = Rounds {
            env: env.clone(),
            member: port.member(),
            engine,
            port,
            leadership,
            asking,
            readers: VecDeque::new(),
            tickets: 0,
            under_way: Vec::new(),
            asked_up_to: 0,
            overtake_at: Instant::ZERO,
            not_before: Instant::ZERO,
            timer: None,
        };
        env.spawn("barriers", rounds.run());
        Self(sender)
    }

    /// An index such that a state which has applied it is fresh for a read that began before this
    /// call. Waits for as long as nobody leads; `None` when the engine has ended.
    pub(crate) async fn ask(&self) -> Option<Index> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        receiver.await.ok()
    }
}

type Outcome = Result<Index, BarrierError>;

struct Round {
    /// It serves readers with this ticket or an earlier one.
    up_to: u64,
    outcome: BoxFuture<'static, Outcome>,
}

struct Rounds {
    env: Env,
    member: MemberId,
    engine: Arc<dyn Engine>,
    port: Port,
    leadership: watch::Receiver<Leadership>,
    asking: queue::Receiver<oneshot::Sender<Index>>,
    /// With their tickets, in order.
    readers: VecDeque<(u64, oneshot::Sender<Index>)>,
    /// Given out so far.
    tickets: u64,
    under_way: Vec<Round>,
    /// The last ticket that some round under way serves.
    asked_up_to: u64,
    /// When the newest round is overtaken.
    overtake_at: Instant,
    /// No round begins before that: one failed.
    not_before: Instant,
    timer: Option<(Instant, BoxFuture<'static, ()>)>,
}

enum Ended {
    Stopped,
}

impl Rounds {
    async fn run(mut self) {
        let Ended::Stopped = poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match self.leadership.poll_changed(cx) {
                Poll::Ready(Ok(())) => {
                    // Whoever was asked may not answer any more.
                    self.asked_up_to = 0;
                    self.not_before = Instant::ZERO;
                    continue;
                }
                Poll::Ready(Err(watch::Closed)) => return Poll::Ready(Ended::Stopped),
                Poll::Pending => {}
            }
            while self.readers.len() < WAITING_MAX {
                match self.asking.poll_receive(cx) {
                    Poll::Ready(Some(reader)) => {
                        self.tickets += 1;
                        self.readers.push_back((self.tickets, reader));
                    }
                    Poll::Ready(None) => return Poll::Ready(Ended::Stopped),
                    Poll::Pending => break,
                }
            }
            if let Poll::Ready((up_to, outcome)) = self.poll_rounds(cx) {
                match outcome {
                    Ok(index) => self.answer(up_to, index),
                    Err(BarrierError::Stopped) => return Poll::Ready(Ended::Stopped),
                    Err(BarrierError::NotLeader(_) | BarrierError::NoQuorum) => {
                        let left = self.under_way.iter().map(|round| round.up_to);
                        self.asked_up_to = left.max().unwrap_or(0);
                        self.not_before = self.env.now() + ASK_AGAIN;
                    }
                }
                continue;
            }
            let Some((at, leader)) = self.next_round() else {
                return Poll::Pending;
            };
            if at <= self.env.now() {
                self.begin(leader);
                continue;
            }
            let timer = match &mut self.timer {
                Some((due, timer)) if *due == at => timer,
                Some(_) | None => &mut self.timer.insert((at, self.env.sleep_until(at))).1,
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<(u64, Outcome)> {
        for place in 0..self.under_way.len() {
            if let Poll::Ready(outcome) = self.under_way[place].outcome.as_mut().poll(cx) {
                let round = self.under_way.swap_remove(place);
                return Poll::Ready((round.up_to, outcome));
            }
        }
        Poll::Pending
    }

    fn answer(&mut self, up_to: u64, index: Index) {
        let up_to = if planted(Bug::ReuseReadBarrier) {
            self.tickets
        } else {
            up_to
        };
        while let Some((ticket, _)) = self.readers.front()
            && *ticket <= up_to
            && let Some((_, reader)) = self.readers.pop_front()
        {
            // Whoever gave up does not want it any more.
            let (Ok(()) | Err(_)) = reader.send(index);
        }
    }

    /// When the next round is to begin, and whom it is to ask.
    fn next_round(&self) -> Option<(Instant, MemberId)> {
        let (newest, _) = self.readers.back()?;
        let leadership = self.leadership.borrow();
        let leader = leadership.leader?;
        // A member can know that it was elected before it knows that it may lead.
        if self.under_way.len() >= ROUNDS_MAX || (leader == self.member) != leadership.leads {
            return None;
        }
        let wanted = if *newest > self.asked_up_to {
            Instant::ZERO
        } else {
            self.overtake_at
        };
        Some((wanted.max(self.not_before), leader))
    }

    /// Begins a round for all readers that are there.
    fn begin(&mut self, leader: MemberId) {
        self.readers.retain(|(_, reader)| !reader.is_abandoned());
        let Some((up_to, _)) = self.readers.back() else {
            return;
        };
        let up_to = *up_to;
        let outcome = self.question(leader);
        self.under_way.push(Round { up_to, outcome });
        self.asked_up_to = up_to;
        self.overtake_at = self.env.now() + OVERTAKE;
    }

    fn question(&self, leader: MemberId) -> BoxFuture<'static, Outcome> {
        if leader == self.member {
            return self.engine.read_barrier();
        }
        let deadline = self.env.now() + ROUND_MAX;
        let question = Ask::Barrier.encode();
        let answer = self.port.ask(leader, Lane::Control, question, deadline);
        Box::pin(async move {
            match answer.await.map(decode_barrier) {
                Ok(Ok(Ok(index))) => Ok(index),
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(BarrierError::NotLeader(None)),
            }
        })
    }
}
