//! The real world: a member on threads, files and the clocks of its machine.
//!
//! A [`Host`] owns one data directory and the threads of one member. Its [`Env`] has
//! - a *core* thread, `synod-core`, with an executor of its own for everything a member spawns,
//!   so that engine, apply and proposer share a cache and no lock is contended among them;
//! - one more thread, with its own executor, for each dedicated task: those may block on disk;
//! - the timer clock `CLOCK_BOOTTIME`, and beside it for decisions `CLOCK_MONOTONIC_RAW`.
//!
//! Clocks, files and randomness are reached through the C library, never by raw system calls, so
//! that a preloaded library can inject faults.

mod clock;
mod data_dir;
mod disk;
pub mod machine;
mod net;
mod tasks;

pub use data_dir::DataDirError;
pub use tasks::{HostState, StillRunning};

use self::data_dir::DataDir;
use self::disk::HostDisk;
use self::net::NoPeers;
use self::tasks::{Rank, Tasks};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use synod_env::{BoxFuture, Disk, Env, Instant, Net, Reading, WallTime, World, watch};

/// What can be chosen about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// How long [`Host::shutdown`] waits for threads that are busy, in a system call say.
    pub stop_within: Duration,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            stop_within: Duration::from_secs(5),
        }
    }
}

/// Why a host did not start.
#[derive(Debug)]
pub enum HostError {
    /// The data directory cannot be used.
    DataDir(DataDirError),
    /// The machine gives no thread.
    Thread(io::Error),
    /// The machine gives no randomness, or lacks a clock.
    Machine(io::Error),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(error) => error.fmt(f),
            Self::Thread(error) => write!(
                f,
                "cannot start a thread: {error}; raise the limit of processes (ulimit -u)"
            ),
            Self::Machine(error) => write!(
                f,
                "this machine lacks CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW or getrandom: {error}"
            ),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DataDir(error) => Some(error),
            Self::Thread(error) | Self::Machine(error) => Some(error),
        }
    }
}

/// One member's place on this machine. Dropping it stops the member, as [`Host::shutdown`] does.
pub struct Host {
    tasks: Arc<Tasks>,
    env: Env,
    /// Held while anything of the member may still touch the directory.
    data_dir: Mutex<Option<DataDir>>,
    stop_within: Duration,
}

impl Host {
    /// Takes possession of the data directory, making it if need be, and starts the core thread.
    ///
    /// # Errors
    /// [`HostError`]; its text says what to do.
    pub fn new(data_dir: &Path, options: HostOptions) -> Result<Self, HostError> {
        let HostOptions { stop_within } = options;
        clock::check().map_err(HostError::Machine)?;
        random().map_err(HostError::Machine)?;
        let data_dir = DataDir::open(data_dir).map_err(HostError::DataDir)?;
        let tasks = Tasks::start().map_err(HostError::Thread)?;
        let env = Env::new(Arc::new(HostWorld {
            disk: Arc::new(HostDisk::new(data_dir.path())),
            tasks: Arc::clone(&tasks),
        }));
        Ok(Self {
            tasks,
            env,
            data_dir: Mutex::new(Some(data_dir)),
            stop_within,
        })
    }

    /// The member's world.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Whether the member runs. It stops as a whole when one of its tasks panics.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<HostState> {
        self.tasks.state()
    }

    /// Stops the member: drops its tasks, ends its threads and gives the data directory up. Safe
    /// to call more than once. It blocks, so it belongs on no thread of the member's.
    ///
    /// # Errors
    /// [`StillRunning`] when threads did not end in [`HostOptions::stop_within`]. They no longer
    /// start anything, and the data directory stays locked until this process ends.
    pub fn shutdown(&self) -> Result<(), StillRunning> {
        self.tasks.stop(self.stop_within)?;
        let mut data_dir = self.data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        drop(data_dir.take());
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.shutdown().is_err() {
            let data_dir = self.data_dir.get_mut();
            // Whoever runs on may still write: the lock must outlive this handle.
            std::mem::forget(data_dir.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// The world as the member sees it.
struct HostWorld {
    disk: Arc<HostDisk>,
    tasks: Arc<Tasks>,
}

impl World for HostWorld {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn clock(&self) -> Reading {
        clock::reading()
    }

    fn wall(&self) -> WallTime {
        clock::wall()
    }

    fn random(&self) -> u64 {
        random().expect("getrandom does not fail once it has succeeded")
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(clock::sleep_until(at))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.tasks.spawn(name, task);
    }

    fn spawn_dedicated(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.tasks.spawn_dedicated(name, Rank::Ordinary, task);
    }

    fn spawn_background(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.tasks.spawn_dedicated(name, Rank::Background, task);
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }

    fn net(&self) -> Arc<dyn Net> {
        Arc::new(NoPeers)
    }
}

/// 64 bits from the operating system.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut bytes[..], flags)?;
    assert_eq!(filled, 8, "up to 256 bytes come in one piece");
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
