//! Doors for fuzzing to what clients can send.

use crate::gateway::json;
use crate::gateway::values::Cutter;
use crate::methods::Method;
use crate::schema;
use crate::translate;
use prost::Message;
use synod_api::etcdserverpb as pb;
use synod_env::MemberId;
use synod_node::HIGHEST_LEVEL;
use synod_state::State;
use synod_state::command::{Batch, Command, Origin};

/// The frame of a unary request.
pub fn frame(bytes: &[u8]) {
    let length = crate::grpc::message_length(bytes, 1 << 20);
    if let Ok(Some(length)) = length {
        assert!(length <= 1 << 20, "{length} bytes are too many");
    }
}

/// A message of a client: the first byte chooses which.
///
/// # Panics
/// If a command that passes the checks changes in the log, or cannot be applied.
pub fn message(bytes: &[u8]) {
    let Some((which, message)) = bytes.split_first() else {
        return;
    };
    match which % 5 {
        0 => {
            if let Some(Ok((range, _))) = read(message).map(translate::range)
                && range.check().is_ok()
            {
                let _reply = State::new(HIGHEST_LEVEL).root().range(&range);
            }
        }
        1 => {
            if let Some(put) = read(message).map(translate::put) {
                admitted(Command::Put(put));
            }
        }
        2 => {
            if let Some(delete) = read(message).map(translate::delete_range) {
                admitted(Command::DeleteRange(delete));
            }
        }
        3 => {
            let txn = read(message).map(|request| translate::txn(request, OPS_MAX));
            if let Some(Ok(txn)) = txn {
                admitted(Command::Txn(txn));
            }
        }
        _ => {
            let request = read::<pb::WatchRequest>(message).and_then(|it| it.request_union);
            if let Some(pb::watch_request::RequestUnion::CreateRequest(create)) = request {
                let _create = translate::watch_create(create);
            }
        }
    }
}

/// JSON for the gateway: the first byte chooses the method, the rest is the body.
///
/// # Panics
/// If a message is not read again as it was written.
pub fn json(bytes: &[u8]) {
    let Some((which, body)) = bytes.split_first() else {
        return;
    };
    let method = Method::ALL[usize::from(*which) % Method::ALL.len()];
    let (input, _) = schema::messages(method);
    let mut cutter = Cutter::new(1 << 20);
    cutter.push(body);
    let mut values = Vec::new();
    while let Ok(Some(value)) = cutter.cut() {
        values.push(value);
    }
    values.extend(cutter.rest());
    for value in values {
        if let Ok(message) = json::read(&input, &value) {
            let mut written = Vec::new();
            json::write(&message, &mut written);
            let again = json::read(&input, &written).map(|again| again.encode_to_vec());
            assert_eq!(again, Ok(message.encode_to_vec()));
        }
    }
}

const OPS_MAX: usize = 128;

/// Takes the way of a command through the log, if it is let in.
fn admitted(command: Command) {
    if command.check(OPS_MAX).is_err() {
        return;
    }
    let batch = Batch {
        origin: Origin {
            member: MemberId(1),
            incarnation: 1,
            sequence: 1,
        },
        reign: 0,
        time_ms: 1,
        commands: vec![command],
    };
    let read = Batch::decode(batch.encode());
    assert_eq!(read.as_ref(), Ok(&batch));
    let _applied = State::new(HIGHEST_LEVEL).apply(1, &batch);
}

fn read<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok()
}
