//! The task that writes: one group at a time, one sync for all that had gathered in it.

use super::state::{Phase, Write};
use super::{Health, Shared};
use crate::error::StorageError;
use crate::record::Marker;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use synod_env::{BoxFuture, Bug, planted};

pub(super) async fn run(shared: Arc<Shared>) {
    let mut idle = IdleTimer::default();
    while let Some(write) = poll_fn(|cx| poll_next(&shared, &mut idle, cx)).await {
        match write_through(&shared, &write).await {
            Ok(()) => {}
            Err(error) => {
                let path = write.segment.path();
                let reason = format!("write {}: {error}", shared.env.disk().describe(&path));
                fail(&shared, &reason, error.kind());
            }
        }
    }
    end(&shared);
}

/// Vouches for what recovery found, before the log's tasks run.
pub(super) async fn write_opening_marker(shared: &Shared) -> Result<(), StorageError> {
    loop {
        let write = {
            let mut state = shared.lock();
            if state.groups_written == 0 {
                state.place_marker(Marker::Opened);
            }
            state.take_group()
        };
        let Some(write) = write else { return Ok(()) };
        let name = shared.env.disk().describe(&write.segment.path());
        write_through(shared, &write)
            .await
            .map_err(StorageError::io(name, "write"))?;
    }
}

/// Writes a group, syncs it, and only then reports it durable.
async fn write_through(shared: &Shared, write: &Write) -> io::Result<()> {
    write
        .segment
        .file
        .write_at(u64::from(write.offset), write.data.clone())
        .await?;
    if planted(Bug::AckBeforeSync) {
        complete(shared);
        return sync(shared, write).await;
    }
    sync(shared, write).await?;
    complete(shared);
    Ok(())
}

/// Syncs a group, and counts how long that took.
async fn sync(shared: &Shared, write: &Write) -> io::Result<()> {
    let began = shared.env.now();
    let synced = write.segment.file.sync().await;
    let took = shared.env.now().saturating_since(began);
    shared.sync_times.record(took);
    synced
}

fn complete(shared: &Shared) {
    let done = {
        let mut state = shared.lock();
        let done = state.complete_write();
        shared.publish_durable(&state);
        done
    };
    for done in done {
        done(Ok(()));
    }
}

/// An error here is final: see the module's head.
fn fail(shared: &Shared, reason: &str, kind: io::ErrorKind) {
    let (done, preparer) = {
        let mut state = shared.lock();
        (state.fail(), state.preparer.take())
    };
    shared.health.send_if(|health: &mut Health| {
        health.fatal = Some(reason.to_owned());
        true
    });
    for done in done {
        done(Err(io::Error::new(kind, reason)));
    }
    super::wake(preparer);
}

pub(super) fn end(shared: &Shared) {
    let closed = shared.lock().task_ended();
    for closed in closed {
        // Whoever waited may be gone.
        closed.send(()).ok();
    }
}

/// The next group, waiting for one if need be; `None` when the log has stopped.
fn poll_next(shared: &Shared, idle: &mut IdleTimer, cx: &mut Context<'_>) -> Poll<Option<Write>> {
    let mut state = shared.lock();
    loop {
        if let Some(write) = state.take_group() {
            return Poll::Ready(Some(write));
        }
        match state.phase {
            Phase::Stopped => return Poll::Ready(None),
            Phase::Closing => {
                let is_unsaid = state.tail_open || state.has_unsaved_commit();
                if !(is_unsaid && state.place_marker(Marker::Closed)) {
                    state.phase = Phase::Stopped;
                }
            }
            Phase::Open => {
                state.writer = Some(cx.waker().clone());
                if !state.tail_open || !idle.has_passed(shared, state.groups_written, cx) {
                    return Poll::Pending;
                }
                if !state.place_marker(Marker::Idle) {
                    // Without room the tail stays open.
                    state.tail_open = false;
                }
            }
        }
    }
}

/// Tells when nothing has been written for a while, without reading the clock or setting a timer
/// at each write: the timer runs on, and when it fires, what counts is whether a group was written
/// since it was set.
#[derive(Default)]
struct IdleTimer {
    timer: Option<BoxFuture<'static, ()>>,
    groups_written: u64,
}

impl IdleTimer {
    fn has_passed(&mut self, shared: &Shared, groups_written: u64, cx: &mut Context<'_>) -> bool {
        loop {
            let timer = self.timer.get_or_insert_with(|| {
                self.groups_written = groups_written;
                shared.env.sleep(shared.options.idle)
            });
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer = None;
            if self.groups_written == groups_written {
                return true;
            }
        }
    }
}
