//! Reads of single tasks, and the one look for everybody who waits for a change.

use posthaste_types::{Task, TaskId};
use uuid::Uuid;

use crate::row::{task_columns, task_of_row};
use crate::{Error, Store, query};

const TASK: &str = concat!(
    "-- task\nselect ",
    task_columns!(),
    " from posthaste.tasks t where t.id = $1 and t.tenant = $2"
);

// The lateral `limit` keeps the planner at one look-up by primary key for each id, in the one partition that can hold
// it; a plain join may become a scan of all partitions where statistics are missing.
const CHANGED_TASKS: &str = concat!(
    "-- changed_tasks\nselect ",
    task_columns!(),
    ", w.place
    from unnest($1::uuid[], $2::integer[], $3::boolean[]) with ordinality as w (id, version, final_only, place)
    cross join lateral (
        select * from posthaste.tasks t
        where t.id = w.id and t.version > w.version
          and (not w.final_only or t.state in ('DONE', 'FAILED', 'CANCELLED', 'EXPIRED'))
        limit 1
    ) t"
);

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// The task.
    pub task_id: TaskId,
    /// A version past this one.
    pub after_version: i32,
    /// Not any change but the end.
    pub final_only: bool,
}

impl Store {
    /// The task, if there is one and it is this tenant's.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn task(&self, tenant: &str, id: TaskId) -> Result<Option<Task>, Error> {
        let client = self.client().await?;
        let row = query::row(&client, TASK, &[&id.uuid(), &tenant]).await?;
        row.as_ref().map(task_of_row).transpose()
    }

    /// The tasks that have changed as awaited, each with its place in `awaited`. One statement, however many wait.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn changed_tasks(&self, awaited: &[Awaited]) -> Result<Vec<(usize, Task)>, Error> {
        let ids: Vec<Uuid> = awaited.iter().map(|one| one.task_id.uuid()).collect();
        let versions: Vec<i32> = awaited.iter().map(|one| one.after_version).collect();
        let final_only: Vec<bool> = awaited.iter().map(|one| one.final_only).collect();
        let client = self.client().await?;
        let rows = query::rows(&client, CHANGED_TASKS, &[&ids, &versions, &final_only]).await?;
        rows.iter()
            .map(|row| Ok((place_of(row)?, task_of_row(row)?)))
            .collect()
    }
}

/// The place that `with ordinality` counts from 1.
fn place_of(row: &tokio_postgres::Row) -> Result<usize, Error> {
    let place: i64 = row
        .try_get("place")
        .map_err(|error| Error::Corrupt(error.to_string()))?;
    usize::try_from(place - 1).map_err(|error| Error::Corrupt(error.to_string()))
}
