//! Waiting in line: what locks and elections are made of.
//!
//! Below a name, whoever wants in puts a key that hangs on its lease. The revisions at which the
//! keys were created are the line, and the oldest key is first. The layout is etcd's, so that
//! clients that build their locks themselves stand in the same line: the key is the name, a slash
//! and the lease in hexadecimal.
//!
//! Everything is done by ordinary transactions, reads and watches. A place that was taken for a
//! client that has gone is given up again, wherever the client's request stood then.

use crate::watch::CancelReason;
use crate::{Consistency, Failure, Node, WatchCreate, WatchMessage};
use bytes::Bytes;
use synod_env::{Bug, Instant, oneshot, planted};
use synod_state::Root;
use synod_state::command::{
    Command, Compare, DeleteRange, LeaseId, Op, Operand, Order, Put, Range, Relation, Revision,
    Target, Txn,
};
use synod_state::reply::{Body, KeyValue, OpBody, TxnReply};

/// Whoever wants in, and where.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which line: the name with a slash.
    prefix: Bytes,
    /// Its key ends with it, and its place.
    pub lease: LeaseId,
    /// Its key.
    pub key: Bytes,
}

/// A place in a line. Dropping it gives it up, if it was taken for this request; unless it is to
/// be [kept](Place::keep).
#[derive(Debug)]
pub struct Place {
    node: Node,
    /// Whose it is.
    pub candidate: Candidate,
    /// At which revision its key was created.
    pub since: Revision,
    /// The store's revision right after it was taken or found.
    pub revision: Revision,
    /// The value of its key if that was there before.
    pub found: Option<Bytes>,
    is_given_up: bool,
}

/// Why a place never came to be first.
#[derive(Debug)]
pub enum Ended {
    /// Its key is gone: the lease has ended, or somebody deleted it.
    Gone,
    /// The member did not do its part.
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Candidate {
    /// Whoever has this lease and wants into the line of that name.
    #[must_use]
    pub fn new(name: &[u8], lease: LeaseId) -> Self {
        let prefix = line(name);
        // A negative number is no lease, and is refused with the key that names it.
        let key = [&prefix[..], format!("{lease:x}").as_bytes()]
            .concat()
            .into();
        Self { prefix, lease, key }
    }

    /// Goes to the end of the line, or to the place that it has already.
    ///
    /// The transaction goes on when the client leaves, so that its place is not forgotten.
    ///
    /// # Errors
    /// As for any write.
    pub async fn enter(
        self,
        node: &Node,
        value: Bytes,
        deadline: Instant,
    ) -> Result<Place, Failure> {
        let (entered, place) = oneshot::channel();
        let node = node.clone();
        node.env().clone().spawn("enter a line", async move {
            // Without a receiver the place is dropped, and so given up.
            drop(entered.send(self.take(node, value, deadline).await));
        });
        place.await.unwrap_or(Err(Failure::Stopped))
    }

    async fn take(self, node: Node, value: Bytes, deadline: Instant) -> Result<Place, Failure> {
        let Self { key, lease, .. } = &self;
        let put = Put {
            key: key.clone(),
            value,
            lease: *lease,
            ..Put::default()
        };
        let txn = Txn {
            compare: vec![created(key, 0)],
            success: vec![Op::Put(put)],
            failure: vec![Op::Range(key_of(key))],
        };
        let (revision, TxnReply { succeeded, replies }) = transact(&node, txn, deadline).await?;
        let found = replies.into_iter().find_map(|reply| match reply.body {
            OpBody::Range(range) => range.kvs.into_iter().next(),
            OpBody::Put(_) | OpBody::DeleteRange(_) | OpBody::Txn(_) => None,
        });
        Ok(Place {
            node,
            candidate: self,
            since: found.as_ref().map_or(revision, |pair| pair.create_revision),
            revision,
            found: found.map(|pair| pair.value),
            // A place that was there before may be first already, and its owner rely on it.
            is_given_up: succeeded,
        })
    }
}

impl Place {
    /// Ends once all places before this one are gone, and this one is there. Answers with the
    /// store's revision when that was seen.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn come_first(&mut self) -> Result<Revision, Ended> {
        let node = self.node.clone();
        // What is applied here holds this place, and all that came before it.
        let mut root = node.root();
        let mut waited = false;
        loop {
            if !self.is_in(&root) {
                return Err(Ended::Gone);
            }
            let Some(before) = self.next_before(&root) else {
                break;
            };
            // Nobody relies on a place that is not first.
            self.is_given_up = true;
            waited = true;
            deleted(&node, &[&before, &self.candidate.key], root.revision() + 1).await?;
            root = node.root();
            if planted(Bug::LeaverTakenForHolder) {
                break;
            }
        }
        if !waited {
            return Ok(self.revision);
        }
        // The lease may have ended without this member's having heard of it (etcd#11456).
        let deadline = node.now() + node.limits().request_timeout;
        let root = node.read(Consistency::Linearizable, deadline).await?;
        if self.is_in(&root) {
            Ok(root.revision())
        } else {
            Err(Ended::Gone)
        }
    }

