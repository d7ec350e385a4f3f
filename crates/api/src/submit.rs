//! Submitting: requests and the 202's body.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::{RetryPolicy, TaskId, TaskState, whole};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::openapi::shapes;
use crate::{Links, Problem, strict};

/// Body of `POST /v1/tasks`.
// Values are checked by ingest, not here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// Task type.
    #[serde(rename = "type")]
    #[schema(value_type = shapes::TaskType)]
    pub task_type: String,
    /// Any JSON; absent is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// Queue; absent is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Queue>)]
    pub queue: Option<String>,
    /// Ordering key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::OrderingKey>)]
    pub key: Option<String>,
    /// Whom the result is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Channel>)]
    pub channel: Option<String>,
    /// 0 to 9.
    #[serde(
        default,
        deserialize_with = "whole::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::Priority>)]
    pub priority: Option<i64>,
    /// SCHEDULED until then. Excludes `delay_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// SCHEDULED for so many seconds. Excludes `not_before`.
    #[serde(
        default,
        serialize_with = "strict::finite",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::Delay>)]
    pub delay_s: Option<f64>,
    /// Past it the task is EXPIRED, not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// One attempt's limit, seconds.
    #[serde(
        default,
        serialize_with = "strict::finite",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::Timeout>)]
    pub timeout_s: Option<f64>,
    /// Overrides the type's policy.
    #[serde(
        default,
        deserialize_with = "strict::object",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<shapes::RetryPolicy>)]
    pub retry: Option<RetryPolicy>,
    /// At most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::Tags>)]
    pub tags: Option<BTreeMap<String, String>>,
}

/// Body of a 202 for a submission.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The task's id.
    #[schema(value_type = shapes::TaskId)]
    pub id: TaskId,
    /// INIT or SCHEDULED.
    #[schema(value_type = shapes::TaskState)]
    pub state: TaskState,
    /// Task type.
    #[serde(rename = "type")]
    #[schema(value_type = shapes::TaskType)]
    pub task_type: String,
    /// Queue.
    #[schema(value_type = shapes::Queue)]
    pub queue: String,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// Where to look further.
    pub links: Links,
}

/// Body of `POST /v1/tasks/batch`.
// The tasks stay raw so that one malformed task fails alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to 1000 tasks.
    #[schema(value_type = shapes::BatchTasks)]
    pub tasks: Vec<Box<RawValue>>,
    /// All or none.
    #[serde(default)]
    pub atomic: bool,
}

/// Answer of a batch, in the order of the request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    /// One for each task.
    pub tasks: Vec<BatchItem>,
}

/// One task's outcome in a batch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum BatchItem {
    /// It was stored.
    Accepted(Box<Accepted>),
    /// It was not, and why.
    Refused {
        /// What is wrong with it.
        error: Box<Problem>,
    },
}
