//! A connection's socket that gives up on a peer which takes nothing of what is written, or never ends a head that it
//! began. Knows no HTTP but what [`Pace`] is told.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use posthaste_runtime::metric;
use posthaste_types::limits::{ANSWER_STALL_S_MAX, HEADER_READ_S_MAX};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::pace::Pace;
use crate::places::Place;

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

/// What no HTTP/1.1 request begins with.
const H2_BEGINNING: [u8; 3] = *b"PRI";

/// Time that must pass before more is read than what tells HTTP/2 from HTTP/1.1.
struct Pause {
    /// How many bytes of [`H2_BEGINNING`] have come.
    seen: usize,
    sleep: Pin<Box<Sleep>>,
}

impl Pause {
    fn new(until: Instant) -> Self {
        Self {
            seen: 0,
            sleep: Box::pin(tokio::time::sleep_until(until)),
        }
    }
}

/// The socket, plain or TLS, with the place that its connection takes.
pub(crate) struct Paced<S> {
    socket: S,
    pace: Arc<Pace>,
    stall: Deadline,
    head: Deadline,
    pause: Option<Box<Pause>>,
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
            pause: None,
            head_after: 0,
            _place: place,
        }
    }

    /// The same, which reads no HTTP/2 connection further than its first bytes until then.
    pub(crate) fn with_pause(self, until: Option<Instant>) -> Self {
        Self {
            pause: until.map(|until| Box::new(Pause::new(until))),
            ..self
        }
    }

    /// Reads what tells HTTP/2 from HTTP/1.1, and then pauses or not.
    fn read_paused(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let Some(pause) = &mut self.pause else {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        };
        if pause.seen < H2_BEGINNING.len() {
            let mut bytes = [0; H2_BEGINNING.len()];
            let count = buffer.remaining().min(bytes.len() - pause.seen);
            let mut few = ReadBuf::new(&mut bytes[..count]);
            let outcome = Pin::new(&mut self.socket).poll_read(context, &mut few);
            buffer.put_slice(few.filled());
            if H2_BEGINNING[pause.seen..].starts_with(few.filled()) {
                pause.seen += few.filled().len();
            } else {
                self.pause = None;
            }
            return outcome;
        }
        ready!(pause.sleep.as_mut().poll(context));
        self.pause = None;
        Pin::new(&mut self.socket).poll_read(context, buffer)
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
        if this.pace.is_flooded() {
            return Poll::Ready(Err(Error::other("the peer takes back too many requests")));
        }
        let before = buffer.filled().len();
        let outcome = this.read_paused(context, buffer);
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
