//! From events to text.

use crate::history::{
    Belief, Body, Change, Compare, DeleteRange, Event, Field, KeyValue, Mark, MemberEvent,
    Operation, Outcome, Put, Range, Refusal, Relation, Response, Txn, TxnOp, WatchEvent, What,
};
use std::fmt::{self, Display, Formatter};

/// The whole history.
#[must_use]
pub fn write<'a>(history: impl IntoIterator<Item = &'a Event>) -> String {
    let mut text = String::new();
    for event in history {
        text.push_str(&write_event(event));
        text.push('\n');
    }
    text
}

/// One event, without the end of the line.
#[must_use]
pub fn write_event(event: &Event) -> String {
    format!("{} {}", Time(event.at.0), event.what)
}

/// A number of nanoseconds in the largest unit that shows it exactly.
struct Time(u64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (unit, ns) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
            if self.0.is_multiple_of(ns) {
                return write!(f, "{}{unit}", self.0 / ns);
            }
        }
        write!(f, "{}ns", self.0)
    }
}

/// Bytes as one word.
pub(super) struct Word<'a>(pub(super) &'a [u8]);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\"\"");
        }
        for &byte in self.0 {
            if byte.is_ascii_alphanumeric() || b"_-./".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// ` to=END`, unless it is a single key.
struct To<'a>(&'a [u8]);

impl Display for To<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " to={}", Word(self.0))
        }
    }
}

/// ` NAME`, if it is so.
struct Flag(&'static str, bool);

impl Display for Flag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.1 {
            write!(f, " {}", self.0)
        } else {
            Ok(())
        }
    }
}

/// ` NAME=N`, unless it is zero.
struct Number(&'static str, i64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.1 == 0 {
            Ok(())
        } else {
            write!(f, " {}={}", self.0, self.1)
        }
    }
}

/// ` was KV`, if there is one.
struct Was<'a>(Option<&'a KeyValue>);

impl Display for Was<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |kv| write!(f, " was {kv}"))
    }
}

impl Display for What {
    /// As in a line of text, without the time.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoked {
                op,
                client,
                operation,
            } => write!(f, "c{} #{} {operation}", client.0, op.0),
            Self::Returned { op, outcome } => write!(f, "#{} {outcome}", op.0),
            Self::Watch { watch, event } => write!(f, "w{} {event}", watch.0),
            Self::Believed {
                client,
                belief: Belief::LeaseValid { lease },
            } => write!(f, "c{} believes-in lease={lease}", client.0),
            Self::Believed {
                client,
                belief: Belief::LockHeld { lock, token },
            } => write!(f, "c{} holds lock={lock} token={token}", client.0),
            Self::Member { member, event } => {
                write!(f, "m{} ", member.0)?;
                match event {
                    MemberEvent::Started { incarnation } => write!(f, "started {incarnation}"),
                    MemberEvent::Stopped => f.write_str("stopped"),
                    MemberEvent::Applied { index } => write!(f, "applied {index}"),
                    MemberEvent::Hashed { index, hash } => write!(f, "hashed {index} {:x}", hash.0),
                    MemberEvent::Reigns { reign } => write!(f, "reigns {reign}"),
                }
            }
            Self::Mark(Mark::Healed { within_ns }) => {
                write!(f, "healed within={}", Time(*within_ns))
            }
            Self::Mark(Mark::Hurt) => f.write_str("hurt"),
            Self::Mark(Mark::Settled) => f.write_str("settled"),
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(put) => put.fmt(f),
            Self::DeleteRange(delete) => delete.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Txn(txn) => txn.fmt(f),
            Self::Compact { revision } => write!(f, "compact {revision}"),
            Self::LeaseGrant { id, ttl_ms } => write!(f, "grant {id} ttl_ms={ttl_ms}"),
            Self::LeaseRevoke { id } => write!(f, "revoke {id}"),
            Self::LeaseKeepAlive { id } => write!(f, "keepalive {id}"),
            Self::LeaseTimeToLive { id } => write!(f, "ttl {id}"),
        }
    }
}

impl Display for Put {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (lease, prev) = (Number("lease", self.lease), Flag("prev", self.prev_kv));
        write!(
            f,
            "put {} {}{lease}{prev}",
            Word(&self.key),
            Word(&self.value)
        )
    }
}

impl Display for DeleteRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prev = Flag("prev", self.prev_kv);
        write!(f, "del {}{}{prev}", Word(&self.key), To(&self.end))
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "get {}{}{}{}{}{}{}",
            Word(&self.key),
            To(&self.end),
            Number("rev", self.revision),
            Number("limit", self.limit),
            Flag("keys", self.keys_only),
            Flag("count", self.count_only),
            Flag("serializable", self.serializable),
        )
    }
}

