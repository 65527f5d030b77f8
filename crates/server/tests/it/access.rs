//! Who may ask over HTTP, and whose pages may read the answer.

use crate::http::{ask, ask_as};
use crate::member::{config, start, start_with};
use synod_env::Limits;

fn listed(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn everyone_may_ask_and_every_page_may_read_unless_told_otherwise() {
    let member = start().await;
    let (status, head, _) = ask_as(&member, "any.example", "GET /version HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");

    let (status, head, body) = ask(&member, "OPTIONS /v3/kv/put HTTP/1.1").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    let methods = "access-control-allow-methods: post, get, options, put, delete";
    assert!(head.contains(methods), "{head}");
    let headers = "access-control-allow-headers: accept, content-type, authorization";
    assert!(head.contains(headers), "{head}");
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_read() {
    let mut config = config();
    config.cors = listed(&["https://a.example"]);
    let member = start_with(Limits::default(), config).await;
    let get = |origin: &str| format!("GET /version HTTP/1.1\r\norigin: {origin}");
    let (_, head, _) = ask(&member, &get("https://a.example")).await;
    assert!(
        head.contains("access-control-allow-origin: https://a.example"),
        "{head}"
    );
    for request in [&get("https://b.example"), "GET /version HTTP/1.1"] {
        let (status, head, _) = ask(&member, request).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(!head.contains("access-control"), "{head}");
    }
}

#[tokio::test]
async fn only_listed_hosts_are_answered_for() {
    let mut config = config();
    config.host_whitelist = listed(&["a.example", "::1"]);
    let member = start_with(Limits::default(), config).await;
    for host in ["a.example", "a.example:2379", "[::1]:2379", "::1"] {
        let (status, _, _) = ask_as(&member, host, "GET /version HTTP/1.1").await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{host}");
    }
    for host in ["b.example", "a.example.org:2379", ""] {
        for path in ["/version", "/health", "/v3/kv/put", "/nothing"] {
            let (status, head, body) =
                ask_as(&member, host, &format!("POST {path} HTTP/1.1")).await;
            assert_eq!(status, "HTTP/1.1 421 Misdirected Request", "{host}");
            assert!(!head.contains("access-control"), "{head}");
            assert!(body.contains("--host-whitelist"), "{body}");
        }
    }
    // gRPC is none of its business.
    member.put("a", "1").await;
}
