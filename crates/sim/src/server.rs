//! What a member's client side does, in place of gRPC: takes requests, calls the node, answers.

use crate::observer::Machine;
use crate::translate;
use crate::wire::{Answer, Ask, Ended, Parcel, Parcels, Request};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use synod_checker::{Body, LeaseId, OpReply, Operation, Response, WatchRequest};
use synod_env::{Env, Lane, MemberId, Net, watch};
use synod_node::line::Candidate;
use synod_node::{Consistency, Failure, Node, WatchMessage, WatchRequester};
use synod_state::command::Command;
use synod_state::limit::LimitChange;

/// Attempts of one client that are remembered, so that none is taken for two.
const ATTEMPTS_REMEMBERED: usize = 1_024;

/// Messages of a stream that its client has not said it took; beyond them the stream waits.
const WINDOW: u64 = 4;

/// A stream whose client takes nothing for so long is closed.
const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a place in the line of a lock is kept for a client.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Streams of one client.
const STREAMS_MAX: usize = 64;

/// Serves clients for as long as the member lives.
pub(crate) async fn serve(node: Node, net: Arc<dyn Net>, parcels: Parcels, clients: u32) {
    let env = node.env().clone();
    let outlet = Outlet { net, parcels };
    // Connections to the process before this one are answered with a reset, and nothing that was
    // sent over them reaches this one: it could be a copy of what that one has done.
    let since = outlet.parcels.next();
    for client in 0..clients {
        outlet.send(Machine::Client(client).id(), Answer::Reset);
    }
    let mut connections: BTreeMap<MemberId, Connection> = BTreeMap::new();
    loop {
        let (client, _, message) = outlet.net.receive().await;
        let Some(parcel) = outlet.parcels.fetch_since(since, &message) else {
            continue;
        };
        let Parcel::Request(request) = &*parcel else {
            continue;
        };
        let connection = connections.entry(client).or_default();
        connection.take(&env, &node, &outlet, client, request);
    }
}

/// Where answers go out.
#[derive(Clone)]
struct Outlet {
    net: Arc<dyn Net>,
    parcels: Parcels,
}

impl Outlet {
    /// Sends an answer. One for which there is no room is lost, and the client notices by itself.
    fn send(&self, client: MemberId, answer: Answer) {
        let message = self.parcels.hand_in(Parcel::Answer(answer));
        let _no_room = self.net.send(client, Lane::Append, message);
    }
}

/// What is known of one client.
#[derive(Default)]
struct Connection {
    attempts: BTreeSet<u64>,
    streams: BTreeMap<u64, Stream>,
}

/// The requesting side of a stream.
struct Stream {
    requester: WatchRequester,
    taken: watch::Sender<u64>,
}

impl Connection {
    fn take(
        &mut self,
        env: &Env,
        node: &Node,
        outlet: &Outlet,
        client: MemberId,
        request: &Request,
    ) {
        match request {
            Request::Do { attempt, ask } => {
                if !self.is_new(*attempt) {
                    return;
                }
                let (node, outlet, ask) = (node.clone(), outlet.clone(), ask.clone());
                let attempt = *attempt;
                env.spawn("call", async move {
                    let ended = answer(&node, ask).await.unwrap_or_else(translate::failure);
                    outlet.send(client, Answer::Done { attempt, ended });
                });
            }
            Request::Watch { stream, request } => {
                if self.is_new(*stream) {
                    self.open(env, node, outlet, client, *stream, request);
                }
            }
            Request::Taken { stream, next } => match self.streams.get(stream) {
                Some(Stream { taken, .. }) => {
                    taken.send_if(|taken| {
                        let further = *next > *taken;
                        *taken = (*taken).max(*next);
                        further
                    });
                }
                None => outlet.send(client, Answer::NoStream { stream: *stream }),
            },
            Request::Progress { stream } => match self.streams.get(stream) {
                Some(Stream { requester, .. }) => requester.progress(),
                None => outlet.send(client, Answer::NoStream { stream: *stream }),
            },
            Request::Close { stream } => {
                self.streams.remove(stream);
            }
        }
    }

    /// Whether a number is met for the first time. What is older than all that are remembered
    /// is not.
    fn is_new(&mut self, number: u64) -> bool {
        let oldest = self.attempts.first().copied().unwrap_or(0);
        if self.attempts.len() >= ATTEMPTS_REMEMBERED {
            if number < oldest {
                return false;
            }
            self.attempts.pop_first();
        }
        self.attempts.insert(number)
    }

