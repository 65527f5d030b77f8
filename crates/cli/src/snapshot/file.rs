//! Reading what `snapshot save` wrote.

use crate::exit::{Exit, Failure};
use crate::outside;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::path::Path;
use synod_state::archive::{MAGIC, Unpacked};
use synod_state::{Chunk, KeyRange, LoadError, Root, State};

/// Length of the digest behind the content.
pub(super) const DIGEST_BYTES: usize = 32;

/// A file that was verified.
pub(super) struct Read {
    /// What it holds.
    pub(super) state: State,
    /// How large the file is.
    pub(super) bytes: u64,
}

/// Reads a file and verifies all of it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path) -> Result<Read, Failure> {
    let at = path.display();
    let damaged = |what: String| Failure::new(Exit::Corrupt, format!("{at}: {what}"));
    let content = outside::read_bytes(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {at}: {error}")))?;
    let content = Bytes::from(content);
    let bytes = content.len() as u64;
    if !is_archive(&content) {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{at} is not a file that was saved from Synod; `synod import` takes those that \
                 were saved from etcd"
            ),
        ));
    }
    let Some(end) = content.len().checked_sub(DIGEST_BYTES) else {
        return Err(damaged(format!("it ends after {bytes} bytes")));
    };
    let archive = content.slice(..end);
    if Sha256::digest(&archive)[..] != content[end..] {
        return Err(damaged(
            "its digest does not fit: it was changed, or not copied to its end; take another copy"
                .to_owned(),
        ));
    }
    match load(archive) {
        Ok(state) => Ok(Read { state, bytes }),
        Err(error @ LoadError::UnknownLevel { .. }) => {
            Err(Failure::new(Exit::Foreign, format!("{at}: {error}")))
        }
        Err(error @ (LoadError::Corrupt(_) | LoadError::Mismatch { .. })) => {
            let cause = error.source().map(|cause| format!(": {cause}"));
            Err(damaged(format!("{error}{}", cause.unwrap_or_default())))
        }
    }
}

/// It begins as what was saved from Synod does.
pub(crate) fn is_archive(content: &[u8]) -> bool {
    content.starts_with(MAGIC)
}

fn load(archive: Bytes) -> Result<State, LoadError> {
    let Unpacked { header, chunks } = Unpacked::read(archive)?;
    let chunks = chunks.into_iter().map(Chunk::decode);
    let chunks = chunks.collect::<Result<_, _>>()?;
    State::load(header, chunks, synod_node::HIGHEST_LEVEL)
}

/// How many keys exist.
pub(crate) fn live_keys(root: &Root) -> usize {
    // From the least key on.
    let zero = Bytes::from_static(b"\0");
    root.scan(KeyRange::new(&zero, &zero), 0)
        .expect("the present can be read")
        .count()
}
