//! What is on a member's disk, where the first byte tells which part it is, or on etcd's.

use bytes::Bytes;
use synod_state::State;
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

/// A database of etcd's, or a snapshot of it.
pub(crate) fn etcd_file(bytes: &[u8]) {
    if let Ok(taken) = synod_import::read(Bytes::copy_from_slice(bytes)) {
        assert!(taken.keys.len() <= bytes.len(), "{} keys", taken.keys.len());
        let synod_import::Taken {
            keys,
            leases,
            revision,
            ..
        } = taken;
        // Whether a state can begin with them is another matter.
        drop(State::from_foreign(revision, keys, leases, 1));
    }
}
