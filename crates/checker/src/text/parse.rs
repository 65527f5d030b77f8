//! From text to events.

use crate::history::{
    Belief, Body, Change, ClientId, Compare, DeleteRange, Event, Field, KeyValue, Mark,
    MemberEvent, OpId, OpReply, Operation, Outcome, Put, Range, Refusal, Relation, Response,
    StateHash, TimeNs, Txn, TxnOp, WatchEvent, WatchId, WatchRequest, What,
};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;
use synod_env::MemberId;

/// Why a text is not a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// Reads a whole history.
///
/// # Errors
/// The first line that is not an event, or that is earlier than the one before.
pub fn parse(text: &str) -> Result<Vec<Event>, Malformed> {
    let mut history: Vec<Event> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let malformed = |reason| Malformed {
            line: number + 1,
            reason,
        };
        let Some(event) = parse_line(line).map_err(malformed)? else {
            continue;
        };
        if let Some(last) = history.last()
            && last.at > event.at
        {
            return Err(malformed(format!("it is earlier than {}", last.at)));
        }
        history.push(event);
    }
    Ok(history)
}

/// Reads one line; none if it is prose.
///
/// # Errors
/// What is wrong with it.
pub fn parse_line(line: &str) -> Result<Option<Event>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = Words {
        rest: line.split_ascii_whitespace().collect::<Vec<_>>(),
        next: 0,
    };
    let at = TimeNs(time(words.word()?)?);
    let what = words.what()?;
    match words.peek() {
        None => Ok(Some(Event { at, what })),
        Some(word) => Err(format!("{word:?} has no meaning here")),
    }
}

type Parsed<T> = Result<T, String>;

