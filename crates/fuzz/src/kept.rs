//! What is on a member's disk. The first byte tells which part it is.

use synod_storage::fuzzing;

/// Parts of the log.
pub(crate) fn log_file(bytes: &[u8]) {
    if let Some((which, content)) = bytes.split_first() {
        match which % 3 {
            0 => fuzzing::record(content),
            1 => fuzzing::group_header(content),
            _ => fuzzing::segment_header(content),
        }
    }
}

/// Parts of a snapshot, and whose disk it is.
pub(crate) fn snapshot_file(bytes: &[u8]) {
    if let Some((which, content)) = bytes.split_first() {
        match which % 3 {
            0 => fuzzing::manifest(content),
            1 => fuzzing::chunk_file(content),
            _ => fuzzing::identity(content),
        }
    }
}
