//! Work that goes through the whole state: each on a thread of its own, and few at a time.

use crate::errors;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::Status;

/// Scans that may be under way; more are refused.
const SCANS_MAX: usize = 8;

/// Counts the scans that are under way.
#[derive(Debug, Default)]
pub(crate) struct Scans(Arc<AtomicUsize>);

/// One scan, under way until it is dropped.
#[derive(Debug)]
pub(crate) struct Scan(Arc<AtomicUsize>);

impl Scans {
    /// Scans that are under way now.
    pub(crate) fn under_way(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes a place for a scan, if there is one.
    pub(crate) fn begin(&self) -> Result<Scan, Status> {
        let under_way = self.0.fetch_add(1, Ordering::Relaxed);
        let scan = Scan(Arc::clone(&self.0));
        if under_way < SCANS_MAX {
            Ok(scan)
        } else {
            Err(errors::TOO_MANY_REQUESTS.into())
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
