//! Listeners and connections: accept, bound, drain.

mod socket;

pub use socket::Listener;
use socket::{Released, Serves};

use crate::bell::Bell;
use crate::gateway::Afterwards;
use crate::stop::Stop;
use crate::{Config, Server};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use synod_env::world::DeadlinePassed;
use synod_node::Node;
use tokio::runtime::Handle;
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
    listeners: Vec<Listener>,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let server = Arc::new(Server::new(node, config));
    let http = http(&server.config);
    let mut connections = JoinSet::new();
    // They end with this function, after the last connection.
    let mut ringers = JoinSet::new();
    let bells = bells(&server.config.workers, &mut ringers);
    {
        let mut accepting = pin!(accept_all(
            &server,
            &http,
            &listeners,
            &bells,
            &mut connections
        ));
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

/// A bell for each thread that serves connections, with the task that answers it.
fn bells(workers: &[Handle], ringers: &mut JoinSet<()>) -> Vec<Arc<Bell>> {
    let bells: Vec<Arc<Bell>> = (0..workers.len().max(1)).map(|_| Arc::default()).collect();
    for (place, bell) in bells.iter().enumerate() {
        let answer = Arc::clone(bell).answer();
        match workers.get(place) {
            Some(worker) => ringers.spawn_on(answer, worker),
            None => ringers.spawn(answer),
        };
    }
    bells
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
    listeners: &[Listener],
    bells: &[Arc<Bell>],
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
        match poll_fn(|cx| socket::poll_accept(listeners, &mut turn, cx)).await {
            Ok(accepted) => {
                let stream = match accepted.release() {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a connection was gone before it was served");
                        continue;
                    }
                };
                served += 1;
                let place = served % bells.len();
                let bell = Arc::clone(&bells[place]);
                let connection = connection(Arc::clone(server), http.clone(), stream, bell);
                match workers.get(place) {
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

/// Serves one connection to its end; once the server stops, it takes no new request.
async fn connection(
    server: Arc<Server>,
    http: Builder<TokioExecutor>,
    released: Released,
    bell: Arc<Bell>,
) {
    let serves = released.serves;
    let stream = match released.take_over() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "failed to take over a connection");
            return;
        }
    };
    // Whoever connects and says nothing does not keep its place.
    let spoken_by = server.node.now() + server.config.header_timeout;
    match server.node.env().deadline(spoken_by, stream.spoken()).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(DeadlinePassed) => return,
    }
    let mut stop = Stop::new(&server.stopping);
    let afterwards = Afterwards::default();
    let left = afterwards.clone();
    let service = service_fn(move |request| {
        let (server, afterwards) = (Arc::clone(&server), left.clone());
        let bell = Arc::clone(&bell);
        async move {
            Ok::<_, Infallible>(match serves {
                Serves::Clients => server.answer(request, &afterwards, bell).await,
                Serves::Monitors => server.answer_monitor(request).await,
            })
        }
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
    match ended {
        Ok(()) => afterwards.go_on().await,
        Err(error) => tracing::debug!(%error, "a connection broke off"),
    }
}
