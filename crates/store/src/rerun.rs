//! A finished task, run once more on a caller's wish: the next run number fences everything of the earlier run.

use chrono::{DateTime, Utc};
use posthaste_schema::TaskRequested;
use posthaste_types::state::TaskEvent as Event;
use posthaste_types::{EventId, Task, TaskId, topics};

use crate::cancel::{TaskChange, lock_task};
use crate::history::{self, Change, NOTE_RERUN, run_changes};
use crate::outbox::{self, OutboxRow};
use crate::{Error, Store, open_tasks, query};

const RERUN_TASK: &str = "-- rerun_task
    update posthaste.tasks
    set state = 'INIT', run = $2, attempt = 0, version = $3, deadline = $4, claim_token = null, worker = null,
        progress = null, result = null, error = null, started_at = null, finished_at = null
    where id = $1";

impl Store {
    /// Puts a final task back to INIT with the next run number and publishes it once more. What its columns told of the
    /// ended run moves to the history. A deadline that has passed no longer holds: the caller wants it run now.
    ///
    /// # Errors
    /// When the database does not answer; whether the task runs again is then unknown.
    pub async fn rerun(
        &self,
        tenant: &str,
        id: TaskId,
        event_id: EventId,
        at: DateTime<Utc>,
    ) -> Result<TaskChange, Error> {
        // A task's queue never changes, so it is read before the lock: looking a schema up may take a connection.
        let Some(task) = self.task(tenant, id).await? else {
            return Ok(TaskChange::NotFound);
        };
        let topic = topics::tasks_topic(&task.queue);
        let schema_id = self.schema_id(&topic).await?;
        let error = Error::database("rerun");
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(error)?;
        let Some(mut task) = lock_task(&transaction, tenant, id).await? else {
            return Ok(TaskChange::NotFound);
        };
        let mut changes: Vec<Change> = run_changes(&task).collect();
        match task.state.apply(Event::Rerun) {
            Ok(state) => task.state = state,
            Err(refused) => return Ok(TaskChange::Refused(refused)),
        }
        start_run(&mut task, at);
        changes.push(rerun_change(&task, at));
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&id.uuid(), &task.run, &task.version, &task.deadline];
        query::execute(&transaction, RERUN_TASK, &parameters).await?;
        history::add(&transaction, id, &changes).await?;
        let payload = TaskRequested::encode_task(&task, schema_id);
        let row = OutboxRow {
            event_id,
            topic: &topic,
            key: &task.key.clone().unwrap_or_else(|| id.to_string()),
            kind: &task.task_type,
            payload: &payload,
            tenant,
            traceparent: task.traceparent.as_deref(),
        };
        outbox::add(&transaction, &row).await?;
        open_tasks::add(&transaction, &[tenant], &[1]).await?;
        transaction.commit().await.map_err(error)?;
        Ok(TaskChange::Changed(Box::new(task)))
    }
}

fn start_run(task: &mut Task, at: DateTime<Utc>) {
    task.run += 1;
    task.version += 1;
    task.attempt = 0;
    task.deadline = task.deadline.filter(|deadline| *deadline > at);
    task.worker = None;
    task.progress = None;
    task.result = None;
    task.error = None;
    task.started_at = None;
    task.finished_at = None;
}

fn rerun_change(task: &Task, at: DateTime<Utc>) -> Change {
    Change {
        at,
        state: task.state,
        run: task.run,
        attempt: 0,
        worker: None,
        error: None,
        note: Some(NOTE_RERUN.to_owned()),
    }
}
