//! The service `grpc.reflection.v1.ServerReflection`: tools ask what is served, and in which
//! messages.
//!
//! `v1alpha` is the same under another name, message by message, so one code serves both.

use crate::metrics::Handling;
use crate::schema;
use crate::stop::End;
use futures_util::{Stream, StreamExt as _};
use prost_reflect::FileDescriptor;
use std::collections::BTreeMap;
use synod_api::reflection as pb;
use synod_api::reflection::server_reflection_request::MessageRequest;
use synod_api::reflection::server_reflection_response::MessageResponse;
use tonic::codec::Streaming;
use tonic::{Code, Status};

/// Answers each question in turn.
pub(crate) fn reflect(
    requests: Streaming<pb::ServerReflectionRequest>,
    end: End,
    handling: Handling,
) -> impl Stream<Item = Result<pb::ServerReflectionResponse, Status>> + Send + 'static {
    end.after(requests.map(|request| request.and_then(answer)), handling)
}

fn answer(request: pb::ServerReflectionRequest) -> Result<pb::ServerReflectionResponse, Status> {
    let pool = schema::pool();
    let question = request.message_request.as_ref();
    let answer = match question.ok_or_else(|| Status::invalid_argument("nothing is asked"))? {
        MessageRequest::FileByFilename(name) => files(pool.get_file_by_name(name)),
        MessageRequest::FileContainingSymbol(symbol) => files(declaring(symbol)),
        // There is none: proto3 has no extensions.
        MessageRequest::FileContainingExtension(_) => files(None),
        MessageRequest::AllExtensionNumbersOfType(name) => {
            if pool.get_message_by_name(name).is_some() {
                MessageResponse::AllExtensionNumbersResponse(pb::ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: Vec::new(),
                })
            } else {
                not_found()
            }
        }
        MessageRequest::ListServices(_) => {
            let names = pool.services().map(|it| it.full_name().to_owned());
            let mut service: Vec<_> = names.map(|name| pb::ServiceResponse { name }).collect();
            service.sort_by(|a, b| a.name.cmp(&b.name));
            MessageResponse::ListServicesResponse(pb::ListServiceResponse { service })
        }
    };
    Ok(pb::ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(answer),
    })
}

/// The file and all that it needs, itself first.
fn files(file: Option<FileDescriptor>) -> MessageResponse {
    let Some(file) = file else {
        return not_found();
    };
    let mut needed = BTreeMap::new();
    let mut todo: Vec<_> = file.dependencies().collect();
    while let Some(next) = todo.pop() {
        if next != file && !needed.contains_key(next.name()) {
            todo.extend(next.dependencies());
            needed.insert(next.name().to_owned(), next);
        }
    }
    let all = std::iter::once(&file).chain(needed.values());
    MessageResponse::FileDescriptorResponse(pb::FileDescriptorResponse {
        file_descriptor_proto: all.map(|file| file.encode_to_vec().into()).collect(),
    })
}

/// The file that declares something by its full name.
fn declaring(symbol: &str) -> Option<FileDescriptor> {
    let pool = schema::pool();
    let service = |name: &str| pool.get_service_by_name(name);
    let message = |name: &str| pool.get_message_by_name(name);
    let enumeration = pool.get_enum_by_name(symbol).map(|it| it.parent_file());
    let whole = service(symbol)
        .map(|it| it.parent_file())
        .or_else(|| message(symbol).map(|it| it.parent_file()))
        .or(enumeration);
    whole.or_else(|| {
        let (owner, name) = symbol.rsplit_once('.')?;
        let method = service(owner).filter(|it| it.methods().any(|it| it.name() == name));
        let field = message(owner).filter(|it| it.get_field_by_name(name).is_some());
        let file = method.map(|it| it.parent_file());
        file.or_else(|| field.map(|it| it.parent_file()))
    })
}

fn not_found() -> MessageResponse {
    MessageResponse::ErrorResponse(pb::ErrorResponse {
        error_code: Code::NotFound.into(),
        error_message: "nothing of this name is declared here".into(),
    })
}
