//! One HTTP/2 connection without the comforts of a client library.
//!
//! The load generator shares its machine with the server, so each microsecond it saves is one
//! more for the server. Reconnection, buffering and load balancing are left out: a connection
//! that breaks fails what is sent on it, and the figures show that.

use crate::client;
use crate::exit::{Exit, Failure};
use crate::outside;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::body::Body;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// HTTP/2 windows, large enough never to be waited for.
const WINDOW_BYTES: u32 = 8 << 20;

/// A connection; clones share it.
#[derive(Clone)]
pub(super) struct Transport(SendRequest<Body>);

/// An open connection, and the origin that requests on it name.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) origin: Uri,
}

impl tower::Service<http::Request<Body>> for Transport {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Connection {
    /// Opens a connection. Its driver is a task on the current runtime.
    async fn open(text: &str) -> Result<Self, Failure> {
        let origin = client::origin(text)?;
        let address = origin
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let connecting = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            // A broken connection shows in the requests on it.
            drop(outside::spawn(driver));
            Ok(sender)
        };
        let said = match outside::within(CONNECT_WITHIN, connecting).await {
            Some(Ok(sender)) => {
                return Ok(Self {
                    transport: Transport(sender),
                    origin,
                });
            }
            Some(Err(said)) => said,
            None => format!("no connection within {CONNECT_WITHIN:?}"),
        };
        Err(Failure::new(Exit::Unreachable, format!("{text}: {said}")))
    }
}

/// Opens connections, spread over the endpoints.
pub(super) async fn connect(
    endpoints: &[String],
    count: usize,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::with_capacity(count);
    for endpoint in endpoints.iter().cycle().take(count) {
        connections.push(Connection::open(endpoint).await?);
    }
    Ok(connections)
}
