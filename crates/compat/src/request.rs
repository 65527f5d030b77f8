//! From the words of a request to its message.

use crate::answer::Names;
use crate::{Outcome, tokens};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
};

/// The message that `words` say: `field=value`, `flag` for `flag=true`, `field={…}` for a message
/// in a message. A field that is said again, and may be, has several values.
///
/// A transaction may be said as `if mod(a)=3 value(b,c)!=x then Put key=a … ; Range key=b else …`
/// with nested ones as `Txn {if … then … else …}`, and with `nothing` for an operation that is
/// none.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    words: &[&str],
    names: &Names,
) -> Outcome<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.name() == "TxnRequest" && words.first().is_some_and(|word| is_clause(word)) {
        transaction(&mut message, words, names)?;
        return Ok(message);
    }
    for word in words {
        let (name, text) = match word.split_once('=') {
            Some((name, text)) => (name, Some(text)),
            None => (*word, None),
        };
        let field = field(descriptor, name)?;
        let value = match text {
            Some(text) => {
                value(&field.kind(), text, names).map_err(|why| format!("{name}={text}: {why}"))?
            }
            None if field.kind() == Kind::Bool => Value::Bool(true),
            None => return Err(format!("{name} wants a value")),
        };
        add(&mut message, &field, value);
    }
    Ok(message)
}

fn field(descriptor: &MessageDescriptor, name: &str) -> Outcome<FieldDescriptor> {
    let field = descriptor.get_field_by_name(name);
    field.ok_or_else(|| format!("{} has no field {name}", descriptor.name()))
}

fn add(message: &mut DynamicMessage, field: &FieldDescriptor, value: Value) {
    if field.is_list() {
        let list = message.get_field_mut(field).as_list_mut();
        list.expect("a repeated field is a list").push(value);
    } else {
        message.set_field(field, value);
    }
}

fn value(kind: &Kind, text: &str, names: &Names) -> Outcome<Value> {
    let number = |text: &str| names.number(text);
    Ok(match kind {
        Kind::Bool => Value::Bool(text.parse().map_err(|_| "is neither true nor false")?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(text.parse().map_err(|_| "is no number of 32 bits")?)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number(text)?.cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => {
            Value::U32(text.parse().map_err(|_| "is no number of 32 bits")?)
        }
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number(text)?),
        Kind::Double | Kind::Float => return Err("no request has fractions".into()),
        Kind::String => {
            let bytes = tokens::bytes(&names.spell_out(text))?;
            Value::String(String::from_utf8(bytes.into()).map_err(|_| "is no text")?)
        }
        Kind::Bytes => Value::Bytes(tokens::bytes(&names.spell_out(text))?),
        Kind::Message(inner) => {
            let words = text.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
            let words = tokens::split(words.ok_or("a message stands in braces")?)?;
            Value::Message(message(inner, &words, names)?)
        }
        Kind::Enum(names) => Value::EnumNumber(match names.get_value_by_name(text) {
            Some(value) => value.number(),
            None => text.parse().map_err(|_| "is no name and no number")?,
        }),
    })
}

fn is_clause(word: &str) -> bool {
    matches!(word, "if" | "then" | "else")
}

fn transaction(message: &mut DynamicMessage, words: &[&str], names: &Names) -> Outcome {
    let mut rest = words;
    while let Some((clause, after)) = rest.split_first() {
        let end = after.iter().position(|word| is_clause(word));
        let (inside, next) = after.split_at(end.unwrap_or(after.len()));
        rest = next;
        match *clause {
            "if" => {
                let list = field(&message.descriptor(), "compare")?;
                for word in inside {
                    let compare = compare(&list, word, names)?;
                    add(message, &list, compare);
                }
            }
            branch => {
                let name = if branch == "then" {
                    "success"
                } else {
                    "failure"
                };
                let list = field(&message.descriptor(), name)?;
                for operation in inside.split(|word| *word == ";") {
                    if !operation.is_empty() {
                        let operation = self::operation(&list, operation, names)?;
                        add(message, &list, operation);
                    }
                }
            }
        }
    }
    Ok(())
}

/// `mod(a)=3`, `value(a,c)!=x`, or any fields as `compare={…}`.
fn compare(list: &FieldDescriptor, word: &str, names: &Names) -> Outcome<Value> {
    if let Some(raw) = word.strip_prefix("compare=") {
        return value(&list.kind(), raw, names);
    }
    let parts = word.split_once('(').and_then(|(target, rest)| {
        let (keys, rest) = rest.split_once(')')?;
        let relations = [
            ("!=", "NOT_EQUAL"),
            ("=", "EQUAL"),
            (">", "GREATER"),
            ("<", "LESS"),
        ];
        let (operand, result) = relations
            .into_iter()
            .find_map(|(sign, result)| Some((rest.strip_prefix(sign)?, result)))?;
        Some((target, keys, result, operand))
    });
    let (target, keys, result, operand) =
        parts.ok_or_else(|| format!("{word} compares nothing"))?;
    let (key, range_end) = keys.split_once(',').unwrap_or((keys, "\"\""));
    let operand_field = match target {
        "version" => "version",
        "create" => "create_revision",
        "mod" => "mod_revision",
        "value" => "value",
        "lease" => "lease",
        other => return Err(format!("there is no target {other}")),
    };
    let target = target.to_uppercase();
    let said = format!(
        "{{target={target} result={result} key={key} range_end={range_end} \
         {operand_field}={operand}}}"
    );
    value(&list.kind(), &said, names)
}

fn operation(list: &FieldDescriptor, words: &[&str], names: &Names) -> Outcome<Value> {
    let (name, fields) = words.split_first().ok_or("an operation has a name")?;
    let kind = match *name {
        "nothing" => return value(&list.kind(), "{}", names),
        "Range" => "request_range",
        "Put" => "request_put",
        "DeleteRange" => "request_delete_range",
        "Txn" => "request_txn",
        other => return Err(format!("there is no operation {other}")),
    };
    let fields = fields.join(" ");
    let fields = match fields.strip_prefix('{') {
        Some(_) if kind == "request_txn" => fields,
        Some(_) | None => format!("{{{fields}}}"),
    };
    value(&list.kind(), &format!("{{{kind}={fields}}}"), names)
}
