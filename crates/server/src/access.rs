//! Which HTTP requests are let in, and what browsers are told of it.
//!
//! A page in a browser can reach a member that its server cannot. Two lists stand against that, as
//! in etcd: the names under which a member answers, so that a foreign name that was bent to its
//! address leads nowhere, and the origins whose pages may read an answer. Neither concerns gRPC.

use crate::Server;
use crate::gateway::Afterwards;
use crate::grpc::Body;
use crate::http::{TEXT, respond};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    HeaderMap, HeaderValue, ORIGIN,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");

/// Stands for everything in either list, as does a list of nothing.
const ALL: &str = "*";

impl Server {
    /// Answers a request that is not gRPC, if it may ask.
    pub(crate) async fn plain_http(
        self: Arc<Self>,
        request: Request<Incoming>,
        afterwards: &Afterwards,
    ) -> Response<Body> {
        let host = host(&request);
        if !is_listed(&self.config.host_whitelist, host) {
            tracing::warn!(host, "a request for a host that is not on the white list");
            let told = format!(
                "this member does not answer under the name {host:?}: \
                 add it to the list of hosts, --host-whitelist, if it should\n"
            );
            return respond(StatusCode::MISDIRECTED_REQUEST, TEXT, told);
        }
        let origin = readable_by(&self.config.cors, request.headers());
        let mut response = if request.method() == Method::OPTIONS {
            Response::new(Body::default())
        } else {
            self.serve_http(request, afterwards).await
        };
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        }
        response
    }
}

fn is_listed(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|listed| listed == ALL || listed == name)
}

/// The host that is asked for, without its port; empty if the request names none.
fn host(request: &Request<Incoming>) -> &str {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let header = || request.headers().get(HOST)?.to_str().ok();
    let host = authority.or_else(header).unwrap_or_default();
    match host.rsplit_once(':') {
        // An address of IPv6 has colons of its own; in brackets if a port follows.
        Some((name, _)) if !name.contains(':') => name,
        Some((name, _)) if name.ends_with(']') => name.trim_matches(['[', ']']),
        Some(_) | None => host,
    }
}

/// The origin that the answer is marked with, if its pages may read it.
fn readable_by(list: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    if is_listed(list, ALL) {
        return Some(HeaderValue::from_static(ALL));
    }
    let origin = headers.get(ORIGIN)?;
    is_listed(list, origin.to_str().ok()?).then(|| origin.clone())
}
