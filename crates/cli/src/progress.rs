//! How far a long command is, on standard error.

use crate::outside;
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Says every second how far a command is; nothing about one that is done within the first.
#[derive(Debug)]
pub(crate) struct Progress {
    doing: &'static str,
    next: Instant,
}

impl Progress {
    /// Of what is done, as "received".
    pub(crate) fn new(doing: &'static str) -> Self {
        Self {
            doing,
            next: outside::now() + EVERY,
        }
    }

    /// So many bytes of a whole, which is not always known.
    pub(crate) fn bytes(&mut self, done: u64, whole: Option<u64>) {
        self.say(|doing| match whole {
            Some(whole) => format!("  {doing} {} of {}", size(done), size(whole)),
            None => format!("  {doing} {}", size(done)),
        });
    }

    fn say(&mut self, line: impl FnOnce(&str) -> String) {
        let now = outside::now();
        if now >= self.next {
            self.next = now + EVERY;
            outside::note(line(self.doing));
        }
    }
}

/// A size for people, as etcdctl writes it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.into_iter().find(|(_, scale)| bytes >= *scale) {
        Some((unit, scale)) => format!("{}.{} {unit}", bytes / scale, bytes % scale * 10 / scale),
        None => format!("{bytes} B"),
    }
}
