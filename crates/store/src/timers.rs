//! What is to happen later: delays, retries and deadlines. A task moves and its outbox row is written in the
//! transaction that takes its timer away, so several schedulers share the work and none does it twice.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::{GenericClient, Transaction};
use posthaste_schema::{SchemaId, TaskEvent, TaskRequested};
use posthaste_types::limits::{TIMER_CHUNK_TASK_COUNT_MAX, TIMER_COUNT_MAX};
use posthaste_types::state::TaskEvent as Event;
use posthaste_types::{EventKind, Task, TaskId, TaskState, topics};
use uuid::Uuid;

use crate::row::{Columns, task_columns, task_of_row};
use crate::{Error, ErrorKind, Store, open_tasks, query};

const TAKE_TIMERS: &str = "-- take_timers
    delete from posthaste.timers t
    using (select task_id, kind from posthaste.timers where due_at <= $1
           order by due_at limit $2 for update skip locked) due
    where t.task_id = due.task_id and t.kind = due.kind
    returning t.task_id, t.kind";

const NEXT_TIMER: &str = "-- next_timer
    select min(due_at) from posthaste.timers";

const PUT_TIMER_BACK: &str = "-- put_timer_back
    insert into posthaste.timers (task_id, kind, due_at) values ($1, 'due', $2)
    on conflict (task_id, kind) do nothing";

// In the order of ids, so that two of these never wait for each other. The bounds of `id` let the executor open only the
// partitions that hold them, here and below.
const LOCK_TASKS: &str = concat!(
    "-- lock_tasks\nselect ",
    task_columns!(),
    " from posthaste.tasks t where t.id = any($1) and t.id between $2 and $3 order by t.id for update"
);

const MAKE_READY: &str = "-- make_ready
    update posthaste.tasks set state = 'INIT', version = version + 1
    where id = any($1) and id between $2 and $3";

const EXPIRE: &str = "-- expire
    update posthaste.tasks set state = 'EXPIRED', version = version + 1, finished_at = $4
    where id = any($1) and id between $2 and $3";

const ADD_OUTBOX_ROWS: &str = "-- add_outbox_rows
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[])";

/// How long a task waits whose queue has no schema: somebody has to run `posthaste migrate`.
const UNKNOWN_QUEUE_WAIT: TimeDelta = TimeDelta::seconds(10);

/// What one round of timers did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fired {
    /// Timers taken, those included that had nothing to do any more.
    pub timer_count: usize,
    /// Tasks that are ready to run now.
    pub ready_count: usize,
    /// Tasks that expired.
    pub expired_count: usize,
    /// Whether more may be due at once.
    pub is_full: bool,
}

/// Rows for the outbox, column by column.
#[derive(Default)]
struct OutboxRows {
    ids: Vec<Uuid>,
    topics: Vec<String>,
    keys: Vec<String>,
    kinds: Vec<String>,
    payloads: Vec<Vec<u8>>,
    tenants: Vec<String>,
    traceparents: Vec<Option<String>>,
}

impl Store {
    /// Fires what is due by `now`, at most [`TIMER_COUNT_MAX`] timers. Timers that another scheduler holds are passed
    /// over.
    ///
    /// # Errors
    /// When the database does not answer; nothing or all of it was done then, and calling again is safe.
    pub async fn fire_timers(&self, now: DateTime<Utc>) -> Result<Fired, Error> {
        let error = Error::database("fire_timers");
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(error)?;
        let limit = i64::try_from(TIMER_COUNT_MAX).expect("a small constant");
        let timers = query::rows(&transaction, TAKE_TIMERS, &[&now, &limit]).await?;
        if timers.is_empty() {
            return Ok(Fired::default());
        }
        let mut due_ids = HashMap::new();
        for timer in &timers {
            let (id, kind): (Uuid, &str) = (timer.get(0), timer.get(1));
            *due_ids.entry(id).or_insert(false) |= kind == "due";
        }
        let mut ids: Vec<Uuid> = due_ids.keys().copied().collect();
        ids.sort_unstable();
        let mut fired = Fired {
            timer_count: timers.len(),
            is_full: timers.len() == TIMER_COUNT_MAX,
            ..Fired::default()
        };
        // In chunks, as each task may bring a payload of a megabyte.
        for ids in ids.chunks(TIMER_CHUNK_TASK_COUNT_MAX) {
            let is_due = |task: &Task| due_ids.get(&task.id.uuid()).copied().unwrap_or_default();
            self.move_tasks(&transaction, ids, is_due, now, &mut fired)
                .await?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(fired)
    }

    /// When the next timer is due, a past time included; none when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_timer(&self) -> Result<Option<DateTime<Utc>>, Error> {
        let client = self.client().await?;
        let row = query::row(&client, NEXT_TIMER, &[]).await?;
        row.map_or(Ok(None), |row| Columns::of(&row).take())
    }

