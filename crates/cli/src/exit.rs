//! How a command ends: the exit codes, stable and documented in `docs/reference/exit-codes.md`.

use std::fmt::Display;

#[cfg(test)]
mod tests;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed for a reason without a code of its own.
    Failed,
    /// Wrong flags or configuration.
    Usage,
    /// The service answered no.
    Refused,
    /// Nobody can say whether it happened.
    Unknown,
    /// The request was never sent.
    Unreachable,
    /// The address is taken.
    PortInUse,
    /// Another process has the data directory.
    DirectoryLocked,
    /// The data directory cannot be used by this user.
    DirectoryDenied,
    /// No room.
    DiskFull,
    /// The files are damaged.
    Corrupt,
    /// The files belong to another cluster, or to a newer version.
    Foreign,
    /// The disk failed under the running member.
    DiskFailed,
    /// The member stopped by itself.
    MemberStopped,
    /// A simulated run broke a promise.
    Violation,
    /// Of a simulated run nobody can say whether it kept its promises.
    Undecided,
}

impl Exit {
    /// All of them, in the order of their codes.
    #[cfg(test)]
    const ALL: [Self; 16] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Unknown,
        Self::Unreachable,
        Self::PortInUse,
        Self::DirectoryLocked,
        Self::DirectoryDenied,
        Self::DiskFull,
        Self::Corrupt,
        Self::Foreign,
        Self::DiskFailed,
        Self::MemberStopped,
        Self::Violation,
        Self::Undecided,
    ];

    /// The number the system sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unknown => 4,
            Self::Unreachable => 5,
            Self::PortInUse => 10,
            Self::DirectoryLocked => 11,
            Self::DirectoryDenied => 12,
            Self::DiskFull => 13,
            Self::Corrupt => 14,
            Self::Foreign => 15,
            Self::DiskFailed => 16,
            Self::MemberStopped => 17,
            Self::Violation => 20,
            Self::Undecided => 21,
        }
    }

    /// What it means and what to do, for the reference page.
    #[cfg(test)]
    const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("Done; for `serve`, stopped because it was asked to.", ""),
            Self::Failed => (
                "Failed for a reason without a code of its own.",
                "Read stderr.",
            ),
            Self::Usage => (
                "Wrong flags or configuration; nothing was started.",
                "Every problem is listed with its place.",
            ),
            Self::Refused => (
                "The service answered no; nothing was changed.",
                "The text says why; repeating it unchanged gives the same.",
            ),
            Self::Unknown => (
                "Unknown: the request was sent and no answer came. It may or may not have happened, and may still happen.",
                "Read the key to find out; repeat only what may happen twice.",
            ),
            Self::Unreachable => (
                "No endpoint could be reached, or a read got no answer; nothing was changed.",
                "Check `--endpoints`; repeating is safe.",
            ),
            Self::PortInUse => (
                "`serve`: the address is taken, most likely by etcd.",
                "`ss -ltnp` shows by whom; stop it, or choose another address with `--listen-client-urls`.",
            ),
            Self::DirectoryLocked => (
                "Another process has the data directory open.",
                "Stop it, or choose another `--data-dir`.",
            ),
            Self::DirectoryDenied => (
                "This user may not read or write the data directory.",
                "Correct its owner or rights, or choose another `--data-dir`.",
            ),
            Self::DiskFull => ("No room on the disk.", "Free space; nothing is lost."),
            Self::Corrupt => (
                "A file is damaged: for `serve`, below what was known to be durable; otherwise the one that was given.",
                "`serve`: keep a copy of the directory, and restore from a backup; do not delete single files. Otherwise: take another copy of the file.",
            ),
            Self::Foreign => (
                "The directory belongs to another member or cluster, was written by a newer version, or is not empty where it must be.",
                "Correct `--data-dir`, or run the newer version.",
            ),
            Self::DiskFailed => (
                "`serve`: a write or sync failed while running. The member stops, because what the disk then holds is not known.",
                "Check the disk, then start again: every acknowledged write is there.",
            ),
            Self::MemberStopped => (
                "`serve`: the member stopped by itself.",
                "The last ERROR line in the log says why; please report it.",
            ),
            Self::Violation => (
                "`sim`: a run broke a promise.",
                "Seed, scenario file and picture are named; `synod sim replay` runs it again.",
            ),
            Self::Undecided => (
                "`sim`: the judges could not decide within their bounds whether a run kept its promises.",
                "It does not count as passed. The text says which judge, and why.",
            ),
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What a person reads: what happened, then what to do.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with its code.
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// A failure without a code of its own.
    pub(crate) fn other(message: impl Display) -> Self {
        Self::new(Exit::Failed, message)
    }
}
