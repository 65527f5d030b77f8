//! One snapshot at a time: this member's own or one that it receives.
//!
//! A snapshot that was received becomes the newest one on the disk the moment it is durable, a
//! little before the engine installs it. Were one of this member's own written at the same time,
//! an older one could replace a newer one for which the log has been purged already, and the
//! member would not start again.

use synod_env::watch;

/// Gives out the turn; clones give out the same one.
#[derive(Clone)]
pub(crate) struct Turns(watch::Sender<bool>);

/// The right to write a snapshot, until dropped.
pub(crate) struct Turn(watch::Sender<bool>);

impl Turns {
    pub(crate) fn new() -> Self {
        let (taken, _) = watch::channel(false);
        Self(taken)
    }

    /// The turn, if nobody has it.
    pub(crate) fn try_take(&self) -> Option<Turn> {
        let free = self.0.send_if(|taken| !std::mem::replace(taken, true));
        free.then(|| Turn(self.0.clone()))
    }

    /// The turn, as soon as nobody has it. Whoever has it gives it back: one's own snapshot ends
    /// with the disk, a received one when its sender is silent for too long.
    pub(crate) async fn take(&self) -> Turn {
        let mut changes = self.0.subscribe();
        loop {
            changes.borrow_seen();
            if let Some(turn) = self.try_take() {
                return turn;
            }
            // The channel is open: `self` holds its sender.
            let _changed = changes.changed().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.send_if(|taken| std::mem::replace(taken, false));
    }
}

#[cfg(test)]
mod tests;
