//! From a message of an answer to the lines that stand for it in a case.
//!
//! Every field that is set is shown. What belongs to one run is given a name: the ids of member
//! and cluster and the term, which must stay the same throughout a case, and leases whose id the
//! server has chosen. Revisions, counts and texts are shown as they are.

use crate::{Outcome, tokens};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

/// The names of what belongs to one run.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Leases whose id the server has chosen, as `$1`, `$2`, in the order of their grants.
    leases: Vec<u64>,
    /// What stands at the head of the answers.
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    cluster: u64,
    member: u64,
    term: u64,
}

impl Head {
    const BARE: Self = Self {
        cluster: 0,
        member: 0,
        term: 0,
    };
}

/// How one answer is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// Repeated fields in which the server is free to choose an order.
    pub(crate) unordered: Vec<String>,
    /// If there are any, only these fields of the outermost message are shown.
    pub(crate) only: Vec<String>,
}

impl Names {
    /// Names the lease that the server has chosen.
    pub(crate) fn bind_lease(&mut self, id: u64) {
        self.leases.push(id);
    }

    /// Whether these stand at the head of all answers of the case, this being the first or not.
    pub(crate) fn is_head(&mut self, cluster: u64, member: u64, term: u64) -> bool {
        let head = Head {
            cluster,
            member,
            term,
        };
        *self.head.get_or_insert(head) == head
    }

    /// The name of a number that belongs to one run, in a field of this name.
    pub(crate) fn name_of(&self, field: &str, number: i128) -> Option<String> {
        let shown = match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) if matches!(field, "ID" | "lease") => self.lease(field, number),
            (_, Ok(number)) => self.member(field, number),
            (_, Err(_)) => return None,
        };
        shown.starts_with('$').then_some(shown)
    }

    /// A number, or the name of one.
    pub(crate) fn number(&self, text: &str) -> Outcome<u64> {
        let Some(name) = text.strip_prefix('$') else {
            let signed = text.parse().map(i64::cast_unsigned);
            return signed
                .or_else(|_| text.parse())
                .map_err(|_| "is no number of 64 bits".into());
        };
        let head = self.head.unwrap_or(Head::BARE);
        let lease = |name: &str| {
            let at: usize = name.parse().ok()?;
            self.leases.get(at.checked_sub(1)?).copied()
        };
        match name {
            "member" => Ok(head.member),
            "cluster" => Ok(head.cluster),
            name => lease(name).ok_or_else(|| format!("nothing is named ${name} yet")),
        }
    }

    /// Replaces the names of leases by their ids as locks and elections write them: `$1` in a key.
    pub(crate) fn spell_out(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (at, id) in self.leases.iter().enumerate() {
            text = text.replace(&format!("${}", at + 1), &format!("{id:x}"));
        }
        text
    }

    /// Replaces the names of leases by their ids as JSON writes them.
    pub(crate) fn number_leases(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (at, id) in self.leases.iter().enumerate() {
            text = text.replace(&format!("${}", at + 1), &id.to_string());
        }
        text
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let mut text = tokens::text(bytes);
        for (at, id) in self.leases.iter().enumerate() {
            text = text.replace(&format!("{id:x}"), &format!("${}", at + 1));
        }
        text
    }

    /// The lines of a message; one that says nothing is `Ok`.
    pub(crate) fn lines(&mut self, message: &DynamicMessage, manner: &Manner) -> Vec<String> {
        let mut lines = Vec::new();
        self.write(message, manner, "", "", &mut lines);
        if lines.is_empty() {
            lines.push("Ok".into());
        }
        lines
    }

    fn write(
        &mut self,
        message: &DynamicMessage,
        manner: &Manner,
        indent: &str,
        name: &str,
        lines: &mut Vec<String>,
    ) {
        let mut line = format!("{indent}{name}");
        let mut below = Vec::new();
        let deeper = format!("{indent}  ");
        for (field, value) in shown(message, &manner.only) {
            if field.is_list() && is_message(&field) {
                let mut blocks = Vec::new();
                for item in value.as_list().unwrap_or_default() {
                    let mut block = Vec::new();
                    let inner = item.as_message().expect("a list of messages has messages");
                    let label = format!("{}:", field.name());
                    self.write(inner, &within(manner), &deeper, &label, &mut block);
                    blocks.push(block);
                }
                if manner.unordered.iter().any(|name| name == field.name()) {
                    blocks.sort();
                }
                below.extend(blocks.into_iter().flatten());
            } else if let Value::Message(inner) = &value
                && !is_head(inner)
                && has_lists(inner)
            {
                let label = format!("{}:", field.name());
                self.write(inner, &within(manner), &deeper, &label, &mut below);
            } else {
                let mut values = self.inline(message, &field, &value);
                if manner.unordered.iter().any(|name| name == field.name()) {
                    values.sort();
                }
                for value in values {
                    push_word(&mut line, &value);
                }
            }
        }
        for unknown in message.unknown_fields() {
            push_word(&mut line, &format!("unknown-field-{}", unknown.number()));
        }
        if !line.trim().is_empty() {
            lines.push(line);
        }
        lines.extend(below);
    }

    /// A field as words within a line.
    fn inline(
        &mut self,
        message: &DynamicMessage,
        field: &FieldDescriptor,
        value: &Value,
    ) -> Vec<String> {
        let name = field.name();
        match value {
            Value::List(values) => {
                let words = values.iter().map(|it| self.inline(message, field, it));
                words.collect::<Vec<_>>().concat()
            }
            Value::Bool(true) => vec![name.to_owned()],
            Value::Message(inner) if is_head(inner) => vec![self.head(inner)],
            Value::Message(inner) => {
                let mut line = String::new();
                for (field, value) in shown(inner, &[]) {
                    for word in self.inline(inner, &field, &value) {
                        push_word(&mut line, &word);
                    }
                }
                vec![format!("{name}={{{line}}}")]
            }
            Value::I64(left) if is_time_left(message, name) && *left > 0 => {
                vec![format!("{name}<={left}")]
            }
            Value::Bool(false)
            | Value::I32(_)
            | Value::I64(_)
            | Value::U32(_)
            | Value::U64(_)
            | Value::F32(_)
            | Value::F64(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::EnumNumber(_)
            | Value::Map(_) => {
                vec![format!("{name}={}", self.scalar(field, value))]
            }
        }
    }

    fn scalar(&self, field: &FieldDescriptor, value: &Value) -> String {
        match value {
            Value::I64(number) => self.lease(field.name(), *number),
            Value::U64(number) => self.member(field.name(), *number),
            Value::Bool(flag) => flag.to_string(),
            Value::I32(number) => number.to_string(),
            Value::U32(number) => number.to_string(),
            Value::F32(number) => number.to_string(),
            Value::F64(number) => number.to_string(),
            // Texts are sentences: they keep their spaces.
            Value::String(text) => format!("{text:?}"),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::EnumNumber(number) => {
                let kind = field.kind();
                let name = kind.as_enum().and_then(|it| it.get_value(*number));
                name.map_or(number.to_string(), |value| value.name().to_owned())
            }
            Value::Message(_) | Value::List(_) | Value::Map(_) => {
                panic!("{} is no scalar: {value:?}", field.name())
            }
        }
    }

    fn lease(&self, field: &str, number: i64) -> String {
        let is_lease = matches!(field, "ID" | "lease");
        let named = |lease: &u64| is_lease && *lease == number.cast_unsigned();
        match self.leases.iter().position(named) {
            Some(at) => format!("${}", at + 1),
            None => number.to_string(),
        }
    }

    fn member(&self, field: &str, number: u64) -> String {
        let is_member = matches!(field, "ID" | "member_id" | "memberID" | "leader");
        match self.head {
            Some(head) if is_member && head.member == number => "$member".into(),
            Some(_) | None => number.to_string(),
        }
    }

    /// `header=REVISION` for a whole one, the same ids and term throughout the case;
    /// `header=REVISION(bare)` for one without ids and term; anything else is shown.
    fn head(&mut self, header: &DynamicMessage) -> String {
        let number = |name: &str| {
            let value = header.get_field_by_name(name);
            let value = value.expect("a header has ids, a revision and a term");
            value.as_u64().unwrap_or_default()
        };
        let revision = header.get_field_by_name("revision");
        let revision = revision.and_then(|value| value.as_i64()).unwrap_or(0);
        let head = Head {
            cluster: number("cluster_id"),
            member: number("member_id"),
            term: number("raft_term"),
        };
        if head == Head::BARE {
            return format!("header={revision}(bare)");
        }
        if head.cluster != 0 && head.member != 0 && head.term != 0 {
            let known = *self.head.get_or_insert(head);
            if known == head {
                return format!("header={revision}");
            }
        }
        format!("header={revision}({head:?}, not {:?})", self.head)
    }
}

