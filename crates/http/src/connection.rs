//! One connection: HTTP/1.1 or HTTP/2 without TLS, its limits, and its orderly end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use posthaste_runtime::Stopper;
use posthaste_types::limits::{
    H2_STREAM_COUNT_MAX, HEADER_BYTES_MAX, HEADER_READ_S_MAX, KEEP_ALIVE_IDLE_S_MAX, TCP_KEEP_ALIVE_S,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use warp::http::header::HeaderName;
use warp::http::{Request, Response};

use crate::front::{Front, credentials};
use crate::response::{HttpResponse, Routes, problem};

/// What a caller sends to find its request again in its own logs; it is sent back as it came.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What all connections of a listener share.
pub(crate) struct Server {
    builder: auto::Builder<TokioExecutor>,
    routes: Routes,
    front: Front,
    /// Asks connections to end after the request in flight.
    stopper: Stopper,
    /// Ends connections at once.
    cut: Stopper,
}

impl Server {
    pub(crate) fn new(routes: Routes, front: Front, stopper: Stopper) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper starts this clock when a connection falls idle, so for all but the first request it is the
            // keep-alive bound; the first request has the shorter bound of `Server::serve`.
            .header_read_timeout(Duration::from_secs(KEEP_ALIVE_IDLE_S_MAX))
            .max_buf_size(HEADER_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(TCP_KEEP_ALIVE_S))
            .keep_alive_timeout(Duration::from_secs(HEADER_READ_S_MAX))
            .max_concurrent_streams(H2_STREAM_COUNT_MAX)
            .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).expect("a limit of some KiB"));
        Self {
            builder,
            routes,
            front,
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
    pub(crate) async fn serve(&self, stream: TcpStream) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection was gone before it began");
            return;
        }
        let began = Arc::new(AtomicBool::new(false));
        let routes = TowerToHyperService::new(warp::service(self.routes.clone()));
        let seen = Arc::clone(&began);
        let service = service_fn(move |mut request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            let request_id = request.headers().get(REQUEST_ID).cloned();
            let found = credentials(request.headers())
                .and_then(|credentials| self.front.authenticator.authenticate(credentials));
            let answer = match found {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    Ok(routes.call(request))
                }
                Err(refused) => Err(refused),
            };
            async move {
                let mut response: HttpResponse = match answer {
                    Ok(answer) => answer.await?,
                    Err(refused) => problem(&refused),
                };
                if let Some(request_id) = request_id {
                    response.headers_mut().insert(REQUEST_ID, request_id);
                }
                Ok::<Response<_>, Infallible>(response)
            }
        });
        let mut connection = pin!(
            self.builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
        );
        let mut first_head = pin!(tokio::time::sleep(Duration::from_secs(HEADER_READ_S_MAX)));
        let (mut awaits_head, mut stops) = (true, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
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
                    if !began.load(Ordering::Relaxed) {
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
    // Finds peers that vanished without a word while a stream to them is idle.
    let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(TCP_KEEP_ALIVE_S));
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}
