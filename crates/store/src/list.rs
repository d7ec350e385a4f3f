//! Pages of tasks by filter, newest first, along the tenant's ids. No index serves the other filters, so a page looks at a
//! bounded number of the tenant's rows and may end with few tasks and a cursor.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_types::limits::{LIST_SCAN_ROW_COUNT_MAX, PAGE_BYTES_MAX};
use posthaste_types::{Task, TaskId, TaskState};
use uuid::Uuid;

use crate::first_id::first_id_of;
use crate::lease::Runs;
use crate::row::{task_columns, task_of_row};
use crate::{Error, Store, query};

/// A tenant's rows of a range of ids, newest first. Rows are compared, and not columns, so that the index on tenant and id
/// is the only one that serves: by conditions on `tenant` and `id` the planner takes the primary key to be as good where it
/// knows of one tenant alone, and a tenant with few tasks would walk everybody's. It leaves out no partition, which costs
/// a look into the index of each.
macro_rules! tenant_rows {
    ($columns:literal) => {
        concat!(
            "select ",
            $columns,
            " from posthaste.tasks t
                where (t.tenant, t.id) < ($1, $2) and (t.tenant, t.id) >= ($1, $3)
                order by t.tenant desc, t.id desc"
        )
    };
}

// Innermost, the rows that one page may look at; then the filter and the page's length; then the page's bytes, counted
// before each row so that one task always fits. Rows stream through, so a page that fills early looks at few rows.
const LIST_TASKS: &str = concat!(
    "-- list_tasks\nselect ",
    task_columns!(),
    ", t.matched
    from (
        select t.*, count(*) over () as matched,
            sum(octet_length(t.payload::text) + coalesce(octet_length(t.result::text), 0)
                + coalesce(octet_length(t.progress::text), 0))
                over (order by t.tenant desc, t.id desc rows between unbounded preceding and 1 preceding) as bytes_before
        from (
            select t.*
            from (
                ",
    tenant_rows!("*"),
    "
                limit $4
            ) t
            where ($5::text[] is null or t.state::text = any ($5))
              and ($6::text is null or t.type = $6)
              and ($7::text is null or t.queue = $7)
              and ($8::text is null or t.channel = $8)
              and ($9::text is null or t.key = $9)
              and ($10::jsonb is null or t.tags @> $10)
              and ($11::timestamptz is null or t.created_at >= $11)
              and ($12::timestamptz is null or t.created_at < $12)
            order by t.tenant desc, t.id desc
            limit $13
        ) t
    ) t
    where coalesce(t.bytes_before, 0) < $14
    order by t.tenant desc, t.id desc"
);

const LIST_TASKS_SCAN_END: &str = concat!(
    "-- list_tasks_scan_end\n",
    tenant_rows!("t.id"),
    " offset $4::bigint - 1 limit 1"
);

/// How far an id's time may be from its task's `created_at`: an SQL submission takes the id when it runs and the time
/// when its transaction began.
const ID_TIME_SLACK: TimeDelta = TimeDelta::hours(1);

/// Which tasks; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskFilter {
    /// In one of these states; empty means any.
    pub states: Vec<TaskState>,
    /// Of this type.
    pub task_type: Option<String>,
    /// In this queue.
    pub queue: Option<String>,
    /// For this channel.
    pub channel: Option<String>,
    /// With this ordering key.
    pub key: Option<String>,
    /// With all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Submitted then or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Submitted before it.
    pub created_before: Option<DateTime<Utc>>,
}

/// A page of tasks, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page begins: after this id. `None` on the last page.
    pub next: Option<TaskId>,
}

/// The ids that a page may hold: from `low` up to, and without, `high`.
struct Range {
    low: Uuid,
    high: Uuid,
}

impl Range {
    fn of(filter: &TaskFilter, after: Option<TaskId>) -> Self {
        let low = filter
            .created_after
            .map_or(Uuid::nil(), |time| first_id_of(time - ID_TIME_SLACK));
        let high = filter
            .created_before
            .map_or(Uuid::max(), |time| first_id_of(time + ID_TIME_SLACK));
        Self {
            low,
            high: after.map_or(high, |id| high.min(id.uuid())),
        }
    }
}

impl Store {
    /// At most `limit` tasks that fit, after the one that the last page ended with. A page may be short of `limit`, or
    /// empty, and still have a next one: it looks at [`LIST_SCAN_ROW_COUNT_MAX`] rows and carries about
    /// [`PAGE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn tasks(
        &self,
        tenant: &str,
        filter: &TaskFilter,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let range = Range::of(filter, after);
        let client = self.client_for_long_read().await?;
        let (mut tasks, matched) = matching(&client, tenant, filter, &range, limit).await?;
        if tasks.len() > limit {
            tasks.truncate(limit);
        }
        let last = tasks.last().map(|task| task.id);
        if tasks.len() < matched {
            return Ok(Page { tasks, next: last });
        }
        let scan_end = scan_end(&client, tenant, &range).await?;
        // Rows that arrived between the two statements move the end of the scan up, never past what was returned.
        let next = scan_end.map(|end| last.map_or(end, |last| last.min(end)));
        Ok(Page { tasks, next })
    }
}

/// The tasks that fit, one more than the page holds if there are so many, and their number before the cut by bytes.
async fn matching(
    client: &impl Runs,
    tenant: &str,
    filter: &TaskFilter,
    range: &Range,
    limit: usize,
) -> Result<(Vec<Task>, usize), Error> {
    let states = (!filter.states.is_empty()).then(|| {
        filter
            .states
            .iter()
            .map(|state| state.as_str())
            .collect::<Vec<&'static str>>()
    });
    let tags = (!filter.tags.is_empty())
        .then(|| {
            filter
                .tags
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect()
        })
        .map(serde_json::Value::Object);
    let rows = query::rows(
        client,
        LIST_TASKS,
        &[
            &tenant,
            &range.high,
            &range.low,
            &to_bigint(LIST_SCAN_ROW_COUNT_MAX),
            &states,
            &filter.task_type,
            &filter.queue,
            &filter.channel,
            &filter.key,
            &tags,
            &filter.created_after,
            &filter.created_before,
            &to_bigint(limit.saturating_add(1)),
            &to_bigint(PAGE_BYTES_MAX),
        ],
    )
    .await?;
    let matched: i64 = match rows.first() {
        Some(row) => row
            .try_get("matched")
            .map_err(|error| Error::Corrupt(error.to_string()))?,
        None => 0,
    };
    let tasks = rows.iter().map(task_of_row).collect::<Result<_, _>>()?;
    Ok((tasks, usize::try_from(matched).unwrap_or(usize::MAX)))
}

/// The last id that a page's scan looked at, if the scan ended at its bound.
async fn scan_end(client: &impl Runs, tenant: &str, range: &Range) -> Result<Option<TaskId>, Error> {
    let scan = to_bigint(LIST_SCAN_ROW_COUNT_MAX);
    let row = query::row(
        client,
        LIST_TASKS_SCAN_END,
        &[&tenant, &range.high, &range.low, &scan],
    )
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id: Uuid = row
        .try_get(0)
        .map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(Some(TaskId::from_uuid(id)))
}

fn to_bigint(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