fn push_word(line: &mut String, word: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(word);
}

/// What stands inside is shown in full.
fn within(manner: &Manner) -> Manner {
    Manner {
        unordered: manner.unordered.clone(),
        only: Vec::new(),
    }
}

/// The fields that are set, in the order of their numbers, and enums even if they are not: their
/// first value has a name too.
fn shown(message: &DynamicMessage, only: &[String]) -> Vec<(FieldDescriptor, Value)> {
    let mut fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let is_shown = |field: &FieldDescriptor| {
        let is_asked = only.is_empty() || only.iter().any(|name| name == field.name());
        let is_enum = field.kind().as_enum().is_some() && !field.is_list();
        is_asked && (message.has_field(field) || is_enum)
    };
    fields.retain(is_shown);
    let with_value = |field: FieldDescriptor| {
        let value = message.get_field(&field).into_owned();
        (field, value)
    };
    fields.into_iter().map(with_value).collect()
}

fn is_message(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(_) => true,
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Bool
        | Kind::String
        | Kind::Bytes
        | Kind::Enum(_) => false,
    }
}

fn is_head(message: &DynamicMessage) -> bool {
    message.descriptor().name() == "ResponseHeader"
}

/// Time goes on between the answer and its question: less of it may be left than was recorded.
fn is_time_left(message: &DynamicMessage, field: &str) -> bool {
    message.descriptor().name() == "LeaseTimeToLiveResponse" && field == "TTL"
}

/// Some list of messages is in it, at any depth: then it has lines of its own.
fn has_lists(message: &DynamicMessage) -> bool {
    shown(message, &[]).iter().any(|(field, value)| {
        (field.is_list() && is_message(field)) || value.as_message().is_some_and(has_lists)
    })
}