struct Words<'a> {
    rest: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.get(self.next).copied()
    }

    fn word(&mut self) -> Parsed<&'a str> {
        let word = self.peek().ok_or("it ends too early")?;
        self.next += 1;
        Ok(word)
    }

    /// Takes the next word if it is this one.
    fn flag(&mut self, name: &str) -> bool {
        let found = self.peek() == Some(name);
        self.next += usize::from(found);
        found
    }

    /// Takes the next word if it is `NAME=…`, and gives what follows.
    fn option(&mut self, name: &str) -> Option<&'a str> {
        let value = self.peek()?.strip_prefix(name)?.strip_prefix('=')?;
        self.next += 1;
        Some(value)
    }

    fn option_number<T: FromStr + Default>(&mut self, name: &str) -> Parsed<T> {
        self.option(name).map_or(Ok(T::default()), number)
    }

    fn needed<T: FromStr>(&mut self, name: &str) -> Parsed<T> {
        let found = self.option(name);
        number(found.ok_or_else(|| format!("{name}=… is missing"))?)
    }

    fn number<T: FromStr>(&mut self) -> Parsed<T> {
        number(self.word()?)
    }

    fn bytes(&mut self) -> Parsed<Bytes> {
        unescape(self.word()?)
    }

    fn to(&mut self) -> Parsed<Bytes> {
        self.option("to").map_or(Ok(Bytes::new()), unescape)
    }

    fn what(&mut self) -> Parsed<What> {
        let subject = self.word()?;
        match subject {
            "healed" => {
                let within = self.option("within").ok_or("within=… is missing")?;
                let within_ns = time(within)?;
                return Ok(What::Mark(Mark::Healed { within_ns }));
            }
            "hurt" => return Ok(What::Mark(Mark::Hurt)),
            "settled" => return Ok(What::Mark(Mark::Settled)),
            _ => {}
        }
        let unknown = || format!("{subject:?} is nobody who does something");
        let (kind, id) = subject.split_at_checked(1).ok_or_else(unknown)?;
        match kind {
            "c" => self.client_does(ClientId(number(id)?)),
            "#" => Ok(What::Returned {
                op: OpId(number(id)?),
                outcome: self.outcome()?,
            }),
            "w" => Ok(What::Watch {
                watch: WatchId(number(id)?),
                event: self.watch_event()?,
            }),
            "m" => Ok(What::Member {
                member: MemberId(number(id)?),
                event: self.member_event()?,
            }),
            _ => Err(unknown()),
        }
    }

    fn client_does(&mut self, client: ClientId) -> Parsed<What> {
        if self.flag("believes-in") {
            let lease = self.needed("lease")?;
            let belief = Belief::LeaseValid { lease };
            return Ok(What::Believed { client, belief });
        }
        if self.flag("holds") {
            let (lock, token) = (self.needed("lock")?, self.needed("token")?);
            let belief = Belief::LockHeld { lock, token };
            return Ok(What::Believed { client, belief });
        }
        let word = self.word()?;
        let op = word.strip_prefix('#');
        let op = OpId(number(op.ok_or_else(|| format!("{word:?} is not #OP"))?)?);
        let operation = self.operation()?;
        Ok(What::Invoked {
            op,
            client,
            operation,
        })
    }

    fn member_event(&mut self) -> Parsed<MemberEvent> {
        Ok(match self.word()? {
            "started" => MemberEvent::Started {
                incarnation: self.number()?,
            },
            "stopped" => MemberEvent::Stopped,
            "applied" => MemberEvent::Applied {
                index: self.number()?,
            },
            "hashed" => MemberEvent::Hashed {
                index: self.number()?,
                hash: StateHash(
                    u128::from_str_radix(self.word()?, 16).map_err(|error| error.to_string())?,
                ),
            },
            "reigns" => MemberEvent::Reigns {
                reign: self.number()?,
            },
            word => return Err(format!("{word:?} is nothing that a member does")),
        })
    }

    fn operation(&mut self) -> Parsed<Operation> {
        Ok(match self.word()? {
            "put" => Operation::Put(self.put()?),
            "del" => Operation::DeleteRange(self.delete()?),
            "get" => Operation::Range(self.range()?),
            "txn" => Operation::Txn(self.txn()?),
            "compact" => Operation::Compact {
                revision: self.number()?,
            },
            "grant" => Operation::LeaseGrant {
                id: self.number()?,
                ttl_ms: self.needed("ttl_ms")?,
            },
            "revoke" => Operation::LeaseRevoke { id: self.number()? },
            "keepalive" => Operation::LeaseKeepAlive { id: self.number()? },
            "ttl" => Operation::LeaseTimeToLive { id: self.number()? },
            word => return Err(format!("{word:?} is no operation")),
        })
    }

    fn put(&mut self) -> Parsed<Put> {
        Ok(Put {
            key: self.bytes()?,
            value: self.bytes()?,
            lease: self.option_number("lease")?,
            prev_kv: self.flag("prev"),
        })
    }

    fn delete(&mut self) -> Parsed<DeleteRange> {
        Ok(DeleteRange {
            key: self.bytes()?,
            end: self.to()?,
            prev_kv: self.flag("prev"),
        })
    }

    fn range(&mut self) -> Parsed<Range> {
        Ok(Range {
            key: self.bytes()?,
            end: self.to()?,
            revision: self.option_number("rev")?,
            limit: self.option_number("limit")?,
            keys_only: self.flag("keys"),
            count_only: self.flag("count"),
            serializable: self.flag("serializable"),
        })
    }

    fn txn(&mut self) -> Parsed<Txn> {
        let mut txn = Txn::default();
        if self.flag("if") {
            txn.compares.push(self.compare()?);
            while self.flag("&") {
                txn.compares.push(self.compare()?);
            }
        }
        for (name, branch) in [("then", &mut txn.then), ("else", &mut txn.otherwise)] {
            if self.flag(name) {
                branch.push(self.txn_op()?);
                while self.flag(";") {
                    branch.push(self.txn_op()?);
                }
            }
        }
        Ok(txn)
    }

    fn txn_op(&mut self) -> Parsed<TxnOp> {
        Ok(match self.word()? {
            "put" => TxnOp::Put(self.put()?),
            "del" => TxnOp::DeleteRange(self.delete()?),
            "get" => TxnOp::Range(self.range()?),
            word => return Err(format!("{word:?} is no operation of a transaction")),
        })
    }

    fn compare(&mut self) -> Parsed<Compare> {
        let field = self.word()?;
        let key = self.bytes()?;
        let end = self.to()?;
        let relation = match self.word()? {
            "=" => Relation::Equal,
            ">" => Relation::Greater,
            "<" => Relation::Less,
            "!=" => Relation::NotEqual,
            word => return Err(format!("{word:?} is no relation")),
        };
        let field = match field {
            "version" => Field::Version(self.number()?),
            "create" => Field::Create(self.number()?),
            "mod" => Field::Mod(self.number()?),
            "value" => Field::Value(self.bytes()?),
            "lease" => Field::Lease(self.number()?),
            word => return Err(format!("{word:?} is no field")),
        };
        Ok(Compare {
            key,
            end,
            relation,
            field,
        })
    }

    fn outcome(&mut self) -> Parsed<Outcome> {
        Ok(match self.word()? {
            "done" => {
                let revision = self.needed("rev")?;
                let word = self.word()?;
                let member = word.strip_prefix('m');
                let member = MemberId(number(
                    member.ok_or_else(|| format!("{word:?} is not mMEMBER"))?,
                )?);
                let body = self.body()?;
                Outcome::Done(Response {
                    revision,
                    member,
                    body,
                })
            }
            "refused" => Outcome::Refused(match self.word()? {
                "compacted" => Refusal::Compacted,
                "future-revision" => Refusal::FutureRevision,
                "lease-not-found" => Refusal::LeaseNotFound,
                "lease-exists" => Refusal::LeaseExists,
                "not-done" => Refusal::NotDone,
                word => return Err(format!("{word:?} is no refusal")),
            }),
            "unknown" => Outcome::Unknown,
            word => return Err(format!("{word:?} is no outcome")),
        })
    }

    fn body(&mut self) -> Parsed<Body> {
        Ok(match self.word()? {
            "put" => Body::Put {
                prev_kv: self.was()?,
            },
            "del" => Body::DeleteRange {
                deleted: self.number()?,
                prev_kvs: self.kvs()?,
            },
            "get" => Body::Range {
                count: self.needed("count")?,
                more: self.flag("more"),
                kvs: self.kvs()?,
            },
            "txn" => {
                let succeeded = match self.word()? {
                    "then" => true,
                    "else" => false,
                    word => return Err(format!("{word:?} is no branch")),
                };
                let mut replies = Vec::new();
                while self.flag(";") {
                    let revision = self.needed("rev")?;
                    let body = self.body()?;
                    replies.push(OpReply { revision, body });
                }
                Body::Txn { succeeded, replies }
            }
            "compact" => Body::Compact,
            "grant" => Body::LeaseGrant {
                id: self.number()?,
                ttl_ms: self.needed("ttl_ms")?,
            },
            "revoke" => Body::LeaseRevoke,
            "keepalive" if self.flag("gone") => Body::LeaseKeepAlive { ttl_ms: None },
            "keepalive" => Body::LeaseKeepAlive {
                ttl_ms: Some(self.needed("ttl_ms")?),
            },
            "ttl" => {
                let remaining_ms = if self.flag("gone") {
                    None
                } else {
                    Some(self.needed("left_ms")?)
                };
                let granted_ms = self.needed("granted_ms")?;
                let keys = if self.flag("keys") {
                    let mut keys = Vec::new();
                    while self.peek().is_some() {
                        keys.push(self.bytes()?);
                    }
                    Some(keys)
                } else {
                    None
                };
                Body::LeaseTimeToLive {
                    remaining_ms,
                    granted_ms,
                    keys,
                }
            }
            word => return Err(format!("{word:?} is no answer")),
        })
    }

    fn was(&mut self) -> Parsed<Option<KeyValue>> {
        if self.flag("was") {
            Ok(Some(key_value(self.word()?)?))
        } else {
            Ok(None)
        }
    }

    fn kvs(&mut self) -> Parsed<Vec<KeyValue>> {
        let mut kvs = Vec::new();
        while self.peek().is_some_and(|word| word != ";") {
            kvs.push(key_value(self.word()?)?);
        }
        Ok(kvs)
    }

    fn watch_event(&mut self) -> Parsed<WatchEvent> {
        Ok(match self.word()? {
            "created" => {
                let word = self.word()?;
                let client = word.strip_prefix('c');
                let client = ClientId(number(
                    client.ok_or_else(|| format!("{word:?} is not cCLIENT"))?,
                )?);
                let key = self.bytes()?;
                let end = self.to()?;
                let start = self.option_number("start")?;
                let revision = self.needed("rev")?;
                let request = WatchRequest {
                    key,
                    end,
                    start,
                    prev_kv: self.flag("prev"),
                    no_put: self.flag("no-put"),
                    no_delete: self.flag("no-delete"),
                };
                WatchEvent::Created {
                    client,
                    request,
                    revision,
                }
            }
            "events" => {
                let revision = self.needed("rev")?;
                let mut events = Vec::new();
                while self.peek().is_some() {
                    if !events.is_empty() && !self.flag(";") {
                        return Err("changes are separated by ;".into());
                    }
                    events.push(self.change()?);
                }
                WatchEvent::Events { revision, events }
            }
            "progress" => WatchEvent::Progress {
                revision: self.needed("rev")?,
            },
            "compacted" => WatchEvent::Compacted {
                compact_revision: self.needed("rev")?,
            },
            "resumed" => WatchEvent::Resumed {
                start: self.needed("rev")?,
            },
            "closed" => WatchEvent::Closed,
            word => return Err(format!("{word:?} is nothing that comes of a watch")),
        })
    }

    fn change(&mut self) -> Parsed<Change> {
        let kind = self.word()?;
        let word = self.word()?;
        let kv = match kind {
            "put" => key_value(word)?,
            "del" if word.contains('=') => key_value(word)?,
            "del" => {
                let (key, revision) = word
                    .split_once('@')
                    .ok_or_else(|| format!("{word:?} is not KEY@MOD"))?;
                KeyValue {
                    key: unescape(key)?,
                    mod_revision: number(revision)?,
                    ..KeyValue::default()
                }
            }
            _ => return Err(format!("{kind:?} is no change")),
        };
        let change = Change {
            kv,
            prev_kv: self.was()?,
        };
        if change.is_delete() == (kind == "del") {
            Ok(change)
        } else {
            Err("a put has a version of at least 1, a delete has 0".into())
        }
    }
}

