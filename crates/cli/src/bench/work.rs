//! The operations a benchmark repeats.

use super::transport::{Connection, Transport};
use bytes::Bytes;
use std::sync::Arc;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::lease_client::LeaseClient;
use synod_api::etcdserverpb::request_op::Request;
use synod_api::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use synod_env::Prng;
use tonic::Status;

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Write one key.
    Put,
    /// Read one key, linearizable.
    Range,
    /// Compare, put and get one key.
    Txn,
    /// Grant a lease and revoke it: two requests.
    Lease,
}

impl Operation {
    /// Its name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Range => "range",
            Self::Txn => "txn",
            Self::Lease => "lease (grant and revoke)",
        }
    }
}

/// The keys and values of a run.
#[derive(Clone, Debug)]
pub(super) struct Material {
    /// All keys begin with it.
    pub(super) prefix: Arc<str>,
    /// How many keys there are.
    pub(super) keys: u64,
    /// The value, the same for all: servers do not look at it.
    pub(super) value: Bytes,
}

impl Material {
    /// Key number `index`, of the same length for all.
    pub(super) fn key(&self, index: u64) -> Bytes {
        format!("{}{index:010}", self.prefix).into()
    }
}

/// One client: it does one operation at a time, on keys drawn uniformly.
pub(super) struct Worker {
    operation: Operation,
    material: Material,
    prng: Prng,
    kv: KvClient<Transport>,
    lease: LeaseClient<Transport>,
}

impl Worker {
    /// A client on a connection it may share with others.
    pub(super) fn new(
        operation: Operation,
        material: Material,
        seed: u64,
        connection: Connection,
    ) -> Self {
        let Connection { transport, origin } = connection;
        let kv = KvClient::with_origin(transport.clone(), origin.clone())
            .max_decoding_message_size(usize::MAX);
        let lease = LeaseClient::with_origin(transport, origin);
        Self {
            operation,
            material,
            prng: Prng::new(seed),
            kv,
            lease,
        }
    }

    /// Does the operation once.
    pub(super) async fn once(&mut self) -> Result<(), Status> {
        let key = self.material.key(self.prng.below(self.material.keys));
        match self.operation {
            Operation::Put => {
                self.put(key).await?;
            }
            Operation::Range => {
                let request = RangeRequest {
                    key,
                    ..RangeRequest::default()
                };
                self.kv.range(request).await?;
            }
            Operation::Txn => {
                let request = transaction(key, self.material.value.clone());
                self.kv.txn(request).await?;
            }
            Operation::Lease => {
                let granted = self
                    .lease
                    .lease_grant(LeaseGrantRequest { ttl: 600, id: 0 })
                    .await?;
                let id = granted.into_inner().id;
                self.lease.lease_revoke(LeaseRevokeRequest { id }).await?;
            }
        }
        Ok(())
    }

    /// Writes a key.
    pub(super) async fn put(&mut self, key: Bytes) -> Result<(), Status> {
        let value = self.material.value.clone();
        self.kv
            .put(PutRequest {
                key,
                value,
                ..PutRequest::default()
            })
            .await?;
        Ok(())
    }
}

/// If the key's version is above -1, which it always is: put it, get it.
fn transaction(key: Bytes, value: Bytes) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::Version(-1)),
    };
    let put = PutRequest {
        key: key.clone(),
        value,
        ..PutRequest::default()
    };
    let get = RangeRequest {
        key,
        ..RangeRequest::default()
    };
    let op = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put)), op(Request::RequestRange(get))],
        failure: Vec::new(),
    }
}
