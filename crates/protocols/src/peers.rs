//! A member's links to all others, and what its services send and receive over them.
//!
//! # Founding
//!
//! A member must not come back with an empty disk: it would have forgotten what it promised, and
//! could help a second majority to decide otherwise. So the cluster knows its members by their
//! disks. Each member puts the ids of all disks on record, durably, *before* its engine starts,
//! and from then on talks to these disks only.
//!
//! A fresh member, one without such a record, is founded once it is linked with *all* founding
//! members at the same time: each of them has accepted its disk, and it theirs. At that moment it
//! fixes the table ([`Peers::founded`]) and accepts no other disk any more.
//!
//! *Claim*: if the engine of a member Y has exchanged anything with the engine of disk `c`, and Y
//! keeps its own disk, then no other disk of that member is ever founded. Every majority that `c`
//! helped to form has such a Y in it, unless a majority has lost its disks, which no cluster
//! survives. So nothing that `c` promised is ever forgotten by somebody who takes part.
//! 1. Before its table is fixed, a member delivers no message to a service and sends none. Fixed,
//!    it is linked with the disks of its table only, and its engine starts only when the table is
//!    durable. So Y has `c` on record for good, from before its engine ran.
//! 2. Whoever is founded was accepted by all others, so a second disk `c'` needs that Y accepts
//!    it. Y does not do so once its table is fixed: it has `c` there.
//! 3. Nor did it before. When Y accepts `c'` it has seen an echo of its own life, so `c'` lived
//!    then and `c`, whose place it took, did not. In that life Y never accepts `c` again (it
//!    keeps a list of disks that were replaced), and in a later life it cannot, since `c` is no
//!    more and cannot echo it. So Y would not have `c` in its table.
//!
//! A member that crashes before the table is durable has forgotten it, and has run no engine: it
//! is as fresh as before. Tables of two members may differ, if a disk was replaced while the
//! cluster was being founded; then that member stays out for good, refused by those who know the
//! earlier disk. It needs to be replaced in words, as everybody who lost a disk.
//! A cluster of one has nobody who could remember it, and is founded at once.

use crate::frame::Kind;
use crate::link::{Dropped, Hello, Link, Outcome, Reason, refuse_stranger};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use synod_env::{Env, Instant, Lane, Limits, MemberId, Net, oneshot, queue, watch};

mod inbox;
mod port;

use self::inbox::Inbox;
pub use self::port::{Answer, AskError, Incoming, NotSent, Port};

/// Which part of a member a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The consensus engine.
    Engine,
    /// The member around it: forwarded batches, reads, leases.
    Node,
}

impl Service {
    pub(crate) fn of(code: u8) -> Option<Self> {
        [Self::Engine, Self::Node]
            .into_iter()
            .find(|service| *service as u8 == code)
    }
}

/// How many frames and messages of a member were dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that were not as they had been sent.
    pub altered: u64,
    /// Frames of, or for, lives that are over.
    pub stale: u64,
    /// Messages that had been received before.
    pub duplicate: u64,
    /// Messages too late to tell whether they had been received before.
    pub too_late: u64,
    /// Frames of members that are refused.
    pub refused: u64,
    /// Messages that came before this member's table of disks was fixed.
    pub early: u64,
    /// Messages that found their service's queue full.
    pub overflow: u64,
    /// Answers that nobody waited for any more.
    pub unwanted_answers: u64,
    /// Sessions that ended because the other side began a new life.
    pub sessions_ended: u64,
}

/// This member must stay out of the cluster; the text says why and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A request that waits for its answer.
struct Waiting {
    /// The session it was sent in.
    session: u64,
    answer: oneshot::Sender<Bytes>,
}

struct State {
    links: BTreeMap<MemberId, Link>,
    /// The table is fixed: services may send and receive.
    open: bool,
    asks: BTreeMap<u64, Waiting>,
    next_request: u64,
    counters: Counters,
}

struct Shared {
    env: Env,
    net: Arc<dyn Net>,
    me: Hello,
    others: Vec<MemberId>,
    asks_max: usize,
    state: Mutex<State>,
    inboxes: [Inbox; 2],
    founded: watch::Sender<Option<BTreeMap<MemberId, u128>>>,
    refused: watch::Sender<Option<String>>,
    /// Asks the one who says hello to look when the next is due.
    look: queue::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member's links to all others. Its tasks run until the member stops.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peers({})", self.0.me.member)
    }
}

