use super::{Kind, Method};
use synod_api::{
    etcdserverpb, health, reflection, reflection_alpha, synodpb, v3electionpb, v3lockpb,
};

#[test]
fn each_method_is_found_at_its_path_and_at_no_other() {
    for method in Method::ALL {
        let path = format!("/{}/{}", method.service(), method.name());
        assert_eq!(Method::at(&path), Some(*method), "{path}");
        assert_eq!(Method::at(&path[1..]), None, "{path}");
        assert_eq!(Method::at(&format!("{path}/")), None, "{path}");
    }
}

#[test]
fn numbers_follow_the_order_of_the_list() {
    for (number, method) in Method::ALL.iter().enumerate() {
        assert_eq!(*method as usize, number, "{method:?}");
    }
}

#[test]
fn services_are_those_of_the_generated_code() {
    let services = [
        etcdserverpb::kv_server::SERVICE_NAME,
        etcdserverpb::watch_server::SERVICE_NAME,
        etcdserverpb::lease_server::SERVICE_NAME,
        etcdserverpb::cluster_server::SERVICE_NAME,
        etcdserverpb::maintenance_server::SERVICE_NAME,
        etcdserverpb::auth_server::SERVICE_NAME,
        v3lockpb::lock_server::SERVICE_NAME,
        v3electionpb::election_server::SERVICE_NAME,
        synodpb::limits_server::SERVICE_NAME,
        health::health_server::SERVICE_NAME,
        reflection::server_reflection_server::SERVICE_NAME,
        reflection_alpha::server_reflection_server::SERVICE_NAME,
    ];
    let mut listed: Vec<&str> = Method::ALL.iter().map(|method| method.service()).collect();
    listed.dedup();
    assert_eq!(listed, services);
}

/// The proto files say the same: methods, names and which side streams.
#[test]
fn methods_are_those_of_the_proto_files() {
    let protos = [
        include_str!("../../../../proto/etcdserverpb/rpc.proto"),
        include_str!("../../../../proto/v3lockpb/v3lock.proto"),
        include_str!("../../../../proto/v3electionpb/v3election.proto"),
        include_str!("../../../../proto/synodpb/limits.proto"),
        include_str!("../../../../proto/grpc/health/v1/health.proto"),
        include_str!("../../../../proto/grpc/reflection/v1/reflection.proto"),
        include_str!("../../../../proto/grpc/reflection/v1alpha/reflection.proto"),
    ];
    let mut declared = Vec::new();
    for proto in protos {
        let mut package = "";
        let mut service = "";
        for line in proto.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("package ") {
                package = rest.trim_end_matches(';');
            } else if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches(" {");
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                let (name, types) = rest.split_once('(').expect("an rpc has a request");
                let kind = match types.matches("stream ").count() {
                    0 => Kind::Unary,
                    1 => Kind::ServerStream,
                    _ => Kind::BidiStream,
                };
                declared.push((format!("{package}.{service}"), name.to_owned(), kind));
            }
        }
    }
    let mut listed: Vec<_> = Method::ALL
        .iter()
        .map(|method| {
            (
                method.service().to_owned(),
                method.name().to_owned(),
                method.kind(),
            )
        })
        .collect();
    let by_name =
        |a: &(String, String, Kind), b: &(String, String, Kind)| (&a.0, &a.1).cmp(&(&b.0, &b.1));
    declared.sort_by(by_name);
    listed.sort_by(by_name);
    assert_eq!(listed, declared);
}
