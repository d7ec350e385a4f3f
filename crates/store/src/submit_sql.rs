//! The statements of submissions, and how a batch of them becomes arrays.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use posthaste_types::{EventId, Task, TaskId};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::group::{Size, Write};
use crate::sql::{JsonText, column};
use crate::{Error, Idempotency, NewTask, Submitted};

/// The columns of one array each; [`Row`] holds them in this order.
macro_rules! submit_statement {
    ($name:literal, $with:literal, $from:literal, $end:literal) => {
        concat!(
            "-- ", $name, "\nwith ", $with, "stored as (
    insert into posthaste.tasks (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline,
        timeout_ms, retry, tags, traceparent, state, created_at)
    select id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry, tags,
        traceparent, case when scheduled then 'SCHEDULED' else 'INIT' end::posthaste.task_state, created_at
    from ", $from, "
)", $end
        )
    };
}

/// Without idempotency keys and timers: two inserts that read the same arrays.
const SUBMIT: &str = submit_statement!(
    "submit",
    "",
    "unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::json[], $8::smallint[],
        $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::json[], $13::jsonb[], $14::text[], $15::boolean[],
        $16::timestamptz[])
        as new (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry,
            tags, traceparent, scheduled, created_at)",
    "
insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
select event_id, topic, record_key, type, value, tenant, traceparent
from unnest($17::uuid[], $18::text[], $19::text[], $3::text[], $20::bytea[], $2::text[], $14::text[])
    as new (event_id, topic, record_key, type, value, tenant, traceparent)"
);

/// With keys or timers. Keys are taken in sorted order, so that two batches never wait for each other in a circle; of
/// one key twice in a batch the first wins. Returns the tasks that were stored.
const SUBMIT_WITH_KEYS: &str = submit_statement!(
    "submit_with_keys",
    "input as materialized (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::json[],
        $8::smallint[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::json[], $13::jsonb[], $14::text[],
        $15::boolean[], $16::timestamptz[], $17::uuid[], $18::text[], $19::text[], $20::bytea[], $21::text[],
        $22::bytea[]) with ordinality
        as new (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry,
            tags, traceparent, scheduled, created_at, event_id, topic, record_key, value, idempotency_key,
            fingerprint, position)
), won as (
    insert into posthaste.idempotency_keys (tenant, key, fingerprint, task_id, created_at, scheduled)
    select tenant, idempotency_key, fingerprint, id, created_at, scheduled
    from input where idempotency_key is not null
    order by tenant, idempotency_key, position
    on conflict (tenant, key) do nothing
    returning task_id
), fresh as materialized (
    select * from input where idempotency_key is null or id in (select task_id from won)
), ",
    "fresh",
    ", published as (
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
    select event_id, topic, record_key, type, value, tenant, traceparent from fresh where not scheduled
), timed as (
    insert into posthaste.timers (task_id, kind, due_at)
    select id, 'due', not_before from fresh where scheduled
    union all
    select id, 'deadline', deadline from fresh where deadline is not null
)
select id from fresh"
);

/// Who holds the keys that were taken already, and other tenants' equal keys, which nobody asks for. A statement of its
/// own: the winner may have committed after the snapshot of the statement that lost to it.
const SELECT_KEYS: &str = "-- select_keys
select tenant, key, fingerprint, task_id, created_at, scheduled
from posthaste.idempotency_keys
where tenant = any($1) and key = any($2)";

/// Which tasks an earlier try stored.
const SELECT_STORED: &str = "-- select_stored
select id from posthaste.tasks where id = any($1) and id between $2 and $3";

/// One row of a batch.
pub(crate) struct Row {
    task: Task,
    event_id: EventId,
    idempotency: Option<Idempotency>,
    topic: String,
    record_key: String,
    scheduled: bool,
    value: Vec<u8>,
    retry: Option<String>,
    tags: Option<String>,
}

impl Row {
    pub(crate) fn new(new: NewTask, topic: String, scheduled: bool, value: Vec<u8>) -> Self {
        let NewTask {
            task,
            event_id,
            idempotency,
        } = new;
        let json = "a map of strings and a policy of numbers are JSON";
        Self {
            record_key: task.key.clone().unwrap_or_else(|| task.id.to_string()),
            retry: task.retry.map(|retry| serde_json::to_string(&retry).expect(json)),
            tags: (!task.tags.is_empty()).then(|| serde_json::to_string(&task.tags).expect(json)),
            task,
            event_id,
            idempotency,
            topic,
            scheduled,
            value,
        }
    }

    /// About what it takes in a statement and in memory.
    fn bytes(&self) -> usize {
        const FIXED: usize = 512;
        FIXED + self.task.payload.len() + self.value.len() + self.tags.as_ref().map_or(0, String::len)
    }

