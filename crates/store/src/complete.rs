//! Grouped ends of attempts: the task's row, compared by token, and the event's outbox row in one statement for a batch.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use posthaste_schema::SchemaId;
use posthaste_types::{TaskState, topics};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::group::{Size, Write};
use crate::sql::{JsonText, column};
use crate::{Completed, Completion, Error};

/// The event's columns travel through the update's RETURNING, so that only what changed a row is published, and
/// without a second join.
macro_rules! complete_statement {
    ($name:literal, $retries:literal) => {
        concat!(
            "-- ", $name, "
with ended as (
    update posthaste.tasks task
    set state = done.state::posthaste.task_state, version = done.version, progress = done.progress,
        result = done.result, error = case when done.state = 'RUNNING' then task.error else done.error end,
        finished_at = done.finished_at
    from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::json[], $7::json[], $8::json[],
        $9::timestamptz[], $10::uuid[], $11::text[], $12::bytea[], $13::text[], $14::text[], $15::text[],
        $19::timestamptz[], $20::timestamptz[])
        as done (id, token, run, state, version, progress, result, error, finished_at, event_id, kind, value, tenant,
            traceparent, record_key, at, retry_at)
    where task.id = done.id and task.id = any($1) and task.id between $16 and $17 and task.state = 'RUNNING' and task.claim_token = done.token
        and task.run = done.run and task.version < done.version
    returning done.event_id, done.record_key, done.kind, done.value, done.tenant, done.traceparent, task.id, task.state,
        task.run, task.attempt, task.worker, task.error, done.at, done.retry_at
), ", $retries, "published as (
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
    select event_id, $18, record_key, kind, value, tenant, traceparent from ended
), counted as (
    insert into posthaste.open_tasks as open (tenant, shard, count)
    select tenant, (pg_backend_pid() % 64)::smallint, -count(*) from ended where state in ('DONE', 'FAILED')
    group by tenant order by tenant
    on conflict (tenant, shard) do update set count = open.count + excluded.count
)
select event_id from ended"
        )
    };
}

/// The smooth way.
const COMPLETE: &str = complete_statement!("complete", "");

/// With attempts that failed and are to be retried: a timer, and the failed attempt in the history.
const COMPLETE_WITH_RETRIES: &str = complete_statement!(
    "complete_with_retries",
    "timed as (
    insert into posthaste.timers (task_id, kind, due_at)
    select id, 'due', retry_at from ended where state = 'RETRYING'
    on conflict (task_id, kind) do update set due_at = excluded.due_at
), noted as (
    insert into posthaste.task_history (task_id, at, state, run, attempt, worker, error)
    select id, at, state, run, attempt, worker, error from ended where state = 'RETRYING'
), "
);

/// Why a completion changed nothing. Ours it is when an earlier try was committed; else the end of an attempt leaves a
/// line in the history, once.
const REFUSE: &str = "-- refuse
with refused as (
    select done.event_id, task.id, task.state, task.run, task.worker, done.attempt, done.state as wanted, done.at,
        task.claim_token is not distinct from done.token and task.run = done.run
            and task.version = done.version and task.state = done.state::posthaste.task_state as ours
    from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::uuid[], $7::integer[],
        $8::timestamptz[])
        as done (id, token, run, state, version, event_id, attempt, at)
    join posthaste.tasks task on task.id = done.id and task.id = any($1) and task.id between $9 and $10
), noted as (
    insert into posthaste.task_history (task_id, at, state, run, attempt, note)
    select id, at, state, run, attempt, 'stale_write_refused'
    from refused
    where not ours and wanted <> 'RUNNING' and not exists (
        select from posthaste.task_history entry
        where entry.task_id = refused.id and entry.task_id = any($1) and entry.task_id between $9 and $10
            and entry.at = refused.at
            and entry.attempt = refused.attempt and entry.note = 'stale_write_refused'
    )
)
select event_id from refused where ours";

/// A completion with its finished value.
pub(crate) struct Encoded {
    completion: Completion,
    record_key: String,
    value: Vec<u8>,
    error: Option<String>,
}

impl Encoded {
    /// Encodes on the caller's task, so that the lanes only move bytes.
    pub(crate) fn new(completion: Completion, schema_id: SchemaId) -> Self {
        let event = &completion.event;
        let error = event.error.as_ref();
        Self {
            record_key: event.task_id.to_string(),
            value: event.encode(schema_id),
            error: error.map(|error| serde_json::to_string(error).expect("an error is JSON")),
            completion,
        }
    }

    const fn event_id(&self) -> Uuid {
        self.completion.event.event_id.uuid()
    }
}

pub(crate) struct CompleteWrite;

pub(crate) struct Statements {
    complete: Statement,
    complete_with_retries: Statement,
    refuse: Statement,
}

impl Write for CompleteWrite {
    type Item = Encoded;
    type Outcome = Completed;
    type Statements = Statements;
    const NAME: &'static str = "complete";
    const PATIENT: bool = true;

    fn size(item: &Encoded) -> Size {
        const FIXED: usize = 512;
        let event = &item.completion.event;
        let texts = [&event.progress, &event.result, &item.error];
        let text_bytes: usize = texts.into_iter().flatten().map(String::len).sum();
        Size {
            rows: 1,
            bytes: FIXED + item.value.len() + text_bytes,
        }
    }

