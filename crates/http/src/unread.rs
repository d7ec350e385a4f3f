//! The body of a request as routes see it: not there on HTTP/2 where none is to be read. One that nobody reads would stay in
//! its connection's window for as long as the request lasts, which is a minute for a long poll; dropped, it is thrown away
//! as it comes. On HTTP/1.1 it waits in the socket, and is bounded by its connection's buffer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use warp::http::{Method, Request, Version};

/// The body, or nothing.
pub(crate) struct Sent(Option<Incoming>);

impl Sent {
    /// The request with what routes may read of it: no route reads a body of these methods.
    pub(crate) fn of(request: Request<Incoming>) -> Request<Self> {
        let has_none = request.version() == Version::HTTP_2
            && matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
        request.map(|body| Self((!has_none).then_some(body)))
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
