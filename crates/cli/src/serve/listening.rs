//! The ports and sockets on which clients come in.

use super::causes;
use crate::config::{Address, Config, Listen};
use crate::exit::{Exit, Failure};
use crate::outside;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use synod_server::Listener;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Everything that is listened on.
pub(super) struct Listening {
    /// For the server.
    pub(super) listeners: Vec<Listener>,
    /// Where clients are served, with the ports that are in fact in use.
    pub(super) clients: Vec<Address>,
    /// Where only metrics and health are served.
    pub(super) monitors: Vec<Address>,
    /// Removed with this.
    _sockets: Vec<SocketFile>,
}

/// The file by which a socket of this machine is found.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        outside::remove_file(&self.0);
    }
}

impl Listening {
    /// Opens all of them.
    ///
    /// # Errors
    /// With the first that cannot be had; none is open then.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let mut sockets = Vec::new();
        let mut open = |listen: &Listen, flag| -> Result<(Listener, Address), Failure> {
            match listen {
                Listen::Port { url, address } => {
                    let (listener, port) = on_port(*address, config.reuse_port)
                        .map_err(|error| causes::port(flag, url, address.port(), &error))?;
                    Ok((listener.into(), Address::Http(url.with_port(port))))
                }
                Listen::Socket(path) => {
                    let listener = on_socket(path, flag)?;
                    sockets.push(SocketFile(path.clone()));
                    Ok((listener.into(), Address::Unix(path.clone())))
                }
            }
        };
        let (mut listeners, mut clients, mut monitors) = (Vec::new(), Vec::new(), Vec::new());
        for listen in &config.listen_client {
            let (listener, address) = open(listen, "--listen-client-urls")?;
            listeners.push(listener);
            clients.push(address);
        }
        for listen in &config.listen_metrics {
            let (listener, address) = open(listen, "--listen-metrics-urls")?;
            listeners.push(listener.for_monitors());
            monitors.push(address);
        }
        Ok(Self {
            listeners,
            clients,
            monitors,
            _sockets: sockets,
        })
    }
}

fn on_port(address: SocketAddr, reuse_port: bool) -> io::Result<(TcpListener, u16)> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A port that lingers after the last process that had it has ended is free.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// A socket of this machine, for this user alone: whoever reaches it may do everything.
fn on_socket(path: &Path, flag: &str) -> Result<UnixListener, Failure> {
    let failed = |error: io::Error| causes::socket(flag, path, &error);
    match outside::probe_socket(path) {
        Ok(()) => return Err(failed(ErrorKind::AddrInUse.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // Nobody listens: it was left behind by a process that did not end well.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            if !outside::is_socket(path) {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "unix://{} is a file and no socket; nothing was changed: name another \
                         path in {flag}",
                        path.display()
                    ),
                ));
            }
            outside::remove_file(path);
        }
        Err(error) => return Err(failed(error)),
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    // Nobody can connect before it listens, so nobody can come in between.
    outside::keep_to_owner(path)
        .and_then(|()| socket.listen(BACKLOG))
        .inspect_err(|_| outside::remove_file(path))
        .map_err(failed)
}
