//! What became of deliveries, written in groups: a line in the attempt log, and what is to be tried again. And taking
//! what is due.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use posthaste_runtime::Stopper;
use posthaste_types::{EndpointId, EventId, EventKind, TaskId};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::attempts::WebhookAttempt;
use crate::endpoints::kind_of;
use crate::group::{Group, GroupOptions, Size, Write};
use crate::row::Columns;
use crate::sql::column;
use crate::{Error, Store, query};

// A delivery that waits already keeps its place in the schedule when the event comes a second time. One whose endpoint
// is gone is not kept.
const WEBHOOK_OUTCOMES: &str = "-- webhook_outcomes
with logged as (
    insert into posthaste.webhook_attempts (id, endpoint_id, event_id, task_id, kind, number, status, http_status,
        error, answer, took_ms, at, next_at)
    select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::integer[], $7::text[],
        $8::integer[], $9::text[], $10::text[], $11::bigint[], $12::timestamptz[], $13::timestamptz[])
    on conflict (id) do nothing
), settled as (
    delete from posthaste.webhook_retries r
    using unnest($14::uuid[], $15::uuid[]) as s (endpoint_id, event_id)
    where r.endpoint_id = s.endpoint_id and r.event_id = s.event_id
)
insert into posthaste.webhook_retries as r (endpoint_id, event_id, task_id, kind, body, attempt_count, due_at)
select q.endpoint_id, q.event_id, q.task_id, q.kind, q.body, q.attempt_count,
    case when e.enabled then q.due_at else 'infinity' end
from unnest($16::uuid[], $17::uuid[], $18::uuid[], $19::text[], $20::bytea[], $21::integer[], $22::timestamptz[])
    as q (endpoint_id, event_id, task_id, kind, body, attempt_count, due_at)
join posthaste.endpoints e on e.id = q.endpoint_id
order by q.endpoint_id, q.event_id
on conflict (endpoint_id, event_id) do update set attempt_count = excluded.attempt_count, due_at = excluded.due_at
where r.attempt_count < excluded.attempt_count";

// Each endpoint's own oldest, as many as it has room for, so that one with a backlog is not looked through for the rest.
const TAKE_WEBHOOK_RETRIES: &str = "-- take_webhook_retries
with due as (
    select r.endpoint_id, r.event_id
    from unnest($1::uuid[], $2::bigint[]) as e (id, room)
    cross join lateral (
        select r.endpoint_id, r.event_id from posthaste.webhook_retries r
        where r.endpoint_id = e.id and r.due_at <= $3
        order by r.due_at
        limit e.room
        for update skip locked
    ) r
    limit $5
)
update posthaste.webhook_retries r set due_at = $4
from due
where r.endpoint_id = due.endpoint_id and r.event_id = due.event_id
returning r.endpoint_id, r.event_id, r.task_id, r.kind, r.body, r.attempt_count";

/// A delivery that is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRetry {
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// What it tells of.
    pub event_id: EventId,
    /// The task.
    pub task_id: TaskId,
    /// What happened.
    pub kind: EventKind,
    /// The event as it is posted.
    pub body: Bytes,
    /// Attempts made so far.
    pub attempt_count: i32,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOutcome {
    /// The attempt that was made, where one was.
    pub attempt: Option<WebhookAttempt>,
    /// What is next.
    pub next: WebhookNext,
}

/// What is next for a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookNext {
    /// Nothing: it succeeded, or was given up.
    Settled {
        /// Where it went.
        endpoint_id: EndpointId,
        /// What it told of.
        event_id: EventId,
    },
    /// Another attempt.
    Retry {
        /// What is to be sent; it counts the attempts made.
        retry: WebhookRetry,
        /// When.
        due_at: DateTime<Utc>,
    },
}

impl WebhookNext {
    const fn key(&self) -> (Uuid, Uuid) {
        match self {
            Self::Settled {
                endpoint_id,
                event_id,
            } => (endpoint_id.uuid(), event_id.uuid()),
            Self::Retry { retry, .. } => (retry.endpoint_id.uuid(), retry.event_id.uuid()),
        }
    }
}

/// A cheap handle on the grouped writes of deliveries' outcomes.
#[derive(Clone)]
pub struct WebhookWrites(Group<OutcomeWrite>);

