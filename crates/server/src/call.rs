//! What surrounds a request: how long it may take, and what it insists on.

use crate::errors::{self, Error};
use crate::grpc;
use http::header::HeaderMap;
use std::time::Duration;
use synod_env::Instant;
use synod_node::Failure;
use tonic::Status;

/// One call, apart from its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// When it ends, done or not: the client's deadline, or the server's if that is earlier.
    pub(crate) deadline: Instant,
    /// When the client stops to wait, if it says so.
    client_deadline: Option<Instant>,
    /// The client wants no answer from a member that knows no leader.
    pub(crate) require_leader: bool,
    /// What the client says of its version, if anything, is text. A label of a metric must be.
    pub(crate) is_version_text: bool,
}

impl Call {
    /// A call that arrives `now` with these headers and may take `timeout_max`.
    pub(crate) fn new(now: Instant, headers: &HeaderMap, timeout_max: Duration) -> Self {
        let client_deadline = grpc::timeout(headers).map(|timeout| now + timeout);
        let server_deadline = now + timeout_max;
        Self {
            deadline: client_deadline.map_or(server_deadline, |client| client.min(server_deadline)),
            client_deadline,
            require_leader: headers
                .get("hasleader")
                .is_some_and(|value| value == "true"),
            is_version_text: headers
                .get("client-api-version")
                .is_none_or(|version| std::str::from_utf8(version.as_bytes()).is_ok()),
        }
    }

    /// As long as the client has patience: for a wait that changes nothing and ends by itself.
    pub(crate) fn patience(&self) -> Instant {
        self.client_deadline.unwrap_or(Instant::NEVER)
    }

    /// The status that tells the client of a failure.
    pub(crate) fn status(&self, failure: &Failure) -> Status {
        let mut error = Error::failed(failure);
        if error == errors::TIMED_OUT && self.client_deadline == Some(self.deadline) {
            error = errors::DEADLINE_EXCEEDED;
        }
        error.with_outcome(failure.is_unknown())
    }
}
