//! Runs `testdata/*.txt`: prose, commands, recorded output. `UPDATE=1` rewrites the output.
//!
//! A block is lines that begin with `> `, then `---`, then what they printed, up to an empty
//! line. Everything else is prose. Each file begins with an empty state. Commands:
//!
//! ```text
//! put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]
//! del KEY [END] [prev]
//! get KEY [END] [rev=N] [limit=N] [asc=TARGET] [desc=TARGET] [sort=TARGET] [keys_only]
//!         [count_only] [min_mod=N] [max_mod=N] [min_create=N] [max_create=N]
//! txn [if COMPARE...] [then OP [; OP]...] [else OP [; OP]...]
//!     where COMPARE is FIELD(KEY[,END])RELATION OPERAND without spaces, as version(a)=0,
//!     and OP is a put, del or get as above, or ( txn ... )
//! compact REVISION | grant LEASE TTL_MS | revoke LEASE | expire LEASE... |
//! checkpoint LEASE=MS... | quota BYTES | step EVENTS | level LEVEL | reign REIGN | idle
//! alarm raise|clear nospace|corrupt MEMBER | alarms
//! batch COMMAND [| COMMAND]...
//! from MEMBER.INCARNATION.SEQUENCE REIGN COMMAND     a batch of that origin for that reign
//! watch FROM [REVISIONS] | leases | status | reload
//! check txn ...          what the API refuses before the log; `max=N` bounds the operations
//! ```
//!
//! Strings may contain `\0` and `\xNN`; `""` is the empty one.

