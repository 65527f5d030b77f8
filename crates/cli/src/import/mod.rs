//! `synod import`: a new cluster from what an etcd holds.

mod live;

use crate::exit::{Exit, Failure};
use crate::fill::Target;
use crate::outside;
use crate::snapshot::is_archive;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use synod_import::etcd::Left;
use synod_import::{ReadError, Taken};
use synod_state::anew::{Beginning, ForeignKey};
use synod_state::{KeyRange, Root, State};

/// Make a data directory from an etcd: a running one, or a file that `etcdctl
/// snapshot save` wrote. Keys keep their revisions, versions and leases; history,
/// users and roles are not taken.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Import {
    /// A file that `etcdctl snapshot save` wrote
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    file: Option<PathBuf>,
    /// A running etcd instead; stop its clients' writes first, or lose the last ones
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// How long the running etcd may take for each answer
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = crate::config::duration
    )]
    timeout: Duration,
    /// Accept a copy of etcd's file `member/snap/db`, which has no digest
    #[arg(long)]
    skip_hash_check: bool,
    #[command(flatten)]
    target: Target,
}

impl Import {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let Self {
            file,
            from,
            timeout,
            skip_hash_check,
            target,
        } = self;
        let config = target.config()?;
        if target.bump_revision == 0 {
            return Err(Failure::new(
                Exit::Usage,
                "--bump-revision: must be above 0: the new cluster's history is not etcd's",
            ));
        }
        let (taken, source) = match (file, from) {
            (Some(file), _) => (read_file(file, *skip_hash_check)?, None),
            (None, Some(from)) => {
                let source = live::Source::new(from, *timeout)?;
                (source.read().await?, Some(source))
            }
            (None, None) => unreachable!("one of them is required"),
        };
        let Taken {
            keys,
            leases,
            revision,
            left,
            has_digest: _,
        } = taken;
        let count = keys.len();
        let mut sum = Sum::default();
        keys.iter().for_each(|key| sum.add(key));
        let sum = sum.finish();
        let state = State::from_foreign(revision, keys, leases, synod_node::HIGHEST_LEVEL);
        let mut state = state.map_err(|error| Failure::new(Exit::Corrupt, error))?;
        let beginning = Beginning {
            bump_revision: target.bump_revision,
            mark_compacted: true,
        };
        state
            .begin_anew(beginning)
            .map_err(|error| Failure::new(Exit::Usage, format!("--bump-revision: {error}")))?;
        let root = state.root();
        drop(state);
        let meant = Contents { count, sum };
        check(&meant, &of_root(&root), "what was made of it")?;
        if let Some(source) = source {
            let again = source.read_again(revision, &root).await?;
            check(&meant, &again, "what it answers when it is read again")?;
        }
        target.fill(&config, root, "imported").await?;
        say_left(left);
        Ok(())
    }
}

/// Says what is not in the new cluster.
fn say_left(left: Left) {
    let Left {
        changes,
        keys_without_lease,
        users_and_roles,
        alarms,
    } = left;
    outside::note("not taken: history, users, roles, alarms, members");
    for (count, what) in [
        (changes, "changes of keys that were superseded"),
        (keys_without_lease, "keys whose lease had ended"),
        (
            users_and_roles,
            "users and roles: everybody may do everything in the new cluster",
        ),
        (alarms, "alarms"),
    ] {
        if count > 0 {
            outside::note(format_args!("  {count} {what}"));
        }
    }
}

fn read_file(path: &Path, skip_hash_check: bool) -> Result<Taken, Failure> {
    let at = path.display();
    let content = outside::read_bytes(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {at}: {error}")))?;
    let content = Bytes::from(content);
    if is_archive(&content) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{at} was saved from Synod: `synod snapshot restore` takes it"),
        ));
    }
    let taken = synod_import::read(content).map_err(|error| {
        let exit = match error {
            ReadError::Digest | ReadError::Damaged(_) | ReadError::Entry { .. } => Exit::Corrupt,
            ReadError::NoBucket(_) => Exit::Usage,
        };
        Failure::new(exit, format!("{at}: {error}"))
    })?;
    if !taken.has_digest && !skip_hash_check {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{at} has no digest, so it was copied and not saved: what etcd had only in its \
                 log is not in it\n  save one with `etcdctl snapshot save`, or accept it with \
                 --skip-hash-check"
            ),
        ));
    }
    Ok(taken)
}

/// Keys, counted and summed up.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    count: usize,
    sum: [u8; 32],
}

/// The digest of keys in their order, with all that a client sees of them.
#[derive(Default)]
struct Sum(Sha256);

impl Sum {
    fn add(&mut self, key: &ForeignKey) {
        let ForeignKey {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        } = key;
        for bytes in [key, value] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        for number in [create_revision, mod_revision, version, lease] {
            self.0.update(number.to_le_bytes());
        }
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// What a new cluster will answer.
fn of_root(root: &Root) -> Contents {
    let zero = Bytes::from_static(b"\0");
    let everything = root.scan(KeyRange::new(&zero, &zero), 0);
    let (mut count, mut sum) = (0, Sum::default());
    for record in everything.expect("the present can be read") {
        let kv = record.key_value();
        sum.add(&ForeignKey {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        });
        count += 1;
    }
    let sum = sum.finish();
    Contents { count, sum }
}

fn check(meant: &Contents, found: &Contents, what: &str) -> Result<(), Failure> {
    if meant == found {
        return Ok(());
    }
    let (meant, found) = (meant.count, found.count);
    Err(Failure::new(
        Exit::Corrupt,
        format!(
            "{what} differs from what was read first ({meant} keys, then {found}); nothing was \
             written"
        ),
    ))
}
