//! A stream as an HTTP response.

use std::pin::Pin;
use std::sync::Mutex;
use std::task;

use bytes::Bytes;
use futures_util::Stream;
use posthaste_http::HttpResponse;
use warp::http::HeaderValue;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// Makes a stream `Sync`, as response bodies must be: whoever polls it holds it exclusively, so the lock is never taken.
struct Exclusive<S>(Mutex<Pin<Box<S>>>);

impl<S: Stream> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Option<S::Item>> {
        let stream = self
            .0
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        stream.as_mut().poll_next(context)
    }
}

/// 200 with server-sent events.
pub(crate) fn event_stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> HttpResponse {
    let mut response = posthaste_http::stream(Exclusive(Mutex::new(Box::pin(chunks))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would gather the stream otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
