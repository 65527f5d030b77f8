//! The protobuf wire format, as far as etcd's records need it.

use bytes::Bytes;

/// A field of a message.
pub(crate) enum Field {
    /// A number.
    Number(u64),
    /// A byte string.
    Bytes(Bytes),
    /// Of a kind that none of etcd's records has.
    Other,
}

/// Takes a message apart: each field with its number. `None` if it is none.
pub(crate) fn fields(mut message: Bytes) -> Option<Vec<(u64, Field)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)?),
            1 => skip(&mut message, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                if length > message.len() {
                    return None;
                }
                Field::Bytes(message.split_to(length))
            }
            5 => skip(&mut message, 4)?,
            _ => return None,
        };
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn skip(message: &mut Bytes, length: usize) -> Option<Field> {
    if length > message.len() {
        return None;
    }
    let _skipped = message.split_to(length);
    Some(Field::Other)
}

/// At most ten bytes, seven bits each, the lowest first.
fn varint(message: &mut Bytes) -> Option<u64> {
    let mut number: u64 = 0;
    for place in 0..10 {
        let byte = *message.first()?;
        let _taken = message.split_to(1);
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
