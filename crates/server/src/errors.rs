//! Every way a request can end badly, in etcd's words.
//!
//! Clients of etcd tell errors apart by the text, byte for byte; the code alone does not do.
//! So each text stands here once, beside its code, and nowhere else.

use synod_node::Failure;
use synod_state::Invalid;
use synod_state::reply::Refusal;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// What a failed request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) code: Code,
    pub(crate) text: &'static str,
}

macro_rules! errors {
    ($($name:ident $code:ident $text:literal,)*) => {
        $(pub(crate) const $name: Error = Error { code: Code::$code, text: $text };)*

        /// All of them with their names, for the reference.
        #[cfg(test)]
        const ALL: &[(&str, Error)] = &[$((stringify!($name), $name)),*];
    };
}

errors! {
    KEY_NOT_PROVIDED InvalidArgument "etcdserver: key is not provided",
    KEY_NOT_FOUND InvalidArgument "etcdserver: key not found",
    VALUE_PROVIDED InvalidArgument "etcdserver: value is provided",
    LEASE_PROVIDED InvalidArgument "etcdserver: lease is provided",
    TOO_MANY_OPERATIONS InvalidArgument "etcdserver: too many operations in txn request",
    DUPLICATE_KEY InvalidArgument "etcdserver: duplicate key given in txn request",
    CLIENT_VERSION InvalidArgument "etcdserver: invalid client api version",
    SORT_OPTION InvalidArgument "etcdserver: invalid sort option",
    TOO_LARGE InvalidArgument "etcdserver: request is too large",

    COMPACTED OutOfRange "etcdserver: mvcc: required revision has been compacted",
    FUTURE_REVISION OutOfRange "etcdserver: mvcc: required revision is a future revision",
    NO_SPACE ResourceExhausted "etcdserver: mvcc: database space exceeded",
    TOO_MANY_REQUESTS ResourceExhausted "etcdserver: too many requests",

    STREAM_SORTED Unimplemented "RangeStream does not support custom sort orders",
    STREAM_FILTERED Unimplemented "RangeStream does not support revision filters",

    LEASE_NOT_FOUND NotFound "etcdserver: requested lease not found",
    LEASE_EXISTS FailedPrecondition "etcdserver: lease already exists",
    LEASE_TTL_TOO_LARGE OutOfRange "etcdserver: too large lease TTL",

    CORRUPT DataLoss "etcdserver: corrupt cluster",

    NOT_LEADER FailedPrecondition "etcdserver: not leader",
    BAD_LEADER_TRANSFEREE FailedPrecondition "etcdserver: bad leader transferee",
    DOWNGRADE_FORMAT InvalidArgument "etcdserver: wrong downgrade target version format",
    DOWNGRADE_TARGET InvalidArgument "etcdserver: invalid downgrade target version",
    NO_DOWNGRADE FailedPrecondition "etcdserver: no inflight downgrade job",
    // An action of a request that does not exist.
    UNKNOWN_METHOD Unknown "etcdserver: unknown method",
    // etcd takes a number for an alarm that it does not know for another alarm.
    ALARM_UNKNOWN InvalidArgument "etcdserver: unknown alarm type",

    // What can be asked of Synod only.
    LIMIT_OUT_OF_RANGE InvalidArgument "synod: the limit cannot have that value",
    LIMIT_UNKNOWN InvalidArgument "synod: no limit of that name can be set",

    ROOT_USER_MISSING FailedPrecondition "etcdserver: root user does not exist",
    USER_NAME_EMPTY InvalidArgument "etcdserver: user name is empty",
    USER_NOT_FOUND FailedPrecondition "etcdserver: user name not found",
    ROLE_NAME_EMPTY InvalidArgument "etcdserver: role name is empty",
    ROLE_NOT_FOUND FailedPrecondition "etcdserver: role name not found",
    PERMISSION_MISSING InvalidArgument "etcdserver: permission not given",
    AUTH_NOT_ENABLED FailedPrecondition "etcdserver: authentication is not enabled",

    NO_LEADER Unavailable "etcdserver: no leader",
    STOPPED Unavailable "etcdserver: server stopped",
    TIMED_OUT Unavailable "etcdserver: request timed out",
    // What a gRPC server says when the time that the client gave is over.
    DEADLINE_EXCEEDED DeadlineExceeded "context deadline exceeded",

    // What etcd's locks and elections say is not in its table, so it has no code of its own.
    LOCK_SESSION_EXPIRED Unknown "mutex: session is expired",
    LEADER_NOT_PROVIDED Unknown "\"leader\" field must be provided",
    NOT_ELECTED Unknown "election: not leader",
    NOBODY_ELECTED Unknown "election: no leader",

    // etcd takes a number for a compare that it does not know for some compare or other.
    COMPARE_UNKNOWN InvalidArgument "etcdserver: unknown compare result or target",
}

