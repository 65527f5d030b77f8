//! What those ask who watch over a member.

use crate::http::ask;
use crate::member::{soon, start};
use synod_api::etcdserverpb as pb;
use synod_api::etcdserverpb::maintenance_client::MaintenanceClient;

const OK: &str = "HTTP/1.1 200 OK";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable";

#[tokio::test]
async fn a_member_that_serves_is_live_and_ready() {
    let member = start().await;
    let all = "[+]data_corruption ok\n[+]linearizable_read ok\n[+]non_learner ok\n\
               [+]serializable_read ok\nok\n";
    for (path, expected) in [
        ("/livez", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/readyz", "ok\n"),
        ("/readyz?verbose", all),
        (
            "/readyz?exclude=linearizable_read&verbose=&exclude=non_learner&exclude=other",
            "[+]data_corruption ok\n[+]serializable_read ok\nok\n",
        ),
        ("/readyz/non_learner?verbose", "[+]non_learner ok\nok\n"),
        ("/livez/serializable_read", "ok\n"),
    ] {
        let (status, head, body) = ask(&member, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!((status.as_str(), body.as_str()), (OK, expected), "{path}");
        assert!(
            head.contains("content-type: text/plain; charset=utf-8"),
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    for path in [
        "/livez/",
        "/livez/linearizable_read",
        "/readyz/other",
        "/readyz/non_learner/",
    ] {
        let (status, _, _) = ask(&member, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
    }
    let (status, head, _) = ask(&member, "POST /readyz HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert!(head.contains("allow: get"), "{head}");
}

#[tokio::test]
async fn a_member_without_a_leader_lives_and_is_not_ready() {
    let member = start().await;
    member.engine.depose();
    let (status, _, body) = ask(&member, "GET /livez HTTP/1.1").await;
    assert_eq!((status.as_str(), body.as_str()), (OK, "ok\n"));
    let (status, _, body) = ask(&member, "GET /readyz HTTP/1.1").await;
    assert_eq!(status, UNAVAILABLE);
    assert!(
        body.contains("[-]linearizable_read failed: etcdserver: "),
        "{body}"
    );
    assert!(body.contains("[+]serializable_read ok\n"), "{body}");
    let path = "/readyz?exclude=linearizable_read";
    let (status, _, _) = ask(&member, &format!("GET {path} HTTP/1.1")).await;
    assert_eq!(status, OK);

    let (_, _, metrics) = ask(&member, "GET /metrics HTTP/1.1").await;
    for line in [
        r#"etcd_server_healthcheck{type="livez",name="serializable_read"} 1"#,
        r#"etcd_server_healthcheck{type="readyz",name="linearizable_read"} 0"#,
        r#"etcd_server_healthchecks_total{type="readyz",name="linearizable_read",status="error"} 1"#,
        r#"etcd_server_healthchecks_total{type="readyz",name="data_corruption",status="success"} 2"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in:\n{metrics}"
        );
    }
}

#[tokio::test]
async fn corruption_makes_a_member_unready() {
    let member = start().await;
    let mut maintenance = MaintenanceClient::new(member.channel());
    let raise = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: 7,
        alarm: pb::AlarmType::Corrupt.into(),
    };
    soon(maintenance.alarm(raise)).await.unwrap();
    let (status, _, body) = ask(&member, "GET /readyz HTTP/1.1").await;
    assert_eq!(status, UNAVAILABLE);
    let expected = "[-]data_corruption failed: alarm activated: CORRUPT\n\
                    [+]linearizable_read ok\n[+]non_learner ok\n[+]serializable_read ok\n\n";
    assert_eq!(body, expected);
    let (status, _, _) = ask(&member, "GET /livez HTTP/1.1").await;
    assert_eq!(status, OK);
    let (status, _, body) = ask(&member, "GET /health?exclude=CORRUPT HTTP/1.1").await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        (OK, r#"{"health":"true","reason":""}"#)
    );
}
