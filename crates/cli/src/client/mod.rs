//! The client commands: one request, its outcome, an exit code.

mod keys;
mod lease;
mod limits;
mod member;
mod render;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use keys::{Del, Get, Put};
pub(crate) use lease::Lease;
pub(crate) use limits::Limits;
pub(crate) use member::{Alarm, Compact, Status};
pub(crate) use txn::Txn;
pub(crate) use watch::Watch;

use crate::exit::{Exit, Failure};
use crate::outside;
use http::Uri;
use std::time::Duration;
use synod_client::{CallConfig, Client, Config, Error, Tried};

/// Where clients look when nobody says.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// The environment name for endpoints.
const ENDPOINTS_ENVIRONMENT: &str = "SYNOD_ENDPOINTS";

/// What all client commands have in common.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ClientArgs {
    /// Members to ask, one that answers [default: $SYNOD_ENDPOINTS or
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
pub(crate) fn origin(text: &str) -> Result<Uri, Failure> {
    let usage = |what: String| Failure::new(Exit::Usage, format!("--endpoints: {what}"));
    let text = text.trim();
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = crate::config::url(&url).map_err(usage)?;
    let origin = url.to_string();
    Uri::try_from(origin).map_err(|error| usage(format!("`{text}`: {error}")))
}

/// A client of these endpoints. A person waits for the answer: each endpoint is asked once, and
/// has its share of the time.
///
/// # Errors
/// A usage failure if an endpoint cannot be read.
pub(crate) fn client(endpoints: Vec<String>, timeout: Duration) -> Result<Client, Failure> {
    for text in &endpoints {
        let is_socket = text.trim().starts_with("unix://");
        if !is_socket {
            origin(text)?;
        }
    }
    let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX).max(1);
    let config = Config {
        timeout,
        calls: CallConfig {
            attempt_patience: timeout / count,
            attempts_max: count,
        },
        watch_outage_max: Some(timeout),
        ..Config::default()
    };
    Client::new(endpoints, config).map_err(|error| Failure::new(Exit::Usage, error))
}

impl ClientArgs {
    /// A client of the endpoints.
    ///
    /// # Errors
    /// A usage failure if an endpoint cannot be read.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        client(endpoints(&self.endpoints), self.timeout)
    }
}

/// How a request that was not done ends the command.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Refused { code: _, message } => {
            Failure::new(Exit::Refused, format!("refused: {message}"))
        }
        Error::Unknown { message } => Failure::new(
            Exit::Unknown,
            format!(
                "unknown: {message}\n  the request may or may not have happened; read the key to \
                 find out"
            ),
        ),
        Error::NoAnswer { message } => Failure::new(
            Exit::Unreachable,
            format!("no answer: {message}; nothing was changed"),
        ),
        Error::Unreachable { tried } => {
            let mut text = "no member reached; nothing was sent\n".to_owned();
            for Tried { endpoint, said } in tried {
                text.push_str(&format!("  {endpoint}: {said}\n"));
            }
            text.push_str("  start one with `synod serve`, or name others with --endpoints");
            Failure::new(Exit::Unreachable, text)
        }
    }
}
