//! The calls on tasks, and what all calls share.

use std::time::Duration;

use posthaste_api::{Accepted, BatchAnswer, HistoryPage, Problem, SubmitRequest, TaskPage, TaskView};
use posthaste_types::TaskId;
use posthaste_types::limits::{HEARTBEAT_S, WAIT_S_MAX};
use reqwest::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::{Error, ListFilter};

/// Calls that fail transiently are tried so often in all.
const TRY_COUNT_MAX: u32 = 5;
/// The first wait between two tries; each further one is twice as long.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// Longest `Retry-After` that is obeyed.
const RETRY_AFTER_S_MAX: u64 = 10;
/// An answer that takes longer than what it was allowed to wait and this is given up.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream that is silent for longer than two heartbeats is dead.
const SILENCE_MAX: Duration = Duration::from_secs(2 * HEARTBEAT_S + 5);

/// A cheap handle on one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For streams, which have no end but are never silent for long.
    streams: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(url: &str) -> Result<Self, Error> {
        let base = Url::parse(url)
            .ok()
            .filter(|base| matches!(base.scheme(), "http" | "https"));
        let mut base = base.ok_or_else(|| Error::Address(url.to_owned()))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true)
                .user_agent(concat!("posthaste-client/", env!("CARGO_PKG_VERSION")))
        };
        let http = builder().build().map_err(Error::Unreachable)?;
        let streams = builder().read_timeout(SILENCE_MAX).build();
        Ok(Self {
            http,
            streams: streams.map_err(Error::Unreachable)?,
            base,
        })
    }

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
        self.retried(|key| {
            let key = idempotency_key.unwrap_or(key);
            self.post("v1/tasks", task)
                .header("idempotency-key", format!("\"{key}\""))
        })
        .await
    }

    /// Submits up to a thousand tasks at once; with `atomic` all or none. Not retried: a batch has no key of its own.
    ///
    /// # Errors
    /// [`Error`]; what is wrong with one task is in the answer.
    pub async fn submit_batch(&self, tasks: &[SubmitRequest], atomic: bool) -> Result<BatchAnswer, Error> {
        #[derive(Serialize)]
        struct Batch<'a> {
            tasks: &'a [SubmitRequest],
            atomic: bool,
        }
        self.call(self.post("v1/tasks/batch", &Batch { tasks, atomic }))
            .await
    }

    /// The task as it stands.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, id: TaskId) -> Result<TaskView, Error> {
        self.call(self.request(Method::GET, &format!("v1/tasks/{id}")))
            .await
    }

    /// Waits until the task has ended, over lost connections and restarts of the server too.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when `timeout` passes first; any other that is not transient.
    pub async fn wait(&self, id: TaskId, timeout: Duration) -> Result<TaskView, Error> {
        let deadline = Instant::now() + timeout;
        let mut etag: Option<String> = None;
        loop {
            match self.poll(id, etag.as_deref(), deadline).await {
                Ok(Some((task, _))) if task.state.is_final() => return Ok(task),
                Ok(Some((_, tag))) => etag = tag,
                Ok(None) => {}
                Err(error) if !error.is_transient() => return Err(error),
                Err(_) => tokio::time::sleep(RETRY_WAIT).await,
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut);
            }
        }
    }

    /// One long poll: the task and its ETag when it has changed past `etag`, else nothing at the end of the wait.
    async fn poll(
        &self,
        id: TaskId,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<(TaskView, Option<String>)>, Error> {
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
        let Ok(answer) = sent else { return Ok(None) };
        let answer = answer.map_err(Error::Unreachable)?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let etag = answer
            .headers()
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Some((read(answer).await?, etag)))
    }

    /// One page of tasks, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self, filter: &ListFilter) -> Result<TaskPage, Error> {
        self.call(self.request(Method::GET, "v1/tasks").query(&filter.pairs()))
            .await
    }

    /// Every change of the task's state.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn history(&self, id: TaskId) -> Result<HistoryPage, Error> {
        self.call(self.request(Method::GET, &format!("v1/tasks/{id}/history")))
            .await
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

    /// Whether every dependency of the server answers: `GET /readyz`.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn is_ready(&self) -> Result<bool, Error> {
        let sent = self
            .request(Method::GET, "readyz")
            .timeout(Duration::from_secs(5))
            .send()
            .await;
        Ok(sent.map_err(Error::Unreachable)?.status().is_success())
    }

    /// A request to a path of the server, without a time limit.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A GET whose answer may go on for ever; a silence that is too long ends it, before its head too.
    pub(crate) fn stream(&self, path: &str) -> RequestBuilder {
        self.streams.get(self.url(path))
    }

    fn url(&self, path: &str) -> Url {
        self.base
            .join(path)
            .expect("paths are made here of URL-safe characters")
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    /// Sends, and reads the answer or the problem.
    pub(crate) async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        read(
            request
                .timeout(ANSWER_TIMEOUT)
                .send()
                .await
                .map_err(Error::Unreachable)?,
        )
        .await
    }

    /// Calls under one fresh idempotency key until the failure is not transient, or the tries are used up.
    async fn retried<T: DeserializeOwned>(&self, make: impl Fn(&str) -> RequestBuilder) -> Result<T, Error> {
        let key = uuid::Uuid::new_v4().to_string();
        let mut wait = RETRY_WAIT;
        for _ in 1..TRY_COUNT_MAX {
            let sent = make(&key)
                .timeout(ANSWER_TIMEOUT)
                .send()
                .await
                .map_err(Error::Unreachable);
            let retry_after = sent.as_ref().ok().and_then(retry_after);
            let result = match sent {
                Ok(answer) => read(answer).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_transient() => {}
                settled => return settled,
            }
            tokio::time::sleep(retry_after.unwrap_or(wait)).await;
            wait *= 2;
        }
        self.call(make(&key)).await
    }
}

/// How long the server asks to be left alone.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds: u64 = answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    (!answer.status().is_success()).then(|| Duration::from_secs(seconds.min(RETRY_AFTER_S_MAX)))
}

/// The answer's body, or the problem that it is.
pub(crate) async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, Error> {
    let status = answer.status();
    let body = success(answer).await?.bytes().await.map_err(Error::Unreachable)?;
    serde_json::from_slice(&body)
        .map_err(|error| Error::Unexpected(format!("{status} with a body that is not understood: {error}")))
}

/// The answer if its status is a success, else the problem that it is.
pub(crate) async fn success(answer: Response) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let kind = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_problem = kind.starts_with("application/problem+json");
    let body = answer.bytes().await.map_err(Error::Unreachable)?;
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => Err(Error::Refused(Box::new(problem))),
        _ => Err(Error::Unexpected(format!(
            "{status}, which is not a problem document"
        ))),
    }
}
