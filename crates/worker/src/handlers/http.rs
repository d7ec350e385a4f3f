//! `http`: a service makes the attempt. The task is posted as JSON; a 2xx answer's body is the result (none: `null`).
//!
//! 408, 429 and 5xx may be retried, after `Retry-After` when it is given; any other answer is final. No redirect is
//! followed. The attempt's timeout covers the whole exchange.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use posthaste_runtime::Secret;
use posthaste_types::limits::{HTTP_ERROR_BODY_BYTES_MAX, RESULT_BYTES_MAX};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::document::document;
use crate::options::TypeOptions;
use crate::{Attempt, Error, Handler, HandlerError, JsonText};

/// How long a service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A service as the handler of a type.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
}

/// The client that all types with this handler share.
pub(crate) fn client() -> Result<reqwest::Client, Error> {
    Ok(reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("Posthaste/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

impl Http {
    /// The service of a type that [`checked`] took.
    pub(crate) fn new(client: reqwest::Client, (url, headers): (Url, HeaderMap)) -> Self {
        Self { client, url, headers }
    }
}

/// Where the tasks of the type `name` are posted, and what with.
///
/// # Errors
/// [`Error::Setup`], naming the key; never its value, which may hold a secret.
pub(crate) fn checked(name: &str, of_type: &TypeOptions) -> Result<(Url, HeaderMap), Error> {
    let wrong = |key: &str, what: String| Error::Setup(format!("worker.types.\"{name}\".{key} {what}"));
    let url = of_type.url.as_deref().unwrap_or_default();
    let url = target(url).map_err(|what| wrong("url", what))?;
    let header = |(header, value): (&String, &Secret)| {
        let refused = || wrong(&format!("headers.\"{header}\""), "is no valid header".to_owned());
        let name: HeaderName = header.parse().map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    let headers = of_type.headers.iter().map(header).collect::<Result<_, Error>>()?;
    Ok((url, headers))
}

/// The address, or what is wrong with it.
fn target(url: &str) -> Result<Url, String> {
    let url: Url = url.parse().map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password: put credentials in `headers`".to_owned());
    }
    Ok(url)
}

#[async_trait]
impl Handler for Http {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            // One task is one effect, however often it is posted.
            .header("idempotency-key", format!("\"{}\"", attempt.id()));
        if let Some(traceparent) = &attempt.task().traceparent {
            request = request.header("traceparent", traceparent);
        }
        let response = request
            .body(document(attempt)?)
            .send()
            .await
            .map_err(unreachable)?;
        if response.status().is_success() {
            result(response).await
        } else {
            Err(refused(response).await)
        }
    }
}

async fn result(response: Response) -> Result<JsonText, HandlerError> {
    let (body, whole) = read_body(response, RESULT_BYTES_MAX).await?;
    if !whole {
        let message = format!("the answer is longer than {RESULT_BYTES_MAX} bytes");
        return Err(HandlerError::never("result_too_large", message));
    }
    if body.is_empty() {
        return Ok(JsonText::null());
    }
    let text = String::from_utf8(body).map_err(|error| bad_answer(&error))?;
    JsonText::new(text).map_err(|error| bad_answer(&error))
}

async fn refused(response: Response) -> HandlerError {
    let status = response.status();
    let retryable = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        );
    let wait = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| retry_after(value.to_str().ok()?, Utc::now()));
    let body = read_body(response, HTTP_ERROR_BODY_BYTES_MAX)
        .await
        .map(|(body, _)| body)
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let details = serde_json::json!({"status": status.as_u16(), "body": body});
    let message = format!("the service answered {status}");
    if !retryable {
        return HandlerError::never("http_refused", message).details(details);
    }
    let error = HandlerError::retryable("http_failed", message).details(details);
    match wait {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// RFC 9110, 10.2.3: seconds or a date.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

/// The body up to a bound, and whether that was all of it.
async fn read_body(mut response: Response, bytes_max: usize) -> Result<(Vec<u8>, bool), HandlerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        let room = bytes_max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

/// The URL may hold a secret, so it stays out of the message.
fn unreachable(error: reqwest::Error) -> HandlerError {
    let HandlerError { mut error, .. } = HandlerError::from(error.without_url());
    error.code = "http_unreachable".to_owned();
    HandlerError {
        error,
        retry_after: None,
    }
}

fn bad_answer(error: &dyn std::error::Error) -> HandlerError {
    HandlerError::never("bad_answer", format!("the service's answer is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::handlers::testing::attempt;

    fn of_type(url: &str, header: &str, value: &str) -> TypeOptions {
        TypeOptions {
            url: Some(url.to_owned()),
            headers: [(header.to_owned(), Secret::new(value))].into(),
            ..TypeOptions::default()
        }
    }

    /// Answers one request and returns what it was.
    async fn exchange(answer: &str) -> (Result<JsonText, HandlerError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/render?secret=1", listener.local_addr().unwrap());
        let of_type = of_type(&url, "authorization", "Bearer x");
        let http = Http::new(client().unwrap(), checked("invoice.render", &of_type).unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            String::from_utf8(request).unwrap()
        };
        let attempt = attempt("invoice.render", r#"{"n":7}"#);
        tokio::join!(http.handle(&attempt), serve)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn the_task_is_posted_and_the_answer_is_the_result() {
        let (result, request) = exchange(&answer("200 OK", "", r#"{"pages":3}"#)).await;
        assert_eq!(result.unwrap().as_str(), r#"{"pages":3}"#);
        assert!(
            request.starts_with("POST /render?secret=1 HTTP/1.1\r\n"),
            "{request}"
        );
        for part in [
            "authorization: Bearer x\r\n",
            "idempotency-key: \"task_",
            r#""payload":{"n":7}"#,
            "traceparent: 00-",
        ] {
            assert!(request.contains(part), "{part} not in {request}");
        }
        assert_eq!(
            exchange(&answer("204 No Content", "", "")).await.0.unwrap(),
            JsonText::null()
        );
    }

    #[tokio::test]
    async fn busy_and_broken_services_are_retried_when_they_ask_for_it() {
        for (status, headers, wait) in [
            (
                "429 Too Many Requests",
                "retry-after: 7\r\n",
                Some(Duration::from_secs(7)),
            ),
            (
                "503 Service Unavailable",
                "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n",
                Some(Duration::ZERO),
            ),
            ("500 Internal Server Error", "", None),
            ("408 Request Timeout", "retry-after: soon\r\n", None),
        ] {
            let error = exchange(&answer(status, headers, "busy")).await.0.unwrap_err();
            assert_eq!(
                (error.error.retryable, error.retry_after),
                (true, wait),
                "{status}"
            );
            assert_eq!(error.error.details.unwrap()["body"], "busy");
        }
    }

    #[tokio::test]
    async fn a_refusal_a_redirect_and_an_answer_that_is_not_json_are_final() {
        for (text, code) in [
            (answer("404 Not Found", "", ""), "http_refused"),
            (
                answer("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
                "http_refused",
            ),
            (answer("200 OK", "", "<html>"), "bad_answer"),
            (
                answer("200 OK", "", &"1".repeat(RESULT_BYTES_MAX + 1)),
                "result_too_large",
            ),
        ] {
            let error = exchange(&text).await.0.unwrap_err();
            assert_eq!((error.error.code.as_str(), error.error.retryable), (code, false));
        }
    }

    #[tokio::test]
    async fn an_unreachable_service_is_retried_and_its_url_is_not_told() {
        let error = exchange("").await.0.unwrap_err();
        assert_eq!(
            (error.error.code.as_str(), error.error.retryable),
            ("http_unreachable", true)
        );
        assert!(!error.error.message.contains("secret"), "{}", error.error.message);
    }

    #[test]
    fn what_is_refused_is_named_by_its_key_and_its_secrets_are_not_told() {
        for (url, header, wanted) in [
            (
                "ftp://u:hunter2@x/",
                "a",
                ".url must begin with http:// or https://",
            ),
            ("no url", "a", ".url is no URL"),
            (
                "http://u:hunter2@x:99999/",
                "a",
                ".url is no URL: invalid port number",
            ),
            (
                "http://u:hunter2@x/",
                "a",
                ".url must not hold a user name or password",
            ),
            ("http://hunter2@x/", "a", "`headers`"),
            ("http://:hunter2@x/", "a", "`headers`"),
            ("http://x/", "a b", ".headers.\"a b\" is no valid header"),
        ] {
            let refused = checked("a.b", &of_type(url, header, "hunter2"));
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with("worker.types.\"a.b\"."), "{error}");
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{error}");
        }
    }
}