use super::audit;
use crate::command::{
    Alarm, AlarmKind, Batch, Command, Compare, DeleteRange, Op, Operand, Order, Origin, Put, Range,
    Relation, Target, Txn,
};
use crate::reply::{Body, Event, EventKind, KeyValue, OpBody, Outcome, RangeReply, TxnReply};
use crate::{Applied, Chunk, State};
use bytes::Bytes;
use std::fmt::Write as _;
use std::path::Path;
use synod_env::MemberId;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
fn scenarios_print_what_was_recorded() {
    let update = std::env::var_os("UPDATE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("testdata is there")
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario is in testdata");
    for file in files {
        let recorded = std::fs::read_to_string(&file).unwrap();
        let printed = Scenario::new().run(&recorded);
        if update {
            std::fs::write(&file, &printed).unwrap();
        } else {
            let place = recorded
                .lines()
                .zip(printed.lines())
                .position(|(a, b)| a != b);
            let line = place.map_or(recorded.lines().count(), |line| line) + 1;
            assert!(
                recorded == printed,
                "{} differs from line {line} on:\n{printed}\nUPDATE=1 records this",
                file.display()
            );
        }
    }
}

struct Scenario {
    state: State,
    index: u64,
}

impl Scenario {
    fn new() -> Self {
        Self {
            state: State::new(3),
            index: 0,
        }
    }

    fn run(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut commands = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            writeln!(out, "{line}").unwrap();
            if let Some(command) = line.strip_prefix("> ") {
                commands.push(command);
            } else if line == "---" {
                lines
                    .by_ref()
                    .take_while(|line| !line.is_empty())
                    .for_each(drop);
                for command in commands.drain(..) {
                    out.push_str(&self.command(command));
                    audit::check(&self.state.root());
                }
                out.push('\n');
            }
        }
        // The last block has no empty line of its own behind it.
        while out.ends_with("\n\n") {
            out.pop();
        }
        out
    }

    fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let root = self.state.root();
        match words[..] {
            ["get", ..] => {
                let range = parse_range(&words[1..]);
                match root.range(&range) {
                    Ok(reply) => show_range(&reply),
                    Err(refusal) => format!("{refusal:?}\n"),
                }
            }
            ["watch", from, ref limit @ ..] => {
                let revisions = limit.first().map_or(usize::MAX, |limit| number(limit));
                match root.events(number(from), revisions) {
                    Ok(events) => events.iter().map(|event| self.show_event(event)).collect(),
                    Err(compacted) => format!("{compacted:?}\n"),
                }
            }
            ["leases"] => root
                .leases()
                .map(|lease| {
                    let keys: Vec<String> = root.lease_keys(lease.id).map(|k| show(&k)).collect();
                    let (id, ttl, left) = (lease.id, lease.ttl_ms, lease.remaining_ms);
                    format!("lease {id} ttl={ttl} remaining={left} keys={keys:?}\n")
                })
                .collect(),
            ["alarms"] => root
                .alarms()
                .map(|Alarm { kind, member }| format!("{kind:?} {member}\n"))
                .collect(),
            ["status"] => format!(
                "revision={} compact={}{} versions={} bytes={} quota={} level={} reign={} time={}\n",
                root.revision(),
                root.compact_revision(),
                if root.compaction_finished() {
                    ""
                } else {
                    " (under way)"
                },
                root.version_count(),
                root.bytes(),
                root.quota_bytes(),
                root.level(),
                root.reign(),
                root.time_ms(),
            ),
            ["reload"] => {
                let chunks = root.chunks(200);
                let decoded = chunks
                    .iter()
                    .map(|chunk| Chunk::decode(chunk.encode()).unwrap());
                self.state = State::load(root.header(), decoded.collect(), 3).unwrap();
                assert_eq!(self.state.root().hash(), root.hash());
                String::new()
            }
            ["check", ref words @ ..] => {
                let (max, words) = match words {
                    [max, rest @ ..] if max.starts_with("max=") => (number(&max[4..]), rest),
                    words => (128, words),
                };
                let checked = match words {
                    ["put", words @ ..] => parse_put(words).check(),
                    ["del", words @ ..] => parse_delete(words).check(),
                    ["txn", words @ ..] => parse_txn(&mut { words }).check(max),
                    other => panic!("{other:?} has nothing to check"),
                };
                format!("{checked:?}\n")
            }
            ["from", origin, reign, ref words @ ..] => {
                let numbers: Vec<u64> = origin.split('.').map(number).collect();
                let origin = Origin {
                    member: MemberId(numbers[0]),
                    incarnation: numbers[1],
                    sequence: numbers[2],
                };
                self.index += 1;
                let commands = parse_batch(words);
                let time_ms = 10 * self.index;
                self.apply(&Batch {
                    origin,
                    reign: number(reign),
                    time_ms,
                    commands,
                })
            }
            [..] => {
                self.index += 1;
                let commands = parse_batch(&words);
                let reign = match commands.first() {
                    Some(Command::Reign { reign }) => *reign,
                    Some(_) | None => root.reign(),
                };
                self.apply(&Batch {
                    reign,
                    ..super::batch(self.index, commands)
                })
            }
        }
    }

    fn apply(&mut self, batch: &Batch) -> String {
        let applied = self.state.apply(self.index, batch);
        let Applied {
            outcomes,
            dropped,
            events,
            leases,
        } = &applied;
        let mut out = String::new();
        if let Some(dropped) = dropped {
            writeln!(out, "dropped: {dropped:?}").unwrap();
        }
        for outcome in outcomes {
            out.push_str(&show_outcome(outcome));
        }
        if outcomes.len() > 1 {
            let revisions: Vec<usize> = applied.revisions().map(<[Event]>::len).collect();
            writeln!(out, "events per revision: {revisions:?}").unwrap();
        } else if events.len() > 1 {
            out.extend(events.iter().map(|event| self.show_event(event)));
        }
        for change in leases {
            writeln!(out, "{change:?}").unwrap();
        }
        out
    }

    fn show_event(&self, event: &Event) -> String {
        let what = match event.kind {
            EventKind::Put => "put",
            EventKind::Delete => "del",
        };
        let previous = self.state.root().previous(event);
        let previous = previous.map_or_else(String::new, |kv| format!(" after {}", show_kv(&kv)));
        format!("event {what} {}{previous}\n", show_kv(&event.kv))
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn show_kv(kv: &KeyValue) -> String {
    let KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    } = kv;
    let (key, value) = (show(key), show(value));
    let lease = if *lease == 0 {
        String::new()
    } else {
        format!(" lease={lease}")
    };
    format!("{key}={value} create={create_revision} mod={mod_revision} version={version}{lease}")
}

fn show_range(reply: &RangeReply) -> String {
    let RangeReply { kvs, more, count } = reply;
    let more = if *more { " more" } else { "" };
    let pairs: String = kvs.iter().map(|kv| format!("{}\n", show_kv(kv))).collect();
    format!("count={count}{more}\n{pairs}")
}

fn show_deleted(deleted: i64, previous: &[KeyValue]) -> String {
    let pairs: String = previous
        .iter()
        .map(|kv| format!("  was {}\n", show_kv(kv)))
        .collect();
    format!("deleted={deleted}\n{pairs}")
}

fn show_put(previous: Option<&KeyValue>) -> String {
    previous.map_or_else(
        || "put\n".to_owned(),
        |kv| format!("put\n  was {}\n", show_kv(kv)),
    )
}

