//! `synod lease`.

use super::{ClientArgs, failure, render};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::time::Duration;
use synod_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use synod_client::Error;

/// Leases: keys that live as long as somebody renews them.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Lease {
    #[command(subcommand)]
    verb: Verb,
}

/// Between attempts to renew that fail.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

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

async fn grant(args: &ClientArgs, ttl: i64, id: i64) -> Result<(), Failure> {
    let request = LeaseGrantRequest { ttl, id };
    let granted = args.connect()?.lease_grant(request).await;
    let reply = granted.map_err(failure)?;
    let text = || format!("lease {:016x} granted with TTL({}s)\n", reply.id, reply.ttl);
    render::answer(
        args.form,
        || render::lease_grant(&reply),
        || text().into_bytes(),
    );
    Ok(())
}

async fn revoke(args: &ClientArgs, id: i64) -> Result<(), Failure> {
    let request = LeaseRevokeRequest { id };
    let revoked = args.connect()?.lease_revoke(request).await;
    let reply = revoked.map_err(failure)?;
    let text = || format!("lease {id:016x} revoked\n").into_bytes();
    render::answer(args.form, || render::lease_revoke(&reply), text);
    Ok(())
}

async fn time_to_live(args: &ClientArgs, id: i64, keys: bool) -> Result<(), Failure> {
    let request = LeaseTimeToLiveRequest { id, keys };
    let asked = args.connect()?.lease_time_to_live(request).await;
    let reply = asked.map_err(failure)?;
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
    let reply = args.connect()?.lease_list().await.map_err(failure)?;
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

/// Renews after each third of the time to live. A member that does not answer is asked again as
/// long as the lease may live.
async fn keep_alive(args: &ClientArgs, id: i64, once: bool) -> Result<(), Failure> {
    let client = args.connect()?;
    let mut ends = None;
    loop {
        let asked = outside::now();
        let pause = match client.lease_keep_alive_once(id).await {
            Ok(reply) => {
                let ttl = show_renewal(args, &reply)?;
                if once {
                    return Ok(());
                }
                ends = Some(asked + ttl);
                ttl / 3
            }
            Err(error @ Error::Refused { .. }) => return Err(failure(error)),
            Err(error) => match ends {
                Some(ends) if outside::now() < ends => RETRY_PAUSE,
                _ => return Err(failure(error)),
            },
        };
        outside::sleep(pause).await;
    }
}

/// Prints an answer and gives the time to live, which a lease that is gone does not have.
fn show_renewal(args: &ClientArgs, reply: &LeaseKeepAliveResponse) -> Result<Duration, Failure> {
    let LeaseKeepAliveResponse { header: _, id, ttl } = reply;
    let seconds = u64::try_from(*ttl).unwrap_or(0);
    if seconds == 0 {
        return Err(Failure::new(
            Exit::Refused,
            format!("lease {id:016x} expired or revoked"),
        ));
    }
    let text = || format!("lease {id:016x} keepalived with TTL({ttl})\n").into_bytes();
    render::answer(args.form, || render::lease_keep_alive(reply), text);
    Ok(Duration::from_secs(seconds))
}