fn number<T: FromStr>(word: &str) -> Parsed<T> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a number that fits here"))
}

fn time(word: &str) -> Parsed<u64> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ns: u64 = match &word[digits.len()..] {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return Err(format!("{word:?} is not a time in s, ms, us or ns")),
    };
    number::<u64>(digits)?
        .checked_mul(unit_ns)
        .ok_or_else(|| format!("{word:?} is too late"))
}

fn key_value(word: &str) -> Parsed<KeyValue> {
    let parts = || {
        let (key, rest) = word.split_once('=')?;
        let (value, numbers) = rest.split_once('@')?;
        Some((key, value, numbers))
    };
    let wrong = || format!("{word:?} is not KEY=VALUE@CREATE:MOD:VERSION:LEASE");
    let (key, value, numbers) = parts().ok_or_else(wrong)?;
    let numbers = numbers.split(':').map(number).collect::<Parsed<Vec<_>>>()?;
    let [create_revision, mod_revision, version, lease] = numbers[..] else {
        return Err(wrong());
    };
    Ok(KeyValue {
        key: unescape(key)?,
        value: unescape(value)?,
        create_revision,
        mod_revision,
        version,
        lease,
    })
}

fn unescape(word: &str) -> Parsed<Bytes> {
    if word == "\"\"" {
        return Ok(Bytes::new());
    }
    let wrong = || format!("{word:?} is not a word of bytes");
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(first) = rest.next() {
        if first.is_ascii_alphanumeric() || b"_-./".contains(&first) {
            bytes.push(first);
            continue;
        }
        let mut next = || rest.next().map(char::from);
        let (mark, high, low) = (next(), next(), next());
        let digit = |byte: Option<char>| byte.and_then(|byte| byte.to_digit(16));
        let byte = match (first, mark, digit(high), digit(low)) {
            (b'\\', Some('x'), Some(high), Some(low)) => high * 16 + low,
            _ => return Err(wrong()),
        };
        bytes.push(u8::try_from(byte).expect("two digits of base 16 fit into a byte"));
    }
    if bytes.is_empty() {
        return Err(wrong());
    }
    Ok(bytes.into())
}
