//! A data directory for the first member of a new cluster that begins with a state.

use crate::config::{Config, Dialect, Sources};
use crate::exit::{Exit, Failure};
use crate::outside;
use crate::progress::{self, Progress};
use crate::serve::{self, causes};
use crate::snapshot::live_keys;
use std::collections::BTreeSet;
use synod_env::{MemberId, oneshot};
use synod_host::{Host, HostOptions};
use synod_node::Filling;
use synod_state::Root;

/// What a file says, if there is one: flags beside it would be ignored, as they are by `serve`.
const IN_THE_FILE: [&str; 5] = [
    "data_dir",
    "name",
    "initial_cluster",
    "initial_cluster_token",
    "initial_advertise_peer_urls",
];

/// Which directory, and whose it will be: the same as `synod serve` will be told.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "The new member, as `synod serve` will be told")]
pub(crate) struct Target {
    /// Where to; must be empty or not exist [default: NAME.synod]
    #[arg(long, value_name = "PATH")]
    data_dir: Option<String>,
    /// The member's name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The members of the new cluster
    #[arg(long, value_name = "NAME=URL")]
    initial_cluster: Option<String>,
    /// Another one than the old cluster's tells the two apart, if both may run
    #[arg(long, value_name = "TEXT")]
    initial_cluster_token: Option<String>,
    /// The member's address for others
    #[arg(long, value_name = "URL,…")]
    initial_advertise_peer_urls: Option<String>,
    /// Options from a file, which excludes those above
    #[arg(long, value_name = "PATH", conflicts_with_all = IN_THE_FILE)]
    config_file: Option<String>,
    /// Added to the revision: more than the number of changes since the data was
    /// taken, so that no client finds a revision again with other content
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000_000_000,
        help_heading = "Revision"
    )]
    pub(crate) bump_revision: u64,
}

impl Target {
    /// The configuration with which the member will be started, as far as its identity goes.
    ///
    /// # Errors
    /// All problems with it.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let Self {
            data_dir,
            name,
            initial_cluster,
            initial_cluster_token,
            initial_advertise_peer_urls,
            config_file,
            bump_revision: _,
        } = self;
        let mut arguments = Vec::new();
        for (flag, value) in [
            ("--data-dir", data_dir),
            ("--name", name),
            ("--initial-cluster", initial_cluster),
            ("--initial-cluster-token", initial_cluster_token),
            ("--initial-advertise-peer-urls", initial_advertise_peer_urls),
            ("--config-file", config_file),
        ] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value.clone()]);
            }
        }
        let environment = outside::environment();
        let sources = Sources {
            dialect: Dialect::Synod,
            arguments: &arguments,
            environment: &environment,
            read_file: &|path| outside::read_file(path),
        };
        let resolved = Config::from_sources(&sources).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Failure::new(Exit::Usage, problems.join("\n  "))
        });
        Ok(resolved?.config)
    }

    /// Fills the directory and says what is in it. `done` is what was done, as "restored".
    ///
    /// # Errors
    /// The directory is not complete then, unless it was in use before.
    pub(crate) async fn fill(
        &self,
        config: &Config,
        root: Root,
        done: &str,
    ) -> Result<(), Failure> {
        let founding = serve::founding(config);
        let (member_id, cluster_id) = (founding.member_id, founding.cluster_id);
        let host = Host::new(&config.data_dir, HostOptions::default())
            .map_err(|error| causes::host(&error))?;
        let (at, position) = synod_raft::beginning(&BTreeSet::from([MemberId(member_id)]));
        let filling = Filling {
            root: root.clone(),
            at,
            position,
            chunk_bytes: config.limits.snapshot_chunk_bytes,
        };
        let (sender, filled) = oneshot::channel();
        let env = host.env().clone();
        host.env().spawn_dedicated("fill", async move {
            let mut progress = Progress::new("written");
            let say = |written, whole| progress.bytes(written, Some(whole));
            let result = synod_node::fill(&env, &founding, &filling, say).await;
            // The receiver waits below.
            drop(sender.send(result));
        });
        match filled.await {
            Ok(result) => result.map_err(|error| causes::open(&error))?,
            Err(oneshot::Dropped) => {
                return Err(Failure::other("the directory was not filled to the end"));
            }
        }
        let directory = config.data_dir.display();
        let counts = format!(
            "{} keys and {} leases ({}) at revision {}",
            live_keys(&root),
            root.lease_count(),
            progress::size(root.bytes()),
            root.revision(),
        );
        outside::say(format_args!(
            "{done} {counts} into {directory}\n\
             member {member_id:x} of cluster {cluster_id:x}; leases have their whole time again"
        ));
        let quota = config.limits.state_bytes_max;
        if root.bytes() > quota {
            outside::note(format_args!(
                "this is more than the quota of {}: start with a larger --quota-backend-bytes",
                progress::size(quota)
            ));
        }
        Ok(())
    }
}