impl WebhookWrites {
    /// Starts the lanes; they tolerate that the database is away.
    pub fn start(store: &Store, options: &GroupOptions, stopper: Stopper) -> Self {
        Self(Group::start(store, OutcomeWrite, options, stopper))
    }

    /// Makes an outcome durable, waiting for as long as the database is away.
    ///
    /// # Errors
    /// [`Error::Stopping`], or [`crate::ErrorKind::BadRow`] when the endpoint was deleted at the same moment.
    pub async fn record(&self, outcome: WebhookOutcome) -> Result<(), Error> {
        self.0.write(outcome).await
    }

    /// Completes when everything that was taken in before the stop is answered.
    pub async fn drain(&self) {
        self.0.drain().await;
    }
}

impl Store {
    /// Takes deliveries that are due at `now`, for each endpoint at most as many as it has room for, `limit` in all.
    /// They are due again at `now` and `lease`, should this process not get to write what became of them.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn take_webhook_retries(
        &self,
        rooms: &[(EndpointId, usize)],
        now: DateTime<Utc>,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<WebhookRetry>, Error> {
        let endpoints: Vec<Uuid> = rooms.iter().map(|(id, _)| id.uuid()).collect();
        let rooms: Vec<i64> = rooms.iter().map(|(_, room)| count(*room)).collect();
        let client = self.client().await?;
        let (leased_until, limit) = (now + lease, count(limit));
        let rows = query::rows(
            &client,
            TAKE_WEBHOOK_RETRIES,
            &[&endpoints, &rooms, &now, &leased_until, &limit],
        )
        .await?;
        rows.iter().map(retry_of_row).collect()
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn retry_of_row(row: &Row) -> Result<WebhookRetry, Error> {
    let mut columns = Columns::of(row);
    Ok(WebhookRetry {
        endpoint_id: EndpointId::from_uuid(columns.take::<Uuid>()?),
        event_id: EventId::from_uuid(columns.take::<Uuid>()?),
        task_id: TaskId::from_uuid(columns.take::<Uuid>()?),
        kind: kind_of(columns.take()?)?,
        body: Bytes::from(columns.take::<Vec<u8>>()?),
        attempt_count: columns.take()?,
    })
}

struct OutcomeWrite;

impl Write for OutcomeWrite {
    type Item = WebhookOutcome;
    type Outcome = ();
    type Statements = Statement;
    const NAME: &'static str = "webhook_outcomes";
    const PATIENT: bool = true;

    fn size(item: &WebhookOutcome) -> Size {
        const FIXED: usize = 256;
        let body_bytes = match &item.next {
            WebhookNext::Retry { retry, .. } => retry.body.len(),
            WebhookNext::Settled { .. } => 0,
        };
        let answer_bytes = item
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.answer.as_ref())
            .map_or(0, String::len);
        Size {
            rows: 1,
            bytes: FIXED + body_bytes + answer_bytes,
        }
    }

    async fn prepare(client: &Client) -> Result<Statement, Error> {
        client
            .prepare(WEBHOOK_OUTCOMES)
            .await
            .map_err(Error::database("webhook_outcomes"))
    }

    /// Trying again is harmless: attempts are known by their ids, and a delivery's state is set, not counted.
    async fn write(
        &self,
        client: &Client,
        statement: &Statement,
        items: &[&WebhookOutcome],
        _again: bool,
    ) -> Result<Vec<()>, Error> {
        let attempts: Vec<&WebhookAttempt> = items.iter().filter_map(|item| item.attempt.as_ref()).collect();
        let nexts = Nexts::of(items);
        let answered = client
            .execute(
                statement,
                &[
                    &column(&attempts, |attempt| attempt.id.uuid()),
                    &column(&attempts, |attempt| attempt.endpoint_id.uuid()),
                    &column(&attempts, |attempt| attempt.event_id.uuid()),
                    &column(&attempts, |attempt| attempt.task_id.uuid()),
                    &column(&attempts, |attempt| attempt.kind.as_str()),
                    &column(&attempts, |attempt| attempt.number),
                    &column(&attempts, |attempt| attempt.status.as_str()),
                    &column(&attempts, |attempt| attempt.http_status),
                    &column(&attempts, |attempt| attempt.error.as_deref()),
                    &column(&attempts, |attempt| attempt.answer.as_deref()),
                    &column(&attempts, |attempt| attempt.took_ms),
                    &column(&attempts, |attempt| attempt.at),
                    &column(&attempts, |attempt| attempt.next_at),
                    &nexts.settled_endpoints,
                    &nexts.settled_events,
                    &column(&nexts.retries, |retry| retry.endpoint_id.uuid()),
                    &column(&nexts.retries, |retry| retry.event_id.uuid()),
                    &column(&nexts.retries, |retry| retry.task_id.uuid()),
                    &column(&nexts.retries, |retry| retry.kind.as_str()),
                    &column(&nexts.retries, |retry| &retry.body[..]),
                    &column(&nexts.retries, |retry| retry.attempt_count),
                    &nexts.due_ats,
                ],
            )
            .await;
        answered.map_err(Error::database("webhook_outcomes"))?;
        Ok(vec![(); items.len()])
    }
}

/// What is next for each delivery of a batch, column by column where the statement has it so.
#[derive(Default)]
struct Nexts<'a> {
    settled_endpoints: Vec<Uuid>,
    settled_events: Vec<Uuid>,
    retries: Vec<&'a WebhookRetry>,
    /// When each of the retries is due.
    due_ats: Vec<DateTime<Utc>>,
}

