//! Bounds, bad input and the end of connections.

use crate::member::{config, error, get, put, soon, start, start_with};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_env::Limits;
use synod_server::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

/// A request body of given frames, which then either ends or never does.
struct Frames {
    frames: std::vec::IntoIter<Bytes>,
    endless: bool,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.next() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// Sends a put as these frames; the status it gets, from the headers or the trailers.
async fn put_in_frames(
    address: std::net::SocketAddr,
    frames: Vec<Bytes>,
    endless: bool,
) -> (String, String) {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.expect("the server speaks HTTP/2");
    let connection = crate::member::spawn(connection);
    let body = Frames {
        frames: frames.into_iter(),
        endless,
    };
    let request = Request::post(format!("http://{address}/etcdserverpb.KV/Put"))
        .header("content-type", "application/grpc")
        .body(body)
        .expect("the request is well-formed");
    let response = soon(client.send_request(request))
        .await
        .expect("the server answers");
    let mut headers = response.headers().clone();
    let mut body = response.into_body();
    while let Some(frame) = soon(std::future::poll_fn(|cx| {
        http_body::Body::poll_frame(Pin::new(&mut body), cx)
    }))
    .await
    {
        if let Ok(trailers) = frame.expect("the response is whole").into_trailers() {
            headers.extend(trailers);
        }
    }
    connection.abort();
    let text = |name| {
        headers.get(name).map_or_else(String::new, |value| {
            value.to_str().expect("it is text").to_owned()
        })
    };
    (text("grpc-status"), text("grpc-message"))
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("it is short"));
    framed.put_slice(message);
    framed.freeze()
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces() {
    let member = start().await;
    let whole = framed(&prost::Message::encode_to_vec(&put("key", "value")));
    let bytes = whole
        .iter()
        .map(|byte| Bytes::copy_from_slice(&[*byte]))
        .collect();
    let (status, _) = put_in_frames(member.address, bytes, false).await;
    assert_eq!(status, "0");
    for at in 0..=whole.len() {
        let pieces = vec![whole.slice(..at), whole.slice(at..)];
        let (status, message) = put_in_frames(member.address, pieces, false).await;
        assert_eq!(
            (status.as_str(), message.as_str()),
            ("0", ""),
            "cut at {at}"
        );
    }
    let read = soon(member.kv().range(get("key")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.kvs[0].value, "value");
    assert_eq!(read.kvs[0].version, i64::try_from(whole.len()).unwrap() + 2);
}

#[tokio::test]
async fn what_is_not_one_message_is_refused_and_not_done() {
    let member = start().await;
    let whole = framed(&prost::Message::encode_to_vec(&put("key", "value")));
    let internal = Code::Internal as i32;
    for (frames, what) in [
        (vec![], "nothing"),
        (vec![whole.slice(..3)], "part of a prefix"),
        (vec![whole.slice(..whole.len() - 1)], "part of a message"),
        (vec![whole.clone(), whole.clone()], "two messages"),
        (vec![framed(&[0xff; 9])], "no protobuf"),
        (
            vec![framed(&[0x0a, 0x20, b'k'])],
            "a field longer than the message",
        ),
    ] {
        let (status, message) = put_in_frames(member.address, frames, false).await;
        assert_eq!(status, internal.to_string(), "{what}: {message}");
    }
    assert_eq!(member.node.root().revision(), 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_sent() {
    let member = start().await;
    let prefix = Bytes::from_static(&[0, 0x7f, 0xff, 0xff, 0xff]);
    let (status, message) = put_in_frames(member.address, vec![prefix], true).await;
    assert_eq!(status, (Code::ResourceExhausted as i32).to_string());
    assert!(message.contains("larger"), "{message}");
}

#[tokio::test]
async fn a_request_that_never_ends_is_not_waited_for() {
    let request_timeout = Duration::from_secs(1);
    let limits = Limits {
        request_timeout,
        ..Limits::default()
    };
    let member = start_with(limits, config()).await;
    let whole = framed(&prost::Message::encode_to_vec(&put("key", "value")));
    let (status, message) = put_in_frames(member.address, vec![whole], true).await;
    assert_eq!(status, (Code::Unavailable as i32).to_string());
    assert_eq!(message, "etcdserver:%20request%20timed%20out");
    assert_eq!(member.node.root().revision(), 1);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let config = Config {
        header_timeout: Duration::from_millis(100),
        ..config()
    };
    let member = start_with(Limits::default(), config).await;
    let mut silent = TcpStream::connect(member.address).await.unwrap();
    let mut answer = Vec::new();
    soon(silent.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_only() {
    let member = start().await;
    for garbage in [
        &b"\x16\x03\x01 hello in TLS \x00\x01\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nxx",
    ] {
        let mut stream = TcpStream::connect(member.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // It is closed, with or without a word; either way not by the garbage being served.
        let _reset = soon(tokio::io::AsyncReadExt::read_to_end(
            &mut stream,
            &mut answer,
        ))
        .await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    member.put("a", "one").await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let config = Config {
        connections_max: 1,
        ..config()
    };
    let member = start_with(Limits::default(), config).await;
    let mut first = member.kv();
    soon(first.put(put("a", "one"))).await.unwrap();

    let mut second = member.kv();
    let waiting = crate::member::spawn(async move { second.put(put("a", "two")).await });
    // The first is served as long as it lives, and the second is not.
    for _ in 0..100 {
        let read = soon(first.range(get("a"))).await.unwrap().into_inner();
        assert_eq!(read.kvs[0].version, 1);
    }
    assert!(!waiting.is_finished());
    drop(first);
    soon(waiting)
        .await
        .expect("it does not panic")
        .expect("it has its turn");
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let mut member = start().await;
    let mut kv = member.kv();
    soon(kv.put(put("a", "one"))).await.unwrap();
    member.shut_down();
    let address = member.address;
    assert_eq!(member.served().await, 0);
    TcpStream::connect(address)
        .await
        .expect_err("the port is closed");
    let refused = error(soon(kv.put(put("a", "two"))).await);
    assert_eq!(refused.0, Code::Unavailable);
}
