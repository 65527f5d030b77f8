//! Listeners that are no members.

use crate::member::spawn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Takes connections, reads what comes, and never says anything.
pub(crate) struct Impostor {
    pub(crate) address: SocketAddr,
    seen: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Impostor {
    /// One that lets its clients wait.
    pub(crate) async fn silent() -> Self {
        Self::start(None).await
    }

    /// One that closes a connection once it has read this text on it.
    pub(crate) async fn closing_at(text: &'static str) -> Self {
        Self::start(Some(text)).await
    }

    /// On how many connections the text was read.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    async fn start(text: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&seen);
        let task = spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let (stream, _) = accepted.expect("connections can be accepted");
                let seen = Arc::clone(&counter);
                spawn(async move {
                    if reads(&stream, text).await {
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            address,
            seen,
            task: task.abort_handle(),
        }
    }
}

/// Reads until the text has come (true) or the client has closed the connection (false).
async fn reads(stream: &TcpStream, text: Option<&str>) -> bool {
    let mut read = Vec::new();
    while stream.readable().await.is_ok() {
        match stream.try_read_buf(&mut read) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        let Some(text) = text else { continue };
        if read.windows(text.len()).any(|part| part == text.as_bytes()) {
            return true;
        }
    }
    false
}

/// A way to a member that can fail.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
    fate: watch::Sender<Fate>,
    task: AbortHandle,
}

/// What becomes of the connections that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Forwarded,
    Frozen,
    Closed,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn to(member: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicU64::new(0));
        let fate = watch::Sender::new(Fate::Forwarded);
        let (counter, fates) = (Arc::clone(&connections), fate.clone());
        let task = spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let (client, _) = accepted.expect("connections can be accepted");
                counter.fetch_add(1, Ordering::Relaxed);
                spawn(forward(client, member, fates.subscribe()));
            }
        });
        Self {
            address,
            connections,
            fate,
            task: task.abort_handle(),
        }
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Nothing passes any more on the connections that stand; new ones work.
    pub(crate) fn freeze(&self) {
        self.fate.send_replace(Fate::Frozen);
    }

    /// Closes all connections, and takes no more.
    pub(crate) fn close(&self) {
        self.task.abort();
        self.fate.send_replace(Fate::Closed);
    }
}

async fn forward(mut client: TcpStream, member: SocketAddr, mut fate: watch::Receiver<Fate>) {
    let Ok(mut member) = TcpStream::connect(member).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut member) => {}
        _ = fate.changed() => {
            // What is frozen stays open until it is closed.
            let _closed = fate.wait_for(|fate| *fate == Fate::Closed).await;
        }
    }
}
