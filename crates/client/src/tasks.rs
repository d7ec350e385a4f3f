//! The calls on tasks.

use std::time::Duration;

use posthaste_api::{Accepted, BatchAnswer, HistoryPage, SubmitRequest, TaskPage, TaskView};
use posthaste_types::TaskId;
use posthaste_types::limits::WAIT_S_MAX;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use crate::answer::read;
use crate::client::{ANSWER_TIMEOUT, Client};
use crate::retry::{Waits, retry_after};
use crate::{Error, ListFilter};

/// Whoever waits for longer waits for this: a clock cannot add every number of seconds.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
/// A query of nothing.
pub(crate) const NO_QUERY: [(&str, &str); 0] = [];

impl Client {
    /// Submits a task; `idempotency_key` makes it safe to call again, and a fresh key is made where none is given.
    /// Tried again while the failure is transient.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn submit(
        &self,
        task: &SubmitRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Accepted, Error> {
        let key = structured(idempotency_key);
        let answer = self.retried(|| self.post("v1/tasks", task).header("idempotency-key", &key));
        read(answer.await?).await
    }

    /// Submits up to a thousand tasks at once; with `atomic` all or none. The key, and repeating, are as for [`Self::submit`].
    ///
    /// # Errors
    /// [`Error`]; what is wrong with one task is in the answer.
    pub async fn submit_batch(
        &self,
        tasks: &[SubmitRequest],
        atomic: bool,
        idempotency_key: Option<&str>,
    ) -> Result<BatchAnswer, Error> {
        #[derive(Serialize)]
        struct Batch<'a> {
            tasks: &'a [SubmitRequest],
            atomic: bool,
        }
        let (batch, key) = (Batch { tasks, atomic }, structured(idempotency_key));
        let answer = self.retried(|| {
            self.post("v1/tasks/batch", &batch)
                .header("idempotency-key", &key)
        });
        read(answer.await?).await
    }

    /// The task as it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, id: TaskId) -> Result<TaskView, Error> {
        self.get_json(&format!("v1/tasks/{id}"), &NO_QUERY).await
    }

    /// Waits until the task has ended, over lost connections and restarts of the server too.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when `timeout` passes first; any other that is not transient.
    pub async fn wait(&self, id: TaskId, timeout: Duration) -> Result<TaskView, Error> {
        let deadline = Instant::now() + timeout.min(WAIT_MAX);
        let mut etag: Option<String> = None;
        let mut waits = Waits::default();
        loop {
            let polled = self.poll(id, etag.as_deref(), deadline).await;
            match polled {
                Ok(Polled::Changed(task, _)) if task.state.is_final() => return Ok(*task),
                Ok(Polled::Changed(_, tag)) => (etag, waits) = (tag, Waits::default()),
                Ok(Polled::Same) => waits = Waits::default(),
                Err((error, _)) if !error.is_transient() => return Err(error),
                Err((_, asked)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    tokio::time::sleep(waits.next(asked).min(left)).await;
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut);
            }
        }
    }

    /// One long poll: the task and its ETag when it has changed past `etag`, else nothing at the end of the wait. An
    /// error comes with how long the server asks to be left alone.
    async fn poll(
        &self,
        id: TaskId,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<Polled, (Error, Option<Duration>)> {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait_s = left
            .as_secs()
            .saturating_add(u64::from(left.subsec_nanos() > 0))
            .min(WAIT_S_MAX);
        let mut request = self
            .request(Method::GET, &format!("v1/tasks/{id}?wait={wait_s}"))
            .timeout((Duration::from_secs(wait_s) + ANSWER_TIMEOUT).min(left + ANSWER_TIMEOUT));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let sent = tokio::time::timeout(left.max(Duration::from_millis(1)), request.send()).await;
        let Ok(answer) = sent else { return Ok(Polled::Same) };
        let answer = answer.map_err(|error| (Error::unsent(error), None))?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Polled::Same);
        }
        let (asked, tag) = (retry_after(&answer), answer.headers().get(ETAG));
        let tag = tag.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let task = read(answer).await.map_err(|error| (error, asked))?;
        Ok(Polled::Changed(Box::new(task), tag))
    }

    /// One page of tasks, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self, filter: &ListFilter) -> Result<TaskPage, Error> {
        self.get_json("v1/tasks", &filter.pairs()).await
    }

    /// Every change of the task's state.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn history(&self, id: TaskId) -> Result<HistoryPage, Error> {
        self.get_json(&format!("v1/tasks/{id}/history"), &NO_QUERY).await
    }

    /// Cancels the task.
    ///
    /// # Errors
    /// [`Error`]; a task that has ended already is refused with 409.
    pub async fn cancel(&self, id: TaskId) -> Result<TaskView, Error> {
        self.call(self.request(Method::POST, &format!("v1/tasks/{id}/cancel")))
            .await
    }

    /// Runs an ended task once more, as a new run.
    ///
    /// # Errors
    /// [`Error`]; a task that has not ended is refused with 409.
    pub async fn rerun(&self, id: TaskId) -> Result<TaskView, Error> {
        self.call(self.request(Method::POST, &format!("v1/tasks/{id}/retry")))
            .await
    }
}

/// An idempotency key, a fresh one where none is given, as a string of RFC 8941, in which two characters are escaped.
fn structured(key: Option<&str>) -> String {
    let key = key.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What a long poll came to.
enum Polled {
    /// The task, and its entity tag.
    Changed(Box<TaskView>, Option<String>),
    /// It is as it was.
    Same,
}
