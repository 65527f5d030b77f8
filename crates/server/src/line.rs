//! What a client is told that waits in a line, for a lock or an election.

use crate::Server;
use crate::call::Call;
use crate::errors::{self, Error};
use crate::kv::mismatch;
use crate::stop::End;
use std::future::Future;
use synod_env::world::DeadlinePassed;
use synod_node::Failure;
use synod_node::line::{self, Place};
use synod_state::command::LeaseId;
use synod_state::reply::Body;
use tonic::Status;

/// TTL of the lease that is made for a client that names none, in seconds: as long as that of a
/// session of etcd's client.
const SESSION_TTL_S: i64 = 60;

/// Why a client's turn never came.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Its place came to nothing.
    InLine(line::Ended),
    /// The client has to go on elsewhere, or has no patience left.
    Told(Error),
}

impl Server {
    /// The lease that a client names, or a new one if it names none.
    pub(crate) async fn session(&self, lease: LeaseId, call: &Call) -> Result<LeaseId, Failure> {
        if lease != 0 {
            return Ok(lease);
        }
        let granted = self.node.lease_grant(0, SESSION_TTL_S, call.deadline);
        let (reply, _) = granted.await?;
        let Body::LeaseGrant { lease, .. } = reply.body else {
            mismatch(&reply.body)
        };
        Ok(lease)
    }

    /// Awaits a turn in a line, for as long as the client has patience and need not go elsewhere.
    pub(crate) async fn patiently<T>(
        &self,
        call: &Call,
        wait: impl Future<Output = Result<T, line::Ended>>,
    ) -> Result<T, Ended> {
        let mut end = End::new(self, call);
        let wait = self.node.env().deadline(call.patience(), wait);
        match end.or(wait).await {
            Ok(Ok(done)) => done.map_err(Ended::InLine),
            Ok(Err(DeadlinePassed)) => Err(Ended::Told(errors::DEADLINE_EXCEEDED)),
            Err(told) => Err(Ended::Told(told)),
        }
    }

    /// The status for a place that never came to be first. Whoever is sent elsewhere keeps it, and
    /// finds it there.
    pub(crate) fn out_of_line(
        &self,
        call: &Call,
        place: Place,
        ended: Ended,
        gone: Error,
    ) -> Status {
        let status = match ended {
            Ended::InLine(line::Ended::Gone) => gone.with_outcome(false),
            Ended::InLine(line::Ended::Failed(failure)) => in_line(call, &failure),
            Ended::Told(told) => {
                if told != errors::DEADLINE_EXCEEDED {
                    let _kept = place.keep();
                }
                return told.with_outcome(true);
            }
        };
        drop(place);
        status
    }
}

/// The status for a failure inside a lock or an election. etcd loses the code of what its own
/// client refuses on the way, so that only the text is left of it.
pub(crate) fn in_line(call: &Call, failure: &Failure) -> Status {
    match failure {
        Failure::Invalid(_)
        | Failure::Refused(_)
        | Failure::TooLarge
        | Failure::TtlTooLarge
        | Failure::NoSpace => {
            let error = Error::failed(failure);
            let code = tonic::Code::Unknown;
            Error { code, ..error }.with_outcome(false)
        }
        Failure::TooManyRequests
        | Failure::NoLeader
        | Failure::TimedOut
        | Failure::Stopped
        | Failure::Unknown => call.status(failure),
    }
}
