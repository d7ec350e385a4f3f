//! Responses: JSON, streams and problem documents. Decides no status but a problem's own.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use posthaste_api::Problem;
use posthaste_runtime::{chain, metric};
use posthaste_types::ErrorCode;
use serde::Serialize;
use warp::Filter as _;
use warp::Reply as _;
use warp::http::header::{CONTENT_TYPE, RETRY_AFTER};
use warp::http::{HeaderValue, StatusCode};

/// Any response; a body is whole or a stream.
pub type HttpResponse = warp::reply::Response;

/// Routes ready to be joined with others and served.
pub type Routes = warp::filters::BoxedFilter<(HttpResponse,)>;

/// The routes of all; a request is asked of one after the other, so what is asked for most comes first. Each is boxed, since
/// the types of unboxed ones nest, and the code that is made for them with it.
pub fn any_of(routes: impl IntoIterator<Item = Routes, IntoIter: DoubleEndedIterator>) -> Routes {
    let none = warp::any().and_then(|| std::future::ready(Err::<HttpResponse, _>(warp::reject::not_found())));
    routes
        .into_iter()
        .rfold(none.boxed(), |later, earlier| earlier.or(later).unify().boxed())
}

/// What a caller is told to wait before another try when nothing better is known, seconds.
const RETRY_AFTER_S: u64 = 1;

fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::new(body.into().into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response without a body.
pub fn empty(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::default();
    *response.status_mut() = status;
    response
}

/// `value` as `application/json`. A value that cannot be written as JSON is a bug and answered with 500.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            // It may wait long for its reader, and has grown by doubling.
            body.shrink_to_fit();
            with_body(status, "application/json", body)
        }
        Err(error) => {
            tracing::error!(
                error = %chain(&error),
                "a response cannot be written as JSON"
            );
            problem(&Problem::new(
                ErrorCode::Internal,
                "the answer could not be written; the log has the reason",
            ))
        }
    }
}

/// A body of any type, already encoded.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    with_body(status, content_type, body)
}

/// A body that comes in pieces, sent as they come. The end of `stream` ends the response.
pub fn stream<S>(stream: S) -> HttpResponse
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    warp::reply::stream(Exclusive(Mutex::new(Box::pin(stream)))).into_response()
}

/// warp asks a body to be `Sync` though only its owner polls it. The lock is never taken: `get_mut` needs none.
struct Exclusive<S>(Mutex<Pin<Box<S>>>);

impl<S: Stream<Item = Bytes>> Stream for Exclusive<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut().0.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.as_mut().poll_next(context).map(|piece| piece.map(Ok))
    }
}

/// A problem document, counted by its code; 429 and 503 say when to come again.
pub fn problem(problem: &Problem) -> HttpResponse {
    metrics::counter!(metric::HTTP_PROBLEMS, "code" => problem.code.clone()).increment(1);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).expect("texts and a number are always JSON");
    let mut response = with_body(status, "application/problem+json", body);
    let passes = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    if let Some(retry_after_s) = problem.retry_after_s.or(passes.then_some(RETRY_AFTER_S)) {
        response.headers_mut().insert(RETRY_AFTER, retry_after_s.into());
    }
    response
}

/// What a handler decided, as a response: `filter.then(handler).map(reply)`.
pub fn reply(outcome: Result<HttpResponse, Problem>) -> HttpResponse {
    outcome.unwrap_or_else(|refused| problem(&refused))
}
