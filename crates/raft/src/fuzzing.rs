//! Doors for fuzzing to the decoders of what the engine's members send each other.

use crate::types::{Position, decode_membership, encode_membership};
use crate::wire::{Appended, Received, Request, decode_voted, encode_voted};
use bytes::Bytes;

/// A request, an answer of any kind, and what a snapshot says of its place.
///
/// # Panics
/// If anything is not written as it was read.
pub fn message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(found) = Request::decode(&bytes) {
        let written = found.encode();
        let again = Request::decode(&written).map(|again| again.encode());
        assert_eq!(again.ok(), Some(written), "{found:?}");
    }
    if let Ok(found) = Appended::decode(&bytes) {
        assert_eq!(Appended::decode(&found.encode()).ok(), Some(found));
    }
    if let Ok(found) = Received::decode(&bytes) {
        assert_eq!(Received::decode(&found.encode()).ok(), Some(found));
    }
    if let Ok(found) = decode_voted(&bytes) {
        assert_eq!(decode_voted(&encode_voted(&found)).ok(), Some(found));
    }
    if let Ok(found) = Position::decode(&bytes) {
        let written = found.encode();
        let again = Position::decode(&written).map(|again| again.encode());
        assert_eq!(again.ok(), Some(written));
    }
    if let Ok(found) = decode_membership(&bytes) {
        let again = decode_membership(&encode_membership(&found));
        assert_eq!(again.ok(), Some(found));
    }
}
