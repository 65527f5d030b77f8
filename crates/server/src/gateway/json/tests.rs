use super::{read, write};
use crate::methods::Method;
use crate::schema;
use prost_reflect::DynamicMessage;

/// What is written of what was read of a method's request.
fn again(method: Method, json: &str) -> Result<String, String> {
    let (input, _) = schema::messages(method);
    let message: DynamicMessage = read(&input, json.as_bytes())?;
    let mut out = Vec::new();
    write(&message, &mut out);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn what_is_written_can_be_read_and_is_written_again_alike() {
    for (method, json) in [
        (Method::Range, "{}"),
        (
            Method::Range,
            r#"{"key":"YQ==","range_end":"/+8=","limit":"-9223372036854775808","sort_order":"DESCEND","serializable":true}"#,
        ),
        (Method::MoveLeader, r#"{"targetID":"18446744073709551615"}"#),
        (
            Method::Txn,
            r#"{"compare":[{"target":"MOD","key":"YQ==","mod_revision":"0"}],"success":[{"request_put":{}},{"request_txn":{"success":[{"request_range":{"key":"YQ=="}}]}}]}"#,
        ),
        (
            Method::UserAdd,
            r#"{"name":"a\"\\\nü","options":{"no_password":true}}"#,
        ),
        (
            Method::Watch,
            r#"{"create_request":{"key":"YQ==","filters":["NOPUT","NODELETE"]}}"#,
        ),
        (Method::Alarm, r#"{"alarm":7}"#),
    ] {
        assert_eq!(again(method, json).as_deref(), Ok(json));
    }
}

#[test]
fn more_is_read_than_is_written() {
    let written = r#"{"key":"+/8=","range_end":"YQ==","limit":"5","sort_target":"MOD"}"#;
    for json in [
        r#"{"key":"+/8=","rangeEnd":"YQ","limit":5,"sortTarget":3}"#,
        r#"{"key":"-_8","range_end":"YQ==","limit":"5","sort_target":"MOD","unknown":{"a":[1]}}"#,
        r#"{"key":"-_8=","range_end":"YR==","limit":"5","sort_target":"3"}"#,
        r#" {"limit" : 5, "sort_target":"MOD","revision":null,"key":"+/8","range_end":"YQ=="} "#,
    ] {
        assert_eq!(again(Method::Range, json).as_deref(), Ok(written), "{json}");
    }
    assert_eq!(again(Method::Range, "null").as_deref(), Ok("{}"));
}

#[test]
fn what_is_no_message_is_refused_with_a_reason() {
    for (json, why) in [
        ("[]", "a RangeRequest is a JSON object, not []"),
        (r#"{"key":"#, "unexpected EOF"),
        (r#"{"key":5}"#, "key is bytes in base64, not 5"),
        (r#"{"key":"a!=="}"#, "illegal base64 data at input byte 1"),
        (r#"{"limit":1.5}"#, "limit is a number of 64 bits, not 1.5"),
        (
            r#"{"limit":"x"}"#,
            r#"limit is a number of 64 bits, not "x""#,
        ),
        (
            r#"{"limit":"9223372036854775808"}"#,
            r#"limit is a number of 64 bits, not "9223372036854775808""#,
        ),
        (r#"{"keys_only":1}"#, "keys_only is true or false, not 1"),
        (
            r#"{"sort_order":"UP"}"#,
            r#"unknown value "\"UP\"" for enum etcdserverpb.RangeRequest.SortOrder"#,
        ),
    ] {
        assert_eq!(again(Method::Range, json), Err(why.to_owned()));
    }
    assert_eq!(
        again(Method::Txn, r#"{"compare":{}}"#),
        Err("compare is a JSON array, not {}".into())
    );
    assert!(again(Method::Txn, &"[".repeat(100_000)).is_err());
}
