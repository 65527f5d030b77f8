use super::{Body, framed, message_length, refuse, reply, timeout};
use crate::metrics::Counter;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http_body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use tonic::{Code, Status};

fn timeout_of(text: &str) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_bytes(text.as_bytes()).expect("a header takes these bytes");
    headers.insert("grpc-timeout", value);
    timeout(&headers)
}

#[test]
fn timeouts_have_a_count_and_a_unit() {
    assert_eq!(timeout_of("2H"), Some(Duration::from_secs(7200)));
    assert_eq!(timeout_of("3M"), Some(Duration::from_secs(180)));
    assert_eq!(timeout_of("7S"), Some(Duration::from_secs(7)));
    assert_eq!(timeout_of("250m"), Some(Duration::from_millis(250)));
    assert_eq!(
        timeout_of("99999999u"),
        Some(Duration::from_micros(99_999_999))
    );
    assert_eq!(timeout_of("0n"), Some(Duration::ZERO));
}

#[test]
fn a_timeout_that_cannot_be_read_counts_as_none() {
    for text in [
        "",
        "S",
        "7",
        "7s",
        "-7S",
        "+7S",
        "7 S",
        "123456789S",
        "7\u{e4}",
    ] {
        assert_eq!(timeout_of(text), None, "{text:?}");
    }
    assert_eq!(timeout(&HeaderMap::new()), None);
}

#[test]
fn a_length_is_known_with_the_fifth_byte() {
    for known in 0..5 {
        assert_eq!(
            message_length(&[0; 5][..known], 10).expect("not refused"),
            None
        );
    }
    assert_eq!(
        message_length(&[0, 0, 0, 1, 2], 1000).expect("not refused"),
        Some(258)
    );
}

#[test]
fn a_message_beyond_the_bound_is_refused_by_its_prefix_alone() {
    let refusal = message_length(&[0, 0, 0, 0, 11], 10).expect_err("it is too large");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(
        refusal.message(),
        "grpc: received message larger than max (11 vs. 10)"
    );
    assert_eq!(
        message_length(&[0, 0, 0, 0, 10], 10).expect("it fits"),
        Some(10)
    );
}

#[test]
fn compressed_messages_are_refused() {
    let refusal = message_length(&[1, 0, 0, 0, 1], 10).expect_err("it is compressed");
    assert_eq!(refusal.code(), Code::Unimplemented);
}

/// Everything a body gives, in order: data and trailers.
fn frames(mut body: Body) -> (Vec<Bytes>, Option<HeaderMap>) {
    let (mut data, mut trailers) = (Vec::new(), None);
    let mut cx = Context::from_waker(Waker::noop());
    while !body.is_end_stream() {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => data.push(bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Poll::Ready(None) => break,
            other @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => panic!("{other:?}"),
        }
    }
    (data, trailers)
}

#[test]
fn a_reply_is_one_framed_message_and_the_trailers_of_success() {
    let header = pb::ResponseHeader {
        revision: 5,
        ..pb::ResponseHeader::default()
    };
    let message = pb::PutResponse {
        header: Some(header),
        prev_kv: None,
    };
    let sent = Counter::default();
    let response = reply(framed(&message).expect("it is small"), &sent);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.body().size_hint().exact(), None);
    let (data, trailers) = frames(response.into_body());
    assert_eq!(
        data,
        [Bytes::from_static(&[0, 0, 0, 0, 4, 0x0a, 2, 0x18, 5])]
    );
    assert_eq!(sent.get(), 9);
    assert_eq!(
        trailers.expect("a success has trailers")["grpc-status"],
        "0"
    );
}

#[test]
fn an_empty_message_is_a_message() {
    let message = framed(&pb::StatusRequest {}).expect("it is empty");
    let (data, trailers) = frames(reply(message, &Counter::default()).into_body());
    assert_eq!(data, [Bytes::from_static(&[0; 5])]);
    assert!(trailers.is_some());
}

#[test]
fn a_refusal_is_headers_and_nothing_else() {
    let response = refuse(&Status::not_found("no such thing"));
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "5");
    assert_eq!(response.headers()["grpc-message"], "no%20such%20thing");
    assert!(response.body().is_end_stream());
}
