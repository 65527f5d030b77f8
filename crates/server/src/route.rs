//! From a request's path to its handler.

use crate::Server;
use crate::auth;
use crate::bell::Bell;
use crate::call::Call;
use crate::errors;
use crate::gateway::Afterwards;
use crate::grpc::{self, Body, Framed, Inbound};
use crate::health;
use crate::http::not_grpc;
use crate::methods::Method;
use crate::metrics::Handling;
use crate::reflection::reflect;
use crate::stop::End;
use crate::watch::Responses;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use prost::Message;
use std::sync::Arc;
use synod_api::etcdserverpb as pb;
use synod_env::world::DeadlinePassed;
use synod_node::Failure;
use tonic::{Code, Status};

impl Server {
    /// Answers a request of any kind, on the thread of that bell. A connection that is to be a
    /// websocket then goes on with what is left in `afterwards`.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        afterwards: &Afterwards,
        bell: Arc<Bell>,
    ) -> Response<Body> {
        let Some(method) = Method::at(request.uri().path()) else {
            return Box::pin(self.answer_unknown(request, afterwards)).await;
        };
        if request.version() != Version::HTTP_2 || !is_grpc(request.headers()) {
            return not_grpc();
        }
        self.call(method, request.map(Inbound::Wire), Some(bell))
            .await
    }

    /// Answers a gRPC request, wherever it comes from, on the thread of that bell if it has one.
    pub(crate) async fn call(
        self: Arc<Self>,
        method: Method,
        request: Request<Inbound>,
        bell: Option<Arc<Bell>>,
    ) -> Response<Body> {
        let server = self;
        let now = server.node.now();
        let handling = Handling::begin(&server.metrics, method, now);
        let call = Call::new(now, request.headers(), server.timeout_max());
        if !call.is_version_text {
            return refuse(handling, &errors::CLIENT_VERSION.with_outcome(false));
        }
        if call.require_leader && server.node.status().leader.is_none() {
            return refuse(handling, &errors::NO_LEADER.with_outcome(false));
        }

        let message_bytes_max = server.message_bytes_max();
        let end = || End::new(&server, &call);
        // Reads the message, awaits the handler, and makes the response.
        macro_rules! unary {
            (|$message:ident| $answer:expr) => {
                match server.receive(request, call).await {
                    Ok($message) => finish(handling, $answer),
                    Err(status) => refuse(handling, &status),
                }
            };
        }
        // The same on the heap, lest the rare methods weigh on the future of the frequent ones.
        macro_rules! rare {
            (|$message:ident| $answer:expr) => {
                Box::pin(async move { unary!(|$message| $answer) }).await
            };
        }
        // Reads the message and makes the stream of responses.
        macro_rules! stream {
            (|$message:ident, $end:ident| $responses:expr) => {{
                let ($end, metrics) = (end(), Arc::clone(&server.metrics));
                Box::pin(async move {
                    match server.receive(request, call).await {
                        Ok($message) => grpc::respond_stream($responses, metrics),
                        Err(status) => refuse(handling, &status),
                    }
                })
                .await
            }};
        }
        match method {
            Method::Put => unary!(|m| server.put(m, call).await),
            Method::Range => match server.receive(request, call).await {
                Ok(m) => send(handling, server.range(m, call).await),
                Err(status) => refuse(handling, &status),
            },
            Method::Txn => unary!(|m| server.txn(m, call).await),
            Method::DeleteRange => rare!(|m| server.delete_range(m, call).await),
            Method::Compact => rare!(|m| server.compact(m, call).await),

            Method::RangeStream => {
                stream!(|m, end| match server.range_stream(m, call).await {
                    Ok(pages) => end.after(pages, handling),
                    Err(status) => return refuse(handling, &status),
                })
            }

            Method::Watch => match server.node.watch() {
                Ok(watches) => {
                    let (serve, end) = (Arc::clone(&server), end());
                    let responses =
                        |requests| Responses::new(serve, requests, watches, end, handling, bell);
                    Box::pin(grpc::stream(
                        request,
                        message_bytes_max,
                        &server.metrics,
                        responses,
                    ))
                    .await
                }
                Err(failure) => refuse(handling, &call.status(&failure)),
            },

            Method::LeaseGrant => rare!(|m| server.lease_grant(m, call).await),
            Method::LeaseRevoke => rare!(|m| server.lease_revoke(m, call).await),
            Method::LeaseKeepAlive => {
                let end = end();
                let metrics = Arc::clone(&server.metrics);
                let responses = |requests| server.lease_keep_alive(requests, end, handling);
                Box::pin(grpc::stream(
                    request,
                    message_bytes_max,
                    &metrics,
                    responses,
                ))
                .await
            }
            Method::LeaseTimeToLive => rare!(|m| server.lease_time_to_live(m, call).await),
            Method::LeaseLeases => rare!(|m| server.lease_leases(m, call).await),

            Method::MemberList => rare!(|m| server.member_list(m, call).await),

            Method::Status => {
                rare!(|m| Ok({
                    let pb::StatusRequest {} = m;
                    server.status()
                }))
            }

            Method::Alarm => rare!(|m| server.alarm(m, call).await),
            Method::Defragment => rare!(|m| Ok(server.defragment(&m))),
            Method::Hash => rare!(|m| Ok(server.hash(&m))),
            Method::HashKv => rare!(|m| server.hash_kv(m, call).await),
            Method::Snapshot => {
                stream!(|m, end| match server.snapshot(&m) {
                    Ok(pieces) => end.after(pieces, handling),
                    Err(status) => return refuse(handling, &status),
                })
            }
            Method::MoveLeader => rare!(|m| server.move_leader(&m)),
            Method::Downgrade => rare!(|m| server.downgrade(&m)),

            Method::AuthEnable => rare!(|m| auth::enable(&m)),
            Method::AuthDisable => rare!(|m| Ok(server.auth_disable(&m))),
            Method::AuthStatus => rare!(|m| Ok(server.auth_status(&m))),
            Method::Authenticate => rare!(|m| auth::authenticate(&m)),
            Method::UserAdd => rare!(|m| auth::user_add(&m)),
            Method::UserGet => rare!(|m| auth::user_get(&m)),
            Method::UserList => rare!(|m| Ok(server.user_list(&m))),
            Method::UserDelete => rare!(|m| auth::user_delete(&m)),
            Method::UserChangePassword => rare!(|m| auth::user_change_password(&m)),
            Method::UserGrantRole => rare!(|m| auth::user_grant_role(&m)),
            Method::UserRevokeRole => rare!(|m| auth::user_revoke_role(&m)),
            Method::RoleAdd => rare!(|m| auth::role_add(&m)),
            Method::RoleGet => rare!(|m| auth::role_get(&m)),
            Method::RoleList => rare!(|m| Ok(server.role_list(&m))),
            Method::RoleDelete => rare!(|m| auth::role_delete(&m)),
            Method::RoleGrantPermission => rare!(|m| auth::role_grant_permission(&m)),
            Method::RoleRevokePermission => rare!(|m| auth::role_revoke_permission(&m)),

            Method::ListLimits => rare!(|m| server.list_limits(m, call).await),
            Method::SetLimit => rare!(|m| server.set_limit(m, call).await),

            Method::HealthCheck => rare!(|m| health::check(&m)),
            Method::HealthWatch => {
                stream!(|m, end| health::watch(&m, end, handling))
            }

            Method::Reflection | Method::ReflectionAlpha => {
                let end = end();
                let responses = |requests| reflect(requests, end, handling);
                Box::pin(grpc::stream(
                    request,
                    message_bytes_max,
                    &server.metrics,
                    responses,
                ))
                .await
            }

            Method::Lock => rare!(|m| server.lock(m, call).await),
            Method::Unlock => rare!(|m| server.unlock(m, call).await),

            Method::Campaign => rare!(|m| server.campaign(m, call).await),
            Method::Proclaim => rare!(|m| server.proclaim(m, call).await),
            Method::Leader => rare!(|m| server.leader(m, call).await),
            Method::Observe => {
                stream!(|m, end| end.after(server.observe(m, call), handling))
            }
            Method::Resign => rare!(|m| server.resign(m, call).await),

            Method::MemberAdd
            | Method::MemberRemove
            | Method::MemberUpdate
            | Method::MemberPromote => refuse(handling, &not_served(method)),
        }
    }

    /// The one message of a unary request; a client that does not end it is not waited for.
    async fn receive<M: Message + Default>(
        &self,
        request: Request<Inbound>,
        call: Call,
    ) -> Result<M, Status> {
        let received = &self.metrics.received_bytes;
        let message = grpc::receive(request.into_body(), self.message_bytes_max(), received);
        match self.node.env().deadline(call.deadline, message).await {
            Ok(message) => message,
            Err(DeadlinePassed) => Err(call.status(&Failure::TimedOut)),
        }
    }

    async fn answer_unknown(
        self: Arc<Self>,
        request: Request<Incoming>,
        afterwards: &Afterwards,
    ) -> Response<Body> {
        if is_grpc(request.headers()) {
            grpc::refuse(&Status::unimplemented(unknown(request.uri().path())))
        } else {
            self.plain_http(request, afterwards).await
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn finish<M: Message>(handling: Handling, answer: Result<M, Status>) -> Response<Body> {
    send(handling, answer.and_then(|message| grpc::framed(&message)))
}

fn send(mut handling: Handling, answer: Result<Framed, Status>) -> Response<Body> {
    match answer {
        Ok(message) => {
            handling.end(Code::Ok);
            grpc::reply(message, handling.sent_bytes())
        }
        Err(status) => refuse(handling, &status),
    }
}

fn refuse(mut handling: Handling, status: &Status) -> Response<Body> {
    handling.end(status.code());
    grpc::refuse(status)
}

/// What a gRPC server in Go, and so etcd, says of a path that leads nowhere.
fn unknown(path: &str) -> String {
    let named = path.strip_prefix('/').unwrap_or(path).rsplit_once('/');
    match named {
        None => format!("malformed method name: {path:?}"),
        Some((service, name)) if Method::ALL.iter().any(|it| it.service() == service) => {
            format!("unknown method {name} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
    }
}

fn not_served(method: Method) -> Status {
    let (service, name) = (method.service(), method.name());
    Status::unimplemented(format!(
        "this version of Synod does not serve {service}/{name}"
    ))
}
