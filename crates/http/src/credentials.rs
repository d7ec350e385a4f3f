//! Reads what a request says of who sends it. Judges no key.

use std::borrow::Cow;

use posthaste_api::Problem;
use posthaste_types::{ErrorCode, api_key};
use url::form_urlencoded;
use warp::http::header::AUTHORIZATION;
use warp::http::{HeaderMap, Method, Request, Uri};

use crate::caller::unauthenticated;
use crate::front::Credentials;

/// What is said by a request's header, or by the `token` that was taken out of its URI.
pub(crate) fn credentials<'request>(
    headers: &'request HeaderMap,
    token: Option<&'request str>,
) -> Result<Credentials<'request>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(token.map_or(Credentials::None, Credentials::Token));
    };
    if values.next().is_some() {
        return Err(ambiguous("send one `Authorization` header"));
    }
    if token.is_some() {
        return Err(ambiguous("send either `Authorization` or `?token=`"));
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| Credentials::Bearer(key.trim()))
        .ok_or_else(|| unauthenticated("`Authorization` must be `Bearer phk_…`"))
}

fn ambiguous(detail: &str) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, detail)
}

/// Takes `token` out of the query, so that no route and no log sees it.
///
/// # Errors
/// 400 when it is there twice, 401 where no token is taken and when it is an API key.
pub(crate) fn take_token<B>(request: &mut Request<B>) -> Result<Option<String>, Problem> {
    let Some(query) = request.uri().query().filter(|query| query.contains("token")) else {
        return Ok(None);
    };
    let (mut tokens, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        match token(pair) {
            Some(token) => tokens.push(token.into_owned()),
            None => rest.push(pair),
        }
    }
    let Some(token) = tokens.pop() else {
        return Ok(None);
    };
    if !tokens.is_empty() {
        return Err(ambiguous("`token` may be given once"));
    }
    if token.starts_with(api_key::SCHEME) {
        return Err(unauthenticated(
            "an API key in a URL ends up in logs: send it as `Authorization: Bearer phk_…`, and rotate this one",
        ));
    }
    if !opens_stream(request.method(), request.uri().path()) {
        return Err(unauthenticated(
            "`?token=` is taken by GET /v1/events and GET /v1/tasks/{id}/events alone: send `Authorization: Bearer phk_…`",
        ));
    }
    *request.uri_mut() = with_query(request.uri(), &rest.join("&"));
    Ok(Some(token))
}

/// The value, when this pair of a query is named `token`.
fn token(pair: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(pair.as_bytes())
        .find(|(name, _)| name == "token")
        .map(|(_, value)| value)
}

fn opens_stream(method: &Method, path: &str) -> bool {
    let of_task = |path: &str| {
        path.strip_prefix("/v1/tasks/")
            .and_then(|rest| rest.strip_suffix("/events"))
            .is_some_and(|id| !id.is_empty() && !id.contains('/'))
    };
    *method == Method::GET && (path == "/v1/events" || of_task(path))
}

/// `uri` as far as routes look at it, with another query.
fn with_query(uri: &Uri, query: &str) -> Uri {
    let mark = if query.is_empty() { "" } else { "?" };
    Uri::try_from(format!("{}{mark}{query}", uri.path())).expect("parts of a URI are one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(method: &str, uri: &str) -> (Result<Option<String>, u16>, String) {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let token = take_token(&mut request).map_err(|problem| problem.status);
        (token, request.uri().to_string())
    }

    fn some(token: &str) -> Result<Option<String>, u16> {
        Ok(Some(token.to_owned()))
    }

    #[test]
    fn a_token_is_taken_out_of_a_streams_query() {
        assert_eq!(
            taken("GET", "/v1/events?token=pht_a"),
            (some("pht_a"), "/v1/events".into())
        );
        assert_eq!(
            taken("GET", "/v1/tasks/task_1/events?a=%26&t%6Fken=pht_a%2E&b=token"),
            (some("pht_a."), "/v1/tasks/task_1/events?a=%26&b=token".into())
        );
        let untouched = "/v1/tasks?tag.token=1&channel=token";
        assert_eq!(taken("GET", untouched), (Ok(None), untouched.into()));
    }

    #[test]
    fn a_token_elsewhere_twice_or_that_is_a_key_is_refused() {
        for (method, uri, status) in [
            ("GET", "/v1/tasks?token=pht_a", 401),
            ("POST", "/v1/events?token=pht_a", 401),
            ("GET", "/v1/tasks//events?token=pht_a", 401),
            ("GET", "/v1/tasks/a/b/events?token=pht_a", 401),
            ("GET", "/v1/events?token=phk_a", 401),
            ("GET", "/v1/events?token=pht_a&token=pht_b", 400),
        ] {
            assert_eq!(taken(method, uri).0, Err(status), "{method} {uri}");
        }
    }
}