    /// Expires a task whose deadline has passed by `now`, unless it runs or is final. Returns whether it did.
    ///
    /// # Errors
    /// When the database does not answer; calling again is safe.
    pub async fn expire(&self, id: TaskId, now: DateTime<Utc>) -> Result<bool, Error> {
        let error = Error::database("expire");
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(error)?;
        let mut fired = Fired::default();
        self.move_tasks(&transaction, &[id.uuid()], |_| false, now, &mut fired)
            .await?;
        transaction.commit().await.map_err(error)?;
        Ok(fired.expired_count > 0)
    }

    /// Moves each of these tasks, whose ids ascend, as far as its state and the time allow: past its deadline it expires, and one that is
    /// due becomes ready. The others stay as they are.
    async fn move_tasks(
        &self,
        transaction: &Transaction<'_>,
        ids: &[Uuid],
        is_due: impl Fn(&Task) -> bool,
        now: DateTime<Utc>,
        fired: &mut Fired,
    ) -> Result<(), Error> {
        let mut outbox = OutboxRows::default();
        let (mut ready, mut expired) = (Vec::new(), Vec::new());
        let mut ended_of: Vec<String> = Vec::new();
        let (lowest, highest) = (ids.first(), ids.last());
        for row in query::rows(transaction, LOCK_TASKS, &[&ids, &lowest, &highest]).await? {
            let mut task = task_of_row(&row)?;
            let is_late = task.deadline.is_some_and(|deadline| deadline <= now);
            if is_late && let Ok(state) = task.state.apply(Event::Expire) {
                expired.push(task.id.uuid());
                enter(&mut task, state, now);
                ended_of.push(task.tenant.clone());
                outbox.add_event(&task, now, self.schema_id(topics::RESULTS).await?);
            } else if is_due(&task)
                && let Ok(state) = task.state.apply(Event::Due)
            {
                let topic = topics::tasks_topic(&task.queue);
                let Some(schema_id) = self.schema_of_queue(&topic).await? else {
                    let later = now + UNKNOWN_QUEUE_WAIT;
                    query::execute(transaction, PUT_TIMER_BACK, &[&task.id.uuid(), &later]).await?;
                    continue;
                };
                ready.push(task.id.uuid());
                enter(&mut task, state, now);
                outbox.add_request(&task, topic, schema_id);
            }
        }
        if !ready.is_empty() {
            query::execute(transaction, MAKE_READY, &[&ready, &lowest, &highest]).await?;
        }
        if !expired.is_empty() {
            query::execute(transaction, EXPIRE, &[&expired, &lowest, &highest, &now]).await?;
            let tenants: Vec<&str> = ended_of.iter().map(String::as_str).collect();
            open_tasks::add(transaction, &tenants, &vec![-1; tenants.len()]).await?;
        }
        fired.ready_count += ready.len();
        fired.expired_count += expired.len();
        outbox.write(transaction).await
    }

    /// None: the queue is not declared. That must not hold up the other tasks.
    async fn schema_of_queue(&self, topic: &str) -> Result<Option<SchemaId>, Error> {
        match self.schema_id(topic).await {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == ErrorKind::Setup => {
                tracing::warn!(%error, "a task that is due cannot be published; it is looked at again in 10 s");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The task as its row will be.
fn enter(task: &mut Task, state: TaskState, now: DateTime<Utc>) {
    task.state = state;
    task.version += 1;
    if state.is_final() {
        task.finished_at = Some(now);
    }
}

impl OutboxRows {
    fn add_event(&mut self, task: &Task, now: DateTime<Utc>, schema_id: SchemaId) {
        let (event_id, kind) = (posthaste_runtime::ids::event_id(), EventKind::Expired);
        let payload = TaskEvent::of(task, event_id, kind, now).encode(schema_id);
        self.ids.push(event_id.uuid());
        self.topics.push(topics::RESULTS.to_owned());
        self.keys.push(task.id.to_string());
        self.kinds.push(kind.as_str().to_owned());
        self.add_rest(task, payload);
    }

    fn add_request(&mut self, task: &Task, topic: String, schema_id: SchemaId) {
        self.ids.push(posthaste_runtime::ids::event_id().uuid());
        self.topics.push(topic);
        self.keys
            .push(task.key.clone().unwrap_or_else(|| task.id.to_string()));
        self.kinds.push(task.task_type.clone());
        self.add_rest(task, TaskRequested::encode_task(task, schema_id));
    }

    fn add_rest(&mut self, task: &Task, payload: Vec<u8>) {
        self.payloads.push(payload);
        self.tenants.push(task.tenant.clone());
        self.traceparents.push(task.traceparent.clone());
    }

    async fn write(&self, transaction: &impl GenericClient) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        query::execute(
            transaction,
            ADD_OUTBOX_ROWS,
            &[
                &self.ids,
                &self.topics,
                &self.keys,
                &self.kinds,
                &self.payloads,
                &self.tenants,
                &self.traceparents,
            ],
        )
        .await?;
        Ok(())
    }
}
