//! The task as programs and services see it: the one JSON shape that `exec` writes and `http` posts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::TaskId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Attempt, HandlerError};

#[derive(Serialize)]
struct Document<'a> {
    id: TaskId,
    #[serde(rename = "type")]
    task_type: &'a str,
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    run: i32,
    attempt: i32,
    priority: i16,
    tags: &'a BTreeMap<String, String>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<DateTime<Utc>>,
    payload: &'a RawValue,
}

/// One line of JSON, the payload's text as it was submitted save that a line end in it becomes a space.
pub(crate) fn document(attempt: &Attempt) -> Result<String, HandlerError> {
    let task = attempt.task();
    let payload = serde_json::from_str(attempt.payload())
        .map_err(|error| HandlerError::never("invalid_payload", error.to_string()))?;
    let text = serde_json::to_string(&Document {
        id: task.task_id,
        task_type: &task.task_type,
        queue: &task.queue,
        key: task.key.as_deref(),
        channel: task.channel.as_deref(),
        run: task.run,
        attempt: attempt.number(),
        priority: task.priority,
        tags: &task.tags,
        created_at: task.created_at,
        deadline: task.deadline,
        payload,
    })?;
    // A line end in JSON is white space: inside a string it is always escaped.
    Ok(text.replace(['\n', '\r'], " "))
}
