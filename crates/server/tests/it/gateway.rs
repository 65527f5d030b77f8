//! The JSON gateway on its connections; what it says is in the compatibility cases.

use crate::http::ask;
use crate::member::{Running, config, soon, start, start_with};
use std::time::Duration;
use synod_env::Limits;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

async fn post(member: &Running, path: &str, json: &str) -> (String, String, String) {
    let length = json.len();
    // What follows the blank line is the body, and what `ask` adds comes before it.
    let request = format!("POST {path} HTTP/1.1\r\ncontent-length: {length}");
    crate::http::ask_with_body(member, &request, json).await
}

/// A request in chunks, and the lines of the answer as they come.
struct Conversation {
    stream: BufReader<TcpStream>,
}

const OPEN: &str = "the connection is open";

impl Conversation {
    async fn open(member: &Running, path: &str) -> Self {
        let mut stream = TcpStream::connect(member.address).await.expect(OPEN);
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: member\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect(OPEN);
        Self {
            stream: BufReader::new(stream),
        }
    }

    async fn say(&mut self, json: &str) {
        let chunk = format!("{:x}\r\n{json}\r\n", json.len());
        self.stream.write_all(chunk.as_bytes()).await.expect(OPEN);
    }

    /// The next line that is JSON: heads and the lengths of chunks are passed over.
    async fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = soon(self.stream.read_line(&mut line)).await.expect(OPEN);
            assert!(read > 0, "the answer has ended");
            if line.starts_with('{') {
                return line.trim().to_owned();
            }
        }
    }
}

#[tokio::test]
async fn a_call_in_json_is_the_call_in_grpc() {
    let member = start().await;
    let (status, head, body) =
        post(&member, "/v3/kv/put", r#"{"key":"YQ==","value":"Yg=="}"#).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(head.contains("content-type: application/json"), "{head}");
    let header = r#""header":{"cluster_id":"193","member_id":"7","revision":"2","raft_term":"1"}"#;
    assert_eq!(body, format!("{{{header}}}"));
    let read = soon(member.kv().range(crate::member::get("a")))
        .await
        .unwrap();
    assert_eq!(read.into_inner().kvs[0].value, "b");

    let (status, head, body) = post(&member, "/v3/lease/revoke", r#"{"ID":"7"}"#).await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    assert!(
        head.contains("grpc-metadata-synod-outcome: not-done"),
        "{head}"
    );
    let text = "etcdserver: requested lease not found";
    let expected = format!(r#"{{"error":"{text}","code":5,"message":"{text}"}}"#);
    assert_eq!(body, expected);

    // Both are counted where calls of gRPC are.
    let (_, _, metrics) = ask(&member, "GET /metrics HTTP/1.1").await;
    let line = r#"grpc_server_handled_total{grpc_code="NotFound",grpc_method="LeaseRevoke""#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_watch_listens_to_its_client_while_it_answers() {
    let mut member = start().await;
    let mut watch = Conversation::open(&member, "/v3/watch").await;
    watch.say(r#"{"create_request":{"key":"YQ=="}}"#).await;
    let created = watch.line().await;
    assert!(created.ends_with(r#""created":true}}"#), "{created}");
    member.put("a", "1").await;
    let event = watch.line().await;
    let kv = r#""kv":{"key":"YQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}"#;
    assert!(event.contains(kv), "{event}");
    // Cut in the midst of a request.
    watch.say(r#"{"cancel_request":{"watch"#).await;
    watch.say(r#"_id":0}}"#).await;
    let canceled = watch.line().await;
    assert!(canceled.ends_with(r#""canceled":true}}"#), "{canceled}");

    member.shut_down();
    let ended = watch.line().await;
    let stopped = r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped","http_status":"Service Unavailable","code":14}}"#;
    assert_eq!(ended, stopped);
}

#[tokio::test]
async fn neither_too_much_json_nor_too_slow_a_client_is_waited_for() {
    let limits = Limits {
        request_bytes_max: 1 << 10,
        request_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let member = start_with(limits, config()).await;
    let long = format!(r#"{{"key":"{}"#, "YQ==".repeat(400_000));
    let (status, _, body) = post(&member, "/v3/kv/put", &long).await;
    assert_eq!(status, "HTTP/1.1 429 Too Many Requests");
    assert!(body.contains("bytes of JSON"), "{body}");

    let mut slow = Conversation::open(&member, "/v3/kv/put").await;
    slow.say(r#"{"key":"#).await;
    let refused = slow.line().await;
    assert!(
        refused.contains("etcdserver: request timed out"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_gateway_can_be_left_out() {
    let mut config = config();
    config.gateway = false;
    let member = start_with(Limits::default(), config).await;
    let (status, _, _) = post(&member, "/v3/kv/put", r#"{"key":"YQ=="}"#).await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn a_client_that_leaves_watches_no_longer() {
    let member = start().await;
    let mut watch = Conversation::open(&member, "/v3/watch").await;
    watch.say(r#"{"create_request":{"key":"YQ=="}}"#).await;
    watch.line().await;
    // Whether it has said all it has to say or not.
    let mut ended = Conversation::open(&member, "/v3/watch").await;
    ended.say(r#"{"create_request":{"key":"YQ=="}}"#).await;
    let last_chunk = ended.stream.write_all(b"0\r\n\r\n").await;
    last_chunk.expect(OPEN);
    ended.line().await;
    assert_eq!(member.node.watch_counts(), (2, 2));
    drop((watch, ended));
    while member.node.watch_counts() != (0, 0) {
        soon(member.node.env().sleep(Duration::from_millis(5))).await;
    }
}
