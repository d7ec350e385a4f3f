//! One attempt: signs, posts, reads a bounded part of the answer, all within one deadline. Decides nothing.

use std::error::Error as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use posthaste_types::EventId;
use posthaste_types::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_TIMEOUT_S};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};

use crate::error::Error;
use crate::webhook::address::{CheckedResolver, Policy};
use crate::webhook::directory::Target;
use crate::webhook::signature;

/// Posts to endpoints; a cheap handle.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Client,
    policy: Policy,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The answer's status, where there was one.
    pub(crate) status: Option<u16>,
    /// Why it failed; none when it succeeded.
    pub(crate) error: Option<String>,
    /// The beginning of the answer's body.
    pub(crate) body: Option<String>,
    /// The wait that the endpoint asked for.
    pub(crate) retry_after: Option<Duration>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Answer {
    /// Whether the endpoint took the event.
    pub(crate) const fn is_success(&self) -> bool {
        self.error.is_none()
    }

    /// Whether the endpoint wants no event ever again.
    pub(crate) fn is_gone(&self) -> bool {
        self.status == Some(StatusCode::GONE.as_u16())
    }
}

impl Sender {
    /// Makes the client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(policy: Policy) -> Result<Self, Error> {
        let client = Client::builder()
            .dns_resolver(CheckedResolver { policy })
            .redirect(redirect::Policy::none())
            // A proxy from the environment would resolve names itself, past our check.
            .no_proxy()
            .timeout(Duration::from_secs(WEBHOOK_TIMEOUT_S))
            .user_agent(concat!("Posthaste/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self { client, policy })
    }

    /// Makes one attempt; `now` is what the signature says.
    pub(crate) async fn send(
        &self,
        target: &Target,
        event_id: EventId,
        body: Bytes,
        now: DateTime<Utc>,
    ) -> Answer {
        let began = Instant::now();
        let mut answer = match self.try_send(target, event_id, body, now).await {
            Ok(answer) => answer,
            Err(error) => Answer {
                status: None,
                error: Some(error),
                body: None,
                retry_after: None,
                took: Duration::ZERO,
            },
        };
        answer.took = began.elapsed();
        answer
    }

    async fn try_send(
        &self,
        target: &Target,
        event_id: EventId,
        body: Bytes,
        now: DateTime<Utc>,
    ) -> Result<Answer, String> {
        self.policy.check_url(&target.url)?;
        let headers = headers(target, event_id, &body, now)?;
        let request = self.client.post(target.url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| describe(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response, now);
        let text = read_start(&mut response).await;
        let error = match (status.is_success(), text.is_complete) {
            (true, true) => None,
            (true, false) => Some("the answer broke off".to_owned()),
            (false, _) if status.is_redirection() => {
                Some(format!("answered {status}; redirects are not followed"))
            }
            (false, _) => Some(format!("answered {status}")),
        };
        Ok(Answer {
            status: Some(status.as_u16()),
            error,
            body: text.text,
            retry_after,
            took: Duration::ZERO,
        })
    }
}

fn headers(target: &Target, event_id: EventId, body: &[u8], now: DateTime<Utc>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(target.endpoint.headers.len() + 4);
    for (name, value) in &target.endpoint.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header's name"))?;
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("`{name}` has a value that no header can have"))?;
        headers.insert(name, value);
    }
    let (id, timestamp_s) = (event_id.to_string(), now.timestamp());
    let signature = signature::sign(&target.endpoint.key, &id, timestamp_s, body);
    let text = |text: String| HeaderValue::try_from(text).expect("ids, numbers and base64 are header text");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", text(id));
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp_s));
    headers.insert("webhook-signature", text(signature));
    Ok(headers)
}

/// The beginning of an answer's body.
struct Start {
    text: Option<String>,
    /// Whether all of it came, or as much as is wanted.
    is_complete: bool,
}

async fn read_start(response: &mut Response) -> Start {
    let mut bytes = Vec::new();
    let mut is_complete = true;
    while bytes.len() < WEBHOOK_ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk[..chunk.len().min(WEBHOOK_ANSWER_BYTES_MAX - bytes.len())])
            }
            Ok(None) => break,
            Err(_) => {
                is_complete = false;
                break;
            }
        }
    }
    // Postgres' text cannot hold a NUL.
    let text = String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}");
    Start {
        text: (!text.is_empty()).then_some(text),
        is_complete,
    }
}

/// RFC 9110, section 10.2.3: seconds, or a date. Obeyed where the contract says so.
fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    if !matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// What went wrong, down to the reason, without the URL: it may hold a token.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {WEBHOOK_TIMEOUT_S} s");
    }
    let mut text = String::from(if error.is_connect() {
        "cannot connect"
    } else {
        "the request failed"
    });
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(ERROR_LEN_MAX));
    text
}

/// A failure's text, bytes.
const ERROR_LEN_MAX: usize = 500;
