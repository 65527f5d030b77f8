//! One round of work for all callers that wait when it begins.

use std::future::Future;
use synod_env::{Bug, Env, oneshot, planted, queue};

/// Callers that may wait to be taken into a round; the next one waits to be let in.
const WAITING_MAX: usize = 1_024;

/// Asks for rounds; clones ask for the same ones.
pub(crate) struct Rounds<T>(queue::Sender<oneshot::Sender<T>>);

impl<T: Clone + Send + 'static> Rounds<T> {
    /// Begins to serve: each time somebody waits, `round` runs once for all who wait by then.
    /// Ends when every clone is dropped.
    pub(crate) fn serve<F>(
        env: &Env,
        name: &'static str,
        mut round: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = T> + Send,
    {
        let (sender, mut receiver) = queue::bounded::<oneshot::Sender<T>>(WAITING_MAX);
        env.spawn(name, async move {
            let mut waiting = Vec::new();
            while let Some(first) = receiver.receive().await {
                waiting.push(first);
                receiver.drain(&mut waiting, WAITING_MAX);
                waiting.retain(|caller| !caller.is_abandoned());
                if waiting.is_empty() {
                    continue;
                }
                let outcome = round().await;
                if planted(Bug::ReuseReadBarrier) {
                    receiver.drain(&mut waiting, WAITING_MAX);
                }
                for caller in waiting.drain(..) {
                    // Callers may leave while their round runs.
                    drop(caller.send(outcome.clone()));
                }
            }
        });
        Self(sender)
    }

    /// The outcome of a round that begins after this call; `None` if the server is gone.
    pub(crate) async fn ask(self) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.ok()?;
        receiver.await.ok()
    }
}

/// A [`Rounds`] that does not keep the server alive.
pub(crate) struct WeakRounds<T>(queue::WeakSender<oneshot::Sender<T>>);

impl<T> Rounds<T> {
    pub(crate) fn downgrade(&self) -> WeakRounds<T> {
        WeakRounds(self.0.downgrade())
    }
}

impl<T> WeakRounds<T> {
    /// `None` once the server has ended, or is about to.
    pub(crate) fn upgrade(&self) -> Option<Rounds<T>> {
        self.0.upgrade().map(Rounds)
    }
}

impl<T> Clone for Rounds<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests;
