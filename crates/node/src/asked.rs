//! What other members ask of this one.
//!
//! A forwarded batch goes to the proposer; barriers, renewals and remaining times are answered by
//! a short task each. Whoever does not lead says so: nothing is passed on a second time.

use crate::barriers::ROUND_MAX;
use crate::lessor;
use crate::messages::{Ask, LeaseAnswer, Refused, Times, encode_barrier};
use crate::proposer::{Arrival, Leadership};
use crate::shared::Shared;
use bytes::Bytes;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use synod_env::{Instant, queue, watch};
use synod_log::{BarrierError, Engine};
use synod_protocols::peers::{Incoming, Port};
use synod_state::command::LeaseId;

/// Questions that may be under way at a time; more are refused.
const UNDER_WAY_MAX: usize = 1_024;

/// Serves the other members until the engine ends.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    engine: Arc<dyn Engine>,
    port: Port,
    mut leadership: watch::Receiver<Leadership>,
    arrivals: queue::Sender<Arrival>,
) {
    let under_way = Arc::new(AtomicUsize::new(0));
    loop {
        let incoming = {
            let mut receive = pin!(port.receive());
            poll_fn(|cx| {
                // What changes does not matter here, only the end.
                while let Poll::Ready(changed) = leadership.poll_changed(cx) {
                    if changed == Err(watch::Closed) {
                        return Poll::Ready(None);
                    }
                }
                receive.as_mut().poll(cx).map(Some)
            })
            .await
        };
        let Some(Incoming {
            from,
            body,
            answer: address,
            ..
        }) = incoming
        else {
            return;
        };
        let ask = match Ask::decode(body) {
            Ok(ask) => ask,
            Err(unreadable) => {
                tracing::warn!(%from, ?unreadable, "passed over a message of another member");
                continue;
            }
        };
        let now = shared.env.now();
        let question = match ask {
            Ask::Forward { within, batch } => {
                let arrival = Arrival {
                    from,
                    batch,
                    until: now + within,
                    answer: address,
                };
                // One that finds no place is not refused, for it was not taken note of: its origin
                // finds out by a fence.
                if let Err(queue::SendError::Full(_)) = arrivals.try_send(arrival) {
                    tracing::warn!(%from, "no place for a forwarded batch");
                }
                continue;
            }
            Ask::Barrier => Question::Barrier,
            Ask::KeepAlive { lease, within } => Question::KeepAlive(lease, now + within),
            Ask::TimeToLive { lease, within } => Question::TimeToLive(lease, now + within),
        };
        let Some(address) = address else { continue };
        let Some(place) = Place::take(&under_way) else {
            address.send(question.refused());
            continue;
        };
        let (shared, engine) = (Arc::clone(&shared), Arc::clone(&engine));
        shared.env.clone().spawn("asked", async move {
            let said = question.answer(&shared, &*engine).await;
            address.send(said);
            drop(place);
        });
    }
}

/// One of the places for questions under way, until dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = places.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(places));
        (taken < UNDER_WAY_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Question {
    Barrier,
    KeepAlive(LeaseId, Instant),
    TimeToLive(LeaseId, Instant),
}

impl Question {
    /// The answer when there is no place for it.
    fn refused(&self) -> Bytes {
        match self {
            Self::Barrier => encode_barrier(Err(Refused::Busy)),
            Self::KeepAlive(..) => LeaseAnswer::<Duration>::Refused(Refused::Busy).encode(),
            Self::TimeToLive(..) => LeaseAnswer::<Times>::Refused(Refused::Busy).encode(),
        }
    }

    async fn answer(self, shared: &Shared, engine: &dyn Engine) -> Bytes {
        match self {
            Self::Barrier => {
                let index = match engine.read_lease() {
                    Some(index) => Ok(index),
                    None => {
                        let deadline = shared.env.now() + ROUND_MAX;
                        let barrier = shared.env.deadline(deadline, engine.read_barrier());
                        barrier.await.unwrap_or(Err(BarrierError::NoQuorum))
                    }
                };
                encode_barrier(index.map_err(|_| Refused::NotLeading))
            }
            Self::KeepAlive(lease, deadline) => lessor::renew(shared, engine, lease, deadline)
                .await
                .encode(),
            Self::TimeToLive(lease, deadline) => lessor::times(shared, engine, lease, deadline)
                .await
                .encode(),
        }
    }
}
