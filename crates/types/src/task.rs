//! The task as the system holds it; neither a row nor a wire shape.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{RetryPolicy, TaskId, TaskState};

/// The tenant of everything until keys name one.
pub const DEFAULT_TENANT: &str = "default";

/// Why a task failed, or its last attempt did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// A stable code in the handler's words, `[a-z0-9_]`.
    pub code: String,
    /// For a person; cut at [`crate::limits::ERROR_MESSAGE_BYTES_MAX`].
    pub message: String,
    /// Whether another attempt may help.
    pub retryable: bool,
    /// Anything more that the handler said, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl TaskError {
    /// An error without details, its message cut to the limit.
    pub fn new(code: &str, message: impl Into<String>, retryable: bool) -> Self {
        let mut message = message.into();
        let mut end = message.len().min(crate::limits::ERROR_MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        Self {
            code: code.to_owned(),
            message,
            retryable,
            details: None,
        }
    }
}

/// A task with everything that is known of it. JSON values are texts, so that numbers stay exact.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: String,
    /// Which handler serves it, `[a-z0-9._-]`.
    pub task_type: String,
    /// Which topic carries it.
    pub queue: String,
    /// Tasks of one key run one after another.
    pub key: Option<String>,
    /// Whom the result is for.
    pub channel: Option<String>,
    /// JSON text as it was submitted.
    pub payload: String,
    /// 0 to 9, higher first.
    pub priority: i16,
    /// Not run before it.
    pub not_before: Option<DateTime<Utc>>,
    /// Not run after it.
    pub deadline: Option<DateTime<Utc>>,
    /// One attempt's limit, milliseconds; none means the type's or the default.
    pub timeout_ms: Option<i64>,
    /// Overrides the type's policy.
    pub retry: Option<RetryPolicy>,
    /// For search and replay filters.
    pub tags: BTreeMap<String, String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// Counts reruns, from 1.
    pub run: i32,
    /// Attempts of this run so far.
    pub attempt: i32,
    /// Changes with every change of the row; the ETag is made from it.
    pub version: i32,
    /// The worker process that claimed it last.
    pub worker: Option<String>,
    /// JSON text: the handler's last report.
    pub progress: Option<String>,
    /// JSON text: the handler's answer.
    pub result: Option<String>,
    /// The last error.
    pub error: Option<TaskError>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When the last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached a final state.
    pub finished_at: Option<DateTime<Utc>>,
}
