use super::{Error, OUTCOME, watch};
use synod_node::Failure;
use synod_state::Invalid;
use synod_state::reply::Refusal;
use tonic::{Code, Status};

/// What etcd's clients compare with, written out once more: a change of a text must be made
/// twice to go unnoticed.
#[test]
fn each_failure_has_etcds_code_and_text() {
    let expected = [
        (
            Failure::Invalid(Invalid::KeyNotProvided),
            3,
            "etcdserver: key is not provided",
        ),
        (
            Failure::Invalid(Invalid::ValueProvided),
            3,
            "etcdserver: value is provided",
        ),
        (
            Failure::Invalid(Invalid::LeaseProvided),
            3,
            "etcdserver: lease is provided",
        ),
        (
            Failure::Invalid(Invalid::TooManyOperations),
            3,
            "etcdserver: too many operations in txn request",
        ),
        (
            Failure::Invalid(Invalid::DuplicateKey),
            3,
            "etcdserver: duplicate key given in txn request",
        ),
        (
            Failure::Invalid(Invalid::OperationMissing),
            3,
            "etcdserver: key not found",
        ),
        (
            Failure::Invalid(Invalid::SortOption),
            3,
            "etcdserver: invalid sort option",
        ),
        (
            Failure::Refused(Refusal::Compacted(7)),
            11,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        (
            Failure::Refused(Refusal::FutureRevision(7)),
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            Failure::Refused(Refusal::KeyNotFound),
            3,
            "etcdserver: key not found",
        ),
        (
            Failure::Refused(Refusal::LeaseNotFound),
            5,
            "etcdserver: requested lease not found",
        ),
        (
            Failure::Refused(Refusal::LeaseExists),
            9,
            "etcdserver: lease already exists",
        ),
        (
            Failure::Refused(Refusal::NoSpace),
            8,
            "etcdserver: mvcc: database space exceeded",
        ),
        (Failure::TooLarge, 3, "etcdserver: request is too large"),
        (Failure::TtlTooLarge, 11, "etcdserver: too large lease TTL"),
        (Failure::TooManyRequests, 8, "etcdserver: too many requests"),
        (
            Failure::NoSpace,
            8,
            "etcdserver: mvcc: database space exceeded",
        ),
        (Failure::NoLeader, 14, "etcdserver: no leader"),
        (Failure::Stopped, 14, "etcdserver: server stopped"),
        (Failure::TimedOut, 14, "etcdserver: request timed out"),
        (Failure::Unknown, 14, "etcdserver: request timed out"),
    ];
    for (failure, code, text) in expected {
        let status = Status::from(Error::failed(&failure));
        assert_eq!(
            (status.code(), status.message()),
            (Code::from_i32(code), text),
            "{failure:?}"
        );
    }
}

#[test]
fn watches_are_canceled_in_etcds_words() {
    assert_eq!(watch::EMPTY_RANGE, "mvcc: watcher range is empty");
    assert_eq!(
        watch::DUPLICATE_ID,
        "mvcc: duplicate watch ID provided on the WatchStream"
    );
    assert_eq!(
        watch::NEGATIVE_REVISION,
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[test]
fn a_status_says_whether_the_request_may_have_been_done() {
    let outcome = |failure: Failure| {
        let status = Error::failed(&failure).with_outcome(failure.is_unknown());
        let outcome = status.metadata().get(OUTCOME).expect("it is said");
        outcome.to_str().expect("it is text").to_owned()
    };
    assert_eq!(outcome(Failure::Unknown), "unknown");
    assert_eq!(outcome(Failure::TimedOut), "not-done");
    assert_eq!(outcome(Failure::NoLeader), "not-done");
}
