//! One client's watch stream: requests in, messages out.

use super::hub::{Hub, NoStream, Outgoing};
use super::{CancelReason, Told, WatchCreate, WatchEvent, WatchMessage};
use crate::roots::Roots;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use synod_env::Limits;
use synod_state::command::Revision;
use synod_state::reply::Event;
use synod_state::{Compacted, Record, Root};

/// Replays done in one poll before the reading task lets others run.
const REPLAYS_PER_POLL: usize = 8;

/// A stream of watch messages. Dropping it ends its watches.
#[derive(Debug)]
pub struct WatchStream {
    requester: WatchRequester,
    /// What was taken out of the outbox together: one look into the hub serves many messages. It
    /// is as bounded as the outbox is.
    taken: VecDeque<Outgoing>,
    /// What is left of a message that was cut.
    rest: VecDeque<WatchMessage>,
}

/// The requesting side of a [`WatchStream`], to be used while another task reads.
#[derive(Clone, Debug)]
pub struct WatchRequester {
    hub: Arc<Hub>,
    roots: Arc<Roots>,
    stream: u64,
}

impl WatchStream {
    /// Opens a stream in `hub` that replays from `roots`.
    ///
    /// # Errors
    /// [`NoStream`] if there are too many, or the member stops.
    pub(crate) fn open(hub: Arc<Hub>, roots: Arc<Roots>) -> Result<Self, NoStream> {
        let stream = hub.open()?;
        Ok(Self {
            requester: WatchRequester { hub, roots, stream },
            taken: VecDeque::new(),
            rest: VecDeque::new(),
        })
    }

    /// The requesting side.
    #[must_use]
    pub fn requester(&self) -> WatchRequester {
        self.requester.clone()
    }

    /// The next message; `None` when the member stops.
    pub async fn next(&mut self) -> Option<WatchMessage> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next message, if it is one of those that came together with the last.
    pub fn pop(&mut self) -> Option<WatchMessage> {
        if let Some(message) = self.rest.pop_front() {
            return Some(message);
        }
        let Outgoing { message, fragment } = self.taken.pop_front()?;
        Some(self.cut(message, fragment))
    }

    /// As [`WatchStream::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchMessage>> {
        if let Some(message) = self.pop() {
            return Poll::Ready(Some(message));
        }
        for _ in 0..REPLAYS_PER_POLL {
            let (watch_id, watcher) = {
                let mut inner = self.requester.hub.lock();
                if inner.is_stopped() {
                    return Poll::Ready(None);
                }
                let outlet = inner.outlet(self.requester.stream);
                if outlet.take(&mut self.taken) {
                    drop(inner);
                    return Poll::Ready(self.pop());
                }
                let Some(watch_id) = outlet.behind.pop_front() else {
                    outlet.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                let watcher = outlet.watchers.get(&watch_id);
                (
                    watch_id,
                    watcher
                        .expect("only watchers that exist are behind")
                        .clone(),
                )
            };
            if let Some(message) = self.replay(watch_id, &watcher) {
                return Poll::Ready(Some(self.cut(message, watcher.fragment)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads one stretch of history for a watcher that is behind, without holding the hub.
    fn replay(&self, watch_id: i64, watcher: &super::hub::Watcher) -> Option<WatchMessage> {
        let WatchRequester { hub, roots, stream } = &self.requester;
        let root = roots.latest();
        let seen = root.revision();
        let history = match stretch(&root, watcher.next, hub.limits()) {
            Ok(history) => history,
            Err(Compacted(revision)) => {
                let reason = CancelReason::Compacted(revision);
                hub.lock().cancel(*stream, watch_id, reason);
                return None;
            }
        };
        let told_to = history.last().map_or(seen, |event| event.kv.mod_revision);
        let next = told_to.max(watcher.next - 1) + 1;
        let events: Vec<WatchEvent> = history
            .into_iter()
            .filter(|event| watcher.wants(event))
            .map(|event| {
                let prev_kv = if watcher.interest.prev_kv {
                    root.previous(&event)
                } else {
                    None
                };
                WatchEvent { event, prev_kv }
            })
            .collect();
        hub.lock().caught_up_to(*stream, watch_id, next, seen);
        if events.is_empty() {
            return None;
        }
        Some(WatchMessage::Events {
            watch_id,
            revision: told_to,
            events: Told::new(events),
            fragment: false,
        })
    }

    /// Cuts a message that is larger than a response may be, if the watcher allows it.
    fn cut(&mut self, message: WatchMessage, allowed: bool) -> WatchMessage {
        let bytes_max = self.requester.hub.limits().watch_response_bytes_max;
        if !allowed || message.weight() <= bytes_max {
            return message;
        }
        let WatchMessage::Events {
            watch_id,
            revision,
            events,
            ..
        } = message
        else {
            return message;
        };
        let parts = events.parts(bytes_max);
        for (number, part) in parts.iter().enumerate() {
            self.rest.push_back(WatchMessage::Events {
                watch_id,
                revision,
                events: part.clone(),
                fragment: number + 1 < parts.len(),
            });
        }
        self.rest.pop_front().expect("at least one part was made")
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.requester.hub.close(self.requester.stream);
    }
}

impl WatchRequester {
    /// Asks for a watch; its answer comes through the stream.
    pub fn create(&self, request: &WatchCreate) {
        self.request(|inner, stream, hub| inner.create(stream, request, hub.limits()));
    }

    /// Ends a watch; the answer comes through the stream, unless there is no such watch.
    pub fn cancel(&self, watch_id: i64) {
        self.request(|inner, stream, _| inner.cancel(stream, watch_id, CancelReason::ByClient));
    }

    /// Asks for one progress report of the whole stream, given once all watches are synced.
    pub fn progress(&self) {
        self.request(|inner, stream, _| inner.want_progress(stream));
    }

    fn request(&self, act: impl FnOnce(&mut super::hub::Inner, u64, &Hub)) {
        let waker = {
            let mut inner = self.hub.lock();
            if !inner.is_open(self.stream) {
                return;
            }
            act(&mut inner, self.stream, &self.hub);
            inner.outlet(self.stream).waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The changes from revision `from` on, as many as one message should hold; all of each revision.
fn stretch(root: &Root, from: Revision, limits: &Limits) -> Result<Vec<Event>, Compacted> {
    let (mut revisions, mut bytes, mut last) = (0, 0, None);
    let history = root.history(from)?.take_while(|record| {
        if last != Some(record.mod_revision()) {
            last = Some(record.mod_revision());
            revisions += 1;
            let is_full = bytes >= limits.watch_response_bytes_max;
            if revisions > limits.watch_replay_revisions_max.max(1) || is_full {
                return false;
            }
        }
        bytes = bytes.saturating_add(usize::try_from(record.encoded_len()).unwrap_or(usize::MAX));
        true
    });
    Ok(history.map(Record::event).collect())
}
