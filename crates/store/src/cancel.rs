//! A caller's cancel: the row, its event in the outbox and a line of history in one transaction.

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use posthaste_schema::TaskEvent;
use posthaste_types::state::TaskEvent as Event;
use posthaste_types::{EventId, EventKind, InvalidTransition, Task, TaskId, topics};

use crate::history::{self, Change, NOTE_CANCEL};
use crate::outbox::{self, OutboxRow};
use crate::row::{task_columns, task_of_row};
use crate::{Error, Store, open_tasks, query};

pub(crate) const LOCK_TASK: &str = concat!(
    "-- lock_task\nselect ",
    task_columns!(),
    " from posthaste.tasks t where t.id = $1 and t.tenant = $2 for update"
);

// Without a claim token no write of a worker can match any more.
const CANCEL_TASK: &str = "-- cancel_task
    update posthaste.tasks
    set state = 'CANCELLED', version = $2, finished_at = $3, claim_token = null
    where id = $1";

/// What became of a caller's wish to change a task.
#[derive(Debug)]
pub enum TaskChange {
    /// It is done and durable; this is the task now.
    Changed(Box<Task>),
    /// There is no such task of this tenant.
    NotFound,
    /// Its state does not allow it; nothing was written.
    Refused(InvalidTransition),
}

/// The task, its row locked until the transaction ends.
pub(crate) async fn lock_task(
    transaction: &impl GenericClient,
    tenant: &str,
    id: TaskId,
) -> Result<Option<Task>, Error> {
    let row = query::row(transaction, LOCK_TASK, &[&id.uuid(), &tenant]).await?;
    row.as_ref().map(task_of_row).transpose()
}

impl Store {
    /// Cancels a task that is not final. A running handler is not stopped by it; what it writes is refused.
    ///
    /// # Errors
    /// When the database does not answer; whether the task was cancelled is then unknown.
    pub async fn cancel(
        &self,
        tenant: &str,
        id: TaskId,
        event_id: EventId,
        at: DateTime<Utc>,
    ) -> Result<TaskChange, Error> {
        let schema_id = self.schema_id(topics::RESULTS).await?;
        let error = Error::database("cancel");
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(error)?;
        let Some(mut task) = lock_task(&transaction, tenant, id).await? else {
            return Ok(TaskChange::NotFound);
        };
        match task.state.apply(Event::Cancel) {
            Ok(state) => task.state = state,
            Err(refused) => return Ok(TaskChange::Refused(refused)),
        }
        task.version += 1;
        task.finished_at = Some(at);
        query::execute(&transaction, CANCEL_TASK, &[&id.uuid(), &task.version, &at]).await?;
        let change = Change {
            at,
            state: task.state,
            run: task.run,
            attempt: task.attempt,
            worker: task.worker.clone(),
            error: None,
            note: Some(NOTE_CANCEL.to_owned()),
        };
        history::add(&transaction, id, &[change]).await?;
        let event = TaskEvent::of(&task, event_id, EventKind::Cancelled, at);
        let row = OutboxRow {
            event_id,
            topic: topics::RESULTS,
            key: &id.to_string(),
            kind: EventKind::Cancelled.as_str(),
            payload: &event.encode(schema_id),
            tenant,
            traceparent: task.traceparent.as_deref(),
        };
        outbox::add(&transaction, &row).await?;
        open_tasks::add(&transaction, &[tenant], &[-1]).await?;
        transaction.commit().await.map_err(error)?;
        Ok(TaskChange::Changed(Box::new(task)))
    }
}