fn show_outcome(outcome: &Outcome) -> String {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(refusal) => return format!("refused: {refusal:?}\n"),
    };
    let body = match &reply.body {
        Body::Nothing => "done\n".to_owned(),
        Body::Put(put) => show_put(put.prev_kv.as_ref()),
        Body::DeleteRange(delete) => show_deleted(delete.deleted, &delete.prev_kvs),
        Body::Txn(txn) => show_txn(txn),
        Body::LeaseGrant { lease, ttl_ms } => format!("lease={lease} ttl={ttl_ms}\n"),
        Body::SetAlarm { changed: true } => "changed\n".to_owned(),
        Body::SetAlarm { changed: false } => "as before\n".to_owned(),
    };
    format!("rev={} {body}", reply.revision)
}

fn show_txn(txn: &TxnReply) -> String {
    let mut out = format!("succeeded={}\n", txn.succeeded);
    for reply in &txn.replies {
        let body = match &reply.body {
            OpBody::Range(range) => show_range(range),
            OpBody::Put(put) => show_put(put.prev_kv.as_ref()),
            OpBody::DeleteRange(delete) => show_deleted(delete.deleted, &delete.prev_kvs),
            OpBody::Txn(txn) => show_txn(txn),
        };
        for (i, line) in format!("rev={} {body}", reply.revision).lines().enumerate() {
            let indent = if i == 0 { "  " } else { "    " };
            writeln!(out, "{indent}{line}").unwrap();
        }
    }
    out
}

fn number<N: std::str::FromStr<Err = std::num::ParseIntError>>(word: &str) -> N {
    word.parse()
        .unwrap_or_else(|error| panic!("{word:?} is not a number: {error}"))
}

fn string(word: &str) -> Bytes {
    if word == "\"\"" {
        return Bytes::new();
    }
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, length) = match &rest[at + 1..=at + 1] {
            "0" => (0, 2),
            "x" => (u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap(), 4),
            other => panic!("\\{other} is no escape"),
        };
        bytes.push(byte);
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Bytes::from(bytes)
}

fn parse_batch(words: &[&str]) -> Vec<Command> {
    match words {
        ["idle"] => Vec::new(),
        ["batch", words @ ..] => words
            .split(|word| *word == "|")
            .map(parse_command)
            .collect(),
        words => vec![parse_command(words)],
    }
}

fn parse_command(words: &[&str]) -> Command {
    match words {
        ["put", words @ ..] => Command::Put(parse_put(words)),
        ["del", words @ ..] => Command::DeleteRange(parse_delete(words)),
        ["txn", words @ ..] => {
            let mut words = words;
            let txn = parse_txn(&mut words);
            assert!(words.is_empty(), "{words:?} is left of a txn");
            Command::Txn(txn)
        }
        ["compact", revision] => Command::Compact {
            revision: number(revision),
        },
        ["grant", lease, ttl] => Command::LeaseGrant {
            lease: number(lease),
            ttl_ms: number(ttl),
        },
        ["revoke", lease] => Command::LeaseRevoke {
            lease: number(lease),
        },
        ["expire", leases @ ..] => Command::LeaseExpire {
            leases: leases.iter().map(|lease| number(lease)).collect(),
        },
        ["checkpoint", pairs @ ..] => {
            let pairs = pairs
                .iter()
                .map(|pair| pair.split_once('=').expect("LEASE=MS"));
            let remaining = pairs
                .map(|(lease, ms)| (number(lease), number(ms)))
                .collect();
            Command::LeaseCheckpoint { remaining }
        }
        ["quota", bytes] => Command::SetQuota {
            bytes: number(bytes),
        },
        ["step", events] => Command::SetCompactionStep {
            events: number(events),
        },
        ["level", level] => Command::SetLevel {
            level: number(level),
        },
        ["alarm", what @ ("raise" | "clear"), kind, member] => Command::SetAlarm {
            alarm: Alarm {
                kind: match *kind {
                    "nospace" => AlarmKind::NoSpace,
                    "corrupt" => AlarmKind::Corrupt,
                    other => panic!("no such alarm: {other:?}"),
                },
                member: MemberId(number(member)),
            },
            raised: *what == "raise",
        },
        ["reign", reign] => Command::Reign {
            reign: number(reign),
        },
        other => panic!("no such command: {other:?}"),
    }
}

fn parse_put(words: &[&str]) -> Put {
    let mut put = Put {
        key: string(words[0]),
        value: string(words[1]),
        ..Put::default()
    };
    for word in &words[2..] {
        match word.split_once('=') {
            Some(("lease", lease)) => put.lease = number(lease),
            None if *word == "prev" => put.prev_kv = true,
            None if *word == "ignore_value" => put.ignore_value = true,
            None if *word == "ignore_lease" => put.ignore_lease = true,
            Some(_) | None => panic!("a put has no {word}"),
        }
    }
    put
}

