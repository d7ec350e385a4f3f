//! An answer's body on its way out: noted for the access log, and for whoever watches whether the peer takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use posthaste_types::limits::H2_CHUNK_BYTES_MAX;
use warp::http::Response;

use crate::access_log::Entry;
use crate::flow;
use crate::pace::Busy;
use crate::response::HttpResponse;
use crate::untaken::Untaken;

/// Names the type of a body, which warp does not.
pub(crate) trait Parts {
    /// The body's type.
    type Body;
}

impl<B> Parts for Response<B> {
    type Body = B;
}

/// The body of a response of warp's.
pub(crate) type Whole = <HttpResponse as Parts>::Body;

/// The body of an answer.
pub(crate) struct Answer {
    body: Whole,
    /// What is left of a piece that was too long for one HTTP/2 chunk.
    rest: Bytes,
    /// What the body was counted as, until it is a piece of its own.
    untaken: Option<Untaken>,
    entry: Option<Box<Entry>>,
    _busy: Busy,
}

impl Answer {
    pub(crate) fn new(
        body: Whole,
        untaken: Option<Untaken>,
        entry: Option<Box<Entry>>,
        mut busy: Busy,
    ) -> Self {
        busy.set_answered();
        // The head has to go out before the body is polled.
        flow::wait_for_peer();
        Self {
            body,
            rest: Bytes::new(),
            untaken,
            entry,
            _busy: busy,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            // Whoever polls has room for more; what follows is on us until there is a piece.
            flow::wait_for_us();
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                return Poll::Ready(None);
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    this.rest = match this.untaken.take() {
                        Some(untaken) => untaken.hold(data),
                        None => data,
                    }
                }
                Ok(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        // Small pieces keep what an HTTP/2 peer does not take in our hands, where it is seen.
        let is_stream = flow::wait_for_peer();
        let piece = if is_stream && this.rest.len() > H2_CHUNK_BYTES_MAX {
            this.rest.split_to(H2_CHUNK_BYTES_MAX)
        } else {
            std::mem::take(&mut this.rest)
        };
        if let Some(entry) = &mut this.entry {
            entry.add_bytes(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper + rest);
        }
        sum
    }
}
