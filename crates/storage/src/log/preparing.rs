//! The task that keeps segments ready.

use super::state::{Phase, State};
use super::{Health, Preparation, Shared, next_segment_bytes};
use crate::error::StorageError;
use crate::segment::{self, Segment};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub(super) async fn run(shared: Arc<Shared>) {
    while let Some(job) = poll_fn(|cx| poll_job(&shared, cx)).await {
        let outcome = work(&shared, job).await;
        let failed = outcome.is_err();
        report(&shared, outcome.err());
        if failed {
            let again = shared.env.now() + shared.options.prepare_again;
            let mut sleep = shared.env.sleep_until(again);
            poll_fn(|cx| {
                let mut state = shared.lock();
                if state.phase != Phase::Open {
                    return Poll::Ready(());
                }
                state.preparer = Some(cx.waker().clone());
                drop(state);
                sleep.as_mut().poll(cx)
            })
            .await;
        }
    }
    super::writing::end(&shared);
}

/// What is to be done about segments.
enum Job {
    /// A purged segment becomes the next one.
    Recycle { old: Arc<Segment>, number: u64 },
    /// A purged segment is not needed, or too small.
    Discard { old: Arc<Segment> },
    /// A new segment is filled with zeros.
    Prepare { number: u64, bytes: u32 },
}

fn poll_job(shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<Job>> {
    let mut state = shared.lock();
    if state.phase != Phase::Open {
        return Poll::Ready(None);
    }
    let job = next_job(shared, &state);
    if job.is_some() {
        return Poll::Ready(job);
    }
    state.preparer = Some(cx.waker().clone());
    Poll::Pending
}

fn next_job(shared: &Shared, state: &State) -> Option<Job> {
    let (newest, newest_bytes) = state.newest_segment();
    let number = newest + 1;
    let (ready, options) = (state.segments_ready(), &shared.options);
    if let Some(old) = state.droppable() {
        let is_full_size = old.bytes == options.segment_bytes;
        return Some(if is_full_size && ready < options.segments_kept {
            Job::Recycle { old, number }
        } else {
            Job::Discard { old }
        });
    }
    let bytes = next_segment_bytes(newest_bytes, options);
    (ready < options.segments_ready).then_some(Job::Prepare { number, bytes })
}

async fn work(shared: &Shared, job: Job) -> Result<(), StorageError> {
    let env = &shared.env;
    let disk = env.disk();
    match job {
        Job::Discard { old } => {
            segment::discard(disk.as_ref(), old.number).await?;
            shared.lock().drop_oldest(&old);
        }
        Job::Recycle { old, number } => {
            segment::retire(disk.as_ref(), &old).await?;
            shared.lock().drop_oldest(&old);
            let segment = segment::recycle(env, &old, number).await?;
            shared.lock().add_ready(segment);
        }
        Job::Prepare { number, bytes } => {
            let go_on = |slice_took| pause(shared, slice_took);
            if let Some(segment) = segment::prepare(env, number, bytes, go_on).await? {
                shared.lock().add_ready(segment);
            }
        }
    }
    Ok(())
}

/// Leaves the disk to the log as long as the last slice took, unless the log waits for the
/// segment. False if the log closes.
async fn pause(shared: &Shared, slice_took: Duration) -> bool {
    let is_urgent = shared.lock().segments_ready() == 0;
    if !is_urgent {
        shared.env.sleep(slice_took).await;
    }
    shared.lock().phase == Phase::Open
}

fn report(shared: &Shared, error: Option<StorageError>) {
    let preparation = match error {
        None => Preparation::Well,
        Some(StorageError::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Preparation::NoSpace
        }
        Some(error) => Preparation::Failing(error.to_string()),
    };
    let segments_ready = {
        let mut state = shared.lock();
        state.set_preparation(preparation.clone());
        state.segments_ready()
    };
    shared.health.send_if(|health: &mut Health| {
        health.preparation = preparation;
        health.segments_ready = segments_ready;
        // Even if it reads the same as before: who waits for room has to look again.
        true
    });
}