impl Display for Txn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("txn")?;
        for (number, compare) in self.compares.iter().enumerate() {
            write!(f, "{}{compare}", if number == 0 { " if " } else { " & " })?;
        }
        for (name, branch) in [(" then ", &self.then), (" else ", &self.otherwise)] {
            for (number, op) in branch.iter().enumerate() {
                f.write_str(if number == 0 { name } else { " ; " })?;
                match op {
                    TxnOp::Put(put) => put.fmt(f)?,
                    TxnOp::DeleteRange(delete) => delete.fmt(f)?,
                    TxnOp::Range(range) => range.fmt(f)?,
                }
            }
        }
        Ok(())
    }
}

impl Display for Compare {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let field = match self.field {
            Field::Version(_) => "version",
            Field::Create(_) => "create",
            Field::Mod(_) => "mod",
            Field::Value(_) => "value",
            Field::Lease(_) => "lease",
        };
        let relation = match self.relation {
            Relation::Equal => "=",
            Relation::Greater => ">",
            Relation::Less => "<",
            Relation::NotEqual => "!=",
        };
        write!(
            f,
            "{field} {}{} {relation} ",
            Word(&self.key),
            To(&self.end)
        )?;
        match &self.field {
            Field::Version(number)
            | Field::Create(number)
            | Field::Mod(number)
            | Field::Lease(number) => number.fmt(f),
            Field::Value(value) => Word(value).fmt(f),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(Response {
                revision,
                member,
                body,
            }) => write!(f, "done rev={revision} m{} {body}", member.0),
            Self::Refused(refusal) => write!(f, "refused {refusal}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compacted => "compacted",
            Self::FutureRevision => "future-revision",
            Self::LeaseNotFound => "lease-not-found",
            Self::LeaseExists => "lease-exists",
            Self::NotDone => "not-done",
        })
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { prev_kv } => write!(f, "put{}", Was(prev_kv.as_ref())),
            Self::DeleteRange { deleted, prev_kvs } => {
                write!(f, "del {deleted}")?;
                prev_kvs.iter().try_for_each(|kv| write!(f, " {kv}"))
            }
            Self::Range { kvs, more, count } => {
                write!(f, "get count={count}{}", Flag("more", *more))?;
                kvs.iter().try_for_each(|kv| write!(f, " {kv}"))
            }
            Self::Txn { succeeded, replies } => {
                write!(f, "txn {}", if *succeeded { "then" } else { "else" })?;
                replies
                    .iter()
                    .try_for_each(|reply| write!(f, " ; rev={} {}", reply.revision, reply.body))
            }
            Self::Compact => f.write_str("compact"),
            Self::LeaseGrant { id, ttl_ms } => write!(f, "grant {id} ttl_ms={ttl_ms}"),
            Self::LeaseRevoke => f.write_str("revoke"),
            Self::LeaseKeepAlive { ttl_ms: Some(ttl) } => write!(f, "keepalive ttl_ms={ttl}"),
            Self::LeaseKeepAlive { ttl_ms: None } => f.write_str("keepalive gone"),
            Self::LeaseTimeToLive {
                remaining_ms,
                granted_ms,
                keys,
            } => {
                match remaining_ms {
                    Some(left) => write!(f, "ttl left_ms={left} granted_ms={granted_ms}")?,
                    None => write!(f, "ttl gone granted_ms={granted_ms}")?,
                }
                let Some(keys) = keys else { return Ok(()) };
                f.write_str(" keys")?;
                keys.iter().try_for_each(|key| write!(f, " {}", Word(key)))
            }
        }
    }
}

impl Display for KeyValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={}@{}:{}:{}:{}",
            Word(&self.key),
            Word(&self.value),
            self.create_revision,
            self.mod_revision,
            self.version,
            self.lease
        )
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kv = &self.kv;
        if !self.is_delete() {
            write!(f, "put {kv}")?;
        } else if kv.value.is_empty() && kv.create_revision == 0 && kv.lease == 0 {
            write!(f, "del {}@{}", Word(&kv.key), kv.mod_revision)?;
        } else {
            // Not what a correct service says: it must not be lost on the way to its judge.
            write!(f, "del {kv}")?;
        }
        Was(self.prev_kv.as_ref()).fmt(f)
    }
}

impl Display for WatchEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created {
                client,
                request,
                revision,
            } => write!(
                f,
                "created c{} {}{}{} rev={revision}{}{}{}",
                client.0,
                Word(&request.key),
                To(&request.end),
                Number("start", request.start),
                Flag("prev", request.prev_kv),
                Flag("no-put", request.no_put),
                Flag("no-delete", request.no_delete),
            ),
            Self::Events { revision, events } => {
                write!(f, "events rev={revision}")?;
                for (number, change) in events.iter().enumerate() {
                    write!(f, "{}{change}", if number == 0 { " " } else { " ; " })?;
                }
                Ok(())
            }
            Self::Progress { revision } => write!(f, "progress rev={revision}"),
            Self::Compacted { compact_revision } => write!(f, "compacted rev={compact_revision}"),
            Self::Resumed { start } => write!(f, "resumed rev={start}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
