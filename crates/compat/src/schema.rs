//! The services and messages of `proto/`, as data.
//!
//! Neither the generated code nor the server's translation stands between a case and the wire: a
//! field that Synod does not know by name is shown as unknown, and enums take any number.

use crate::Outcome;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use std::path::Path;

const PROTOS: [&str; 4] = [
    "etcdserverpb/rpc.proto",
    "grpc/health/v1/health.proto",
    "v3electionpb/v3election.proto",
    "v3lockpb/v3lock.proto",
];

/// Everything that `proto/` says.
#[derive(Clone, Debug)]
pub struct Schema {
    pool: DescriptorPool,
}

impl Schema {
    /// Reads the protocol files of this checkout.
    ///
    /// # Errors
    /// When they cannot be read or do not compile.
    pub fn load() -> Outcome<Self> {
        let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let files = protox::compile(PROTOS, [proto]).map_err(|error| format!("{error:?}"))?;
        let pool = DescriptorPool::from_file_descriptor_set(files);
        let pool = pool.map_err(|error| format!("proto/: {error}"))?;
        Ok(Self { pool })
    }

    /// A method by its name, or by `Service/Name` where two services have the name.
    pub(crate) fn method(&self, name: &str) -> Outcome<MethodDescriptor> {
        let (service, name) = match name.split_once('/') {
            Some((service, name)) => (Some(service), name),
            None => (None, name),
        };
        let services = self.pool.services();
        let services = services.filter(|it| service.is_none_or(|name| it.name() == name));
        let mut found = services.flat_map(|service| {
            let methods: Vec<_> = service.methods().collect();
            methods.into_iter().filter(|it| it.name() == name)
        });
        match (found.next(), found.next()) {
            (Some(method), None) => Ok(method),
            (Some(_), Some(_)) => Err(format!("two services have {name}: say Service/{name}")),
            (None, _) => Err(format!("there is no method {name}")),
        }
    }
}

/// The path under which a method is called.
pub(crate) fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}
