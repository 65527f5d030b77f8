//! `synod snapshot`: the state of a member in one file, and a new member from such a file.

mod file;
mod restore;
mod save;

pub(crate) use file::{is_archive, live_keys};

use crate::client::{ClientArgs, Form};
use crate::exit::Failure;
use crate::fill::Target;
use crate::{outside, progress};
use serde_json::json;
use std::path::PathBuf;

/// Backups: a member's whole state as one file, and a new cluster from it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Write the state of a member to FILE, which must not exist
    Save {
        #[command(flatten)]
        client: ClientArgs,
        /// Where to; while it is not complete, FILE.part
        file: PathBuf,
    },
    /// Verify FILE and say what it holds: hash, revision, keys, size
    Status {
        /// A file that `snapshot save` wrote
        file: PathBuf,
        /// `simple` or `json`
        #[arg(
            hide_possible_values = true,
            short = 'o',
            long = "output",
            visible_short_alias = 'w',
            alias = "write-out",
            default_value = "simple",
            value_name = "FORM"
        )]
        form: Form,
    },
    /// Make a data directory from FILE, for the first member of a new cluster
    Restore {
        /// A file that `snapshot save` wrote
        file: PathBuf,
        #[command(flatten)]
        target: Target,
        /// Forget history, so that watches and caches that know the old cluster read anew
        #[arg(
            long,
            value_name = "true|false",
            default_value_t = true,
            default_missing_value = "true",
            num_args = 0..=1,
            require_equals = true,
            action = clap::ArgAction::Set
        )]
        mark_compacted: bool,
    },
}

impl Snapshot {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Verb::Save { client, file } => save::run(client, file).await,
            Verb::Status { file, form } => {
                let read = file::read(file)?;
                let root = read.state.root();
                // As the member itself answers when it is asked for its hash.
                let hash = u32::try_from(root.hash() & 0xffff_ffff).expect("32 bits are 32 bits");
                let (keys, revision) = (live_keys(&root), root.revision());
                match form {
                    Form::Simple => outside::say(format_args!(
                        "{hash:x}, {revision}, {keys}, {}",
                        progress::size(read.bytes)
                    )),
                    Form::Json => outside::say(json!({
                        "hash": hash,
                        "revision": revision,
                        "totalKey": keys,
                        "totalSize": read.bytes,
                    })),
                }
                Ok(())
            }
            Verb::Restore {
                file,
                target,
                mark_compacted,
            } => restore::run(file, target, *mark_compacted).await,
        }
    }
}
