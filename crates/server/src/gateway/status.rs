//! The status of a call, in the words of HTTP.

use super::json::write_text;
use bytes::Bytes;
use http::StatusCode;
use tonic::{Code, Status};

/// The status of the response, as etcd's gateway chooses it.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The body of a call that failed.
pub(crate) fn error_body(status: &Status) -> Bytes {
    let mut body = b"{\"error\":".to_vec();
    write_text(status.message(), &mut body);
    body.extend_from_slice(
        format!(",\"code\":{},\"message\":", i32::from(status.code())).as_bytes(),
    );
    write_text(status.message(), &mut body);
    body.push(b'}');
    body.into()
}

/// The last line of a stream that failed, in the words of etcd 3.5 and, with `code`, of 3.6.
pub(crate) fn error_line(status: &Status) -> Bytes {
    let (code, http) = (i32::from(status.code()), http_status(status.code()));
    let head = format!(
        "{{\"error\":{{\"grpc_code\":{code},\"http_code\":{},\"message\":",
        http.as_u16()
    );
    let mut line = head.into_bytes();
    write_text(status.message(), &mut line);
    line.extend_from_slice(b",\"http_status\":");
    write_text(http.canonical_reason().unwrap_or_default(), &mut line);
    line.extend_from_slice(format!(",\"code\":{code}}}}}\n").as_bytes());
    line.into()
}
