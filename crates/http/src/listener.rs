//! The listener: accepts connections within a bound, and on a stop closes first and lets requests end.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_types::limits::{CONNECTION_COUNT_MAX, LISTEN_BACKLOG, SHUTDOWN_DRAIN_MS_MAX};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::connection::Server;
use crate::front::Front;
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
}

/// Listens on `address`; port 0 takes a free one. tokio's runtime is not needed yet.
///
/// # Errors
/// [`BindError`] when the address is taken or not ours.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let error = |source| BindError { address, source };
    let socket = open(address).map_err(error)?;
    let address = socket.local_addr().map_err(error)?;
    Ok(Listener { socket, address })
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

    /// Serves `routes` (wrapped by [`crate::finish`]) until `stopper` stops, then closes the socket, lets requests in
    /// flight end, and returns. Streams must end by themselves on the same stop. What has not ended after
    /// [`SHUTDOWN_DRAIN_MS_MAX`] is cut.
    ///
    /// # Errors
    /// Only when the socket cannot be handed to the runtime.
    pub async fn serve(self, routes: Routes, front: Front, stopper: Stopper) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let server = Arc::new(Server::new(routes, front, stopper.clone()));
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
        while let Some((stream, slot)) = stopper.unless_stopped(accept(&listener, &slots)).await {
            let server = Arc::clone(&server);
            connections.spawn(async move {
                server.serve(stream).await;
                drop(slot);
            });
        }
        drop(listener);
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
        Ok(())
    }
}

/// The next connection, once there is a slot for it; others wait in the backlog.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
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
