//! `synod snapshot restore`.

use super::file;
use crate::exit::{Exit, Failure};
use crate::fill::Target;
use std::path::Path;
use synod_state::anew::Beginning;

/// Makes a data directory that begins with the state in a file.
///
/// # Errors
/// The directory cannot be started on then, and this can be done again.
pub(super) async fn run(path: &Path, target: &Target, mark_compacted: bool) -> Result<(), Failure> {
    let config = target.config()?;
    let file::Read { mut state, .. } = file::read(path)?;
    let beginning = Beginning {
        bump_revision: target.bump_revision,
        mark_compacted,
    };
    state
        .begin_anew(beginning)
        .map_err(|error| Failure::new(Exit::Usage, format!("--bump-revision: {error}")))?;
    target.fill(&config, state.root(), "restored").await
}
