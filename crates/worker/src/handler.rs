//! What a handler is, what it is given and how it fails: the API of this crate as a library.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use posthaste_runtime::Stopper;
use posthaste_schema::TaskRequested;
use posthaste_types::{TaskError, TaskId};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::JsonText;

/// Runs tasks of one or more types.
///
/// A task may run more than once (its worker may die after the handler has answered and before that is stored), so a
/// handler with effects outside makes them idempotent, by [`Attempt::id`].
///
/// **Cancellation** is the drop of the future: at the attempt's timeout, when the task was cancelled or taken over by
/// another worker, and when a stopping process has waited long enough. Keep in guards what must be undone. A handler
/// that computes for long without awaiting belongs into `tokio::task::spawn_blocking`.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Makes one attempt. The answer is the task's result, at most
    /// [`RESULT_BYTES_MAX`](posthaste_types::limits::RESULT_BYTES_MAX) long. A panic counts as an error that may be
    /// retried.
    ///
    /// # Errors
    /// Why the attempt failed and whether another may help.
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError>;
}

/// One attempt at a task.
#[derive(Debug)]
pub struct Attempt {
    task: TaskRequested,
    number: i32,
    stopper: Stopper,
    pub(crate) progress: Progress,
}

impl Attempt {
    /// An attempt at a task: what the worker makes before it calls a handler, and a test of a handler too.
    pub fn new(task: TaskRequested, number: i32, stopper: Stopper) -> Self {
        Self {
            task,
            number,
            stopper,
            progress: Progress::default(),
        }
    }

    /// The task's id, the same in all attempts: a good idempotency key.
    pub const fn id(&self) -> TaskId {
        self.task.task_id
    }

    /// The task as it was submitted.
    pub const fn task(&self) -> &TaskRequested {
        &self.task
    }

    /// The payload as JSON text.
    pub fn payload(&self) -> &str {
        &self.task.payload
    }

    /// The payload as a type of one's own.
    ///
    /// # Errors
    /// `invalid_payload`, which is never retried, saying what does not fit.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        serde_json::from_str(&self.task.payload)
            .map_err(|error| HandlerError::never("invalid_payload", error.to_string()))
    }

    /// Which attempt of this run it is, from 1.
    pub const fn number(&self) -> i32 {
        self.number
    }

    /// Tells those who watch the task how far it is. Only the newest report is kept, and at most one a second is
    /// published, so it may be called as often as one likes. One larger than a result may be is dropped.
    pub fn report_progress(&self, progress: JsonText) {
        self.progress.put(progress);
    }

    /// The process's wish to stop: a long handler may end early when it is stopped.
    pub const fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    /// The task back, once nobody looks at the attempt any more, and the last report.
    pub(crate) fn into_parts(self) -> (TaskRequested, Option<String>) {
        (
            self.task,
            self.progress
                .last
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// A mailbox for one report: the newest replaces an older one.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last: Mutex<Option<String>>,
    news: Notify,
}

impl Progress {
    fn put(&self, progress: JsonText) {
        if progress.as_str().len() > posthaste_types::limits::RESULT_BYTES_MAX {
            return;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.into_string());
        self.news.notify_one();
    }

    /// Waits for a report that was not seen yet.
    pub(crate) async fn changed(&self) -> Option<String> {
        self.news.notified().await;
        self.last()
    }

    /// The newest report.
    pub(crate) fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why an attempt failed.
///
/// It is no `std::error::Error` itself, so that `?` turns any error into one: retryable, with the code
/// `handler_error`.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerError {
    pub(crate) error: TaskError,
    pub(crate) retry_after: Option<Duration>,
}

impl HandlerError {
    /// Another attempt may help; the task's retry policy decides whether and when there is one.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self {
            error: TaskError::new(code, message, true),
            retry_after: None,
        }
    }

    /// No attempt can help: the task fails now.
    pub fn never(code: &str, message: impl Into<String>) -> Self {
        Self {
            error: TaskError::new(code, message, false),
            retry_after: None,
        }
    }

    /// The next attempt, if the policy allows one, comes after this time instead of the policy's.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Anything more that a caller may want to read.
    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.error.details = Some(details);
        self
    }

    /// The error as the task will show it.
    pub const fn error(&self) -> &TaskError {
        &self.error
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retryable("handler_error", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_retryable_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the page could not be drawn")]
        struct Outer(#[source] std::num::ParseIntError);
        let error = HandlerError::from(Outer("x".parse::<i32>().unwrap_err()));
        assert!(error.error().retryable);
        assert_eq!(
            error.error().message,
            "the page could not be drawn: invalid digit found in string"
        );
    }

    #[tokio::test]
    async fn only_the_newest_report_is_kept() {
        let progress = Progress::default();
        for text in ["1", "2", "3"] {
            progress.put(JsonText::new(text.to_owned()).unwrap());
        }
        assert_eq!(progress.changed().await.as_deref(), Some("3"));
    }
}
