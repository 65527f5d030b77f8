//! `synod lease`.

use super::{ClientArgs, Effect, Session, failure, lost, render};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::time::Duration;
use synod_api::etcdserverpb::lease_client::LeaseClient;
use synod_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// Leases: keys that live as long as somebody renews them.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Lease {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    /// Make a lease
    Grant {
        #[command(flatten)]
        client: ClientArgs,
        /// Seconds without renewal after which it ends
        ttl: i64,
        /// Its number in hexadecimal; without, the service chooses
        #[arg(long, value_name = "ID", default_value = "0", value_parser = lease_id)]
        id: i64,
    },
    /// End a lease and delete its keys
    Revoke {
        #[command(flatten)]
        client: ClientArgs,
        /// The lease, in hexadecimal
        #[arg(value_parser = lease_id)]
        id: i64,
    },
    /// Renew a lease, again and again until interrupted
    KeepAlive {
        #[command(flatten)]
        client: ClientArgs,
        /// The lease, in hexadecimal
        #[arg(value_parser = lease_id)]
        id: i64,
        /// Renew once
        #[arg(long)]
        once: bool,
    },
    /// Show how long a lease has to live
    #[command(visible_alias = "ttl")]
    Timetolive {
        #[command(flatten)]
        client: ClientArgs,
        /// The lease, in hexadecimal
        #[arg(value_parser = lease_id)]
        id: i64,
        /// Also list its keys
        #[arg(long)]
        keys: bool,
    },
    /// List all leases
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// A lease's number as people write it: hexadecimal.
pub(super) fn lease_id(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    i64::from_str_radix(digits, 16)
        .ok()
        .filter(|id| *id >= 0)
        .ok_or_else(|| "not a hexadecimal number below 8000000000000000".to_owned())
}

impl Lease {
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Verb::Grant { client, ttl, id } => grant(client, *ttl, *id).await,
            Verb::Revoke { client, id } => revoke(client, *id).await,
            Verb::KeepAlive { client, id, once } => keep_alive(client, *id, *once).await,
            Verb::Timetolive { client, id, keys } => time_to_live(client, *id, *keys).await,
            Verb::List { client } => list(client).await,
        }
    }
}

fn connected(session: &Session) -> LeaseClient<Channel> {
    LeaseClient::new(session.channel.clone()).max_decoding_message_size(super::REPLY_BYTES_MAX)
}

async fn grant(args: &ClientArgs, ttl: i64, id: i64) -> Result<(), Failure> {
    let session = Session::open(args).await?;
    let request = LeaseGrantRequest { ttl, id };
    let reply = session
        .call(Effect::Changes, connected(&session).lease_grant(request))
        .await?;
    let text = || format!("lease {:016x} granted with TTL({}s)\n", reply.id, reply.ttl);
    render::answer(
        args.form,
        || render::lease_grant(&reply),
        || text().into_bytes(),
    );
    Ok(())
}

async fn revoke(args: &ClientArgs, id: i64) -> Result<(), Failure> {
    let session = Session::open(args).await?;
    let request = LeaseRevokeRequest { id };
    let reply = session
        .call(Effect::Changes, connected(&session).lease_revoke(request))
        .await?;
    let text = || format!("lease {id:016x} revoked\n").into_bytes();
    render::answer(args.form, || render::lease_revoke(&reply), text);
    Ok(())
}

async fn time_to_live(args: &ClientArgs, id: i64, keys: bool) -> Result<(), Failure> {
    let session = Session::open(args).await?;
    let request = LeaseTimeToLiveRequest { id, keys };
    let reply = session
        .call(
            Effect::Reads,
            connected(&session).lease_time_to_live(request),
        )
        .await?;
    let text = || time_to_live_text(&reply, keys);
    render::answer(args.form, || render::lease_time_to_live(&reply), text);
    Ok(())
}

pub(super) fn time_to_live_text(reply: &LeaseTimeToLiveResponse, keys: bool) -> Vec<u8> {
    let LeaseTimeToLiveResponse {
        header: _,
        id,
        ttl,
        granted_ttl,
        keys: attached,
    } = reply;
    if *ttl == -1 {
        return format!("lease {id:016x} already expired\n").into_bytes();
    }
    let mut text =
        format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)").into_bytes();
    if keys {
        text.extend_from_slice(b", attached keys([");
        text.extend_from_slice(&attached.join(&b' '));
        text.extend_from_slice(b"])");
    }
    text.push(b'\n');
    text
}

async fn list(args: &ClientArgs) -> Result<(), Failure> {
    let session = Session::open(args).await?;
    let reply = session
        .call(
            Effect::Reads,
            connected(&session).lease_leases(LeaseLeasesRequest {}),
        )
        .await?;
    render::answer(
        args.form,
        || render::leases(&reply),
        || list_text(&reply).into_bytes(),
    );
    Ok(())
}

fn list_text(reply: &LeaseLeasesResponse) -> String {
    let mut text = format!("found {} leases\n", reply.leases.len());
    for lease in &reply.leases {
        text.push_str(&format!("{:016x}\n", lease.id));
    }
    text
}

async fn keep_alive(args: &ClientArgs, id: i64, once: bool) -> Result<(), Failure> {
    let ended = || lost(Effect::Changes, "the stream has ended");
    let session = Session::open(args).await?;
    // One request is under way at a time: the next follows the answer.
    let (requests, outgoing) = mpsc::channel(1);
    requests
        .send(LeaseKeepAliveRequest { id })
        .await
        .map_err(|_| ended())?;
    let mut client = connected(&session);
    let opening = client.lease_keep_alive(receiver_stream(outgoing));
    let mut answers = session.call(Effect::Changes, opening).await?;
    loop {
        let reply = match outside::within(args.timeout, answers.message()).await {
            Some(Ok(reply)) => reply.ok_or_else(ended)?,
            Some(Err(status)) => return Err(failure(Effect::Changes, &status)),
            None => return Err(lost(Effect::Changes, "no answer in time (--timeout)")),
        };
        if reply.ttl <= 0 {
            return Err(Failure::new(
                Exit::Refused,
                format!("lease {id:016x} expired or revoked"),
            ));
        }
        let text = || format!("lease {id:016x} keepalived with TTL({})\n", reply.ttl).into_bytes();
        render::answer(args.form, || render::lease_keep_alive(&reply), text);
        if once {
            return Ok(());
        }
        let third_ms = u64::try_from(reply.ttl).unwrap_or(1).saturating_mul(1_000) / 3;
        outside::sleep(Duration::from_millis(third_ms)).await;
        requests
            .send(LeaseKeepAliveRequest { id })
            .await
            .map_err(|_| ended())?;
    }
}

/// A channel's receiving end as the stream tonic wants.
pub(crate) fn receiver_stream<T: Send + 'static>(
    mut receiver: mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))
}
