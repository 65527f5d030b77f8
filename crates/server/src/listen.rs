//! Listeners and connections: accept, bound, drain.

use crate::stop::Stop;
use crate::{Config, Server};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_env::world::DeadlinePassed;
use synod_node::Node;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long no connection is accepted after one could not be: most likely there is no file
/// descriptor left, and one may be given back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// HTTP/2 flow control: what a client may send of one request, and of all on a connection,
/// before it is read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Serves clients on `listeners` until `shutdown`, then takes no new request, has streams go on
/// elsewhere, and waits for the requests that are under way, but no longer than
/// [`Config::drain`]. Ends with the number of connections that it had to cut.
///
/// Must be called on a tokio runtime with I/O and time; connections become tasks of it.
pub async fn serve(
    node: Node,
    listeners: Vec<TcpListener>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let server = Arc::new(Server::new(node, config));
    let http = http(&server.config);
    let mut connections = JoinSet::new();
    {
        let mut accepting = pin!(accept_all(&server, &http, &listeners, &mut connections));
        let mut watching = pin!(server.watch_leader());
        let mut shutdown = pin!(shutdown);
        poll_fn(|cx| match shutdown.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => {
                let Poll::Pending = watching.as_mut().poll(cx);
                accepting.as_mut().poll(cx)
            }
        })
        .await;
    }
    drop(listeners);

    server.stopping.begin();
    let deadline = server.node.now() + server.config.drain;
    let drained = async { while connections.join_next().await.is_some() {} };
    // Those that are left at the deadline are cut when the set is dropped.
    match server.node.env().deadline(deadline, drained).await {
        Ok(()) => 0,
        Err(DeadlinePassed) => connections.len(),
    }
}

fn http(config: &Config) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout);
    http.http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .max_concurrent_streams(config.connection_streams_max);
    http
}

/// Accepts connections for ever, never holding more than [`Config::connections_max`]: those
/// beyond it wait in the operating system's backlog.
async fn accept_all(
    server: &Arc<Server>,
    http: &Builder<TokioExecutor>,
    listeners: &[TcpListener],
    connections: &mut JoinSet<()>,
) {
    let mut turn = 0;
    let mut served = 0;
    let workers = &server.config.workers;
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= server.config.connections_max {
            connections.join_next().await;
            continue;
        }
        match poll_fn(|cx| poll_accept(listeners, &mut turn, cx)).await {
            Ok(stream) => {
                let stream = match released(stream) {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a connection was gone before it was served");
                        continue;
                    }
                };
                served += 1;
                let connection = connection(Arc::clone(server), http.clone(), stream);
                match workers.get(served % workers.len().max(1)) {
                    Some(worker) => connections.spawn_on(connection, worker),
                    None => connections.spawn(connection),
                };
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                server.node.env().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection of any listener, each having its turn.
fn poll_accept(
    listeners: &[TcpListener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<TcpStream>> {
    for _ in listeners {
        *turn = (*turn + 1) % listeners.len();
        if let Poll::Ready(accepted) = listeners[*turn].poll_accept(cx) {
            return Poll::Ready(accepted.map(|(stream, _)| stream));
        }
    }
    Poll::Pending
}

/// A connection that any runtime can take over.
fn released(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    // A reply is one small write: it must not wait for another.
    stream.set_nodelay(true)?;
    stream.into_std()
}

/// Serves one connection to its end; once the server stops, it takes no new request.
async fn connection(
    server: Arc<Server>,
    http: Builder<TokioExecutor>,
    stream: std::net::TcpStream,
) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "failed to take over a connection");
            return;
        }
    };
    // Whoever connects and says nothing does not keep its place.
    let spoken_by = server.node.now() + server.config.header_timeout;
    let mut first = [0];
    let spoken = stream.peek(&mut first);
    match server.node.env().deadline(spoken_by, spoken).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(DeadlinePassed) => return,
    }
    let mut stop = Stop::new(&server.stopping);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut draining = false;
    let ended = poll_fn(|cx| {
        if !draining && stop.poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
