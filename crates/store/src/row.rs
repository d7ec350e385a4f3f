//! From a row of `posthaste.tasks` to a [`Task`], once for every statement that reads whole tasks.

use posthaste_types::{Task, TaskId, TaskState};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::Error;

/// The columns that [`task_of_row`] reads, in its order, of a table or subquery named `t`. JSON travels as text: what
/// was submitted comes back digit for digit.
macro_rules! task_columns {
    () => {
        "t.id, t.tenant, t.type, t.queue, t.key, t.channel, t.payload::text, t.priority, t.not_before, t.deadline, \
         t.timeout_ms, t.retry::text, t.tags::text, t.traceparent, t.state::text, t.run, t.attempt, t.version, \
         t.worker, t.progress::text, t.result::text, t.error::text, t.created_at, t.started_at, t.finished_at"
    };
}
pub(crate) use task_columns;

/// The task in the first columns of a row selected with [`task_columns`]; columns after them are the caller's.
///
/// # Errors
/// [`Error::Corrupt`] when a value is not what this program writes.
pub(crate) fn task_of_row(row: &Row) -> Result<Task, Error> {
    let mut columns = Columns::of(row);
    Ok(Task {
        id: TaskId::from_uuid(columns.take::<Uuid>()?),
        tenant: columns.take()?,
        task_type: columns.take()?,
        queue: columns.take()?,
        key: columns.take()?,
        channel: columns.take()?,
        payload: columns.take()?,
        priority: columns.take()?,
        not_before: columns.take()?,
        deadline: columns.take()?,
        timeout_ms: columns.take()?,
        retry: columns.json()?,
        tags: columns.json()?.unwrap_or_default(),
        traceparent: columns.take()?,
        state: state_of(columns.take()?)?,
        run: columns.take()?,
        attempt: columns.take()?,
        version: columns.take()?,
        worker: columns.take()?,
        progress: columns.take()?,
        result: columns.take()?,
        error: columns.json()?,
        created_at: columns.take()?,
        started_at: columns.take()?,
        finished_at: columns.take()?,
    })
}

/// A state from its SQL label.
pub(crate) fn state_of(label: &str) -> Result<TaskState, Error> {
    label
        .parse()
        .map_err(|error| Error::Corrupt(format!("task state: {error}")))
}

/// Reads a row's columns one after another.
pub(crate) struct Columns<'row> {
    row: &'row Row,
    next: usize,
}

impl<'row> Columns<'row> {
    /// From the first column on.
    pub(crate) const fn of(row: &'row Row) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(crate) fn take<T: FromSql<'row>>(&mut self) -> Result<T, Error> {
        let index = self.next;
        self.next += 1;
        self.row.try_get(index).map_err(|error| {
            let name = self
                .row
                .columns()
                .get(index)
                .map_or("none", |column| column.name());
            Error::Corrupt(format!("column `{name}`: {error}"))
        })
    }

    /// The next column, a nullable JSON text.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(text) = self.take::<Option<&str>>()? else {
            return Ok(None);
        };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Error::Corrupt(format!("a JSON column: {error}")))
    }
}
