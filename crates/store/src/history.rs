//! A task's history: the smooth way from its own columns, what departed from it from rows, and its webhook attempts.

use chrono::{DateTime, Utc};
use posthaste_types::limits::HISTORY_ENTRY_COUNT_MAX;
use posthaste_types::{AttemptId, EndpointId, EventId, Task, TaskError, TaskId, TaskState};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::lease::Runs;
use crate::row::{Columns, state_of};
use crate::{Error, Store, query};

/// The note of a takeover: a worker claimed what another was running.
pub const NOTE_TAKEOVER: &str = "takeover";
/// The note of a write that came after its claim was lost and changed nothing.
pub const NOTE_STALE_WRITE: &str = "stale_write_refused";
/// The note of a caller's cancel.
pub const NOTE_CANCEL: &str = "cancel";
/// The note of a caller's wish to run a finished task once more.
pub const NOTE_RERUN: &str = "rerun";

const TASK_HISTORY: &str = "-- task_history
    select h.at, h.state::text, h.run, h.attempt, h.worker, h.error::text, h.note
    from posthaste.task_history h
    where h.task_id = $1
    order by h.at
    limit $2";

const ADD_TASK_HISTORY: &str = "-- add_task_history
    insert into posthaste.task_history (task_id, at, state, run, attempt, worker, error, note)
    select $1, h.at, h.state::posthaste.task_state, h.run, h.attempt, h.worker, h.error::json, h.note
    from unnest($2::timestamptz[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::text[], $8::text[])
        as h (at, state, run, attempt, worker, error, note)";

const TASK_WEBHOOKS: &str = "-- task_webhooks
    select a.id, a.endpoint_id, a.event_id, a.status, a.http_status, a.at
    from posthaste.webhook_attempts a
    where a.task_id = $1
    order by a.id
    limit $2";

/// One change of a task's state, or an attempt at one.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When.
    pub at: DateTime<Utc>,
    /// The state that was entered or kept.
    pub state: TaskState,
    /// Run number then.
    pub run: i32,
    /// Attempt number then.
    pub attempt: i32,
    /// The worker process, where one took part.
    pub worker: Option<String>,
    /// The error, where there was one.
    pub error: Option<TaskError>,
    /// What departed from the smooth way: one of the `NOTE_` constants.
    pub note: Option<String>,
}

/// A webhook attempt for one of a task's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskWebhook {
    /// The attempt.
    pub id: AttemptId,
    /// Where it went.
    pub endpoint_id: EndpointId,
    /// What it told of.
    pub event_id: EventId,
    /// `succeeded` or `failed`.
    pub status: String,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<i32>,
    /// When it began.
    pub at: DateTime<Utc>,
}

impl Store {
    /// Every known change of a task, oldest first, at most [`HISTORY_ENTRY_COUNT_MAX`] stored ones.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn history(&self, task: &Task) -> Result<Vec<Change>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, TASK_HISTORY, &[&task.id.uuid(), &ENTRY_COUNT_MAX]).await?;
        let stored = rows.iter().map(change_of_row).collect::<Result<Vec<_>, _>>()?;
        Ok(timeline(task, stored))
    }

    /// Every webhook attempt for a task's events, oldest first, at most [`HISTORY_ENTRY_COUNT_MAX`].
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn task_webhooks(&self, id: TaskId) -> Result<Vec<TaskWebhook>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, TASK_WEBHOOKS, &[&id.uuid(), &ENTRY_COUNT_MAX]).await?;
        rows.iter().map(webhook_of_row).collect()
    }
}

const ENTRY_COUNT_MAX: i64 = HISTORY_ENTRY_COUNT_MAX as i64;

fn change_of_row(row: &Row) -> Result<Change, Error> {
    let mut columns = Columns::of(row);
    Ok(Change {
        at: columns.take()?,
        state: state_of(columns.take()?)?,
        run: columns.take()?,
        attempt: columns.take()?,
        worker: columns.take()?,
        error: columns.json()?,
        note: columns.take()?,
    })
}

fn webhook_of_row(row: &Row) -> Result<TaskWebhook, Error> {
    let mut columns = Columns::of(row);
    Ok(TaskWebhook {
        id: AttemptId::from_uuid(columns.take::<Uuid>()?),
        endpoint_id: EndpointId::from_uuid(columns.take::<Uuid>()?),
        event_id: EventId::from_uuid(columns.take::<Uuid>()?),
        status: columns.take()?,
        http_status: columns.take()?,
        at: columns.take()?,
    })
}

/// Stores changes of one task.
pub(crate) async fn add(client: &impl Runs, id: TaskId, changes: &[Change]) -> Result<(), Error> {
    let at: Vec<DateTime<Utc>> = changes.iter().map(|change| change.at).collect();
    let state: Vec<&str> = changes.iter().map(|change| change.state.as_str()).collect();
    let run: Vec<i32> = changes.iter().map(|change| change.run).collect();
    let attempt: Vec<i32> = changes.iter().map(|change| change.attempt).collect();
    let worker: Vec<Option<&str>> = changes.iter().map(|change| change.worker.as_deref()).collect();
    let error: Vec<Option<String>> = changes
        .iter()
        .map(|change| change.error.as_ref().map(error_text))
        .collect();
    let note: Vec<Option<&str>> = changes.iter().map(|change| change.note.as_deref()).collect();
    query::execute(
        client,
        ADD_TASK_HISTORY,
        &[&id.uuid(), &at, &state, &run, &attempt, &worker, &error, &note],
    )
    .await?;
    Ok(())
}

fn error_text(error: &TaskError) -> String {
    serde_json::to_string(error).expect("texts, a flag and a JSON value are always JSON")
}

/// What the columns of a task tell of its present run: the start of the last attempt, and the end. A cancel has a row
/// of its own, so it is left out.
pub(crate) fn run_changes(task: &Task) -> impl Iterator<Item = Change> + use<> {
    let change = |at, state, worker, error| Change {
        at,
        state,
        run: task.run,
        attempt: task.attempt,
        worker,
        error,
        note: None,
    };
    let started = task
        .started_at
        .map(|at| change(at, TaskState::Running, task.worker.clone(), None));
    let ended = task
        .finished_at
        .filter(|_| task.state.is_final() && task.state != TaskState::Cancelled)
        .map(|at| change(at, task.state, task.worker.clone(), task.error.clone()));
    started.into_iter().chain(ended)
}

/// The submission, told by the columns that never change.
fn submission(task: &Task) -> Change {
    let waits = task.not_before.is_some_and(|time| time > task.created_at);
    Change {
        at: task.created_at,
        state: if waits {
            TaskState::Scheduled
        } else {
            TaskState::Init
        },
        run: 1,
        attempt: 0,
        worker: None,
        error: None,
        note: None,
    }
}

/// Joins what the columns tell with what is stored; where both tell of the same change (a takeover is also the start of
/// an attempt) the stored one says more.
fn timeline(task: &Task, stored: Vec<Change>) -> Vec<Change> {
    let is_stored = |told: &Change| {
        stored.iter().any(|row| {
            (row.state, row.run, row.attempt) == (told.state, told.run, told.attempt)
                && row.note.as_deref() != Some(NOTE_STALE_WRITE)
        })
    };
    let told: Vec<Change> = run_changes(task).filter(|told| !is_stored(told)).collect();
    let mut changes = vec![submission(task)];
    changes.extend(told);
    changes.extend(stored);
    // Runs follow each other whatever the clocks of the machines that wrote them say. Stable: what happened in one
    // microsecond keeps its order.
    changes.sort_by_key(|change| (change.run, change.at));
    changes
}
