//! Snapshots on their way from one member to another, part by part.
//!
//! The first part is the table of contents: the number of chunks, and the state's header with its
//! hash. Then comes one part per chunk. A member that receives writes the chunks into its own
//! store as they come; the state is put together and its hash checked *before* the snapshot
//! becomes the newest of the store, so that one which cannot be loaded never counts.

use crate::open::HIGHEST_LEVEL;
use crate::snapshots::{Held, Snapshots};
use bytes::{Buf as _, BufMut as _, Bytes};
use std::fmt::Display;
use std::io;
use synod_env::{BoxFuture, oneshot, queue};
use synod_log::{Index, ReceivedSnapshot, SnapshotReader, SnapshotReceiver};
use synod_state::{Chunk, DecodedChunk, State};
use synod_storage::snapshot::{Meta, Snapshot, Writer};

/// The only format of the table of contents so far.
const CONTENTS_FORMAT: u8 = 1;

/// What comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// How many chunks follow.
    chunks: u64,
    /// What the state needs to begin loading.
    header: Bytes,
}

impl Contents {
    /// Format (1 byte), number of chunks (8), the header.
    pub(crate) fn encode(&self) -> Bytes {
        let Self { chunks, header } = self;
        let mut out = vec![CONTENTS_FORMAT];
        out.put_u64_le(*chunks);
        out.put_slice(header);
        Bytes::from(out)
    }

    pub(crate) fn decode(mut part: Bytes) -> io::Result<Self> {
        let format = part.try_get_u8();
        if format != Ok(CONTENTS_FORMAT) {
            return Err(invalid("it is not a table of contents of format 1"));
        }
        let chunks = part.try_get_u64_le().map_err(invalid)?;
        let header = part;
        Ok(Self { chunks, header })
    }
}

fn invalid(why: impl Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("part of a snapshot: {why}"),
    )
}

fn stopped() -> io::Error {
    io::Error::other("the member stopped while a snapshot was under way")
}

impl Snapshots {
    /// Reads the newest durable snapshot, if there is one.
    pub(crate) fn outgoing(&self) -> Option<Box<dyn SnapshotReader>> {
        let snapshot = self.store.load()?;
        let meta = snapshot.meta().clone();
        let (wants, wanted) = queue::bounded(1);
        // Reading may block on the disk, and the sender must not.
        self.env
            .spawn_dedicated("synod-send-snapshot", read_parts(snapshot, wanted));
        Some(Box::new(Outgoing { meta, wants }))
    }

    /// Begins to receive a snapshot that covers `at`, with the engine's own part `position`.
    pub(crate) fn incoming(&self, at: Index, position: Bytes) -> Box<dyn SnapshotReceiver> {
        let (steps, taken) = queue::bounded(1);
        let reception = Reception {
            snapshots: self.clone(),
            at,
            position,
            begun: None,
        };
        self.env
            .spawn_dedicated("synod-receive-snapshot", reception.run(taken));
        Box::new(Incoming { steps })
    }
}

type Part = io::Result<Option<Bytes>>;

struct Outgoing {
    meta: Meta,
    wants: queue::Sender<oneshot::Sender<Part>>,
}

impl SnapshotReader for Outgoing {
    fn at(&self) -> Index {
        Index(self.meta.index)
    }

    fn position(&self) -> Bytes {
        self.meta.position.clone()
    }

    fn next(&mut self) -> BoxFuture<'_, Part> {
        Box::pin(async move {
            let (sender, part) = oneshot::channel();
            self.wants.send(sender).await.map_err(|_| stopped())?;
            part.await.map_err(|oneshot::Dropped| stopped())?
        })
    }
}

/// Gives one part for each request; ends when the reader is dropped.
async fn read_parts(snapshot: Snapshot, mut wanted: queue::Receiver<oneshot::Sender<Part>>) {
    let mut chunks = snapshot.chunks().iter();
    let contents = Contents {
        chunks: u64::try_from(chunks.len()).expect("u64 holds a length"),
        header: snapshot.meta().header.clone(),
    };
    let mut contents = Some(contents.encode());
    while let Some(want) = wanted.receive().await {
        let part = match (contents.take(), chunks.as_slice().first()) {
            (Some(contents), _) => Ok(Some(contents)),
            (None, None) => Ok(None),
            (None, Some(chunk)) => {
                let read = snapshot.read(chunk).await;
                if read.is_ok() {
                    // What could not be read is asked for again.
                    chunks.next();
                }
                read.map(Some).map_err(io::Error::other)
            }
        };
        // Whoever asked may have given up.
        drop(want.send(part));
    }
}

