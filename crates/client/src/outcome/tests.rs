use super::{Error, Tried, Why, judge, result};
use synod_session::{Class, Ended, Outcome, Refusal};
use tonic::{Code, Status};

fn ended(code: Code, outcome: Option<&'static str>) -> Ended<(), Why> {
    let mut status = Status::new(code, "why");
    if let Some(outcome) = outcome {
        let outcome = outcome.parse().unwrap();
        status.metadata_mut().insert("synod-outcome", outcome);
    }
    judge(Err(status))
}

#[test]
fn a_member_that_says_what_became_of_a_request_is_believed() {
    let why = |code| Why::Status(code, "why".to_owned());
    for code in [Code::Unavailable, Code::DeadlineExceeded] {
        assert_eq!(ended(code, Some("not-done")), Ended::NotDone(why(code)));
        assert_eq!(ended(code, Some("unknown")), Ended::Lost(why(code)));
    }
    let code = Code::ResourceExhausted;
    assert_eq!(ended(code, Some("not-done")), Ended::Refused(why(code)));
    // What a later version may say is not taken for a refusal.
    assert_eq!(ended(code, Some("perhaps")), Ended::Lost(why(code)));
}

#[test]
fn without_a_word_only_what_is_decided_beforehand_is_a_refusal() {
    for code in [
        Code::InvalidArgument,
        Code::NotFound,
        Code::FailedPrecondition,
        Code::OutOfRange,
        Code::ResourceExhausted,
        Code::PermissionDenied,
        Code::Unimplemented,
    ] {
        assert!(matches!(ended(code, None), Ended::Refused(_)), "{code:?}");
    }
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Unknown,
        Code::Internal,
        Code::Cancelled,
    ] {
        assert!(matches!(ended(code, None), Ended::Lost(_)), "{code:?}");
    }
}

#[test]
fn a_status_made_of_a_broken_connection_is_never_a_refusal() {
    // HTTP/2 has ways to break a stream that gRPC's codes call exhaustion or denial.
    let mut status = Status::new(Code::ResourceExhausted, "too much");
    status.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
    assert!(matches!(judge::<()>(Err(status)), Ended::Lost(_)));
}

#[test]
fn what_is_unknown_of_a_write_is_only_unanswered_of_a_read() {
    let unknown = |class| result::<()>(class, Outcome::Unknown(None), Vec::new());
    let message = "no answer in time".to_owned();
    let write = Err(Error::Unknown {
        message: message.clone(),
    });
    assert_eq!(unknown(Class::Write), write);
    assert_eq!(unknown(Class::Idempotent), write);
    assert_eq!(unknown(Class::Read), Err(Error::NoAnswer { message }));
}

#[test]
fn a_member_that_could_not_is_told_from_one_that_was_not_there() {
    let tried = vec![Tried {
        endpoint: "here".to_owned(),
        said: "closed".to_owned(),
    }];
    let refused = |last| {
        let outcome = Outcome::Refused(Refusal::Unavailable(last));
        result::<()>(Class::Write, outcome, tried.clone())
    };
    let (code, message) = (Code::Unavailable, "no leader".to_owned());
    assert_eq!(
        refused(Some(Why::Status(code, message.clone()))),
        Err(Error::Refused { code, message })
    );
    let unreachable = Err(Error::Unreachable {
        tried: tried.clone(),
    });
    assert_eq!(
        refused(Some(Why::Unreached("closed".to_owned()))),
        unreachable
    );
    assert_eq!(refused(None), unreachable);
}

#[test]
fn a_deadline_before_anything_was_done_refuses_a_write_and_leaves_a_read_unanswered() {
    let ended = |class| {
        let why = Why::Status(Code::DeadlineExceeded, "late".to_owned());
        let outcome = Outcome::Refused(Refusal::Unavailable(Some(why)));
        result::<()>(class, outcome, Vec::new())
    };
    let message = "late".to_owned();
    let refused = Error::Refused {
        code: Code::DeadlineExceeded,
        message: message.clone(),
    };
    assert_eq!(ended(Class::Write), Err(refused));
    assert_eq!(ended(Class::Read), Err(Error::NoAnswer { message }));
}
