//! Reads what is left of a request that was refused, into nothing: closing a socket that holds unread bytes resets it,
//! and the caller, still sending, would never see the answer (RFC 9112, section 9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use posthaste_types::limits::{BODY_DISCARD_BYTES_MAX, BODY_READ_S_MAX};
use warp::http::Request;
use warp::http::header::EXPECT;

/// Reads the body of a request that no route is to see, up to [`BODY_DISCARD_BYTES_MAX`] and for [`BODY_READ_S_MAX`].
pub(crate) async fn discard(request: Request<Incoming>) {
    // A caller that waits for `100 Continue` has not sent it, and need not.
    let has_come = !request.headers().contains_key(EXPECT);
    let body = request.into_body();
    if has_come && !body.is_end_stream() && body.size_hint().lower() <= BODY_DISCARD_BYTES_MAX as u64 {
        // In time or not, the answer is the same.
        let _ = tokio::time::timeout(Duration::from_secs(BODY_READ_S_MAX), drain(body)).await;
    }
}

async fn drain(mut body: Incoming) {
    let mut left = BODY_DISCARD_BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let count = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(count) else {
            return;
        };
        left = rest;
    }
}