    const fn is_plain(&self) -> bool {
        self.idempotency.is_none() && !self.scheduled && self.task.deadline.is_none()
    }

    fn id(&self) -> Uuid {
        self.task.id.uuid()
    }
}

/// One caller's rows.
pub(crate) struct Submission {
    pub(crate) rows: Vec<Row>,
    /// All or none.
    pub(crate) atomic: bool,
}

impl Submission {
    /// Whether a key that is refused must undo what its statement has written.
    fn may_undo(&self) -> bool {
        self.atomic && self.rows.len() > 1 && self.rows.iter().any(|row| row.idempotency.is_some())
    }
}

pub(crate) struct SubmitWrite;

pub(crate) struct Statements {
    submit: Statement,
    submit_with_keys: Statement,
    select_keys: Statement,
    select_stored: Statement,
}

impl Write for SubmitWrite {
    type Item = Submission;
    type Outcome = Vec<Result<Submitted, Error>>;
    type Statements = Statements;
    const NAME: &'static str = "submit";
    const PATIENT: bool = false;

    fn size(item: &Submission) -> Size {
        Size {
            rows: item.rows.len(),
            bytes: item.rows.iter().map(Row::bytes).sum(),
        }
    }

    fn travels_alone(item: &Submission) -> bool {
        item.may_undo()
    }

    async fn prepare(client: &Client) -> Result<Statements, Error> {
        let error = Error::database("prepare_submit");
        Ok(Statements {
            submit: client.prepare(SUBMIT).await.map_err(error)?,
            submit_with_keys: client.prepare(SUBMIT_WITH_KEYS).await.map_err(error)?,
            select_keys: client.prepare(SELECT_KEYS).await.map_err(error)?,
            select_stored: client.prepare(SELECT_STORED).await.map_err(error)?,
        })
    }

    async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        items: &[&Submission],
        again: bool,
    ) -> Result<Vec<Self::Outcome>, Error> {
        let batch = Batch {
            client,
            statements,
            rows: items.iter().flat_map(|item| &item.rows).collect(),
        };
        let outcomes = match items {
            [item] if item.may_undo() => batch.write_or_undo(again).await?,
            _ => batch.write(again).await?,
        };
        let mut outcomes = outcomes.into_iter();
        Ok(items
            .iter()
            .map(|item| outcomes.by_ref().take(item.rows.len()).collect())
            .collect())
    }
}

/// One batch on one connection.
struct Batch<'a> {
    client: &'a Client,
    statements: &'a Statements,
    rows: Vec<&'a Row>,
}

type Outcomes = Vec<Result<Submitted, Error>>;

