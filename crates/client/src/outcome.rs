//! How a request ends.

use crate::link::LinkError;
use std::error::Error as _;
use std::fmt;
use synod_session::{Class, Ended, Outcome, Refusal};
use tonic::{Code, Response, Status};

/// Trailer by which a Synod member says whether a request that failed may have been done.
const OUTCOME: &str = "synod-outcome";

/// How a request ended that is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The service says no: the request was not done and will not be.
    Refused {
        /// The gRPC code of the answer.
        code: Code,
        /// The reason, in etcd's words.
        message: String,
    },
    /// The request may have been done, or may yet be. Only requests that change something end
    /// like this; read what they would have changed to find out.
    Unknown {
        /// What was heard last.
        message: String,
    },
    /// A request that changes nothing had no answer.
    NoAnswer {
        /// What was heard last.
        message: String,
    },
    /// No member could be reached, so the request was never sent.
    Unreachable {
        /// Each endpoint that was tried, and what came of it.
        tried: Vec<Tried>,
    },
}

/// An endpoint that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The endpoint as it was given to the client.
    pub endpoint: String,
    /// What came of it.
    pub said: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code: _, message } => write!(f, "refused: {message}"),
            Self::Unknown { message } => write!(f, "unknown whether it was done: {message}"),
            Self::NoAnswer { message } => write!(f, "no answer: {message}"),
            Self::Unreachable { tried } => {
                f.write_str("no member reached")?;
                for Tried { endpoint, said } in tried {
                    write!(f, "; {endpoint}: {said}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It never left.
    Unreached(String),
    /// What the member said, or what became of the connection.
    Status(Code, String),
}

/// How an attempt ended, from what came back.
///
/// A member of Synod says in a trailer whether the request may have been done. Without that, as
/// with etcd, only those codes count as a refusal that a service gives before it does anything.
pub(crate) fn judge<A>(result: Result<Response<A>, Status>) -> Ended<A, Why> {
    let status = match result {
        Ok(response) => return Ended::Answered(response.into_inner()),
        Err(status) => status,
    };
    let code = status.code();
    let why = Why::Status(code, status.message().to_owned());
    // A status with a cause is no member's: it was made here of what became of the connection.
    if let Some(cause) = status.source() {
        return match cause.downcast_ref::<LinkError>() {
            Some(error @ LinkError::NeverSent(_)) => {
                Ended::NotDone(Why::Unreached(error.to_string()))
            }
            Some(LinkError::Broke(_)) | None => Ended::Lost(why),
        };
    }
    let outcome = status.metadata().get(OUTCOME).map(|value| value.as_bytes());
    match (outcome, code) {
        // It could not, but another may.
        (Some(b"not-done"), Code::Unavailable | Code::DeadlineExceeded) => Ended::NotDone(why),
        (Some(b"not-done"), _) => Ended::Refused(why),
        (Some(_), _) => Ended::Lost(why),
        (
            None,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented,
        ) => Ended::Refused(why),
        // A lost leader, a deadline, a defect: the request may be on its way.
        (
            None,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss,
        ) => Ended::Lost(why),
    }
}

/// What a call's outcome means to whoever made it.
pub(crate) fn result<A>(
    class: Class,
    outcome: Outcome<A, Why>,
    tried: Vec<Tried>,
) -> Result<A, Error> {
    match outcome {
        Outcome::Done(answer) => Ok(answer),
        // That time was up before a read was done is no answer to it.
        Outcome::Refused(Refusal::Unavailable(Some(Why::Status(
            Code::DeadlineExceeded,
            message,
        )))) if class == Class::Read => Err(Error::NoAnswer { message }),
        Outcome::Refused(Refusal::Service(why) | Refusal::Unavailable(Some(why))) => {
            Err(match why {
                Why::Status(code, message) => Error::Refused { code, message },
                Why::Unreached(_) => Error::Unreachable { tried },
            })
        }
        Outcome::Refused(Refusal::Unavailable(None)) => Err(Error::Unreachable { tried }),
        Outcome::Unknown(why) => {
            let message = match why {
                Some(Why::Unreached(said)) => said,
                Some(Why::Status(_, message)) => message,
                None => "no answer in time".to_owned(),
            };
            Err(match class {
                Class::Read => Error::NoAnswer { message },
                Class::Write | Class::Idempotent => Error::Unknown { message },
            })
        }
    }
}

#[cfg(test)]
mod tests;
