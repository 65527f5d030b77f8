//! `synod status` and `compact`.

use super::{ClientArgs, client, endpoints, failure, render};
use crate::exit::Failure;
use serde_json::Value;
use synod_api::etcdserverpb::{CompactionRequest, StatusResponse};

/// Show each endpoint's member: version, size, leader, positions.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    client: ClientArgs,
}

/// Forget history before REVISION; what was replaced before it can no longer be read.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Compact {
    #[command(flatten)]
    client: ClientArgs,
    /// The oldest revision that stays readable
    revision: i64,
    /// Return only when the space is free
    #[arg(long)]
    physical: bool,
}

impl Compact {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let Self {
            client: args,
            revision,
            physical,
        } = self;
        let request = CompactionRequest {
            revision: *revision,
            physical: *physical,
        };
        let client = args.connect()?;
        let reply = client.compact(request).await.map_err(failure)?;
        let text = || format!("compacted revision {revision}\n").into_bytes();
        render::answer(args.form, || render::compaction(&reply), text);
        Ok(())
    }
}

impl Status {
    /// Asks every endpoint, also when one fails; the first failure then decides the exit code.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let mut replies = Vec::new();
        let mut failed = None;
        for endpoint in endpoints(&self.client.endpoints) {
            let asked = client(vec![endpoint.clone()], self.client.timeout)?;
            match asked.status().await.map_err(failure) {
                Ok(reply) => replies.push((endpoint, reply)),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        let json = || {
            replies
                .iter()
                .map(|(at, reply)| render::status(at, reply))
                .collect()
        };
        let text = || {
            replies
                .iter()
                .map(|(at, reply)| text(at, reply))
                .collect::<String>()
        };
        if !replies.is_empty() {
            render::answer(
                self.client.form,
                || Value::Array(json()),
                || text().into_bytes(),
            );
        }
        failed.map_or(Ok(()), Err)
    }
}

/// One line as etcdctl prints it: endpoint, member, version, size, leader, learner, term, index,
/// applied index, errors.
fn text(endpoint: &str, reply: &StatusResponse) -> String {
    let member = reply.header.as_ref().map_or(0, |header| header.member_id);
    format!(
        "{endpoint}, {member:x}, {}, {}, {}, {}, {}, {}, {}, {}\n",
        reply.version,
        size(reply.db_size),
        member == reply.leader,
        reply.is_learner,
        reply.raft_term,
        reply.raft_index,
        reply.raft_applied_index,
        reply.errors.join(" ")
    )
}

/// A size for people.
fn size(bytes: i64) -> String {
    const UNITS: [(&str, i64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.into_iter().find(|(_, scale)| bytes >= *scale) {
        Some((unit, scale)) => format!("{}.{} {unit}", bytes / scale, bytes % scale * 10 / scale),
        None => format!("{bytes} B"),
    }
}