impl<'a> Batch<'a> {
    async fn write(&self, again: bool) -> Result<Outcomes, Error> {
        let mut stored = if again {
            self.select_stored().await?
        } else {
            HashSet::new()
        };
        let fresh: Vec<&Row> = self
            .rows
            .iter()
            .copied()
            .filter(|row| !stored.contains(&row.id()))
            .collect();
        match self.insert(&fresh).await {
            Ok(ids) => stored.extend(ids),
            // An earlier try of the same rows, thought lost, was committed while this one ran.
            Err(error) if error.is_unique_violation() => {
                stored = self.select_stored().await?;
                if fresh.iter().any(|row| !stored.contains(&row.id())) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        self.outcomes(&stored).await
    }

    /// The same in a transaction that ends with nothing stored when a key was refused.
    async fn write_or_undo(&self, again: bool) -> Result<Outcomes, Error> {
        let error = Error::database("submit_atomic");
        self.client.batch_execute("begin").await.map_err(error)?;
        let written = self.write(again).await;
        let refused = |outcome: &Result<Submitted, Error>| {
            matches!(outcome, Ok(Submitted::KeyReused | Submitted::InProgress))
        };
        match written {
            Ok(outcomes) if !outcomes.iter().any(refused) => {
                self.client.batch_execute("commit").await.map_err(error)?;
                Ok(outcomes)
            }
            Ok(outcomes) => {
                self.client.batch_execute("rollback").await.map_err(error)?;
                let undone = |outcome| {
                    if refused(&outcome) {
                        outcome
                    } else {
                        Err(Error::NotStored)
                    }
                };
                Ok(outcomes.into_iter().map(undone).collect())
            }
            Err(failure) => {
                self.client.batch_execute("rollback").await.map_err(error)?;
                Err(failure)
            }
        }
    }

    /// The ids of the rows that are stored now.
    async fn insert(&self, rows: &[&'a Row]) -> Result<Vec<Uuid>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let plain = rows.iter().all(|row| row.is_plain());
        let (statement, name) = if plain {
            (&self.statements.submit, "submit")
        } else {
            (&self.statements.submit_with_keys, "submit_with_keys")
        };
        let arrays = Arrays::of(rows);
        let error = Error::database(name);
        if plain {
            self.client
                .execute(statement, &arrays.params()[..PLAIN_PARAM_COUNT])
                .await
                .map_err(error)?;
            return Ok(arrays.id);
        }
        let found = self
            .client
            .query(statement, &arrays.params())
            .await
            .map_err(error)?;
        found.iter().map(|row| row.try_get(0).map_err(error)).collect()
    }

    async fn select_stored(&self) -> Result<HashSet<Uuid>, Error> {
        let error = Error::database("select_stored");
        let ids = column(&self.rows, |row| row.id());
        let (lowest, highest) = (ids.iter().min(), ids.iter().max());
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&ids, &lowest, &highest];
        let rows = self
            .client
            .query(&self.statements.select_stored, &params)
            .await
            .map_err(error)?;
        rows.iter().map(|row| row.try_get(0).map_err(error)).collect()
    }

    /// Every row is stored, or its key was taken before.
    async fn outcomes(&self, stored: &HashSet<Uuid>) -> Result<Outcomes, Error> {
        let lost: Vec<&Idempotency> = self
            .rows
            .iter()
            .filter(|row| !stored.contains(&row.id()))
            .filter_map(|row| row.idempotency.as_ref())
            .collect();
        if lost.is_empty() {
            return Ok(self.rows.iter().map(|_| Ok(Submitted::Stored)).collect());
        }
        let held = self.select_keys(stored).await?;
        let outcome = |row: &&Row| match &row.idempotency {
            Some(idempotency) if !stored.contains(&row.id()) => Ok(held
                .get(&(row.task.tenant.clone(), idempotency.key.clone()))
                .map_or(Submitted::InProgress, |held| {
                    held.outcome(row.id(), &idempotency.fingerprint)
                })),
            _ => Ok(Submitted::Stored),
        };
        Ok(self.rows.iter().map(outcome).collect())
    }

    async fn select_keys(&self, stored: &HashSet<Uuid>) -> Result<HashMap<(String, String), Held>, Error> {
        let error = Error::database("select_keys");
        let lost = || self.rows.iter().filter(|row| !stored.contains(&row.id()));
        let keyed = || lost().filter_map(|row| row.idempotency.as_ref().map(|held| (row, held)));
        let tenants: HashSet<&str> = keyed().map(|(row, _)| row.task.tenant.as_str()).collect();
        let tenants = Vec::from_iter(tenants);
        let keys: Vec<&str> = keyed().map(|(_, idempotency)| idempotency.key.as_str()).collect();
        let rows = self
            .client
            .query(&self.statements.select_keys, &[&tenants, &keys])
            .await
            .map_err(error)?;
        let held = |row: &tokio_postgres::Row| {
            let held = Held {
                fingerprint: row.try_get(2)?,
                task_id: row.try_get(3)?,
                created_at: row.try_get(4)?,
                scheduled: row.try_get(5)?,
            };
            Ok(((row.try_get(0)?, row.try_get(1)?), held))
        };
        rows.iter().map(held).collect::<Result<_, _>>().map_err(error)
    }
}

/// The holder of a key.
struct Held {
    fingerprint: Vec<u8>,
    task_id: Uuid,
    created_at: DateTime<Utc>,
    scheduled: bool,
}

impl Held {
    fn outcome(&self, id: Uuid, fingerprint: &[u8]) -> Submitted {
        if self.task_id == id {
            return Submitted::Stored;
        }
        if self.fingerprint != fingerprint {
            return Submitted::KeyReused;
        }
        Submitted::Replayed {
            task_id: TaskId::from_uuid(self.task_id),
            created_at: self.created_at,
            scheduled: self.scheduled,
        }
    }
}

const PARAM_COUNT: usize = 22;
const PLAIN_PARAM_COUNT: usize = 20;

/// The batch by column, in the order of the statements' parameters.
struct Arrays<'a> {
    id: Vec<Uuid>,
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
    idempotency_key: Vec<Option<&'a str>>,
    fingerprint: Vec<Option<&'a [u8]>>,
}

impl<'a> Arrays<'a> {
    fn of(rows: &[&'a Row]) -> Self {
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
            idempotency_key: column(rows, |row| row.idempotency.as_ref().map(|held| held.key.as_str())),
            fingerprint: column(rows, |row| {
                row.idempotency.as_ref().map(|held| held.fingerprint.as_slice())
            }),
        }
    }

    fn params(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); PARAM_COUNT] {
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
            &self.idempotency_key,
            &self.fingerprint,
        ]
    }
}
