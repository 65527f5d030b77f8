//! `synod bench fill`: a server with a million keys, to see what it takes to hold them.

use super::transport::connect;
use super::{TargetArgs, report};
use crate::client::Form;
use crate::exit::{Exit, Failure};
use crate::outside;
use bytes::{Bytes, BytesMut};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use synod_env::Prng;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct FillArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How many keys
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT", value_parser = super::positive)]
    keys: usize,
    /// Bytes in a value; all values are different
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    value_size: usize,
    /// Keys written in one transaction
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = super::positive)]
    per_txn: usize,
    /// Transactions under way
    #[arg(long, default_value_t = 16, value_name = "COUNT", value_parser = super::positive)]
    clients: usize,
}

/// All keys begin with it, so that other rows can read them.
pub(super) const PREFIX: &str = "fill/";

/// Key number `index`.
pub(super) fn key(index: usize) -> Bytes {
    format!("{PREFIX}{index:07}").into()
}

impl FillArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
        let servers = [&self.target.endpoints, &self.target.versus];
        for endpoints in servers.into_iter().filter(|server| !server.is_empty()) {
            let begun = outside::now();
            runtime.block_on(self.fill(endpoints))?;
            let took = outside::now() - begun;
            outside::say(match self.target.form {
                Form::Simple => format!(
                    "{}: {} keys of {} random bytes in {}",
                    endpoints.join(","),
                    report::grouped(self.keys as u64),
                    self.value_size,
                    report::time(took)
                ),
                Form::Json => json!({
                    "endpoint": endpoints.join(","),
                    "keys": self.keys,
                    "seconds": took.as_secs_f64(),
                })
                .to_string(),
            });
        }
        Ok(())
    }

    /// Writes the keys in an order of chance: in their own order, trees would look fuller than
    /// they are.
    async fn fill(&self, endpoints: &[String]) -> Result<(), Failure> {
        let mut prng = Prng::new(1);
        let mut order: Vec<usize> = (0..self.keys).collect();
        for at in (1..order.len()).rev() {
            let below = at as u64 + 1;
            order.swap(at, usize::try_from(prng.below(below)).expect("an index"));
        }
        let order = Arc::new(order);
        let next = Arc::new(AtomicUsize::new(0));
        let connections = connect(endpoints, self.clients.min(4)).await?;
        let mut writers = Vec::new();
        for (number, connection) in (0..self.clients).zip(connections.iter().cycle()) {
            let mut client =
                KvClient::with_origin(connection.transport.clone(), connection.origin.clone());
            let (order, next) = (Arc::clone(&order), Arc::clone(&next));
            let (per_txn, value_size) = (self.per_txn, self.value_size);
            let mut prng = Prng::new(2 + number as u64);
            writers.push(outside::spawn(async move {
                loop {
                    let first = next.fetch_add(per_txn, Ordering::Relaxed);
                    let Some(rest) = order.get(first..).filter(|rest| !rest.is_empty()) else {
                        return Ok(());
                    };
                    let puts = rest.iter().take(per_txn).map(|index| RequestOp {
                        request: Some(Request::RequestPut(PutRequest {
                            key: key(*index),
                            value: random_bytes(&mut prng, value_size),
                            ..PutRequest::default()
                        })),
                    });
                    let txn = TxnRequest {
                        success: puts.collect(),
                        ..TxnRequest::default()
                    };
                    client.txn(txn).await?;
                }
            }));
        }
        for writer in writers {
            let written: Result<(), tonic::Status> = writer
                .await
                .map_err(|_| Failure::other("a writer panicked"))?;
            written
                .map_err(|status| Failure::new(Exit::Failed, format!("cannot fill: {status}")))?;
        }
        Ok(())
    }
}

fn random_bytes(prng: &mut Prng, count: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(count.next_multiple_of(8));
    while bytes.len() < count {
        bytes.extend_from_slice(&prng.next_u64().to_le_bytes());
    }
    bytes.truncate(count);
    bytes.freeze()
}
