//! Reads a key, registers under a lease, and follows the key through whatever happens to the
//! members. Start one with `synod serve`, run this with `cargo run -p synod-client --example
//! limits`, and change the key with `synod put config/limit 80`.

use std::error::Error;
use synod_api::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest, WatchCreateRequest};
use synod_client::{Client, Config, Watched};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "this program talks to a person")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::new(["127.0.0.1:2379"], Config::default())?;

    // A worker is there as long as its lease is.
    let ttl = LeaseGrantRequest { ttl: 10, id: 0 };
    let lease = client.hold_lease(ttl).await?;
    let here = PutRequest {
        key: "workers/1".into(),
        lease: lease.id(),
        ..PutRequest::default()
    };
    match client.put(here).await {
        Ok(_) => println!("registered"),
        // It may be there or not; the lease takes it away in either case.
        Err(synod_client::Error::Unknown { message }) => println!("perhaps registered: {message}"),
        Err(error) => return Err(error.into()),
    }

    let limit = RangeRequest {
        key: "config/limit".into(),
        ..RangeRequest::default()
    };
    let now = client.get(limit).await?;
    for kv in &now.kvs {
        println!("limit {}", String::from_utf8_lossy(&kv.value));
    }

    // From the revision behind that of the answer on, nothing is missed.
    let read_at = now.header.map_or(0, |header| header.revision);
    let mut watcher = client.watch(WatchCreateRequest {
        key: "config/limit".into(),
        start_revision: read_at + 1,
        ..WatchCreateRequest::default()
    });
    while lease.is_valid() {
        if let Watched::Changes(_, events) = watcher.next().await? {
            for kv in events.iter().filter_map(|event| event.kv.as_ref()) {
                println!("limit {}", String::from_utf8_lossy(&kv.value));
            }
        }
    }
    println!("the lease is {:?}", lease.standing());
    Ok(())
}
