//! Servers that do less than a member, to show what the rest of it costs.
//!
//! `echo` decodes a put and answers it. `skeleton` sends it through a channel to one log thread,
//! which writes and syncs whatever waits at once, keeps it in an ordered map, and answers.

use crate::exit::Failure;
use crate::outside;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use synod_api::etcdserverpb::kv_server::{Kv, KvServer};
use synod_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest,
    TxnResponse,
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct StubArgs {
    /// What the server does with a put
    kind: Kind,
    /// Where the skeleton keeps its log
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// What the server does with a put.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answers.
    Echo,
    /// Makes it durable, keeps it, answers.
    Skeleton,
}

/// Puts waiting for the log thread.
const WAITING_MAX: usize = 16_384;

struct Stub {
    log: Option<mpsc::Sender<Waiting>>,
}

struct Waiting {
    put: PutRequest,
    done: oneshot::Sender<i64>,
}

impl StubArgs {
    /// Serves on a free port, which it prints, until standard input ends.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let io = |error: io::Error| Failure::other(format!("stub: {error}"));
        let log = match self.kind {
            Kind::Echo => None,
            Kind::Skeleton => {
                let log = DurableFile::create(&self.dir.join("skeleton.log")).map_err(io)?;
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                outside::spawn_thread(move || log_thread(log, receiver));
                Some(sender)
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(io)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .map_err(io)?;
            outside::say(format_args!(
                "http://{}",
                listener.local_addr().map_err(io)?
            ));
            let incoming =
                tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
            let parent_gone = async {
                // The parent holds the other end; its death, however sudden, closes it.
                drop(tokio::task::spawn_blocking(outside::read_stdin).await);
            };
            tonic::transport::Server::builder()
                .add_service(KvServer::new(Stub { log }))
                .serve_with_incoming_shutdown(incoming, parent_gone)
                .await
                .map_err(|error| Failure::other(format!("stub: {error}")))
        })
    }
}

/// Group commit: one write and one sync for all that waited during the last.
fn log_thread(mut log: DurableFile, mut waiting: mpsc::Receiver<Waiting>) {
    let mut map: BTreeMap<Bytes, (i64, Bytes)> = BTreeMap::new();
    let mut revision = 1;
    let mut batch = Vec::new();
    let mut record = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        batch.push(first);
        while let Ok(next) = waiting.try_recv() {
            batch.push(next);
        }
        record.clear();
        for Waiting { put, .. } in &batch {
            record.extend_from_slice(&put.key);
            record.extend_from_slice(&put.value);
        }
        log.append(&record)
            .expect("a benchmark without its disk has nothing to say");
        for Waiting { put, done } in batch.drain(..) {
            revision += 1;
            map.insert(put.key, (revision, put.value));
            // The client may have gone.
            done.send(revision).ok();
        }
    }
}

/// A file of zeros, overwritten from the front again and again, synced after each write: the
/// fastest durable write a file system has.
pub(super) struct DurableFile {
    file: File,
    offset: u64,
}

impl DurableFile {
    /// Its length in bytes.
    const LENGTH: u64 = 64 << 20;

    /// Makes it, zeros and all.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        const SLICE: usize = 1 << 20;
        let file = outside::create_file(path)?;
        let zeros = vec![0; SLICE];
        for offset in (0..Self::LENGTH).step_by(SLICE) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self { file, offset: 0 })
    }

    /// Writes and syncs.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let length = record.len() as u64;
        if self.offset + length > Self::LENGTH {
            self.offset = 0;
        }
        self.file.write_all_at(record, self.offset)?;
        self.offset += length;
        self.file.sync_data()
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server only takes puts"))
}

#[tonic::async_trait]
impl Kv for Stub {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let put = request.into_inner();
        let revision = match &self.log {
            None => 1,
            Some(log) => {
                let (done, answer) = oneshot::channel();
                let stopped = || Status::unavailable("the log thread has stopped");
                log.send(Waiting { put, done })
                    .await
                    .map_err(|_| stopped())?;
                answer.await.map_err(|_| stopped())?
            }
        };
        let header = ResponseHeader {
            cluster_id: 1,
            member_id: 1,
            revision,
            raft_term: 1,
        };
        Ok(Response::new(PutResponse {
            header: Some(header),
            prev_kv: None,
        }))
    }

    async fn range(&self, _: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        absent()
    }

    type RangeStreamStream = futures_util::stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        absent()
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        absent()
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        absent()
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        absent()
    }
}
