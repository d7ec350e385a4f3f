//! Which web pages' scripts may call (the Fetch standard's CORS protocol). No cookie is ever involved: callers send keys,
//! so credentials are never allowed.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use posthaste_types::limits::CORS_AGE_S;
use url::{Origin, Url};
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::response::{HttpResponse, empty};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, prefer, traceparent, tracestate, \
     x-request-id",
);
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "allow, content-disposition, etag, idempotent-replayed, link, location, preference-applied, ratelimit, \
     ratelimit-policy, retry-after, www-authenticate, x-request-id",
);
const ANY: HeaderValue = HeaderValue::from_static("*");

/// A text names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no origin: write `https://app.example.com` (scheme, host and port alone), or `*` for any")]
pub struct InvalidOrigin(String);

/// The origins whose pages' scripts may call. The default lets none.
#[derive(Debug, Clone, Default)]
pub struct Cors(Allowed);

#[derive(Debug, Clone, Default)]
enum Allowed {
    #[default]
    None,
    Any,
    These(Arc<[HeaderValue]>),
}

impl Cors {
    /// From configuration: `*` for any, else origins.
    ///
    /// # Errors
    /// [`InvalidOrigin`] names the first that is none.
    pub fn parse(origins: &[String]) -> Result<Self, InvalidOrigin> {
        if origins.is_empty() {
            return Ok(Self(Allowed::None));
        }
        let parsed: Vec<HeaderValue> = origins
            .iter()
            .map(|text| origin(text))
            .collect::<Result<_, _>>()?;
        let any = parsed.contains(&ANY);
        Ok(Self(if any {
            Allowed::Any
        } else {
            Allowed::These(parsed.into())
        }))
    }

    /// The answer to a preflight; `None` when the request is none, or when no page may call at all.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Result<HttpResponse, Problem>> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || matches!(self.0, Allowed::None) {
            return None;
        }
        if self.allowed(headers.get(ORIGIN)).is_none() {
            let detail =
                "scripts of this origin may not call; the operator allows origins in `http.cors.origins`";
            return Some(Err(Problem::new(ErrorCode::Forbidden, detail)));
        }
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, CORS_AGE_S.into());
        Some(Ok(response))
    }

    /// What an answer to a request of this `Origin` says.
    pub(crate) fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.0 {
            Allowed::None => None,
            Allowed::Any => origin.map(|_| ANY),
            Allowed::These(origins) => origins.iter().find(|allowed| origin == Some(allowed)).cloned(),
        }
    }

    /// Adds the headers that a browser asks for; `allowed` is what [`Cors::allowed`] told.
    pub(crate) fn mark(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        if matches!(self.0, Allowed::These(_)) {
            // A cache between must not give one origin's answer to another.
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        }
    }
}

/// The text as browsers send it.
fn origin(text: &str) -> Result<HeaderValue, InvalidOrigin> {
    if text == "*" {
        return Ok(ANY);
    }
    Url::parse(text)
        .ok()
        .filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .map(|url| url.origin())
        .filter(Origin::is_tuple)
        .and_then(|origin| HeaderValue::try_from(origin.ascii_serialization()).ok())
        .ok_or_else(|| InvalidOrigin(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        assert_eq!(
            origin("https://App.Example.com:443/").unwrap(),
            "https://app.example.com"
        );
        assert_eq!(origin("http://localhost:5173").unwrap(), "http://localhost:5173");
        for text in [
            "",
            "app.example.com",
            "null",
            "https://a/b",
            "https://u@a",
            "file:///a",
            "https://*.a?b",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
