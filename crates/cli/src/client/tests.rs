//! Notations a person types, and the outcome a status stands for.

use super::keys::prefix_end;
use super::{failure, lease, origin, txn};
use crate::exit::Exit;
use synod_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use synod_api::etcdserverpb::request_op::Request;
use synod_client::{Error, Tried};
use tonic::Code;

#[test]
fn a_transaction_is_read_in_etcdctls_notation() {
    let text = "compares:\nmod(\"a key\") > \"0\"\nval(b) = \"x\\x00\\\"y\"\n\n\
                success requests (get, put, del):\nput \"a key\" 'new = value' --prev-kv\nget b\n\n\
                del b --prefix\n";
    let request = txn::parse(text).unwrap();
    assert_eq!(request.compare.len(), 2);
    assert_eq!(request.compare[0].key, "a key");
    assert_eq!(request.compare[0].result(), CompareResult::Greater);
    assert_eq!(request.compare[0].target(), CompareTarget::Mod);
    assert_eq!(
        request.compare[0].target_union,
        Some(TargetUnion::ModRevision(0))
    );
    assert_eq!(
        request.compare[1].target_union,
        Some(TargetUnion::Value("x\0\"y".into()))
    );
    let Some(Request::RequestPut(put)) = &request.success[0].request else {
        panic!("a put")
    };
    assert_eq!((&put.value[..], put.prev_kv), (&b"new = value"[..], true));
    assert!(matches!(
        request.success[1].request,
        Some(Request::RequestRange(_))
    ));
    let Some(Request::RequestDeleteRange(del)) = &request.failure[0].request else {
        panic!("a deletion")
    };
    assert_eq!((&del.key[..], &del.range_end[..]), (&b"b"[..], &b"c"[..]));
}

#[test]
fn a_wrong_transaction_is_named_by_line() {
    for (text, expected) in [
        (
            "mod(a)\n",
            "line 1: `mod(a)` is not of the form mod(\"key\") = \"3\"",
        ),
        (
            "size(\"a\") = \"3\"\n",
            "line 1: `size`: compare value, version, create, mod or lease",
        ),
        ("mod(\"a\") = \"x\"\n", "line 1: `x` is not a number"),
        ("\nput a\n", "line 2: `put a`: needs a value"),
        ("\nput \"a b\n", "line 2: `put \"a b`: a quote is open"),
        ("\n\n\nget a\n", "line 4: a fourth part; there are three"),
    ] {
        assert_eq!(txn::parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_prefix_ends_where_its_last_byte_can_grow() {
    for (prefix, end) in [
        (&b"a"[..], &b"b"[..]),
        (b"a\xff", b"b"),
        (b"a\xff\xfe", b"a\xff\xff"),
        (b"\xff\xff", b"\0"),
        (b"", b"\0"),
    ] {
        assert_eq!(prefix_end(prefix), end, "{prefix:?}");
    }
}

#[test]
fn only_an_answer_is_a_refusal() {
    let message = || "why".to_owned();
    let refused = Error::Refused {
        code: Code::InvalidArgument,
        message: message(),
    };
    assert_eq!(failure(refused).exit, Exit::Refused);
    let unknown = Error::Unknown { message: message() };
    assert_eq!(failure(unknown).exit, Exit::Unknown);
    let unanswered = Error::NoAnswer { message: message() };
    assert_eq!(failure(unanswered).exit, Exit::Unreachable);
    let tried = vec![Tried {
        endpoint: "here".to_owned(),
        said: "closed".to_owned(),
    }];
    let unreachable = failure(Error::Unreachable { tried });
    assert_eq!(unreachable.exit, Exit::Unreachable);
    assert!(
        unreachable.message.contains("  here: closed\n"),
        "{unreachable:?}"
    );
}

#[test]
fn an_endpoint_may_leave_out_the_scheme() {
    assert_eq!(
        origin("127.0.0.1:1").unwrap(),
        origin("http://127.0.0.1:1/").unwrap()
    );
    for wrong in ["https://127.0.0.1:1", "127.0.0.1", "", "http://h:1/path"] {
        assert_eq!(origin(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
    }
}

#[test]
fn lease_numbers_are_hexadecimal() {
    assert_eq!(lease::lease_id("7fffffffffffffff"), Ok(i64::MAX));
    assert_eq!(lease::lease_id("0x10"), Ok(16));
    for wrong in ["8000000000000000", "g", "", "-1"] {
        assert!(lease::lease_id(wrong).is_err(), "{wrong}");
    }
}
