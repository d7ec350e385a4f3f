//! Reading: a task, its history, a page of tasks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::{Task, TaskError, TaskId, TaskState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::openapi::shapes;

/// Where to look further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Links {
    /// The task.
    #[serde(rename = "self")]
    pub this: String,
    /// Its events as a stream.
    pub events: String,
    /// Its history.
    pub history: String,
}

impl Links {
    /// The links of a task.
    pub fn of(id: TaskId) -> Self {
        let this = format!("/v1/tasks/{id}");
        Self {
            events: format!("{this}/events"),
            history: format!("{this}/history"),
            this,
        }
    }
}

/// A task as callers see it. In events `payload` is left out; in answers it is always there.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskView {
    /// Its id.
    #[schema(value_type = shapes::TaskId)]
    pub id: TaskId,
    /// Task type.
    #[serde(rename = "type")]
    #[schema(value_type = shapes::TaskType)]
    pub task_type: String,
    /// Queue.
    #[schema(value_type = shapes::Queue)]
    pub queue: String,
    /// Ordering key.
    #[schema(value_type = Option<shapes::OrderingKey>, required = true)]
    pub key: Option<String>,
    /// Whom the result is for.
    #[schema(value_type = Option<shapes::Channel>, required = true)]
    pub channel: Option<String>,
    /// Where it stands.
    #[schema(value_type = shapes::TaskState)]
    pub state: TaskState,
    /// Counts reruns from 1.
    pub run: i32,
    /// Attempts of this run so far.
    pub attempt: i32,
    /// 0 to 9.
    #[schema(value_type = shapes::Priority)]
    pub priority: i16,
    /// For search.
    #[schema(value_type = shapes::Tags)]
    pub tags: BTreeMap<String, String>,
    /// As it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// The handler's last report.
    #[schema(value_type = serde_json::Value, required = true)]
    pub progress: Option<Box<RawValue>>,
    /// The handler's answer.
    #[schema(value_type = serde_json::Value, required = true)]
    pub result: Option<Box<RawValue>>,
    /// The last error.
    #[schema(value_type = Option<shapes::TaskError>, required = true)]
    pub error: Option<TaskError>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// Not run before it.
    #[schema(required = true)]
    pub not_before: Option<DateTime<Utc>>,
    /// When the last attempt began.
    #[schema(required = true)]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required = true)]
    pub finished_at: Option<DateTime<Utc>>,
    /// Where to look further.
    pub links: Links,
}

/// Our own JSON text as a raw value; what is stored was JSON when it was taken in.
fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            links: Links::of(task.id),
            id: task.id,
            task_type: task.task_type,
            queue: task.queue,
            key: task.key,
            channel: task.channel,
            state: task.state,
            run: task.run,
            attempt: task.attempt,
            priority: task.priority,
            tags: task.tags,
            payload: raw(task.payload),
            progress: task.progress.and_then(raw),
            result: task.result.and_then(raw),
            error: task.error,
            created_at: task.created_at,
            not_before: task.not_before,
            started_at: task.started_at,
            finished_at: task.finished_at,
        }
    }
}

/// A page of tasks, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Cursor of the next page; null on the last.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// One change of state.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// The state that was entered.
    #[schema(value_type = shapes::TaskState)]
    pub state: TaskState,
    /// When.
    pub at: DateTime<Utc>,
    /// Run number then.
    pub run: i32,
    /// Attempt number then.
    pub attempt: i32,
    /// The worker process, where one took part.
    #[schema(required = true)]
    pub worker: Option<String>,
    /// The error, where there was one.
    #[schema(value_type = Option<shapes::TaskError>, required = true)]
    pub error: Option<TaskError>,
    /// What departed from the smooth way, where something did: `takeover`, `stale_write_refused`, `cancel`, `rerun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A webhook attempt in a task's history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WebhookHistory {
    /// The endpoint's id.
    #[schema(value_type = shapes::EndpointId)]
    pub endpoint: String,
    /// The event's id.
    #[schema(value_type = shapes::EventId)]
    pub event: String,
    /// The attempt's id.
    #[schema(value_type = shapes::AttemptId)]
    pub attempt: String,
    /// `succeeded` or `failed`.
    #[schema(value_type = shapes::AttemptStatus)]
    pub status: String,
    /// HTTP status of the answer, where there was one.
    #[schema(value_type = Option<shapes::HttpStatus>, required = true)]
    pub http_status: Option<u16>,
    /// When.
    pub at: DateTime<Utc>,
}

/// `GET /v1/tasks/{id}/history`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryPage {
    /// Every change of state, oldest first.
    pub history: Vec<HistoryEntry>,
    /// Every webhook attempt for its events, oldest first.
    pub webhooks: Vec<WebhookHistory>,
}