    fn open(
        &mut self,
        env: &Env,
        node: &Node,
        outlet: &Outlet,
        client: MemberId,
        number: u64,
        request: &WatchRequest,
    ) {
        // What ended has nobody who listens to it.
        self.streams.retain(|_, stream| stream.taken.is_observed());
        let stream = (self.streams.len() < STREAMS_MAX).then(|| node.watch());
        let Some(Ok(mut stream)) = stream else {
            outlet.send(client, Answer::NoStream { stream: number });
            return;
        };
        stream.requester().create(&translate::watch(request));
        let (taken, mut taken_seen) = watch::channel(0);
        let requester = stream.requester();
        self.streams.insert(number, Stream { requester, taken });
        let (within, outlet) = (env.clone(), outlet.clone());
        env.spawn("stream", async move {
            let mut next: u64 = 0;
            while let Some(message) = stream.next().await {
                while next >= *taken_seen.borrow_seen() + WINDOW {
                    let patience = within.now() + CLIENT_SILENCE_MAX;
                    let heard = within.deadline(patience, taken_seen.changed()).await;
                    if !matches!(heard, Ok(Ok(()))) {
                        return;
                    }
                }
                let canceled = matches!(message, WatchMessage::Canceled { .. });
                let answer = Answer::Watch {
                    stream: number,
                    number: next,
                    message,
                };
                outlet.send(client, answer);
                next += 1;
                if canceled {
                    return;
                }
            }
        });
    }
}

/// Has the node do what a client asks.
async fn answer(node: &Node, ask: Ask) -> Result<Ended, Failure> {
    let deadline = node.now() + node.limits().request_timeout;
    let operation = match ask {
        Ask::Operation(operation) => operation,
        Ask::Lock { name, lease, value } => return lock(node, &name, lease, value).await,
        Ask::Snapshot => {
            return Ok(match node.snapshot_now().await {
                Ok(_) => Ended::Answered(here(node, Body::Compact)),
                Err(_) => Ended::NotDone,
            });
        }
        Ask::ClearAlarms => {
            let alarms: Vec<_> = node.root().alarms().collect();
            for alarm in alarms {
                let raised = false;
                node.propose(Command::SetAlarm { alarm, raised }, deadline)
                    .await?;
            }
            return Ok(Ended::Answered(here(node, Body::Compact)));
        }
        Ask::SetLimit(kind, value) => {
            let change = LimitChange {
                kind,
                value,
                wall_ms: u64::try_from(node.env().wall().0).unwrap_or(0),
                by: Bytes::from_static(b"a client"),
            };
            node.propose(Command::SetLimit(change), deadline).await?;
            return Ok(Ended::Answered(here(node, Body::Compact)));
        }
    };
    if let Some(command) = translate::command(&operation) {
        let reply = node.propose(command, deadline).await?;
        let response = translate::response(&operation, node.member(), reply);
        return Ok(Ended::Answered(response));
    }
    Ok(Ended::Answered(match operation {
        Operation::Range(asked) => {
            let consistency = if asked.serializable {
                Consistency::Serializable
            } else {
                Consistency::Linearizable
            };
            let root = node.read(consistency, deadline).await?;
            let reply = root.range(&translate::range(&asked))?;
            Response {
                revision: root.revision(),
                member: node.member(),
                body: translate::range_body(reply),
            }
        }
        Operation::LeaseGrant { id, ttl_ms } => {
            let ttl_s = i64::try_from(ttl_ms / 1_000).unwrap_or(i64::MAX);
            let (reply, _) = node.lease_grant(id, ttl_s, deadline).await?;
            translate::response(&operation, node.member(), reply)
        }
        Operation::LeaseKeepAlive { id } => {
            let ttl_s = node.lease_keep_alive(id, deadline).await?;
            let ttl_ms = ttl_s.map(millis);
            here(node, Body::LeaseKeepAlive { ttl_ms })
        }
        Operation::LeaseTimeToLive { id } => {
            let times = node.lease_time_to_live(id, true, deadline).await?;
            let body = Body::LeaseTimeToLive {
                remaining_ms: times.as_ref().map(|times| millis(times.remaining_s)),
                granted_ms: times.as_ref().map_or(0, |times| millis(times.granted_s)),
                keys: times.map(|times| times.keys),
            };
            here(node, body)
        }
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::Txn(_)
        | Operation::Compact { .. }
        | Operation::LeaseRevoke { .. } => unreachable!("{operation:?} is a command"),
    }))
}

/// Waits in line for a lock. The answer is that of the transaction that took the place, so that
/// its revision is the lock's token.
async fn lock(node: &Node, name: &[u8], lease: LeaseId, value: Bytes) -> Result<Ended, Failure> {
    let deadline = node.now() + node.limits().request_timeout;
    let candidate = Candidate::new(name, lease);
    let mut place = candidate.enter(node, value, deadline).await?;
    let patience = node.now() + LOCK_PATIENCE;
    let turn = node.env().deadline(patience, place.come_first()).await;
    if place.found.is_some() || !matches!(turn, Ok(Ok(_))) {
        // The place was taken, and is given up somewhen, or is another request's.
        return Ok(Ended::Unknown);
    }
    let revision = place.since;
    let _kept = place.keep();
    let taken = OpReply {
        revision,
        body: Body::Put { prev_kv: None },
    };
    Ok(Ended::Answered(Response {
        revision,
        member: node.member(),
        body: Body::Txn {
            succeeded: true,
            replies: vec![taken],
        },
    }))
}

/// An answer with this member's present revision in its header.
fn here(node: &Node, body: Body) -> Response {
    Response {
        revision: node.root().revision(),
        member: node.member(),
        body,
    }
}

fn millis(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}
