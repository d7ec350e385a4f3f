//! The log of webhook attempts, as it is read. It is written with the deliveries' outcomes.

use chrono::{DateTime, Utc};
use posthaste_types::{AttemptId, EndpointId, EventId, EventKind, TaskId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::endpoints::kind_of;
use crate::first_id::first_id_of;
use crate::row::Columns;
use crate::{Error, Store, query};

/// `status` of an attempt that the endpoint took.
pub const ATTEMPT_SUCCEEDED: &str = "succeeded";
/// `status` of an attempt that it did not.
pub const ATTEMPT_FAILED: &str = "failed";

// The ids' bounds let the planner leave out partitions; `at` decides.
const WEBHOOK_ATTEMPTS: &str = "-- webhook_attempts
    select a.id, a.endpoint_id, a.event_id, a.task_id, a.kind, a.number, a.status, a.http_status, a.error, a.answer,
        a.took_ms, a.at, a.next_at
    from posthaste.webhook_attempts a
    where a.endpoint_id = $1 and a.id >= $2 and a.id < $3
      and ($4::text is null or a.status = $4) and ($5::timestamptz is null or a.at >= $5)
    order by a.id desc
    limit $6";

/// One attempt to deliver an event to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// Its id.
    pub id: AttemptId,
    /// Where it went.
    pub endpoint_id: EndpointId,
    /// What it told of.
    pub event_id: EventId,
    /// The task.
    pub task_id: TaskId,
    /// What happened.
    pub kind: EventKind,
    /// Counts from 1.
    pub number: i32,
    /// [`ATTEMPT_SUCCEEDED`] or [`ATTEMPT_FAILED`].
    pub status: String,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<i32>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
    /// How long it took, milliseconds.
    pub took_ms: i64,
    /// When it began.
    pub at: DateTime<Utc>,
    /// When the next attempt is due, where one is.
    pub next_at: Option<DateTime<Utc>>,
}

/// Which attempts; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    /// [`ATTEMPT_SUCCEEDED`] or [`ATTEMPT_FAILED`].
    pub status: Option<String>,
    /// Not before it.
    pub since: Option<DateTime<Utc>>,
    /// Older than this one: the page after it.
    pub before: Option<AttemptId>,
}

impl Store {
    /// Attempts made to an endpoint, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn webhook_attempts(
        &self,
        endpoint_id: EndpointId,
        filter: &AttemptFilter,
        limit: i64,
    ) -> Result<Vec<WebhookAttempt>, Error> {
        // An attempt's id is made when it has ended, so it is never below the first one of its beginning.
        let oldest = filter.since.map_or(Uuid::nil(), first_id_of);
        let before = filter.before.map_or(Uuid::max(), AttemptId::uuid);
        let client = self.client_for_long_read().await?;
        let rows = query::rows(
            &client,
            WEBHOOK_ATTEMPTS,
            &[
                &endpoint_id.uuid(),
                &oldest,
                &before,
                &filter.status,
                &filter.since,
                &limit,
            ],
        )
        .await?;
        rows.iter().map(attempt_of_row).collect()
    }
}

fn attempt_of_row(row: &Row) -> Result<WebhookAttempt, Error> {
    let mut columns = Columns::of(row);
    Ok(WebhookAttempt {
        id: AttemptId::from_uuid(columns.take::<Uuid>()?),
        endpoint_id: EndpointId::from_uuid(columns.take::<Uuid>()?),
        event_id: EventId::from_uuid(columns.take::<Uuid>()?),
        task_id: TaskId::from_uuid(columns.take::<Uuid>()?),
        kind: kind_of(columns.take()?)?,
        number: columns.take()?,
        status: columns.take()?,
        http_status: columns.take()?,
        error: columns.take()?,
        answer: columns.take()?,
        took_ms: columns.take()?,
        at: columns.take()?,
        next_at: columns.take()?,
    })
}
