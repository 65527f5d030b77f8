//! The channels of [`synod_env`] under the names openraft calls them by.

use openraft_rt::{OptionalSend, OptionalSync, SendError, TryRecvError, mpsc, oneshot, watch};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use synod_env::queue;

/// Bounded queues.
#[derive(Debug)]
pub(crate) struct Mpsc;

/// See [`queue::Sender`].
pub(crate) struct Sender<T>(queue::Sender<T>);

/// See [`queue::WeakSender`].
pub(crate) struct WeakSender<T>(queue::WeakSender<T>);

/// See [`queue::Receiver`].
pub(crate) struct Receiver<T>(queue::Receiver<T>);

impl mpsc::Mpsc for Mpsc {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = queue::bounded(buffer);
        (Sender(sender), Receiver(receiver))
    }
}

impl<T: OptionalSend> mpsc::MpscSender<Mpsc, T> for Sender<T> {
    async fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value).await.map_err(|error| match error {
            queue::SendError::Closed(value) | queue::SendError::Full(value) => SendError(value),
        })
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> mpsc::MpscWeakSender<Mpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

impl<T: OptionalSend> mpsc::MpscReceiver<T> for Receiver<T> {
    fn recv(&mut self) -> impl Future<Output = Option<T>> + OptionalSend {
        self.0.receive()
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_receive().map_err(|error| match error {
            queue::TryReceiveError::Empty => TryRecvError::Empty,
            queue::TryReceiveError::Closed => TryRecvError::Disconnected,
        })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// One value, once.
#[derive(Debug)]
pub(crate) struct Oneshot;

/// See [`synod_env::oneshot::Sender`].
pub(crate) struct OneshotSender<T>(synod_env::oneshot::Sender<T>);

/// See [`synod_env::oneshot::Receiver`].
pub(crate) struct OneshotReceiver<T>(synod_env::oneshot::Receiver<T>);

/// The sender went without giving a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sender dropped")
    }
}

impl std::error::Error for Dropped {}

impl oneshot::Oneshot for Oneshot {
    type Sender<T: OptionalSend> = OneshotSender<T>;
    type Receiver<T: OptionalSend> = OneshotReceiver<T>;
    type ReceiverError = Dropped;

    fn channel<T: OptionalSend>() -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = synod_env::oneshot::channel();
        (OneshotSender(sender), OneshotReceiver(receiver))
    }
}

impl<T: OptionalSend> oneshot::OneshotSender<T> for OneshotSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, Dropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map_err(|synod_env::oneshot::Dropped| Dropped)
    }
}

/// The latest value of something.
#[derive(Debug)]
pub(crate) struct Watch;

/// See [`synod_env::watch::Sender`].
pub(crate) struct WatchSender<T>(synod_env::watch::Sender<T>);

/// See [`synod_env::watch::Receiver`].
pub(crate) struct WatchReceiver<T>(synod_env::watch::Receiver<T>);

impl watch::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = synod_env::watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(initial: T) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, receiver) = synod_env::watch::channel(initial);
        (WatchSender(sender), WatchReceiver(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchSender<Watch, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        if !self.0.is_observed() {
            return Err(watch::SendError(value));
        }
        self.0.send(value);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.send_if(modify)
    }

    fn borrow_watched(&self) -> synod_env::watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        WatchReceiver(self.0.subscribe())
    }
}

impl<T: OptionalSend + OptionalSync> watch::WatchReceiver<Watch, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), watch::RecvError> {
        self.0
            .changed()
            .await
            .map_err(|synod_env::watch::Closed| watch::RecvError(()))
    }

    fn borrow_watched(&self) -> synod_env::watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> synod_env::watch::Ref<'_, T> {
        self.0.borrow_seen()
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