    async fn prepare(client: &Client) -> Result<Statements, Error> {
        let error = Error::database("prepare_complete");
        Ok(Statements {
            complete: client.prepare(COMPLETE).await.map_err(error)?,
            complete_with_retries: client.prepare(COMPLETE_WITH_RETRIES).await.map_err(error)?,
            refuse: client.prepare(REFUSE).await.map_err(error)?,
        })
    }

    /// A row that an earlier try has changed no longer fits the comparison, so every step is safe to repeat.
    async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        items: &[&Encoded],
        _again: bool,
    ) -> Result<Vec<Completed>, Error> {
        let batch = Batch { client, statements };
        let mut stored = batch.complete(items).await?;
        let left: Vec<&Encoded> = items
            .iter()
            .copied()
            .filter(|item| !stored.contains(&item.event_id()))
            .collect();
        if !left.is_empty() {
            batch.refuse(&left, &mut stored).await?;
        }
        let outcome = |item: &&Encoded| {
            if stored.contains(&item.event_id()) {
                Completed::Stored
            } else {
                Completed::Stale
            }
        };
        Ok(items.iter().map(outcome).collect())
    }
}

struct Batch<'a> {
    client: &'a Client,
    statements: &'a Statements,
}

impl Batch<'_> {
    /// The ids of the events that were stored.
    async fn complete(&self, items: &[&Encoded]) -> Result<HashSet<Uuid>, Error> {
        let retries = items
            .iter()
            .any(|item| item.completion.event.state == TaskState::Retrying);
        let (statement, name) = if retries {
            (&self.statements.complete_with_retries, "complete_with_retries")
        } else {
            (&self.statements.complete, "complete")
        };
        let error = Error::database(name);
        let arrays = Arrays::of(items);
        let rows = self
            .client
            .query(statement, &arrays.params())
            .await
            .map_err(error)?;
        rows.iter().map(|row| row.try_get(0).map_err(error)).collect()
    }

    /// Adds the events that an earlier try stored, and notes the others.
    async fn refuse(&self, items: &[&Encoded], stored: &mut HashSet<Uuid>) -> Result<(), Error> {
        let error = Error::database("refuse");
        let arrays = Arrays::of(items);
        let attempts = column(items, |item| item.completion.event.attempt);
        let params: [&(dyn ToSql + Sync); 10] = [
            &arrays.id,
            &arrays.token,
            &arrays.run,
            &arrays.state,
            &arrays.version,
            &arrays.event_id,
            &attempts,
            &arrays.at,
            &arrays.lowest,
            &arrays.highest,
        ];
        for row in self
            .client
            .query(&self.statements.refuse, &params)
            .await
            .map_err(error)?
        {
            stored.insert(row.try_get(0).map_err(error)?);
        }
        Ok(())
    }
}

/// The batch by column.
struct Arrays<'a> {
    id: Vec<Uuid>,
    token: Vec<Uuid>,
    run: Vec<i32>,
    state: Vec<&'static str>,
    version: Vec<i32>,
    progress: Vec<Option<JsonText<'a>>>,
    result: Vec<Option<JsonText<'a>>>,
    error: Vec<Option<JsonText<'a>>>,
    finished_at: Vec<Option<DateTime<Utc>>>,
    event_id: Vec<Uuid>,
    kind: Vec<&'static str>,
    value: Vec<&'a [u8]>,
    tenant: Vec<&'a str>,
    traceparent: Vec<Option<&'a str>>,
    record_key: Vec<&'a str>,
    lowest: Uuid,
    highest: Uuid,
    at: Vec<DateTime<Utc>>,
    retry_at: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Arrays<'a> {
    fn of(items: &[&'a Encoded]) -> Self {
        let id = column(items, |item| item.completion.event.task_id.uuid());
        Self {
            lowest: id.iter().copied().min().unwrap_or_default(),
            highest: id.iter().copied().max().unwrap_or_default(),
            id,
            token: column(items, |item| item.completion.token.uuid()),
            run: column(items, |item| item.completion.event.run),
            state: column(items, |item| item.completion.event.state.as_str()),
            version: column(items, |item| item.completion.event.version),
            progress: column(items, |item| {
                item.completion.event.progress.as_deref().map(JsonText)
            }),
            result: column(items, |item| {
                item.completion.event.result.as_deref().map(JsonText)
            }),
            error: column(items, |item| item.error.as_deref().map(JsonText)),
            finished_at: column(items, |item| item.completion.event.finished_at),
            event_id: column(items, Encoded::event_id),
            kind: column(items, |item| item.completion.event.kind.as_str()),
            value: column(items, |item| item.value.as_slice()),
            tenant: column(items, |item| item.completion.event.tenant.as_str()),
            traceparent: column(items, |item| item.completion.event.traceparent.as_deref()),
            record_key: column(items, |item| item.record_key.as_str()),
            at: column(items, |item| item.completion.event.timestamp),
            retry_at: column(items, |item| item.completion.retry_at),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 20] {
        [
            &self.id,
            &self.token,
            &self.run,
            &self.state,
            &self.version,
            &self.progress,
            &self.result,
            &self.error,
            &self.finished_at,
            &self.event_id,
            &self.kind,
            &self.value,
            &self.tenant,
            &self.traceparent,
            &self.record_key,
            &self.lowest,
            &self.highest,
            &topics::RESULTS,
            &self.at,
            &self.retry_at,
        ]
    }
}
