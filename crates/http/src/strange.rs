//! Requests that are HTTP and that no route should see. What is no HTTP at all hyper refuses itself, without a body.

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use posthaste_types::limits::URI_BYTES_MAX;
use warp::http::header::{ALLOW, EXPECT, HOST};
use warp::http::{HeaderValue, Method, Request, Version};

use crate::response::{HttpResponse, problem};

/// Every method that some route takes.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");

/// Refuses what is too long, ambiguous, or asks for what we do not do.
///
/// # Errors
/// 400, 405, 414 or 417.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), HttpResponse> {
    judge(request).map_err(|refused| {
        let mut response = problem(&refused);
        if refused.status == ErrorCode::MethodNotAllowed.status() {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        response
    })
}

fn judge<B>(request: &Request<B>) -> Result<(), Problem> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        let detail = format!("{} is not done here", request.method());
        return Err(Problem::new(ErrorCode::MethodNotAllowed, detail));
    }
    let uri_len = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri_len > URI_BYTES_MAX {
        let detail = format!("path and query have {uri_len} bytes of at most {URI_BYTES_MAX}");
        return Err(Problem::new(ErrorCode::UriTooLong, detail));
    }
    check_host(request)?;
    match request.headers().get(EXPECT) {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            let detail = "`Expect` may ask for `100-continue` alone";
            Err(Problem::new(ErrorCode::ExpectationFailed, detail))
        }
        _ => Ok(()),
    }
}

/// HTTP/1.1 asks for exactly one `Host` (RFC 9112, section 3.2); servers that disagree on which of two counts can be
/// played against each other.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let count = request.headers().get_all(HOST).iter().take(2).count();
    if count > 1 || (count == 0 && request.version() == Version::HTTP_11) {
        let detail = "send one `Host` header";
        return Err(Problem::new(ErrorCode::InvalidParameter, detail));
    }
    Ok(())
}
