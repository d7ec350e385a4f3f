//! A connection's socket that gives up on a peer which takes nothing of what is written, or never ends a head that it
//! began. Knows no HTTP but what [`Pace`] is told.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use posthaste_runtime::metric;
use posthaste_types::limits::{ANSWER_STALL_S_MAX, HEADER_READ_S_MAX};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::places::Place;
use crate::untaken::SmallAnswers;

/// Where a connection's conversation is; what its service tells its socket.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begun: AtomicU64,
    ended: AtomicU64,
    /// HTTP/2 or an upgraded connection: bytes that come between requests need not begin a head.
    is_free: AtomicBool,
    small_answers: SmallAnswers,
}

impl Pace {
    /// Notes a request, whose head has come, until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Notes that from now on the peer may send what it likes when it likes.
    pub(crate) fn set_free(&self) {
        self.is_free.store(true, Ordering::Relaxed);
    }

    /// Its small answers that are not taken yet, where there may be several.
    pub(crate) const fn small_answers(&self) -> &SmallAnswers {
        &self.small_answers
    }

    /// Whether a request has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// How many requests have come, when bytes that come now begin a further one.
    fn awaited_head(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        let is_idle = begun > 0 && begun == self.ended.load(Ordering::Relaxed);
        (is_idle && !self.is_free.load(Ordering::Relaxed)).then_some(begun)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Pace>);

impl Busy {
    pub(crate) const fn pace(&self) -> &Arc<Pace> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A time that may be running. Takes memory and a timer only once it has run.
#[derive(Default)]
struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    runs: bool,
}

impl Deadline {
    fn start(&mut self, after: Duration) {
        if std::mem::replace(&mut self.runs, true) {
            return;
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + after),
            None => self.sleep = Some(Box::pin(tokio::time::sleep(after))),
        }
    }

    fn stop(&mut self) {
        self.runs = false;
    }

    fn has_passed(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.sleep {
            Some(sleep) if self.runs => sleep.as_mut().poll(context).is_ready(),
            _ => false,
        }
    }
}

/// The socket, plain or TLS, with the place that its connection takes.
pub(crate) struct Paced<S> {
    socket: S,
    pace: Arc<Pace>,
    stall: Deadline,
    head: Deadline,
    /// The request count at which `head` was started: it is over once there is one more.
    head_after: u64,
    _place: Place,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Paced<S> {
    pub(crate) fn new(socket: S, pace: Arc<Pace>, place: Place) -> Self {
        Self {
            socket,
            pace,
            stall: Deadline::default(),
            head: Deadline::default(),
            head_after: 0,
            _place: place,
        }
    }

    /// Passes on what writing told, and an error when it has waited for the peer too long.
    fn written<T>(&mut self, context: &mut Context<'_>, outcome: Poll<Result<T>>) -> Poll<Result<T>> {
        if outcome.is_ready() {
            self.stall.stop();
            return outcome;
        }
        self.stall.start(Duration::from_secs(ANSWER_STALL_S_MAX));
        if !self.stall.has_passed(context) {
            return Poll::Pending;
        }
        metrics::counter!(metric::HTTP_STALLED).increment(1);
        Poll::Ready(Err(Error::new(
            ErrorKind::TimedOut,
            "the peer takes nothing of the answer",
        )))
    }

    /// Passes on what reading told, and an error when a head has begun and does not end.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<Result<()>>,
        is_some: bool,
    ) -> Poll<Result<()>> {
        let awaited = self.pace.awaited_head();
        if awaited != Some(self.head_after) {
            self.head.stop();
        }
        if let Some(count) = awaited
            && is_some
        {
            self.head_after = count;
            self.head.start(Duration::from_secs(HEADER_READ_S_MAX));
        }
        if outcome.is_pending() && self.head.has_passed(context) {
            return Poll::Ready(Err(Error::new(
                ErrorKind::TimedOut,
                "the head did not come in time",
            )));
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.socket).poll_read(context, buffer);
        this.read(context, outcome, buffer.filled().len() > before)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(context, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write_vectored(context, pieces);
        this.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_flush(context);
        this.written(context, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_shutdown(context);
        this.written(context, outcome)
    }
}
