//! The small built-in handlers: for trying things out, for tests and for measuring.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::{Attempt, Handler, HandlerError, JsonText};

/// Answers with the payload.
#[derive(Debug)]
pub(crate) struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        Ok(JsonText::trusted(attempt.payload().to_owned()))
    }
}

/// Sleeps for as long as the payload says, and answers with it.
#[derive(Debug)]
pub(crate) struct Sleep;

#[derive(Deserialize)]
struct SleepPayload {
    ms: u64,
}

#[async_trait]
impl Handler for Sleep {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        let SleepPayload { ms } = attempt.payload_as()?;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(JsonText::trusted(format!(r#"{{"slept_ms":{ms}}}"#)))
    }
}

/// Fails as the payload says.
#[derive(Debug)]
pub(crate) struct Fail;

#[derive(Deserialize)]
#[serde(default)]
struct FailPayload {
    code: String,
    message: String,
    retryable: bool,
    /// Attempts that fail before one succeeds; none: all.
    times: Option<i32>,
    retry_after_ms: Option<u64>,
    panic: bool,
}

impl Default for FailPayload {
    fn default() -> Self {
        Self {
            code: "failed_as_asked".to_owned(),
            message: "the payload asked for it".to_owned(),
            retryable: true,
            times: None,
            retry_after_ms: None,
            panic: false,
        }
    }
}

#[async_trait]
impl Handler for Fail {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        let payload: FailPayload = attempt.payload_as()?;
        if payload.times.is_some_and(|times| attempt.number() > times) {
            return Ok(JsonText::trusted(format!(
                r#"{{"attempt":{}}}"#,
                attempt.number()
            )));
        }
        assert!(!payload.panic, "{}", payload.message);
        let mut error = HandlerError::never(&payload.code, payload.message);
        error.error.retryable = payload.retryable;
        error.retry_after = payload.retry_after_ms.map(Duration::from_millis);
        Err(error)
    }
}