enum Step {
    Part(Bytes, oneshot::Sender<io::Result<()>>),
    Finish(oneshot::Sender<io::Result<(Index, State)>>),
}

struct Incoming {
    steps: queue::Sender<Step>,
}

impl SnapshotReceiver for Incoming {
    fn part(&mut self, part: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let (sender, taken) = oneshot::channel();
            let step = Step::Part(part, sender);
            self.steps.send(step).await.map_err(|_| stopped())?;
            taken.await.map_err(|oneshot::Dropped| stopped())?
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, io::Result<Box<dyn ReceivedSnapshot>>> {
        Box::pin(async move {
            let (sender, finished) = oneshot::channel();
            let step = Step::Finish(sender);
            self.steps.send(step).await.map_err(|_| stopped())?;
            let (at, state) = finished.await.map_err(|oneshot::Dropped| stopped())??;
            let received: Box<dyn ReceivedSnapshot> = Box::new(Received { at, state });
            Ok(received)
        })
    }
}

/// A state that was received, checked and made durable, and is not yet in use.
pub(crate) struct Received {
    pub(crate) at: Index,
    pub(crate) state: State,
}

impl ReceivedSnapshot for Received {
    fn at(&self) -> Index {
        self.at
    }
}

/// One snapshot being received.
struct Reception {
    snapshots: Snapshots,
    at: Index,
    position: Bytes,
    begun: Option<Begun>,
}

/// From the table of contents on.
struct Begun {
    held: Held,
    writer: Writer,
    contents: Contents,
    chunks: Vec<DecodedChunk>,
}

impl Reception {
    /// Serves the receiver until it finishes or is dropped.
    async fn run(mut self, mut steps: queue::Receiver<Step>) {
        while let Some(step) = steps.receive().await {
            match step {
                Step::Part(part, taken) => {
                    let result = self.take(part).await;
                    // Whoever gave up waiting drops the receiver too.
                    drop(taken.send(result));
                }
                Step::Finish(finished) => {
                    drop(finished.send(self.finish().await));
                    return;
                }
            }
        }
        if let Some(begun) = self.begun {
            begun.writer.give_up().await;
        }
    }

    async fn take(&mut self, part: Bytes) -> io::Result<()> {
        let Some(Begun {
            writer,
            contents,
            chunks,
            ..
        }) = &mut self.begun
        else {
            let contents = Contents::decode(part)?;
            let held = self.snapshots.hold().await;
            let writer = self.snapshots.store.begin(Meta {
                index: self.at.0,
                position: self.position.clone(),
                header: contents.header.clone(),
            });
            self.begun = Some(Begun {
                held,
                writer,
                contents,
                chunks: Vec::new(),
            });
            return Ok(());
        };
        if count(chunks) >= contents.chunks {
            return Err(invalid("there should be no more"));
        }
        let chunk = Chunk::decode(part.clone()).map_err(invalid)?;
        writer.add(part).await.map_err(io::Error::other)?;
        chunks.push(chunk);
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<(Index, State)> {
        let Some(begun) = self.begun.take() else {
            return Err(invalid("the table of contents is missing"));
        };
        let Begun {
            mut held,
            writer,
            contents,
            chunks,
        } = begun;
        let result = self.load(contents, chunks);
        let state = match result {
            Ok(state) => state,
            Err(error) => {
                writer.give_up().await;
                return Err(error);
            }
        };
        writer.finish().await.map_err(io::Error::other)?;
        held.forget();
        Ok((self.at, state))
    }

    fn load(&self, contents: Contents, chunks: Vec<DecodedChunk>) -> io::Result<State> {
        let (expected, found) = (contents.chunks, count(&chunks));
        if found < expected {
            return Err(invalid(format_args!("{found} of {expected} chunks came")));
        }
        if let Some(newest) = self.snapshots.newest()
            && newest > self.at
        {
            let at = self.at;
            return Err(invalid(format_args!(
                "it ends at {at}, and one up to {newest} is here"
            )));
        }
        State::load(contents.header, chunks, HIGHEST_LEVEL).map_err(invalid)
    }
}

fn count(chunks: &[DecodedChunk]) -> u64 {
    u64::try_from(chunks.len()).expect("u64 holds a length")
}