    /// Leaves the place as it is: it belongs to the client, or the client will come back for it.
    #[must_use]
    pub fn keep(mut self) -> Candidate {
        self.is_given_up = false;
        self.candidate.clone()
    }

    fn is_in(&self, root: &Root) -> bool {
        first(root, &key_of(&self.candidate.key))
            .is_some_and(|pair| pair.create_revision == self.since)
    }

    /// The last of the places before this one.
    fn next_before(&self, root: &Root) -> Option<Bytes> {
        if self.since <= 1 {
            return None;
        }
        let before = Range {
            max_create_revision: self.since - 1,
            order: Order::Descend,
            target: Target::Create,
            keys_only: true,
            ..below(self.candidate.prefix.clone())
        };
        first(root, &before).map(|pair| pair.key)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_given_up {
            return;
        }
        let (node, key, since) = (self.node.clone(), self.candidate.key.clone(), self.since);
        self.node.env().spawn("leave a line", async move {
            let deadline = node.now() + node.limits().request_timeout;
            if let Err(failure) = leave(&node, &key, since, deadline).await {
                tracing::debug!(%failure, "a place in a line stays until its lease ends");
            }
        });
    }
}

/// Deletes a key if it is still the one that was created at `since`. Answers with the store's
/// revision.
///
/// # Errors
/// As for any write.
pub async fn leave(
    node: &Node,
    key: &Bytes,
    since: Revision,
    deadline: Instant,
) -> Result<Revision, Failure> {
    let delete = DeleteRange {
        key: key.clone(),
        ..DeleteRange::default()
    };
    let txn = Txn {
        compare: vec![created(key, since)],
        success: vec![Op::DeleteRange(delete)],
        failure: Vec::new(),
    };
    let (revision, _) = transact(node, txn, deadline).await?;
    Ok(revision)
}

/// The condition that a key was created at `since`; 0 means that there is none.
#[must_use]
pub fn created(key: &Bytes, since: Revision) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        relation: Relation::Equal,
        operand: Operand::Create(since),
    }
}

/// The first of a line, or nobody.
#[must_use]
pub fn head(root: &Root, name: &[u8]) -> Option<KeyValue> {
    let oldest = Range {
        order: Order::Ascend,
        target: Target::Create,
        ..below(line(name))
    };
    first(root, &oldest)
}

/// What the keys of a line begin with.
#[must_use]
pub fn line(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The end of the range of all keys that begin with `prefix`, which ends with a slash.
///
/// # Panics
/// If `prefix` is empty.
#[must_use]
pub fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    let last = end.last_mut().expect("a line's prefix ends with a slash");
    *last += 1;
    Bytes::from(end)
}

fn below(prefix: Bytes) -> Range {
    let range_end = end_of(&prefix);
    Range {
        key: prefix,
        range_end,
        ..Range::default()
    }
}

fn key_of(key: &Bytes) -> Range {
    Range {
        key: key.clone(),
        ..Range::default()
    }
}

fn first(root: &Root, range: &Range) -> Option<KeyValue> {
    let range = Range {
        limit: 1,
        ..range.clone()
    };
    let found = root.range(&range);
    let found = found.expect("the present can always be read");
    found.kvs.into_iter().next()
}

/// Proposes a transaction. Answers with the store's revision right after it, too.
///
/// # Errors
/// As for any write.
pub async fn transact(
    node: &Node,
    txn: Txn,
    deadline: Instant,
) -> Result<(Revision, TxnReply), Failure> {
    let reply = node.propose(Command::Txn(txn), deadline).await?;
    let Body::Txn(done) = reply.body else {
        unreachable!("a transaction was answered with {:?}", reply.body)
    };
    Ok((reply.revision, done))
}

/// Ends when one of the keys may have been deleted at `from` or later. Whoever waits looks again:
/// history that is compacted away counts as a change.
async fn deleted(node: &Node, keys: &[&Bytes], from: Revision) -> Result<(), Failure> {
    let mut stream = node.watch()?;
    for key in keys {
        stream.requester().create(&WatchCreate {
            key: Bytes::clone(key),
            start_revision: from,
            no_put: true,
            ..WatchCreate::default()
        });
    }
    loop {
        match stream.next().await {
            Some(WatchMessage::Events { .. }) => return Ok(()),
            Some(WatchMessage::Canceled { reason, .. }) => return canceled(reason),
            Some(WatchMessage::Created { .. } | WatchMessage::Progress { .. }) => {}
            None => return Err(Failure::Stopped),
        }
    }
}

/// What the end of a watch means to whoever only waits for a change.
///
/// # Errors
/// If there are too many watches.
///
/// # Panics
/// If it ended for a reason that a watch of our own never has.
pub fn canceled(reason: CancelReason) -> Result<(), Failure> {
    match reason {
        CancelReason::Compacted(_) => Ok(()),
        CancelReason::TooMany => Err(Failure::TooManyRequests),
        CancelReason::EmptyRange
        | CancelReason::DuplicateId
        | CancelReason::InvalidRevision
        | CancelReason::ByClient => unreachable!("a watch of our own was canceled: {reason:?}"),
    }
}
