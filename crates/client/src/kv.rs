//! Requests with one answer.

use crate::link::Link;
use crate::{Client, Error};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::kv_client::KvClient;
use synod_api::etcdserverpb::request_op::Request;
use synod_session::Class;

fn kv(link: Link) -> KvClient<Link> {
    let origin = link.origin.clone();
    KvClient::with_origin(link, origin).max_decoding_message_size(usize::MAX)
}

/// A transaction that can only read may be sent again at will.
fn class_of(txn: &pb::TxnRequest) -> Class {
    let reads = |op: &pb::RequestOp| match &op.request {
        Some(Request::RequestRange(_)) | None => true,
        Some(Request::RequestTxn(txn)) => class_of(txn) == Class::Read,
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => false,
    };
    if txn.success.iter().chain(&txn.failure).all(reads) {
        Class::Read
    } else {
        Class::Write
    }
}

impl Client {
    /// Reaches a member, without asking it for anything.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn connect(&self) -> Result<(), Error> {
        let nothing = |_| -> crate::call::Answering<()> {
            Box::pin(std::future::ready(Ok(tonic::Response::new(()))))
        };
        self.attempts(Class::Read, |link, _| nothing(link)).await
    }

    /// Reads keys.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::Unknown`].
    pub async fn get(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.unary(Class::Read, request, |link, request| {
            Box::pin(async move { kv(link).range(request).await })
        })
        .await
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        self.unary(Class::Write, request, |link, request| {
            Box::pin(async move { kv(link).put(request).await })
        })
        .await
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        self.unary(Class::Write, request, |link, request| {
            Box::pin(async move { kv(link).delete_range(request).await })
        })
        .await
    }

    /// Does one of two lists of operations, depending on conditions.
    ///
    /// # Errors
    /// [`Error`]; not [`Error::Unknown`] if it could only have read.
    pub async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        self.unary(class_of(&request), request, |link, request| {
            Box::pin(async move { kv(link).txn(request).await })
        })
        .await
    }

    /// Forgets history before a revision. A second time changes nothing, so it is sent again
    /// after a loss.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn compact(
        &self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Error> {
        self.unary(Class::Idempotent, request, |link, request| {
            Box::pin(async move { kv(link).compact(request).await })
        })
        .await
    }
}
