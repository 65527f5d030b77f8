//! Sockets of this machine, and ports that only monitors reach.

use crate::member::{TempDir, config, soon, start_also_on};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use synod_api::etcdserverpb::{self as pb, kv_client::KvClient};
use synod_server::{ApiVersion, Config, Listener};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tonic::transport::Endpoint;

/// The whole answer to a GET.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: member\r\nconnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("the connection is open");
    let mut answer = String::new();
    let read = soon(stream.read_to_string(&mut answer)).await;
    read.expect("the answer is text");
    answer
}

/// A socket in a directory that is removed with the first of the two.
#[expect(
    clippy::disallowed_methods,
    reason = "the socket is outside of the member's world"
)]
fn local_socket() -> (TempDir, PathBuf, UnixListener) {
    let dir = TempDir::new();
    std::fs::create_dir_all(&dir.0).expect("a fresh directory can be made");
    let path = dir.0.join("client.sock");
    let listener = UnixListener::bind(&path).expect("the directory is empty");
    (dir, path, listener)
}

#[tokio::test]
async fn a_local_socket_serves_grpc_and_http() {
    let (_dir, path, listener) = local_socket();
    let _member = start_also_on(vec![listener.into()], config()).await;

    let at = path.clone();
    let connect = tower::service_fn(move |_| {
        let at = at.clone();
        async move { UnixStream::connect(at).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connect).await;
    let mut kv = KvClient::new(channel.expect("the socket is there"));
    let put = pb::PutRequest {
        key: "k".into(),
        ..pb::PutRequest::default()
    };
    kv.put(put).await.expect("the member serves");

    let stream = UnixStream::connect(&path).await;
    let answer = get(stream.expect("the socket is there"), "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_port_for_monitors_tells_how_the_member_is_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let _member = start_also_on(vec![Listener::from(listener).for_monitors()], config()).await;
    let ask = async |path| {
        let stream = TcpStream::connect(address).await;
        get(stream.expect("the port is open"), path).await
    };
    for path in ["/health", "/metrics"] {
        let answer = ask(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
    for path in [
        "/version",
        "/v3/kv/range",
        "/etcdserverpb.KV/Range",
        "/healthy",
    ] {
        let answer = ask(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }

    let channel = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
    let mut kv = KvClient::new(channel.connect_lazy());
    let refused = kv.range(pb::RangeRequest {
        key: "k".into(),
        ..pb::RangeRequest::default()
    });
    refused.await.expect_err("nobody reads a key there");
}

#[tokio::test]
async fn the_version_that_is_told_can_be_chosen() {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let api_version: ApiVersion = "3.5.17".parse().expect("it is a version");
    let chosen = Config {
        api_version,
        ..config()
    };
    let _member = start_also_on(vec![listener.into()], chosen).await;
    let stream = TcpStream::connect(address).await;
    let answer = get(stream.expect("the port is open"), "/version").await;
    let expected = r#"{"etcdserver":"3.5.17","etcdcluster":"3.5.0","storage":"3.5.0"}"#;
    assert!(answer.ends_with(expected), "{answer}");
}