/// Reasons for which a watch is canceled; not errors of a call, but compared in the same way.
pub(crate) mod watch {
    pub(crate) const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
    pub(crate) const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
    pub(crate) const NEGATIVE_REVISION: &str = super::COMPACTED.text;
    pub(crate) const TOO_MANY: &str = super::TOO_MANY_REQUESTS.text;
}

/// Trailer that says what etcd's texts leave open: whether a request that failed may have been
/// done all the same (`unknown`), or certainly was not (`not-done`).
pub const OUTCOME: &str = "synod-outcome";

impl Error {
    /// For a request that made no sense.
    pub(crate) const fn invalid(why: Invalid) -> Self {
        match why {
            Invalid::KeyNotProvided => KEY_NOT_PROVIDED,
            Invalid::ValueProvided => VALUE_PROVIDED,
            Invalid::LeaseProvided => LEASE_PROVIDED,
            Invalid::TooManyOperations => TOO_MANY_OPERATIONS,
            Invalid::DuplicateKey => DUPLICATE_KEY,
            // So says etcd.
            Invalid::OperationMissing => KEY_NOT_FOUND,
            Invalid::SortOption => SORT_OPTION,
            Invalid::Limit => LIMIT_OUT_OF_RANGE,
        }
    }

    /// For a request that the state refused.
    pub(crate) const fn refused(why: Refusal) -> Self {
        match why {
            Refusal::Compacted(_) => COMPACTED,
            Refusal::FutureRevision(_) => FUTURE_REVISION,
            Refusal::KeyNotFound => KEY_NOT_FOUND,
            Refusal::LeaseNotFound => LEASE_NOT_FOUND,
            Refusal::LeaseExists => LEASE_EXISTS,
            Refusal::NoSpace => NO_SPACE,
            Refusal::Corrupt => CORRUPT,
            Refusal::TooManyAlarms => TOO_MANY_REQUESTS,
        }
    }

    /// For a request that the member did not do, or does not know to have done.
    pub(crate) const fn failed(why: &Failure) -> Self {
        match why {
            Failure::Invalid(why) => Self::invalid(*why),
            Failure::Refused(why) => Self::refused(*why),
            Failure::TooLarge => TOO_LARGE,
            Failure::TtlTooLarge => LEASE_TTL_TOO_LARGE,
            Failure::TooManyRequests => TOO_MANY_REQUESTS,
            Failure::NoSpace => NO_SPACE,
            Failure::NoLeader => NO_LEADER,
            Failure::Stopped => STOPPED,
            // The two cannot be told apart by their text; see `OUTCOME`.
            Failure::TimedOut | Failure::Unknown => TIMED_OUT,
        }
    }

    /// The status, with what is known of the request's outcome.
    pub(crate) fn with_outcome(self, unknown: bool) -> Status {
        let mut status = Status::from(self);
        let outcome = if unknown { "unknown" } else { "not-done" };
        status
            .metadata_mut()
            .insert(OUTCOME, MetadataValue::from_static(outcome));
        status
    }
}

impl From<Error> for Status {
    fn from(Error { code, text }: Error) -> Self {
        Self::new(code, text)
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
