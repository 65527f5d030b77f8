//! Messages as JSON, by the rules of protobuf as etcd's gateway follows them.
//!
//! What is written: the names of the protocol files, 64-bit numbers and bytes (base64) as strings,
//! enums by name, and nothing for a field that has its zero value. What is read is more: names in
//! camel case, numbers with or without quotes, enums by number, base64 of either alphabet with or
//! without padding; what is not known is passed over.

use base64::DecodeError;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value,
};
use serde_json::Value as Json;
use std::io::Write as _;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD_READ: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE_READ: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const GROWS: &str = "a vector takes all that is written to it";

/// Appends a message.
pub(crate) fn write(message: &DynamicMessage, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (field, value) in message.fields() {
        out.push(before);
        before = b',';
        write_text(field.name(), out);
        out.push(b':');
        write_value(&field.kind(), value, out);
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Appends a text in quotes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect(GROWS);
}

fn write_value(kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(flag) => write!(out, "{flag}").expect(GROWS),
        Value::I32(number) => write!(out, "{number}").expect(GROWS),
        Value::U32(number) => write!(out, "{number}").expect(GROWS),
        Value::I64(number) => write!(out, "\"{number}\"").expect(GROWS),
        Value::U64(number) => write!(out, "\"{number}\"").expect(GROWS),
        Value::String(text) => write_text(text, out),
        Value::Bytes(bytes) => write!(out, "\"{}\"", STANDARD.encode(bytes)).expect(GROWS),
        Value::EnumNumber(number) => {
            match kind.as_enum().and_then(|names| names.get_value(*number)) {
                Some(name) => write_text(name.name(), out),
                None => write!(out, "{number}").expect(GROWS),
            }
        }
        Value::Message(message) => write(message, out),
        Value::List(values) => {
            let mut before = b'[';
            for value in values {
                out.push(before);
                before = b',';
                write_value(kind, value, out);
            }
            if before == b'[' {
                out.push(b'[');
            }
            out.push(b']');
        }
        Value::F32(_) | Value::F64(_) | Value::Map(_) => {
            panic!("no message of ours has fractions or maps: {value:?}")
        }
    }
}

/// Reads one message from the whole of `json`.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn read(descriptor: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, String> {
    let json = serde_json::from_slice(json).map_err(|error| {
        if error.is_eof() {
            // So says etcd.
            "unexpected EOF".to_owned()
        } else {
            error.to_string()
        }
    })?;
    if json == Json::Null {
        return Ok(DynamicMessage::new(descriptor.clone()));
    }
    read_message(descriptor, json)
}

fn read_message(descriptor: &MessageDescriptor, json: Json) -> Result<DynamicMessage, String> {
    let Json::Object(members) = json else {
        return Err(format!(
            "a {} is a JSON object, not {json}",
            descriptor.name()
        ));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, json) in members {
        let by_name = descriptor.get_field_by_name(&name);
        let Some(field) = by_name.or_else(|| descriptor.get_field_by_json_name(&name)) else {
            continue;
        };
        if json == Json::Null {
            continue;
        }
        let value = if field.is_list() {
            let Json::Array(items) = json else {
                return Err(format!("{name} is a JSON array, not {json}"));
            };
            let values = items.into_iter().map(|item| read_value(&field, item));
            Value::List(values.collect::<Result<_, _>>()?)
        } else {
            read_value(&field, json)?
        };
        message.set_field(&field, value);
    }
    Ok(message)
}

fn read_value(field: &FieldDescriptor, json: Json) -> Result<Value, String> {
    let misfit = |wanted: &str, json: &Json| format!("{} is {wanted}, not {json}", field.name());
    match field.kind() {
        Kind::Bool => match json.as_bool() {
            Some(flag) => Ok(Value::Bool(flag)),
            None => Err(misfit("true or false", &json)),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number(&json)
            .and_then(|number| i32::try_from(number).ok())
            .map(Value::I32)
            .ok_or_else(|| misfit("a number of 32 bits", &json)),
        Kind::Uint32 | Kind::Fixed32 => number(&json)
            .and_then(|number| u32::try_from(number).ok())
            .map(Value::U32)
            .ok_or_else(|| misfit("a number of 32 bits without sign", &json)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number(&json)
            .and_then(|number| i64::try_from(number).ok())
            .map(Value::I64)
            .ok_or_else(|| misfit("a number of 64 bits", &json)),
        Kind::Uint64 | Kind::Fixed64 => number(&json)
            .and_then(|number| u64::try_from(number).ok())
            .map(Value::U64)
            .ok_or_else(|| misfit("a number of 64 bits without sign", &json)),
        Kind::String => match json.as_str() {
            Some(text) => Ok(Value::String(text.to_owned())),
            None => Err(misfit("a text", &json)),
        },
        Kind::Bytes => match json.as_str() {
            Some(text) => Ok(Value::Bytes(bytes(text)?.into())),
            None => Err(misfit("bytes in base64", &json)),
        },
        Kind::Message(inner) => Ok(Value::Message(read_message(&inner, json)?)),
        Kind::Enum(names) => enumerated(&names, &json),
        Kind::Double | Kind::Float => panic!("no message of ours has fractions: {field:?}"),
    }
}

/// A whole number, with or without quotes.
fn number(json: &Json) -> Option<i128> {
    match json {
        Json::Number(number) => {
            let signed = number.as_i64().map(i128::from);
            signed.or_else(|| number.as_u64().map(i128::from))
        }
        Json::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { text.parse().ok() } else { None }
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

fn enumerated(names: &EnumDescriptor, json: &Json) -> Result<Value, String> {
    let named = json.as_str().and_then(|name| names.get_value_by_name(name));
    let number = named.map(|value| value.number()).or_else(|| {
        let number = number(json)?;
        i32::try_from(number).ok()
    });
    // So says etcd.
    number.map(Value::EnumNumber).ok_or_else(|| {
        let (json, full_name) = (json.to_string(), names.full_name());
        format!("unknown value {json:?} for enum {full_name}")
    })
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let engine = if text.contains(['-', '_']) {
        &URL_SAFE_READ
    } else {
        &STANDARD_READ
    };
    engine.decode(text).map_err(|error| {
        // So says etcd.
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

#[cfg(test)]
mod tests;
