//! Why a member does not start or does not go on, in words and as an exit code.

use crate::config::HttpUrl;
use crate::exit::{Exit, Failure};
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;
use synod_host::{DataDirError, HostError};
use synod_node::{LinkError, OpenError, RestoreError};
use synod_raft::StartError;
use synod_state::LoadError;
use synod_storage::{Health, StorageError};

/// An error with its causes, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors already say what their source says.
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// A port that cannot be had, which was asked for by that flag.
pub(super) fn port(flag: &str, url: &HttpUrl, port: u16, error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::AddrInUse {
        let other = port.checked_add(10_000).unwrap_or(12_379);
        return Failure::new(
            Exit::PortInUse,
            format!(
                "{url} is in use, most likely by etcd or another synod\n  \
                 who has it: ss -ltnp 'sport = :{port}'\n  \
                 stop that process, or listen elsewhere: {flag} http://127.0.0.1:{other}"
            ),
        );
    }
    let remedy = if error.kind() == ErrorKind::PermissionDenied {
        "ports below 1024 belong to the system, choose another with"
    } else {
        "name an address of this machine in"
    };
    Failure::new(
        Exit::Usage,
        format!("cannot listen on {url}: {error}; {remedy} {flag}"),
    )
}

/// A socket of this machine that cannot be had, which was asked for by that flag.
pub(super) fn socket(flag: &str, path: &Path, error: &io::Error) -> Failure {
    let at = path.display();
    if error.kind() == ErrorKind::AddrInUse {
        return Failure::new(
            Exit::PortInUse,
            format!(
                "unix://{at} is in use, most likely by another member\n  \
                 who has it: ss -lxp src '{at}'\n  \
                 stop that process, or name another path in {flag}"
            ),
        );
    }
    Failure::new(
        Exit::Usage,
        format!(
            "cannot listen on unix://{at}: {error}; name a path of at most 107 bytes in a \
             directory that this user may write"
        ),
    )
}

/// A directory in which etcd has lived.
pub(super) fn data_of_etcd(dir: &Path) -> Failure {
    let dir = dir.display();
    Failure::new(
        Exit::Foreign,
        format!(
            "{dir} holds the data of etcd, which Synod does not read and has not touched\n  \
             name another --data-dir; how to bring the keys over: \
             docs/operate/moving-from-etcd.md"
        ),
    )
}

/// A data directory that cannot be taken.
pub(crate) fn host(error: &HostError) -> Failure {
    let exit = match error {
        HostError::DataDir(DataDirError::Locked { .. }) => Exit::DirectoryLocked,
        HostError::DataDir(DataDirError::NotADirectory { .. }) => Exit::DirectoryDenied,
        HostError::DataDir(DataDirError::Unwritable { source, .. }) => {
            of_disk(source, Exit::DirectoryDenied)
        }
        HostError::Thread(_) | HostError::Machine(_) => Exit::Failed,
    };
    Failure::new(
        exit,
        format!("{}\n  --data-dir chooses the directory", chain(error)),
    )
}

/// What the system says about a disk at start.
fn of_disk(error: &io::Error, otherwise: Exit) -> Exit {
    use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        Exit::DiskFull
    } else if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) {
        Exit::DirectoryDenied
    } else {
        otherwise
    }
}

/// Files that cannot be used.
pub(super) fn storage(error: &StorageError) -> Failure {
    let exit = match error {
        StorageError::Io { source, .. } => of_disk(source, Exit::DiskFailed),
        StorageError::Corrupt(_) | StorageError::Missing { .. } | StorageError::Purged { .. } => {
            Exit::Corrupt
        }
        StorageError::Newer { .. }
        | StorageError::Older { .. }
        | StorageError::Foreign { .. }
        | StorageError::Mismatch { .. }
        | StorageError::Occupied { .. }
        | StorageError::Unfinished { .. } => Exit::Foreign,
    };
    // Its text ends with the remedy.
    let mut message = chain(error);
    if let StorageError::Mismatch { .. } = error {
        message.push_str(
            "\n  The numbers come from --initial-advertise-peer-urls and --initial-cluster-token: \
             start with those of the first start.",
        );
    }
    if exit == Exit::DiskFull {
        message.push_str("\n  The disk is full; nothing is lost, free space and start again.");
    }
    Failure::new(exit, message)
}

/// A directory that cannot be opened as a member.
pub(crate) fn open(error: &OpenError) -> Failure {
    match error {
        OpenError::Storage(error) | OpenError::Restore(RestoreError::Storage(error)) => {
            storage(error)
        }
        OpenError::Restore(RestoreError::Load(load)) => {
            let exit = match load {
                LoadError::UnknownLevel { .. } => Exit::Foreign,
                LoadError::Corrupt(_) | LoadError::Mismatch { .. } => Exit::Corrupt,
            };
            Failure::new(
                exit,
                format!("{}\n  Keep a copy of the directory.", chain(error)),
            )
        }
        OpenError::Restore(RestoreError::Stopped) => {
            Failure::new(Exit::MemberStopped, chain(error))
        }
    }
}

/// A member that may not be linked with the others, or cannot put them on record.
pub(super) fn link(error: &LinkError) -> Failure {
    match error {
        LinkError::Refused(_) | LinkError::Members(_) => Failure::new(Exit::Foreign, chain(error)),
        LinkError::Storage(error) => storage(error),
    }
}

/// An engine that does not start.
pub(super) fn engine(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Config(_) => Exit::Usage,
        StartError::Snapshot(_) | StartError::Gap { .. } => Exit::Corrupt,
        StartError::Engine(_) => Exit::MemberStopped,
    };
    Failure::new(exit, chain(error))
}

/// A member that cannot go on.
pub(super) fn stopped(log: &Health, reason: &str) -> Failure {
    match &log.fatal {
        Some(fatal) => Failure::new(
            Exit::DiskFailed,
            format!(
                "the disk failed and the member stopped: {fatal}\n  every acknowledged write was \
                 durable before; check the disk, then start again"
            ),
        ),
        None => Failure::new(
            Exit::MemberStopped,
            format!("the member stopped by itself: {reason}"),
        ),
    }
}
