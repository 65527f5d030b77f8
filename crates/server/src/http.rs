//! What the client port serves beside gRPC: the gateway, probes, `/version`, `/metrics`.

use crate::gateway::Afterwards;
use crate::grpc::Body;
use crate::probes::Asked;
use crate::{Server, gateway, metrics};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

impl Server {
    /// Answers a request to a port that is there for monitors only.
    pub(crate) async fn answer_monitor(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let path = request.uri().path();
        let first = path.split('/').nth(1);
        if matches!(first, Some("health" | "livez" | "metrics" | "readyz")) {
            self.look_at(request).await
        } else {
            text_error(StatusCode::NOT_FOUND, "404 page not found")
        }
    }

    /// Answers a request that is not gRPC and is let in.
    pub(crate) async fn serve_http(
        self: Arc<Self>,
        request: Request<Incoming>,
        afterwards: &Afterwards,
    ) -> Response<Body> {
        if self.config.gateway && gateway::is_inside(request.uri().path()) {
            self.gateway(request, afterwards).await
        } else {
            self.look_at(request).await
        }
    }

    /// Answers a request for what can be seen of the member.
    async fn look_at(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let asked = Asked::at(path);
        if asked.is_none() && !matches!(path, "/health" | "/version" | "/metrics") {
            return text_error(StatusCode::NOT_FOUND, "404 page not found");
        }
        if request.method() != Method::GET {
            let mut response = text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            let get = HeaderValue::from_static("GET");
            response.headers_mut().insert(ALLOW, get);
            return response;
        }
        if let Some(asked) = asked {
            return self.probe(asked, &request).await;
        }
        match path {
            "/health" => self.health(&request).await,
            "/version" => {
                let version = self.config.api_version;
                let cluster = version.of_cluster();
                let body = format!(
                    r#"{{"etcdserver":"{version}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#
                );
                respond(StatusCode::OK, JSON, body)
            }
            "/metrics" => respond(StatusCode::OK, PROMETHEUS, metrics::render(&self)),
            other => unreachable!("{other} is known but not served"),
        }
    }
}

pub(crate) fn respond(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::plain(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An error of a few words, on a line.
pub(crate) fn text_error(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = respond(status, TEXT, format!("{words}\n"));
    let no_guesses = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, no_guesses);
    response
}

/// For a gRPC method's path without HTTP/2 or without gRPC's content type.
pub(crate) fn not_grpc() -> Response<Body> {
    respond(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        TEXT,
        "this path takes gRPC: HTTP/2 and content-type application/grpc\n",
    )
}
