//! What is replicated.

use bytes::Bytes;
use synod_node::HIGHEST_LEVEL;
use synod_state::archive::Unpacked;
use synod_state::command::{Batch, Command};
use synod_state::{Chunk, State};

/// An entry of the log: there is one encoding for each, and what can be read can be applied.
pub(crate) fn command(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(batch) = Batch::decode(bytes.clone()) else {
        return;
    };
    assert_eq!(batch.encode(), bytes, "{batch:?}");
    // A level that this build does not know stops the member on purpose, and what is senseless is
    // never proposed.
    let is_sound = batch.commands.iter().all(|command| {
        let is_known = !matches!(command, Command::SetLevel { level } if *level > HIGHEST_LEVEL);
        is_known && command.check(OPS_MAX).is_ok()
    });
    if is_sound {
        let mut state = State::new(HIGHEST_LEVEL);
        let _applied = state.apply(1, &batch);
        reload(&state);
    }
}

const OPS_MAX: usize = 128;

/// A state that is written is read as the same.
fn reload(state: &State) {
    let root = state.root();
    let chunks = root.chunks(64).into_iter().map(|chunk| chunk.encode());
    let chunks = chunks.map(Chunk::decode).collect::<Result<Vec<_>, _>>();
    let chunks = chunks.unwrap_or_else(|error| panic!("a chunk that was written: {error}"));
    let loaded = State::load(root.header(), chunks, HIGHEST_LEVEL)
        .unwrap_or_else(|error| panic!("a state that was written: {error}"));
    assert_eq!(loaded.root().hash(), root.hash());
}

/// The header of a snapshot without chunks, and a chunk.
pub(crate) fn snapshot(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let _state = State::load(bytes.clone(), Vec::new(), HIGHEST_LEVEL);
    if let Ok(chunk) = Chunk::decode(bytes) {
        let header = State::new(HIGHEST_LEVEL).root().header();
        let _refused = State::load(header, vec![chunk], HIGHEST_LEVEL);
    }
}

/// A snapshot that was taken out of a member.
pub(crate) fn archive(bytes: &[u8]) {
    let Ok(Unpacked { header, chunks }) = Unpacked::read(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let chunks = chunks.into_iter().map(Chunk::decode);
    if let Ok(chunks) = chunks.collect::<Result<Vec<_>, _>>() {
        let _state = State::load(header, chunks, HIGHEST_LEVEL);
    }
}
