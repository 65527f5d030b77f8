//! HTTP/1.1 on the same port, by hand.

use crate::member::{Running, soon, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status line, head and body of the answer.
pub(crate) async fn ask(member: &Running, request: &str) -> (String, String, String) {
    ask_as(member, "member", request).await
}

/// The same with another host in the request.
pub(crate) async fn ask_as(
    member: &Running,
    host: &str,
    request: &str,
) -> (String, String, String) {
    exchange(member, &format!("{request}\r\nhost: {host}"), "").await
}

/// The same with a body.
pub(crate) async fn ask_with_body(
    member: &Running,
    request: &str,
    body: &str,
) -> (String, String, String) {
    exchange(member, &format!("{request}\r\nhost: member"), body).await
}

async fn exchange(member: &Running, head: &str, body: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(member.address)
        .await
        .expect("the port is open");
    let request = format!("{head}\r\nconnection: close\r\n\r\n{body}");
    // A body that is too long is not read to its end.
    let _refused = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _cut = soon(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).expect("the answer is text");
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .expect("the answer has a head");
    let (status, head) = head.split_once("\r\n").expect("the head has lines");
    (
        status.to_owned(),
        head.to_ascii_lowercase(),
        body.to_owned(),
    )
}

async fn get(member: &Running, path: &str) -> (String, String) {
    let (status, _, body) = ask(member, &format!("GET {path} HTTP/1.1")).await;
    (status, body)
}

fn ok(body: &str) -> (String, String) {
    ("HTTP/1.1 200 OK".into(), body.into())
}

#[tokio::test]
async fn health_is_etcds_json() {
    let member = start().await;
    let healthy = ok(r#"{"health":"true","reason":""}"#);
    assert_eq!(get(&member, "/health").await, healthy);
    assert_eq!(get(&member, "/health?serializable=true").await, healthy);

    member.engine.depose();
    let (status, body) = get(&member, "/health").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, r#"{"health":"false","reason":"RAFT NO LEADER"}"#);
    assert_eq!(
        get(&member, "/health?exclude=NOSPACE&serializable=true").await,
        healthy
    );
}

#[tokio::test]
async fn the_version_is_etcds_json() {
    let member = start().await;
    let expected = r#"{"etcdserver":"3.6.4","etcdcluster":"3.6.0","storage":"3.6.0"}"#;
    assert_eq!(get(&member, "/version").await, ok(expected));
}

#[tokio::test]
async fn other_methods_and_other_paths_are_refused() {
    let member = start().await;
    let (status, head, _) = ask(&member, "POST /health HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert!(head.contains("allow: get"), "{head}");
    let (status, _) = get(&member, "/nothing").await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    let (status, _, body) = ask(&member, "POST /etcdserverpb.KV/Put HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 415 Unsupported Media Type");
    assert!(body.contains("gRPC"), "{body}");
}

#[tokio::test]
async fn metrics_count_what_was_served() {
    let member = start().await;
    for value in ["one", "two"] {
        member.put("a", value).await;
    }
    let refused = crate::member::put("", "");
    soon(member.kv().put(refused)).await.unwrap_err();

    let (status, head, text) = ask(&member, "GET /metrics HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let put = r#"grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    for line in [
        "etcd_mvcc_put_total 2",
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_debugging_mvcc_current_revision 3",
        "etcd_debugging_mvcc_total_put_size_in_bytes 8",
        "etcd_server_proposals_pending 0",
        "etcd_server_leader_changes_seen_total 1",
        r#"synod_request_seconds_count{outcome="done"} 2"#,
        r#"synod_request_seconds_count{outcome="refused"} 1"#,
        r#"synod_request_seconds_bucket{outcome="timed_out",le="+Inf"} 0"#,
        &format!("grpc_server_handling_seconds_count{{{put}}} 3"),
        r#"etcd_server_version{server_version="3.6.4"} 1"#,
        r#"etcd_cluster_version{cluster_version="3.6.0"} 1"#,
        &format!("grpc_server_started_total{{{put}}} 3"),
        &format!(r#"grpc_server_handled_total{{grpc_code="OK",{put}}} 2"#),
        &format!(r#"grpc_server_handled_total{{grpc_code="InvalidArgument",{put}}} 1"#),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in:\n{text}"
        );
    }
    // What was made durable and applied took some time, and what was sent some bytes.
    for name in [
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_backend_commit_duration_seconds_count",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value: f64 = value.expect(name).trim().parse().expect(name);
        assert!(value > 0.0, "{name} {value}");
    }
    // Each metric has a type, and is there once.
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
