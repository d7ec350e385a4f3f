//! What every answer carries beside what its handler decided.

use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use crate::caller::Caller;
use crate::response::HttpResponse;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What our own pages need and no more. A page with a policy of its own keeps that.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What is known of a request when its answer leaves.
pub(crate) struct Dress {
    /// Whether the request needed a caller.
    pub(crate) is_guarded: bool,
    /// Whether it said who sends it, right or wrong.
    pub(crate) has_credentials: bool,
    /// What the answer says of the origin.
    pub(crate) allowed_origin: Option<HeaderValue>,
    /// Who sent it.
    pub(crate) caller: Option<Caller>,
}

/// Adds the headers.
pub(crate) fn dress(response: &mut HttpResponse, wear: &Dress) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(challenge) = challenge(status, wear) {
        headers.entry(WWW_AUTHENTICATE).or_insert(challenge);
    }
    if wear.is_guarded {
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    if let Some((policy, left)) = wear.caller.as_ref().and_then(|caller| caller.quota().headers()) {
        headers.insert(RATE_LIMIT_POLICY, policy);
        headers.insert(RATE_LIMIT, left);
    }
    if is_page(headers) {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(PAGE_POLICY);
        headers
            .entry(REFERRER_POLICY)
            .or_insert(HeaderValue::from_static("no-referrer"));
    }
}

/// RFC 6750, section 3: the error is left out when nothing was sent.
fn challenge(status: StatusCode, wear: &Dress) -> Option<HeaderValue> {
    let challenge = match status {
        StatusCode::UNAUTHORIZED if wear.has_credentials => {
            r#"Bearer realm="posthaste", error="invalid_token""#
        }
        StatusCode::UNAUTHORIZED => r#"Bearer realm="posthaste""#,
        StatusCode::FORBIDDEN if wear.caller.is_some() => {
            r#"Bearer realm="posthaste", error="insufficient_scope""#
        }
        _ => return None,
    };
    Some(HeaderValue::from_static(challenge))
}

fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/html"))
}