fn parse_delete(words: &[&str]) -> DeleteRange {
    let mut delete = DeleteRange {
        key: string(words[0]),
        ..DeleteRange::default()
    };
    for word in &words[1..] {
        if *word == "prev" {
            delete.prev_kv = true;
        } else {
            delete.range_end = string(word);
        }
    }
    delete
}

fn parse_range(words: &[&str]) -> Range {
    let mut range = Range {
        key: string(words[0]),
        ..Range::default()
    };
    let target = |name: &str| match name {
        "key" => Target::Key,
        "version" => Target::Version,
        "create" => Target::Create,
        "mod" => Target::Mod,
        "value" => Target::Value,
        other => panic!("nothing sorts by {other}"),
    };
    for word in &words[1..] {
        match word.split_once('=') {
            None if *word == "keys_only" => range.keys_only = true,
            None if *word == "count_only" => range.count_only = true,
            None => range.range_end = string(word),
            Some(("rev", revision)) => range.revision = number(revision),
            Some(("limit", limit)) => range.limit = number(limit),
            Some(("min_mod", bound)) => range.min_mod_revision = number(bound),
            Some(("max_mod", bound)) => range.max_mod_revision = number(bound),
            Some(("min_create", bound)) => range.min_create_revision = number(bound),
            Some(("max_create", bound)) => range.max_create_revision = number(bound),
            Some(("sort", name)) => range.target = target(name),
            Some(("asc", name)) => (range.order, range.target) = (Order::Ascend, target(name)),
            Some(("desc", name)) => (range.order, range.target) = (Order::Descend, target(name)),
            Some(_) => panic!("a get has no {word}"),
        }
    }
    range
}

/// Reads a transaction off the front of `words`, up to their end or a closing bracket.
fn parse_txn(words: &mut &[&str]) -> Txn {
    let mut txn = Txn::default();
    while let [part, rest @ ..] = *words {
        *words = rest;
        match *part {
            "if" => {
                while let [word, rest @ ..] = *words
                    && *word != "then"
                    && *word != "else"
                    && *word != ")"
                {
                    txn.compare.push(parse_compare(word));
                    *words = rest;
                }
            }
            "then" => txn.success = parse_ops(words),
            "else" => txn.failure = parse_ops(words),
            ")" => return txn,
            other => panic!("a txn has no {other}"),
        }
    }
    txn
}

fn parse_ops(words: &mut &[&str]) -> Vec<Op> {
    let mut ops = Vec::new();
    loop {
        if let ["(", "txn", rest @ ..] = *words {
            *words = rest;
            ops.push(Op::Txn(parse_txn(words)));
        } else {
            let length = words
                .iter()
                .position(|word| [";", ")", "else", "then"].contains(word));
            let (op, rest) = words.split_at(length.unwrap_or(words.len()));
            *words = rest;
            ops.push(match op {
                ["get", words @ ..] => Op::Range(parse_range(words)),
                ["put", words @ ..] => Op::Put(parse_put(words)),
                ["del", words @ ..] => Op::DeleteRange(parse_delete(words)),
                other => panic!("a txn has no operation {other:?}"),
            });
        }
        match *words {
            [";", rest @ ..] => *words = rest,
            _ => return ops,
        }
    }
}

fn parse_compare(word: &str) -> Compare {
    let (field, rest) = word.split_once('(').expect("FIELD(KEY)");
    let (keys, rest) = rest.split_once(')').expect("FIELD(KEY)");
    let (key, range_end) = keys.split_once(',').unwrap_or((keys, "\"\""));
    let at = rest
        .find(|c: char| !"=<>!".contains(c))
        .expect("an operand");
    let relation = match &rest[..at] {
        "=" => Relation::Equal,
        ">" => Relation::Greater,
        "<" => Relation::Less,
        "!=" => Relation::NotEqual,
        other => panic!("no such relation: {other}"),
    };
    let operand = &rest[at..];
    let operand = match field {
        "version" => Operand::Version(number(operand)),
        "create" => Operand::Create(number(operand)),
        "mod" => Operand::Mod(number(operand)),
        "lease" => Operand::Lease(number(operand)),
        "value" => Operand::Value(string(operand)),
        other => panic!("no such field: {other}"),
    };
    Compare {
        key: string(key),
        range_end: string(range_end),
        relation,
        operand,
    }
}
