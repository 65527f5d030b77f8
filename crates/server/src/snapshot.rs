//! Maintenance's Snapshot: the state as a stream of bytes, with a digest at its end.
//!
//! The bytes are an [`Archive`] and not a database of etcd's, but they are framed as etcd's are:
//! the content is a multiple of 512 bytes, and the SHA-256 of it follows. So tools that only keep
//! and check what they are sent, like `etcdctl snapshot save`, go on working.

use crate::{ApiVersion, Server, errors};
use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use synod_api::etcdserverpb as pb;
use synod_env::world::DeadlinePassed;
use synod_env::{Env, queue};
use synod_state::Archive;
use tonic::Status;

/// Most content in one message, as in etcd.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Messages made ahead of the client.
const PIECES_AHEAD: usize = 32;

/// How much of the state is encoded at a time.
const CHUNK_BYTES: usize = 256 << 10;

impl Server {
    /// The state as it is now, for whoever asks. It is encoded by a thread of its own, as fast as
    /// the client reads; one that does not read is given up, since few can be served at a time.
    pub(crate) fn snapshot(
        &self,
        pb::SnapshotRequest {}: &pb::SnapshotRequest,
    ) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, Status>> + Send + 'static, Status>
    {
        let scan = self.scans.begin()?;
        let root = self.node.root();
        let version = self.config.api_version.of_cluster();
        let (sender, receiver) = queue::bounded(PIECES_AHEAD);
        let client = Client {
            env: self.node.env().clone(),
            stall_max: self.config.reader_stall_max,
            to: sender,
        };
        let given_up = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&given_up);
        self.node
            .env()
            .spawn_background("send snapshot", async move {
                let archive = Archive::new(&root, CHUNK_BYTES);
                drop(root);
                match send(archive, version, &client).await {
                    Ok(()) => {}
                    Err(Gone::Left) => tracing::debug!("a snapshot is not wanted any more"),
                    Err(Gone::Stalled) => {
                        tracing::warn!("a client does not read its snapshot: it is given up");
                        tells.store(true, Ordering::Relaxed);
                    }
                }
                drop((scan, client));
            });
        Ok(stream::unfold(Some(receiver), move |receiver| {
            let given_up = Arc::clone(&given_up);
            async move {
                let mut receiver = receiver?;
                match receiver.receive().await {
                    Some(Message::Last(message)) => Some((Ok(message), None)),
                    Some(Message::Piece(message)) => Some((Ok(message), Some(receiver))),
                    None if given_up.load(Ordering::Relaxed) => {
                        Some((Err(errors::TIMED_OUT.into()), None))
                    }
                    // The member stops in the midst of it: what was sent is no snapshot.
                    None => Some((Err(errors::STOPPED.into()), None)),
                }
            }
        }))
    }
}

enum Message {
    Piece(pb::SnapshotResponse),
    /// With it the snapshot is whole.
    Last(pb::SnapshotResponse),
}

/// Where the pieces go.
struct Client {
    env: Env,
    /// How long it may take to make room for a piece.
    stall_max: Duration,
    to: queue::Sender<Message>,
}

/// Why a client gets no more pieces.
enum Gone {
    Left,
    Stalled,
}

impl Client {
    async fn send(&self, message: Message) -> Result<(), Gone> {
        let patience = self.env.now() + self.stall_max;
        match self.env.deadline(patience, self.to.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Left),
            Err(DeadlinePassed) => Err(Gone::Stalled),
        }
    }
}

async fn send(archive: Archive, version: ApiVersion, client: &Client) -> Result<(), Gone> {
    let message = |blob: Bytes, remaining_bytes: u64| pb::SnapshotResponse {
        header: None,
        remaining_bytes,
        blob,
        version: version.to_string(),
    };
    let mut digest = Sha256::new();
    let mut remaining_bytes = archive.encoded_len();
    for mut part in archive.into_parts() {
        digest.update(&part);
        while !part.is_empty() {
            let piece = part.split_to(part.len().min(PIECE_BYTES_MAX));
            remaining_bytes -= u64::try_from(piece.len()).expect("a length fits");
            client
                .send(Message::Piece(message(piece, remaining_bytes)))
                .await?;
        }
    }
    let digest = Bytes::copy_from_slice(&digest.finalize());
    client.send(Message::Last(message(digest, 0))).await
}
