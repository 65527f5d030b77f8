//! What tools learn of the services by asking.

use crate::member::{requests, soon, start};
use futures_util::StreamExt as _;
use prost_reflect::DescriptorPool;
use synod_api::reflection::server_reflection_client::ServerReflectionClient;
use synod_api::reflection::server_reflection_request::MessageRequest;
use synod_api::reflection::server_reflection_response::MessageResponse;
use synod_api::reflection::{ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse};
use synod_api::reflection_alpha;
use synod_api::reflection_alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

fn ask(question: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: "here".into(),
        message_request: Some(question),
    }
}

#[tokio::test]
async fn services_and_their_messages_are_described() {
    let member = start().await;
    let (sender, questions) = requests();
    let mut client = ServerReflectionClient::new(member.channel());
    let answers = soon(client.server_reflection_info(questions));
    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.into());
    for question in [
        MessageRequest::ListServices(String::new()),
        symbol("v3lockpb.Lock"),
        symbol("etcdserverpb.KV.Put"),
        symbol("mvccpb.Event.EventType"),
        MessageRequest::FileByFilename("mvccpb/kv.proto".into()),
        symbol("etcdserverpb.Nothing"),
        MessageRequest::FileContainingExtension(ExtensionRequest::default()),
    ] {
        sender.send(ask(question)).await.unwrap();
    }
    drop(sender);
    let answers = answers.await.unwrap().into_inner();
    let answers: Vec<ServerReflectionResponse> =
        soon(answers.map(|answer| answer.unwrap()).collect()).await;
    assert_eq!(answers.len(), 7);
    assert!(answers.iter().all(|answer| answer.valid_host == "here"));

    let mut files = Vec::new();
    for answer in answers {
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                let names: Vec<_> = list.service.into_iter().map(|it| it.name).collect();
                assert!(names.is_sorted(), "{names:?}");
                for name in [
                    "etcdserverpb.KV",
                    "grpc.health.v1.Health",
                    "v3electionpb.Election",
                ] {
                    assert!(names.iter().any(|it| it == name), "{name} of {names:?}");
                }
            }
            MessageResponse::FileDescriptorResponse(found) => {
                // What was found can be understood without asking for more.
                let mut pool = DescriptorPool::new();
                let mut descriptors = found.file_descriptor_proto;
                descriptors.reverse();
                let mut set = Vec::new();
                for descriptor in &descriptors {
                    let length = u32::try_from(descriptor.len()).unwrap();
                    // Field 1 of a `FileDescriptorSet`.
                    set.push(0x0a);
                    prost::encode_length_delimiter(length as usize, &mut set).unwrap();
                    set.extend_from_slice(descriptor);
                }
                pool.decode_file_descriptor_set(&set[..]).unwrap();
                files.push(pool);
            }
            MessageResponse::ErrorResponse(error) => assert_eq!(error.error_code, 5),
            MessageResponse::AllExtensionNumbersResponse(_) => panic!("nobody asked"),
        }
    }
    let [lock, kv, event, by_name] = &files[..] else {
        panic!("{} files", files.len());
    };
    assert!(lock.get_service_by_name("v3lockpb.Lock").is_some());
    assert!(kv.get_message_by_name("etcdserverpb.PutRequest").is_some());
    for pool in [event, by_name] {
        assert!(pool.get_message_by_name("mvccpb.KeyValue").is_some());
    }
}

#[tokio::test]
async fn the_old_name_of_the_service_serves_too() {
    let member = start().await;
    let (sender, questions) = requests();
    let mut client = AlphaClient::new(member.channel());
    let request = reflection_alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection_alpha::server_reflection_request::MessageRequest::ListServices("*".into()),
        ),
    };
    sender.send(request.clone()).await.unwrap();
    let answers = soon(client.server_reflection_info(questions))
        .await
        .unwrap();
    let answer = soon(answers.into_inner().message()).await.unwrap().unwrap();
    assert_eq!(answer.original_request, Some(request));
    assert!(answer.message_response.is_some());
}
