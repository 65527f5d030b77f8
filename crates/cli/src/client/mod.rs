//! The client commands: one request, its outcome, an exit code.

mod keys;
mod lease;
mod member;
mod render;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use keys::{Del, Get, Put};
pub(crate) use lease::{Lease, receiver_stream};
pub(crate) use member::{Compact, Status};
pub(crate) use txn::Txn;
pub(crate) use watch::Watch;

use crate::exit::{Exit, Failure};
use crate::outside;
use std::future::Future;
use std::time::{Duration, Instant};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Where clients look when nobody says.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// The environment name for endpoints.
const ENDPOINTS_ENVIRONMENT: &str = "SYNOD_ENDPOINTS";

/// Largest reply a client accepts, as etcd's clients do.
const REPLY_BYTES_MAX: usize = i32::MAX as usize;

/// What all client commands have in common.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ClientArgs {
    /// Members to ask, the first that answers [default: $SYNOD_ENDPOINTS or
    /// http://127.0.0.1:2379]
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        help_heading = "Connection"
    )]
    pub(crate) endpoints: Vec<String>,
    /// How long to wait for connection and answer
    #[arg(
        long,
        alias = "command-timeout",
        value_name = "TIME",
        default_value = "5s",
        value_parser = crate::config::duration,
        help_heading = "Connection"
    )]
    pub(crate) timeout: Duration,
    /// `simple`, or `json`: etcdctl's, with keys and values in base64
    #[arg(
        hide_possible_values = true,
        short = 'o',
        long = "output",
        visible_short_alias = 'w',
        alias = "write-out",
        default_value = "simple",
        value_name = "FORM",
        help_heading = "Output"
    )]
    pub(crate) form: Form,
}

/// Form of the answer.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people and pipes, as etcdctl prints it.
    Simple,
    /// One JSON object.
    Json,
}

/// What a request may leave behind when its answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing: it only reads.
    Reads,
    /// Its change.
    Changes,
}

/// A connection to one member, and until when the command waits.
struct Session {
    endpoint: String,
    channel: Channel,
    deadline: Instant,
}

/// The endpoints as given, or from the environment, or the default.
fn endpoints(given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    match outside::environment_value(ENDPOINTS_ENVIRONMENT) {
        Some(list) if !list.is_empty() => list.split(',').map(str::to_owned).collect(),
        _ => vec![DEFAULT_ENDPOINT.to_owned()],
    }
}

/// `127.0.0.1:2379` and `http://127.0.0.1:2379` mean the same.
///
/// # Errors
/// A usage failure for anything else, TLS included.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, format!("--endpoints: {what}"));
    let text = text.trim();
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = crate::config::url(&url).map_err(usage)?;
    let endpoint = Endpoint::from_shared(url.to_string())
        .map_err(|error| usage(format!("`{text}`: {error}")))?;
    Ok(endpoint.tcp_nodelay(true).http2_adaptive_window(false))
}

impl Session {
    /// Connects to the first endpoint that answers.
    ///
    /// # Errors
    /// Unreachable, with what each endpoint said: nothing was sent.
    async fn open(args: &ClientArgs) -> Result<Self, Failure> {
        let deadline = outside::now() + args.timeout;
        let mut refusals = Vec::new();
        for text in endpoints(&args.endpoints) {
            let endpoint = endpoint(&text)?;
            let left = deadline.saturating_duration_since(outside::now());
            let said = match outside::within(left, endpoint.connect()).await {
                Some(Ok(channel)) => {
                    return Ok(Self {
                        endpoint: text,
                        channel,
                        deadline,
                    });
                }
                Some(Err(error)) => innermost(&error),
                None => format!("no connection within {:?}", args.timeout),
            };
            refusals.push(format!("{text}: {said}"));
        }
        Err(Failure::new(
            Exit::Unreachable,
            format!(
                "no member reached; nothing was sent\n  {}\n  start one with `synod serve`, or \
                 name others with --endpoints",
                refusals.join("\n  ")
            ),
        ))
    }

    /// Awaits an answer until the deadline.
    async fn call<T>(
        &self,
        effect: Effect,
        request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Failure> {
        let left = self.deadline.saturating_duration_since(outside::now());
        match outside::within(left, request).await {
            Some(Ok(response)) => Ok(response.into_inner()),
            Some(Err(status)) => Err(failure(effect, &status)),
            None => Err(lost(effect, "no answer in time (--timeout)")),
        }
    }
}

/// What a status means for whoever sent the request: refused, or nobody knows.
fn failure(effect: Effect, status: &tonic::Status) -> Failure {
    // Synod says in a trailer what etcd's texts leave open.
    if status
        .metadata()
        .get(synod_server::OUTCOME)
        .is_some_and(|outcome| outcome == "not-done")
    {
        return Failure::new(Exit::Refused, format!("refused: {}", status.message()));
    }
    match status.code() {
        // The service decided before doing anything.
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => {
            Failure::new(Exit::Refused, format!("refused: {}", status.message()))
        }
        // A broken connection, a lost leader or a deadline: the request may be on its way.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => lost(effect, status.message()),
    }
}

fn lost(effect: Effect, why: &str) -> Failure {
    match effect {
        Effect::Reads => Failure::new(
            Exit::Unreachable,
            format!("no answer: {why}; nothing was changed"),
        ),
        Effect::Changes => Failure::new(
            Exit::Unknown,
            format!(
                "unknown: {why}\n  the request may or may not have happened; read the key to find \
                 out"
            ),
        ),
    }
}

/// The cause at the bottom of an error, which is the one a person can act on.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
