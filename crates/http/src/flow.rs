//! Cuts HTTP/2 streams whose peer takes nothing of the answer. On HTTP/1.1 the socket tells (`paced.rs`); here the peer can
//! leave one stream's window shut while the socket moves, and only that stream may suffer for it.
//!
//! hyper polls an answer's body again only once the peer has room for the piece before. So between a piece and the
//! next poll the stream waits for its peer; the body notes both in a task-local, and the stream's task looks there.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use posthaste_runtime::metric;
use posthaste_types::limits::ANSWER_STALL_S_MAX;
use tokio::time::Instant;

tokio::task_local! {
    static FLOW: Flow;
}

/// What a stream's answer waits for.
#[derive(Default)]
struct Flow {
    /// Pieces handed over.
    pieces: Cell<u64>,
    /// Whether the last one waits for the peer to make room.
    waits_for_peer: Cell<bool>,
}

/// Notes that the peer has to take something before the body is polled again. Whether this is an HTTP/2 stream.
pub(crate) fn wait_for_peer() -> bool {
    FLOW.try_with(|flow| {
        flow.pieces.set(flow.pieces.get() + 1);
        flow.waits_for_peer.set(true);
    })
    .is_ok()
}

/// Notes that the peer has taken everything and waits for us.
pub(crate) fn wait_for_us() {
    // Not there on HTTP/1.1.
    let _ = FLOW.try_with(|flow| flow.waits_for_peer.set(false));
}

/// Runs each HTTP/2 stream as a task that ends it when its peer takes nothing for [`ANSWER_STALL_S_MAX`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(FLOW.scope(Flow::default(), watch(stream)));
    }
}

/// Dropping the stream's future resets the stream.
async fn watch<F: Future>(stream: F) {
    const STALL: Duration = Duration::from_secs(ANSWER_STALL_S_MAX);
    let mut stream = pin!(stream);
    // Takes no timer until it is polled, which most streams never do.
    let mut deadline = pin!(tokio::time::sleep(STALL));
    let mut waited_for = 0;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let (waits, pieces) = FLOW.with(|flow| (flow.waits_for_peer.get(), flow.pieces.get()));
        if !waits {
            return Poll::Pending;
        }
        if waited_for != pieces {
            waited_for = pieces;
            deadline.as_mut().reset(Instant::now() + STALL);
        }
        ready!(deadline.as_mut().poll(context));
        metrics::counter!(metric::HTTP_STALLED).increment(1);
        tracing::debug!("a stream is cut: its peer takes nothing of the answer");
        Poll::Ready(())
    })
    .await;
}