impl Peers {
    /// Begins to talk to the other members. `members` are all founding members, this one included;
    /// `known` is the table of their disks if it is on record. At most once in each life of a
    /// member: the incarnation in `hello` tells its messages from those of earlier lives.
    ///
    /// # Panics
    /// If this member is not among `members`, or `known` is not a table of just them, with this
    /// member's own disk: whoever reads the configuration and the record compares them.
    #[must_use]
    pub fn start(
        env: &Env,
        hello: Hello,
        members: &BTreeSet<MemberId>,
        known: Option<BTreeMap<MemberId, u128>>,
        limits: &Limits,
    ) -> Self {
        let me = hello.member;
        assert!(members.contains(&me), "{me} is not among {members:?}");
        if let Some(known) = &known {
            assert!(known.keys().eq(members), "{known:?} for {members:?}");
            assert_eq!(known.get(&me), Some(&hello.disk_id), "of this member");
        }
        let others: Vec<_> = members.iter().copied().filter(|it| *it != me).collect();
        let table = match (known, others.is_empty()) {
            (None, true) => Some(BTreeMap::from([(me, hello.disk_id)])),
            (known, _) => known,
        };
        let now = env.now();
        let link = |other: &MemberId| {
            let on_record = table.as_ref().map(|table| table[other]);
            let link = Link::new(hello, *other, on_record, limits.peer_hello_interval, now);
            (*other, link)
        };
        let (look, looks) = queue::bounded(1);
        let shared = Arc::new(Shared {
            env: env.clone(),
            net: env.net(),
            me: hello,
            state: Mutex::new(State {
                links: others.iter().map(link).collect(),
                open: table.is_some(),
                asks: BTreeMap::new(),
                next_request: 1,
                counters: Counters::default(),
            }),
            others,
            asks_max: limits.peer_asks_max,
            inboxes: [Inbox::new(limits), Inbox::new(limits)],
            founded: watch::channel(table).0,
            refused: watch::channel(None).0,
            look,
        });
        if !shared.others.is_empty() {
            env.spawn("peers-hello", say_hello(Arc::clone(&shared), looks));
            env.spawn("peers-receive", receive(Arc::clone(&shared)));
        }
        Self(shared)
    }

    /// Where a service sends and receives.
    #[must_use]
    pub fn port(&self, service: Service) -> Port {
        Port::new(Arc::clone(&self.0), service)
    }

