//! Connections: one to each endpoint, opened when it is needed.
//!
//! They are made by hand on hyper, not by tonic's channel, because of one question that the
//! channel does not answer: whether a request that failed ever left. A write that did not can be
//! sent to another member; one that did can not.

use crate::endpoint::Address;
use crate::world;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use synod_api::health::HealthCheckRequest;
use synod_api::health::health_client::HealthClient;
use synod_env::Instant;
use synod_session::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic::client::GrpcService;

/// How much a member may send before it must wait for this client, per stream and connection.
const WINDOW_BYTES: u32 = 8 << 20;

/// While requests are under way on a connection, it is asked this often whether it lives. etcd
/// does not suffer it more often than every five seconds.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one member; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    sender: SendRequest<Body>,
    pub(crate) origin: Uri,
}

/// A request that did not come back.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// It was not sent, not even in part.
    NeverSent(hyper::Error),
    /// It was sent, or may have been.
    Broke(hyper::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NeverSent(error) | Self::Broke(error)) = self;
        write!(f, "the connection broke: {}", innermost(error))
    }
}

impl Error for LinkError {}

/// The cause at the bottom of an error, which is the one a person can act on.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Link {
    async fn open(address: &Address) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let Address { origin, socket } = address;
        if let Some(path) = socket {
            return Self::over(UnixStream::connect(path).await?, origin).await;
        }
        let authority = origin.authority().ok_or("the endpoint has no address")?;
        let stream = TcpStream::connect(authority.as_str()).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, origin).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        origin: &Uri,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await?;
        // How the connection ends shows in the requests on it.
        drop(world::spawn(driver));
        Ok(Self {
            sender,
            origin: origin.clone(),
        })
    }

    /// Waits for some answer, whatever it says: behind an open port nobody may be at home.
    async fn prove_alive(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut health = HealthClient::with_origin(self.clone(), self.origin.clone());
        let request = HealthCheckRequest::default();
        match health.check(request).await {
            Err(status) if status.source().is_some() => Err(status.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl GrpcService<Body> for Link {
    type ResponseBody = Incoming;
    type Error = LinkError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, LinkError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.sender.poll_ready(cx).map_err(LinkError::NeverSent)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.sender.try_send_request(request);
        Box::pin(async move {
            answer.await.map_err(|mut error| {
                // hyper hands back what it has not begun to send.
                match error.take_message() {
                    Some(_) => LinkError::NeverSent(error.into_error()),
                    None => LinkError::Broke(error.into_error()),
                }
            })
        })
    }
}

/// The connections of a client.
#[derive(Debug)]
pub(crate) struct Links(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    /// The endpoint as it was given.
    name: String,
    address: Address,
    /// Held while connecting, so that requests that wait for the same connection share it.
    link: Mutex<Option<Link>>,
}

impl Links {
    pub(crate) fn new(endpoints: Vec<(String, Address)>) -> Self {
        let slot = |(name, address)| Slot {
            name,
            address,
            link: Mutex::default(),
        };
        Self(endpoints.into_iter().map(slot).collect())
    }

    /// The endpoint as it was given.
    pub(crate) fn name(&self, endpoint: Endpoint) -> &str {
        &self.0[endpoint.0].name
    }

    /// The connection to an endpoint, opened if there is none, or what stands in the way. If the
    /// endpoint is doubtful, a connection that stands already is tried first.
    pub(crate) async fn get(
        &self,
        endpoint: Endpoint,
        doubtful: bool,
        until: Instant,
    ) -> Result<Link, String> {
        let connected = self.connected(&self.0[endpoint.0], doubtful);
        match world::until(until, connected).await {
            Some(Ok(link)) => Ok(link),
            Some(Err(error)) => Err(innermost(&*error)),
            None => Err("no connection in time".to_owned()),
        }
    }

    /// A request that goes to a member that hangs is lost. So where there is a choice, a member
    /// has to show that it answers before a connection is used for the first time, and again
    /// after it was silent. A connection on which it does not is given up.
    async fn connected(
        &self,
        slot: &Slot,
        doubtful: bool,
    ) -> Result<Link, Box<dyn Error + Send + Sync>> {
        let mut kept = slot.link.lock().await;
        let standing = kept.take().filter(|link| !link.sender.is_closed());
        let has_choice = self.0.len() > 1;
        let (link, unproven) = match standing {
            Some(link) => (link, doubtful),
            None => (Link::open(&slot.address).await?, true),
        };
        if unproven && has_choice {
            link.prove_alive().await?;
        }
        *kept = Some(link.clone());
        Ok(link)
    }
}
