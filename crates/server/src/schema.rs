//! The messages and services as data, for those who meet them without knowing them: JSON and
//! reflection.

use crate::methods::Method;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::LazyLock;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(synod_api::DESCRIPTORS).expect("the descriptors were generated whole")
});

/// Everything that `proto/` says.
pub(crate) fn pool() -> &'static DescriptorPool {
    &POOL
}

/// What a method takes, and what it gives.
pub(crate) fn messages(method: Method) -> (MessageDescriptor, MessageDescriptor) {
    let service = POOL.get_service_by_name(method.service());
    let found = service.and_then(|service| {
        let found = service.methods().find(|it| it.name() == method.name())?;
        Some((found.input(), found.output()))
    });
    found.expect("each method of the list is declared: a test compares them")
}
