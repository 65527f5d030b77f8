//! `synod status`, `compact` and `alarm`.

use super::{ClientArgs, client, endpoints, failure, render};
use crate::exit::Failure;
use crate::progress::size;
use serde_json::Value;
use synod_api::etcdserverpb::alarm_request::AlarmAction;
use synod_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, StatusResponse,
};

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

/// Alarms: what is wrong with a cluster until a person has looked at it.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Alarm {
    #[command(subcommand)]
    verb: AlarmVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum AlarmVerb {
    /// Show the alarms that are raised
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Clear all alarms; after NOSPACE first make room, or the next write raises it again
    Disarm {
        #[command(flatten)]
        client: ClientArgs,
    },
}

impl Alarm {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let (AlarmVerb::List { client: args } | AlarmVerb::Disarm { client: args }) = &self.verb;
        let client = args.connect()?;
        let raised = client
            .alarm(AlarmRequest::default())
            .await
            .map_err(failure)?;
        let shown = match &self.verb {
            AlarmVerb::List { .. } => raised,
            AlarmVerb::Disarm { .. } => {
                let mut cleared = AlarmResponse {
                    header: raised.header,
                    alarms: Vec::new(),
                };
                for alarm in raised.alarms {
                    let request = AlarmRequest {
                        action: AlarmAction::Deactivate.into(),
                        member_id: alarm.member_id,
                        alarm: alarm.alarm,
                    };
                    let AlarmResponse { header, alarms } =
                        client.alarm(request).await.map_err(failure)?;
                    cleared.header = header;
                    cleared.alarms.extend(alarms);
                }
                cleared
            }
        };
        let text = || {
            let alarms = shown.alarms.iter();
            let lines = alarms.map(|alarm| {
                let name = AlarmType::try_from(alarm.alarm);
                let name = name.map_or("UNKNOWN", |kind| kind.as_str_name());
                format!("memberID:{} alarm:{name} \n", alarm.member_id)
            });
            lines.collect::<String>().into_bytes()
        };
        render::answer(args.form, || render::alarms(&shown), text);
        Ok(())
    }
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
        size(reply.db_size.max(0).unsigned_abs()),
        member == reply.leader,
        reply.is_learner,
        reply.raft_term,
        reply.raft_index,
        reply.raft_applied_index,
        reply.errors.join(" ")
    )
}