    /// Ends once every member's disk is known, with the table to put on record before the engine
    /// starts. At once for a single member, or if the table was on record already.
    ///
    /// # Errors
    /// [`Refused`] if this member must stay out.
    pub async fn founded(&self) -> Result<BTreeMap<MemberId, u128>, Refused> {
        let mut founded = self.0.founded.subscribe();
        let mut refused = self.0.refused.subscribe();
        std::future::poll_fn(move |cx| {
            if let Some(why) = &*refused.borrow() {
                return std::task::Poll::Ready(Err(Refused(why.clone())));
            }
            if let Some(table) = &*founded.borrow() {
                return std::task::Poll::Ready(Ok(table.clone()));
            }
            // Each is asked, so that either wakes this task. A change seen here is looked at in
            // the next turn.
            let changed = founded.poll_changed(cx).is_ready() | refused.poll_changed(cx).is_ready();
            if changed {
                cx.waker().wake_by_ref();
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Why this member must stay out of the cluster, once that is known: a member that is founded
    /// knows it by another disk, or, while it is fresh, somebody says that it is of another
    /// cluster or no member. It never changes back.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<Option<String>> {
        self.0.refused.subscribe()
    }

    /// What was dropped so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.lock().counters
    }
}

/// Says hello to whoever is not linked, until the member stops.
async fn say_hello(shared: Arc<Shared>, mut looks: queue::Receiver<()>) {
    loop {
        let now = shared.env.now();
        let mut hellos = Vec::new();
        let mut next: Option<Instant> = None;
        for (other, link) in &mut shared.lock().links {
            hellos.extend(link.say_hello(now).map(|hello| (*other, hello)));
            next = next.into_iter().chain(link.hello_due()).min();
        }
        for (other, hello) in hellos {
            // If it is not sent, it is due again soon.
            let _unsent = shared.net.send(other, Lane::Control, hello);
        }
        match next {
            Some(at) => {
                let _looked = shared.env.deadline(at, looks.receive()).await;
            }
            None => {
                let _look = looks.receive().await;
            }
        }
    }
}

/// Takes every frame from the network, until the member stops.
async fn receive(shared: Arc<Shared>) {
    loop {
        let (from, lane, frame) = shared.net.receive().await;
        shared.on_frame(from, lane, &frame);
    }
}

impl Shared {
    fn on_frame(&self, from: MemberId, lane: Lane, frame: &Bytes) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(link) = state.links.get_mut(&from) else {
            state.counters.refused += 1;
            drop(guard);
            if let Some(refusal) = refuse_stranger(&self.me, frame) {
                let _unsent = self.net.send(from, Lane::Control, refusal);
            }
            return;
        };
        let step = link.receive(lane, frame);
        let session = link.session();
        let over = step
            .ended
            .map_or_else(Vec::new, |session| state.end_asks(session));
        let table = (step.linked && !state.open)
            .then(|| state.table(&self.me))
            .flatten();
        if table.is_some() {
            state.open = true;
        }
        let open = state.open;
        let (mut message, mut answered, mut refused) = (None, None, None);
        match step.outcome {
            Outcome::Handshake => {}
            Outcome::RefusedBy(reason) => refused = Some((reason, open)),
            Outcome::Dropped(why) => state.count(why),
            Outcome::Message(_) if !open => state.counters.early += 1,
            Outcome::Message(frame) => match frame.kind {
                Kind::Tell | Kind::Ask => message = Some(frame),
                Kind::Answer => {
                    let asks = &mut state.asks;
                    let asked = asks.get(&frame.request);
                    if asked.is_some_and(|asked| Some(asked.session) == session) {
                        let waiting = asks.remove(&frame.request);
                        answered = waiting.map(|waiting| (waiting.answer, frame.body));
                    } else {
                        state.counters.unwanted_answers += 1;
                    }
                }
            },
        }
        drop(guard);
        // What follows wakes tasks, and so runs without the lock.
        drop(over);
        if let Some(reply) = step.reply {
            // A reply that is lost is made up for by the next hello.
            let _unsent = self.net.send(from, Lane::Control, reply);
        }
        if step.ended.is_some() {
            let _looks_already = self.look.try_send(());
        }
        if let Some(table) = table {
            self.founded.send(Some(table));
        }
        if let Some((answer, body)) = answered {
            let _nobody_waits = answer.send(body);
        }
        if let Some(message) = message {
            let session = session.expect("who receives messages is linked");
            self.deliver(from, session, message);
        }
        if let Some((reason, open)) = refused {
            self.on_refused(from, reason, open);
        }
    }

    fn on_refused(&self, by: MemberId, reason: Reason, open: bool) {
        let me = self.me.member;
        let why = match reason {
            Reason::OtherDisk { on_record } => format!(
                "member {by} knows member {me} by disk {on_record:032x}, and this is disk \
                 {:032x}: a member whose disk was lost or emptied cannot come back under its \
                 number, since it has forgotten what it promised. Start it on its own directory, \
                 or replace it by a new member",
                self.me.disk_id
            ),
            // Whoever is founded belongs to its cluster, whatever a stranger says.
            Reason::OtherCluster | Reason::NoMember if open => return,
            Reason::OtherCluster => format!(
                "member {by} belongs to another cluster. Compare the cluster token and the list \
                 of members in both configurations"
            ),
            Reason::NoMember => format!(
                "member {by} has no member {me} in its list. Compare the list of members in both \
                 configurations"
            ),
        };
        self.refused.send_if(|refused| {
            let news = refused.is_none();
            if news {
                *refused = Some(why);
            }
            news
        });
    }
}

impl State {
    fn count(&mut self, why: Dropped) {
        let counters = &mut self.counters;
        match why {
            Dropped::Altered => counters.altered += 1,
            Dropped::Stale => counters.stale += 1,
            Dropped::Duplicate => counters.duplicate += 1,
            Dropped::TooLate => counters.too_late += 1,
            Dropped::Refused => counters.refused += 1,
        }
    }

    /// Requests of a session that is over. They are to be dropped without the lock, which tells
    /// those who wait.
    fn end_asks(&mut self, session: u64) -> Vec<Waiting> {
        self.counters.sessions_ended += 1;
        let of_session = |_: &u64, waiting: &mut Waiting| waiting.session == session;
        let ended = self.asks.extract_if(.., of_session);
        ended.map(|(_, waiting)| waiting).collect()
    }

    /// Fixes the table of disks, if all members are linked now.
    fn table(&mut self, me: &Hello) -> Option<BTreeMap<MemberId, u128>> {
        if !self.links.values().all(Link::is_linked) {
            return None;
        }
        let mut table = BTreeMap::from([(me.member, me.disk_id)]);
        for (other, link) in &mut self.links {
            link.put_on_record();
            table.insert(
                *other,
                link.disk_id().expect("a link that stands has a life"),
            );
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests;
