//! A door for fuzzing to the decoder of what members send each other.

use crate::frame::Frame;
use bytes::{BufMut as _, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

/// What comes after a frame's checksum, which is made right here.
///
/// # Panics
/// If a frame is not written as it was read.
pub fn frame(content: &[u8]) {
    let mut bytes = BytesMut::new();
    bytes.put_u64_le(xxh3_64(content));
    bytes.put_slice(content);
    let bytes = Bytes::from(bytes);
    let Some(found) = Frame::decode(&bytes) else {
        return;
    };
    assert_eq!(Frame::decode(&found.encode()).as_ref(), Some(&found));
}
