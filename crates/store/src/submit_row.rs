//! What a submission holds, and how a batch of them becomes the arrays of a statement.

use chrono::{DateTime, Utc};
use posthaste_types::{EventId, Task};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::sql::{JsonText, column};
use crate::{Idempotency, NewTask};

/// One task with its finished value.
pub(crate) struct Row {
    pub(crate) task: Task,
    event_id: EventId,
    topic: String,
    record_key: String,
    scheduled: bool,
    value: Vec<u8>,
    retry: Option<String>,
    tags: Option<String>,
}

impl Row {
    pub(crate) fn new(new: NewTask, topic: String, scheduled: bool, value: Vec<u8>) -> Self {
        let NewTask { task, event_id, .. } = new;
        let json = "a map of strings and a policy of numbers are JSON";
        Self {
            record_key: task.key.clone().unwrap_or_else(|| task.id.to_string()),
            retry: task.retry.map(|retry| serde_json::to_string(&retry).expect(json)),
            tags: (!task.tags.is_empty()).then(|| serde_json::to_string(&task.tags).expect(json)),
            task,
            event_id,
            topic,
            scheduled,
            value,
        }
    }

    /// About what it takes in a statement and in memory.
    pub(crate) fn bytes(&self) -> usize {
        const FIXED: usize = 512;
        FIXED + self.task.payload.len() + self.value.len() + self.tags.as_ref().map_or(0, String::len)
    }

    const fn has_timer(&self) -> bool {
        self.scheduled || self.task.deadline.is_some()
    }

    pub(crate) const fn id(&self) -> Uuid {
        self.task.id.uuid()
    }
}

/// Rows that stand and fall together, one at least.
pub(crate) struct Submission {
    pub(crate) rows: Vec<Row>,
    pub(crate) idempotency: Option<Idempotency>,
}

impl Submission {
    /// The row whose id stands for all: it owns the key.
    pub(crate) fn owner(&self) -> &Row {
        self.rows.first().expect("a submission has a row")
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.owner().task.tenant
    }

    /// Whether the statement without keys and timers serves it.
    pub(crate) fn is_plain(&self) -> bool {
        self.idempotency.is_none() && !self.rows.iter().any(Row::has_timer)
    }
}

pub(crate) type Params<'a, const COUNT: usize> = [&'a (dyn ToSql + Sync); COUNT];

/// The rows by column, in the order of the statements' parameters.
pub(crate) struct RowArrays<'a> {
    pub(crate) id: Vec<Uuid>,
    tenant: Vec<&'a str>,
    task_type: Vec<&'a str>,
    queue: Vec<&'a str>,
    key: Vec<Option<&'a str>>,
    channel: Vec<Option<&'a str>>,
    payload: Vec<JsonText<'a>>,
    priority: Vec<i16>,
    not_before: Vec<Option<DateTime<Utc>>>,
    deadline: Vec<Option<DateTime<Utc>>>,
    timeout_ms: Vec<Option<i64>>,
    retry: Vec<Option<JsonText<'a>>>,
    tags: Vec<Option<JsonText<'a>>>,
    traceparent: Vec<Option<&'a str>>,
    scheduled: Vec<bool>,
    created_at: Vec<DateTime<Utc>>,
    event_id: Vec<Uuid>,
    topic: Vec<&'a str>,
    record_key: Vec<&'a str>,
    value: Vec<&'a [u8]>,
}

impl<'a> RowArrays<'a> {
    pub(crate) fn of(rows: &[&'a Row]) -> Self {
        Self {
            id: column(rows, Row::id),
            tenant: column(rows, |row| row.task.tenant.as_str()),
            task_type: column(rows, |row| row.task.task_type.as_str()),
            queue: column(rows, |row| row.task.queue.as_str()),
            key: column(rows, |row| row.task.key.as_deref()),
            channel: column(rows, |row| row.task.channel.as_deref()),
            payload: column(rows, |row| JsonText(&row.task.payload)),
            priority: column(rows, |row| row.task.priority),
            not_before: column(rows, |row| row.task.not_before),
            deadline: column(rows, |row| row.task.deadline),
            timeout_ms: column(rows, |row| row.task.timeout_ms),
            retry: column(rows, |row| row.retry.as_deref().map(JsonText)),
            tags: column(rows, |row| row.tags.as_deref().map(JsonText)),
            traceparent: column(rows, |row| row.task.traceparent.as_deref()),
            scheduled: column(rows, |row| row.scheduled),
            created_at: column(rows, |row| row.task.created_at),
            event_id: column(rows, |row| row.event_id.uuid()),
            topic: column(rows, |row| row.topic.as_str()),
            record_key: column(rows, |row| row.record_key.as_str()),
            value: column(rows, |row| row.value.as_slice()),
        }
    }

    pub(crate) fn params(&self) -> Params<'_, 20> {
        [
            &self.id,
            &self.tenant,
            &self.task_type,
            &self.queue,
            &self.key,
            &self.channel,
            &self.payload,
            &self.priority,
            &self.not_before,
            &self.deadline,
            &self.timeout_ms,
            &self.retry,
            &self.tags,
            &self.traceparent,
            &self.scheduled,
            &self.created_at,
            &self.event_id,
            &self.topic,
            &self.record_key,
            &self.value,
        ]
    }
}

/// Whose key each row waits for, and the keys by column.
pub(crate) struct KeyArrays<'a> {
    /// Of each row.
    owner_of_row: Vec<Option<Uuid>>,
    key: Vec<&'a str>,
    tenant: Vec<&'a str>,
    fingerprint: Vec<&'a [u8]>,
    owner: Vec<Uuid>,
    created_at: Vec<DateTime<Utc>>,
    scheduled: Vec<bool>,
    answer: Vec<Option<&'a [u8]>>,
}

impl<'a> KeyArrays<'a> {
    pub(crate) fn of(submissions: &[&'a Submission]) -> Self {
        let owner_of_rows = |submission: &&'a Submission| {
            let owner = submission.idempotency.as_ref().map(|_| submission.owner().id());
            std::iter::repeat_n(owner, submission.rows.len())
        };
        let keyed: Vec<(&Submission, &Idempotency)> = submissions
            .iter()
            .filter_map(|submission| Some((*submission, submission.idempotency.as_ref()?)))
            .collect();
        let keys = || keyed.iter().map(|(_, idempotency)| *idempotency);
        let owners = || keyed.iter().map(|(submission, _)| submission.owner());
        Self {
            owner_of_row: submissions.iter().flat_map(owner_of_rows).collect(),
            key: keys().map(|held| held.key.as_str()).collect(),
            tenant: owners().map(|row| row.task.tenant.as_str()).collect(),
            fingerprint: keys().map(|held| held.fingerprint.as_slice()).collect(),
            owner: owners().map(Row::id).collect(),
            created_at: owners().map(|row| row.task.created_at).collect(),
            scheduled: owners().map(|row| row.scheduled).collect(),
            answer: keys().map(|held| held.answer.as_deref()).collect(),
        }
    }

    pub(crate) fn params(&self) -> Params<'_, 8> {
        [
            &self.owner_of_row,
            &self.key,
            &self.tenant,
            &self.fingerprint,
            &self.owner,
            &self.created_at,
            &self.scheduled,
            &self.answer,
        ]
    }
}
