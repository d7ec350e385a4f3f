//! The listener: accepts connections within a bound, and on a stop closes first and lets requests end.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use posthaste_runtime::{Backoff, Stopper, chain, metric};
use posthaste_types::limits::{LISTEN_BACKLOG, SHUTDOWN_DRAIN_MS_MAX};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::connection::Server;
use crate::front::Front;
use crate::options::ServeOptions;
use crate::places::{Full, Places};
use crate::request_id::PeerAddress;
use crate::response::Routes;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A bound socket; callers may connect already and wait in the backlog until [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    socket: StdListener,
    address: SocketAddr,
    options: ServeOptions,
}

/// Listens on `address`; port 0 takes a free one. tokio's runtime is not needed yet.
///
/// # Errors
/// [`BindError`] when the address is taken or not ours.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let error = |source| BindError { address, source };
    let socket = open(address).map_err(error)?;
    let address = socket.local_addr().map_err(error)?;
    Ok(Listener {
        socket,
        address,
        options: ServeOptions::default(),
    })
}

fn open(address: SocketAddr) -> std::io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

impl Listener {
    /// The address, with the port that was taken.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves with other limits than the default ones, or with TLS.
    #[must_use]
    pub fn with_options(self, options: ServeOptions) -> Self {
        Self { options, ..self }
    }

    /// Serves `routes` (wrapped by [`crate::finish`]) until `stopper` stops, then closes the socket, lets requests in
    /// flight end, and returns. Streams must end by themselves on the same stop. What has not ended after
    /// [`SHUTDOWN_DRAIN_MS_MAX`] is cut.
    ///
    /// # Errors
    /// Only when the socket cannot be handed to the runtime.
    pub async fn serve(self, routes: Routes, front: Front, stopper: Stopper) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let options = self.options;
        if let Some(tls) = options.tls.clone() {
            tokio::spawn(tls.follow(stopper.child()));
        }
        let places = Arc::new(Places::new(
            options.connections_max,
            options.connections_per_address_max,
        ));
        let server = Arc::new(Server::new(routes, front, options.tls, stopper.clone()));
        let connections = TaskTracker::new();
        while let Some((stream, peer)) = stopper.unless_stopped(accept(&listener)).await {
            match places.take(peer.ip()) {
                Ok(place) => {
                    let server = Arc::clone(&server);
                    let peer = PeerAddress(peer.ip().to_canonical());
                    connections.spawn(async move { server.serve(stream, peer, place).await });
                }
                Err(full) => refuse(full, peer),
            }
        }
        drop(listener);
        drain(&server, &connections).await;
        Ok(())
    }
}

/// Waits for the connections to end, and cuts those that do not in time.
async fn drain(server: &Server, connections: &TaskTracker) {
    connections.close();
    if tokio::time::timeout(Duration::from_millis(SHUTDOWN_DRAIN_MS_MAX), connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            http.connections = connections.len(),
            "connections are cut: they did not end in time"
        );
        server.cut();
        connections.wait().await;
    }
}

/// Counts a connection that is closed as it came. One left waiting would wait behind slow ones for an unknown time; a
/// closed one can be tried elsewhere.
fn refuse(full: Full, peer: SocketAddr) {
    let bound = match full {
        Full::Total => "total",
        Full::Address => "address",
    };
    metrics::counter!(metric::HTTP_CONNECTIONS_REFUSED, "bound" => bound).increment(1);
    // Whoever floods us must not flood the log.
    tracing::debug!(bound, http.peer = %peer, "a connection was refused: there are too many");
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The peer went away while it waited in the backlog.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if backoff.failure_count() == 0 {
                    tracing::error!(
                        error = %chain(&error),
                        "cannot accept connections"
                    );
                }
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}
