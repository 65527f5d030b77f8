//! Maintenance's Snapshot: the state as a stream of bytes, with a digest at its end.
//!
//! The bytes are an [`Archive`] and not a database of etcd's, but they are framed as etcd's are:
//! the content is a multiple of 512 bytes, and the SHA-256 of it follows. So tools that only keep
//! and check what they are sent, like `etcdctl snapshot save`, go on working.

use crate::{ApiVersion, Server, errors};
use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use synod_api::etcdserverpb as pb;
use synod_env::queue;
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
    /// the client reads.
    pub(crate) fn snapshot(
        &self,
        pb::SnapshotRequest {}: &pb::SnapshotRequest,
    ) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, Status>> + Send + 'static, Status>
    {
        let scan = self.scans.begin()?;
        let root = self.node.root();
        let version = self.config.api_version.of_cluster();
        let (sender, receiver) = queue::bounded(PIECES_AHEAD);
        self.node
            .env()
            .spawn_dedicated("send snapshot", async move {
                let archive = Archive::new(&root, CHUNK_BYTES);
                drop(root);
                if send(archive, version, &sender).await.is_err() {
                    tracing::debug!("a snapshot is not wanted any more");
                }
                drop(scan);
            });
        Ok(stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.receive().await {
                Some(Message::Last(message)) => Some((Ok(message), None)),
                Some(Message::Piece(message)) => Some((Ok(message), Some(receiver))),
                // The member stops in the midst of it: what was sent is no snapshot.
                None => Some((Err(errors::STOPPED.into()), None)),
            }
        }))
    }
}

enum Message {
    Piece(pb::SnapshotResponse),
    /// With it the snapshot is whole.
    Last(pb::SnapshotResponse),
}

async fn send(
    archive: Archive,
    version: ApiVersion,
    to: &queue::Sender<Message>,
) -> Result<(), queue::SendError<Message>> {
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
            to.send(Message::Piece(message(piece, remaining_bytes)))
                .await?;
        }
    }
    let digest = Bytes::copy_from_slice(&digest.finalize());
    to.send(Message::Last(message(digest, 0))).await
}
