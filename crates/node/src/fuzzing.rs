//! Doors for fuzzing to the decoders of what members ask each other.

use crate::messages::{Ask, Forwarding, LeaseAnswer, Life, Times, decode_barrier, encode_barrier};
use crate::transfer::Contents;
use bytes::Bytes;
use std::time::Duration;

/// A question, an answer of any kind, and a snapshot's table of contents.
///
/// # Panics
/// If anything is not written as it was read.
pub fn message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(found) = Ask::decode(bytes.clone()) {
        assert_eq!(Ask::decode(found.encode()).as_ref(), Ok(&found));
    }
    if let Ok(found) = Forwarding::decode(bytes.clone()) {
        assert_eq!(Forwarding::decode(found.encode()), Ok(found));
    }
    if let Ok(found) = decode_barrier(bytes.clone()) {
        assert_eq!(decode_barrier(encode_barrier(found)), Ok(found));
    }
    lease_answer::<Duration>(&bytes);
    lease_answer::<Times>(&bytes);
    if let Ok(found) = Contents::decode(bytes.clone()) {
        assert_eq!(found.encode(), bytes);
    }
}

fn lease_answer<T: Life + std::fmt::Debug + PartialEq>(bytes: &Bytes) {
    if let Ok(found) = LeaseAnswer::<T>::decode(bytes.clone()) {
        let again = LeaseAnswer::<T>::decode(found.encode());
        assert_eq!(again.as_ref(), Ok(&found));
    }
}
