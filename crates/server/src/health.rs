//! The service `grpc.health.v1.Health`. As with etcd, only the server as a whole has a name: "".

use crate::metrics::Handling;
use crate::stop::End;
use futures_util::{Stream, StreamExt as _, stream};
use synod_api::health as pb;
use synod_api::health::health_check_response::ServingStatus;
use tonic::Status;

const SERVING: pb::HealthCheckResponse = pb::HealthCheckResponse {
    status: ServingStatus::Serving as i32,
};

const SERVICE_UNKNOWN: pb::HealthCheckResponse = pb::HealthCheckResponse {
    status: ServingStatus::ServiceUnknown as i32,
};

/// Tells that the server serves: otherwise nobody would answer.
pub(crate) fn check(request: &pb::HealthCheckRequest) -> Result<pb::HealthCheckResponse, Status> {
    if request.service.is_empty() {
        Ok(SERVING)
    } else {
        Err(Status::not_found("unknown service"))
    }
}

/// Tells how the service is and then nothing more until the server stops.
pub(crate) fn watch(
    request: &pb::HealthCheckRequest,
    end: End,
    handling: Handling,
) -> impl Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send + 'static {
    let now = if request.service.is_empty() {
        SERVING
    } else {
        SERVICE_UNKNOWN
    };
    let states = stream::iter([Ok(now)]).chain(stream::pending());
    end.after(states, handling)
}
