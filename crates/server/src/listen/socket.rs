//! The sockets on which clients connect: of the network or of this machine.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket that is listened on, and what is served there.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    serves: Serves,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What is served to whoever connects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serves {
    /// Everything.
    Clients,
    /// What watches over a member needs: its metrics and its health.
    Monitors,
}

impl Listener {
    /// Only metrics and health are served on it. Nobody reads or changes a key there, so it can
    /// be open to those who watch over the member.
    #[must_use]
    pub fn for_monitors(self) -> Self {
        Self {
            serves: Serves::Monitors,
            ..self
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let stream = match &self.socket {
            Socket::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Stream::Tcp(stream)),
            Socket::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Stream::Unix(stream)),
        };
        let serves = self.serves;
        stream.map_ok(|stream| Accepted { stream, serves })
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self {
            socket: Socket::Tcp(listener),
            serves: Serves::Clients,
        }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self {
            socket: Socket::Unix(listener),
            serves: Serves::Clients,
        }
    }
}

/// The next connection of any listener, each having its turn.
pub(super) fn poll_accept(
    listeners: &[Listener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Accepted>> {
    for _ in listeners {
        *turn = (*turn + 1) % listeners.len();
        if let Poll::Ready(accepted) = listeners[*turn].poll_accept(cx) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// A connection on the runtime that accepted it.
pub(super) struct Accepted {
    stream: Stream,
    serves: Serves,
}

/// A connection that any runtime can take over.
pub(super) struct Released {
    stream: ReleasedStream,
    pub(super) serves: Serves,
}

enum ReleasedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    pub(super) fn release(self) -> io::Result<Released> {
        let stream = match self.stream {
            Stream::Tcp(stream) => {
                // A reply is one small write: it must not wait for another.
                stream.set_nodelay(true)?;
                ReleasedStream::Tcp(stream.into_std()?)
            }
            Stream::Unix(stream) => ReleasedStream::Unix(stream.into_std()?),
        };
        let serves = self.serves;
        Ok(Released { stream, serves })
    }
}

impl Released {
    /// The connection on the runtime that calls.
    pub(super) fn take_over(self) -> io::Result<Stream> {
        Ok(match self.stream {
            ReleasedStream::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            ReleasedStream::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Ends when the other side has said something, or has gone.
    pub(super) async fn spoken(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }
}

/// Calls the method of whichever stream it is.
macro_rules! of_either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_either!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    /// Both kinds write several slices at once.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, stream => stream.poll_shutdown(cx))
    }
}
