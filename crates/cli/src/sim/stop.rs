//! Ctrl-C, and panics.

use crate::exit::Failure;
use crate::outside;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Told by the first Ctrl-C; the second ends the process.
    pub(super) fn on_interrupt() -> Result<Self, Failure> {
        let stop = Self::default();
        let asked = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
        drop(outside::spawn_thread(move || {
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    asked.0.store(true, Ordering::Relaxed);
                    outside::note("stopping after what is running; Ctrl-C again ends at once");
                }
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            });
        }));
        Ok(stop)
    }

    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A simulated member that panics is a violation that the report tells; here only the place is.
pub(super) fn say_where_a_run_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            outside::note(format_args!("panic at {place}"));
        }
    }));
}