impl<'a> Nexts<'a> {
    /// Each delivery once: a statement may not touch a row twice. An event that came twice may have two outcomes; to have
    /// succeeded counts for more, then the further attempt.
    fn of(items: &[&'a WebhookOutcome]) -> Self {
        let rank = |next: &WebhookNext| match next {
            WebhookNext::Settled { .. } => i32::MAX,
            WebhookNext::Retry { retry, .. } => retry.attempt_count,
        };
        let mut by_key: HashMap<(Uuid, Uuid), &'a WebhookNext> = HashMap::with_capacity(items.len());
        for item in items {
            let kept = by_key.entry(item.next.key()).or_insert(&item.next);
            if rank(&item.next) > rank(kept) {
                *kept = &item.next;
            }
        }
        let mut nexts = Self::default();
        for ((endpoint, event), next) in by_key {
            match next {
                WebhookNext::Settled { .. } => {
                    nexts.settled_endpoints.push(endpoint);
                    nexts.settled_events.push(event);
                }
                WebhookNext::Retry { retry, due_at } => {
                    nexts.retries.push(retry);
                    nexts.due_ats.push(*due_at);
                }
            }
        }
        nexts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(event: u128, attempt_count: i32) -> WebhookOutcome {
        let retry = WebhookRetry {
            endpoint_id: EndpointId::from_uuid(Uuid::from_u128(1)),
            event_id: EventId::from_uuid(Uuid::from_u128(event)),
            task_id: TaskId::from_uuid(Uuid::nil()),
            kind: EventKind::Done,
            body: Bytes::new(),
            attempt_count,
        };
        WebhookOutcome {
            attempt: None,
            next: WebhookNext::Retry {
                retry,
                due_at: DateTime::UNIX_EPOCH,
            },
        }
    }

    fn settled(event: u128) -> WebhookOutcome {
        let next = WebhookNext::Settled {
            endpoint_id: EndpointId::from_uuid(Uuid::from_u128(1)),
            event_id: EventId::from_uuid(Uuid::from_u128(event)),
        };
        WebhookOutcome { attempt: None, next }
    }

    #[test]
    fn two_outcomes_of_one_delivery_in_a_batch_become_the_farther_one() {
        let items = [
            retry(1, 1),
            settled(1),
            retry(1, 2),
            retry(2, 0),
            retry(2, 3),
            retry(2, 1),
        ];
        let items: Vec<&WebhookOutcome> = items.iter().collect();
        let nexts = Nexts::of(&items);
        assert_eq!(nexts.settled_endpoints, [Uuid::from_u128(1)]);
        assert_eq!(nexts.settled_events, [Uuid::from_u128(1)]);
        assert_eq!(column(&nexts.retries, |retry| retry.attempt_count), [3]);
        assert_eq!(nexts.due_ats.len(), 1);
    }
}
