//! The gateway over websockets.

use crate::member::{Running, config, soon, start, start_with};
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use synod_env::Limits;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

type Socket = WebSocketStream<TcpStream>;

async fn open(member: &Running, path: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(member.address)
        .await
        .expect("the port is open");
    let url = format!("ws://{}{path}", member.address);
    let (socket, _) = soon(tokio_tungstenite::client_async(url, stream)).await?;
    Ok(socket)
}

async fn say(socket: &mut Socket, json: &str) {
    let sent = soon(socket.send(Message::text(json.to_owned()))).await;
    sent.expect("the socket is open");
}

/// The next message; `None` when the server has closed.
async fn hear(socket: &mut Socket) -> Option<String> {
    match soon(socket.next()).await?.expect("the socket is open") {
        Message::Text(text) => Some(text.as_str().to_owned()),
        Message::Close(_) => None,
        other @ (Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
            panic!("{other:?} is no text")
        }
    }
}

#[tokio::test]
async fn a_watch_is_a_conversation() {
    let mut member = start().await;
    let mut socket = open(&member, "/v3/watch").await.unwrap();
    say(&mut socket, r#"{"create_request":{"key":"YQ=="}}"#).await;
    let created = hear(&mut socket).await.unwrap();
    assert!(created.ends_with(r#""created":true}}"#), "{created}");
    member.put("a", "1").await;
    let event = hear(&mut socket).await.unwrap();
    assert!(event.contains(r#""value":"MQ==""#), "{event}");
    say(&mut socket, r#"{"progress_request":{}}"#).await;
    let progress = hear(&mut socket).await.unwrap();
    assert!(progress.contains(r#""revision":"2""#), "{progress}");
    assert_eq!(member.node.watch_counts(), (1, 1));

    member.shut_down();
    let last = hear(&mut socket).await.unwrap();
    assert!(last.contains("etcdserver: server stopped"), "{last}");
    assert_eq!(hear(&mut socket).await, None);
    drop(socket);
    assert_eq!(member.served().await, 0);
}

#[tokio::test]
async fn a_call_is_answered_with_one_message() {
    let member = start().await;
    let mut socket = open(&member, "/v3/kv/put").await.unwrap();
    say(&mut socket, r#"{"key":"YQ=="}"#).await;
    let answer = hear(&mut socket).await.unwrap();
    assert!(answer.contains(r#""revision":"2""#), "{answer}");
    assert_eq!(hear(&mut socket).await, None);

    let mut socket = open(&member, "/v3/kv/put").await.unwrap();
    say(&mut socket, "{}").await;
    let text = "etcdserver: key is not provided";
    let expected = format!(r#"{{"error":"{text}","code":3,"message":"{text}"}}"#);
    assert_eq!(hear(&mut socket).await.unwrap(), expected);
    assert!(open(&member, "/v3/nothing").await.is_err());
}

#[tokio::test]
async fn a_stop_ends_sockets_on_which_nothing_was_said() {
    let mut member = start().await;
    let mut socket = open(&member, "/v3/watch").await.unwrap();
    member.shut_down();
    let last = hear(&mut socket).await.unwrap();
    assert!(last.contains("etcdserver: server stopped"), "{last}");
}

#[tokio::test]
async fn whoever_leaves_or_gives_no_sign_of_life_is_let_go() {
    let mut config = config();
    config.keep_alive_interval = Duration::from_millis(20);
    config.keep_alive_timeout = Duration::from_millis(20);
    let member = start_with(Limits::default(), config).await;
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;

    // Whoever answers stays.
    let mut socket = open(&member, "/v3/watch").await.unwrap();
    say(&mut socket, watch).await;
    let created = hear(&mut socket).await.unwrap();
    assert!(created.contains("created"), "{created}");
    for _ in 0..5 {
        match soon(socket.next()).await {
            Some(Ok(Message::Ping(_))) => soon(socket.flush()).await.unwrap(),
            other => panic!("{other:?} instead of a question"),
        }
    }
    // Whoever does not read does not answer.
    while member.node.watch_counts() != (0, 0) {
        soon(member.node.env().sleep(Duration::from_millis(5))).await;
    }

    let mut socket = open(&member, "/v3/watch").await.unwrap();
    say(&mut socket, watch).await;
    drop(socket);
    while member.node.watch_counts() != (0, 0) {
        soon(member.node.env().sleep(Duration::from_millis(5))).await;
    }
}
