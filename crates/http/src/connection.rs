//! One connection: HTTP/1.1 or HTTP/2, with or without TLS, its limits, and its orderly end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use posthaste_runtime::Stopper;
use posthaste_types::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_MISTAKE_COUNT_MAX, H2_RESET_COUNT_MAX, H2_STREAM_COUNT_MAX,
    H2_STREAM_WINDOW_BYTES, HEADER_BYTES_MAX, HEADER_READ_S_MAX, KEEP_ALIVE_IDLE_S_MAX, SOCKET_UNSENT_BYTES,
    TCP_KEEP_ALIVE_S, TLS_HANDSHAKE_S_MAX,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use warp::http::Request;

use crate::door::Door;
use crate::flooders::{Flooders, is_flood};
use crate::flow::Streams;
use crate::front::Front;
use crate::pace::Pace;
use crate::paced::Paced;
use crate::places::Place;
use crate::plain;
use crate::request_id::PeerAddress;
use crate::response::Routes;
use crate::tls::Tls;

/// What all connections of a listener share.
pub(crate) struct Server {
    builder: auto::Builder<Streams>,
    door: Arc<Door>,
    tls: Option<Tls>,
    flooders: Flooders,
    /// Asks connections to end after the request in flight.
    stopper: Stopper,
    /// Ends connections at once.
    cut: Stopper,
}

fn builder() -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper starts this clock when a connection falls idle, so for all but the first request it is the keep-alive
        // bound; a head that has begun has the shorter bound of `Paced`, and the first one that of `Server::converse`.
        .header_read_timeout(Duration::from_secs(KEEP_ALIVE_IDLE_S_MAX))
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(TCP_KEEP_ALIVE_S))
        .keep_alive_timeout(Duration::from_secs(HEADER_READ_S_MAX))
        .max_concurrent_streams(H2_STREAM_COUNT_MAX)
        .max_pending_accept_reset_streams(H2_RESET_COUNT_MAX)
        .max_local_error_reset_streams(H2_MISTAKE_COUNT_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).expect("a limit of some KiB"));
    builder
}

impl Server {
    pub(crate) fn new(routes: Routes, front: Front, tls: Option<Tls>, stopper: Stopper) -> Self {
        Self {
            builder: builder(),
            door: Arc::new(Door::new(routes, front)),
            tls,
            flooders: Flooders::default(),
            stopper,
            cut: Stopper::new(),
        }
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cut.stop();
    }

    /// Serves one connection to its end. Its errors are the peer's (it went away, it spoke no HTTP): not logged
    /// above debug.
    pub(crate) async fn serve(&self, stream: TcpStream, peer: PeerAddress, place: Place) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection was gone before it began");
            return;
        }
        let Some(tls) = &self.tls else {
            return self.converse(stream, peer, place).await;
        };
        match self.stopper.unless_stopped(handshake(tls, stream)).await {
            // In a box, so that plain connections do not carry the room for it.
            Some(Ok(Some(stream))) => Box::pin(self.converse(stream, peer, place)).await,
            Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Some(Ok(None)) | None => {}
        }
    }

    async fn converse<S>(&self, socket: S, peer: PeerAddress, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Arc::new(Pace::default());
        let pause = self.flooders.pause_of(peer.0);
        let socket = Paced::new(socket, Arc::clone(&pace), place).with_pause(pause);
        let service = service_fn(|request: Request<Incoming>| {
            let passing = Arc::clone(&self.door).pass(request, peer, pace.begin());
            async { Ok::<_, Infallible>(passing.await) }
        });
        let mut connection = pin!(
            self.builder
                .serve_connection_with_upgrades(TokioIo::new(socket), service)
        );
        let mut first_head = pin!(tokio::time::sleep(Duration::from_secs(HEADER_READ_S_MAX)));
        let (mut awaits_head, mut stops) = (true, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        if pace.is_flooded() || is_flood(&*error) {
                            self.flooders.note(peer.0);
                        }
                        tracing::debug!(%error, "a connection ended with an error");
                    }
                    return;
                }
                () = self.cut.stopped() => return,
                () = self.stopper.stopped(), if !stops => {
                    stops = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = first_head.as_mut(), if awaits_head => {
                    awaits_head = false;
                    if !pace.has_begun() {
                        tracing::debug!("a connection sent no request in time");
                        return;
                    }
                }
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The kernel would take megabytes for a reader that slows down, and tell us of its progress too seldom.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES)?;
    // Finds peers that vanished without a word while a stream to them is idle.
    let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(TCP_KEEP_ALIVE_S));
    socket.set_tcp_keepalive(&keep_alive)
}

/// `None` when the peer speaks no TLS, and was told.
async fn handshake(tls: &Tls, stream: TcpStream) -> std::io::Result<Option<TlsStream<TcpStream>>> {
    let bound = Duration::from_secs(TLS_HANDSHAKE_S_MAX);
    if tokio::time::timeout(bound, plain::speaks_plainly(&stream)).await?? {
        tokio::time::timeout(bound, plain::answer(stream)).await??;
        return Ok(None);
    }
    tls.accept(stream).await.map(Some)
}
