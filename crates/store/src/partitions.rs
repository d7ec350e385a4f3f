//! Retention: which partitions are old enough to go, and dropping those. Making new ones is `ranges.rs`'.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::ranges::{RANGED, Ranged};
use crate::{Error, Store, query};

const SELECT_RANGES: &str = "-- select_ranges
    select child.relname::text from pg_inherits
    join pg_class child on child.oid = inhrelid
    where inhparent = ('posthaste.' || $1)::regclass
    order by child.relname";

const DROP_TASKS: &str = "-- drop_tasks
    select posthaste.drop_tasks($1)";

const DROP_PARTITION: &str = "-- drop_partition
    select posthaste.drop_partition($1)";

const CLOSE_OUTBOX: &str = "-- close_outbox
    select posthaste.close_outbox($1)";

const SELECT_CLOSED: &str = "-- select_closed
    select name from posthaste.outbox_closed order by name";

const DROP_OUTBOX: &str = "-- drop_outbox
    select posthaste.drop_outbox($1)";

// Those that the net caught while there was no partition for them, as a rule none.
const FORGET_STRAY_KEYS: &str = "-- forget_stray_keys
    delete from posthaste.idempotency_keys_default where bucket < posthaste.idempotency_bucket($1)";

/// How long after its end an outbox partition is closed: for the clocks of those who write, and their transactions.
const CLOSE_AFTER: TimeDelta = TimeDelta::hours(1);

/// A partition that is there.
struct Range {
    name: String,
    start: DateTime<Utc>,
}

impl Store {
    /// Drops the partitions of tasks, and of what hangs on them, that ended `retention` ago. Tasks that have not ended
    /// keep their whole partition. Returns the names of what was dropped.
    ///
    /// # Errors
    /// When the database does not answer; what was dropped until then is.
    pub async fn drop_expired(&self, now: DateTime<Utc>, retention: TimeDelta) -> Result<Vec<String>, Error> {
        let mut dropped = Vec::new();
        let mut kept_days = Vec::new();
        for range in self.ended(ranged("tasks"), now - retention).await? {
            if self.ask(DROP_TASKS, &range.name).await? {
                dropped.push(range.name);
            } else {
                kept_days.push(range.start);
            }
        }
        for table in ["task_history", "webhook_attempts"] {
            let ended = self.ended(ranged(table), now - retention).await?;
            for range in ended
                .into_iter()
                .filter(|range| !kept_days.contains(&range.start))
            {
                if self.ask(DROP_PARTITION, &range.name).await? {
                    dropped.push(range.name);
                }
            }
        }
        Ok(dropped)
    }

    /// Closes outbox partitions whose time is over, and drops those that every replication slot has confirmed. Returns
    /// the names of what was dropped.
    ///
    /// # Errors
    /// When the database does not answer; what was dropped until then is.
    pub async fn drop_published(&self, now: DateTime<Utc>) -> Result<Vec<String>, Error> {
        let client = self.client().await?;
        let names =
            |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>();
        let closed = names(query::rows(&client, SELECT_CLOSED, &[]).await?);
        for range in self.ended(ranged("outbox"), now - CLOSE_AFTER).await? {
            if !closed.contains(&range.name) && !self.ask(CLOSE_OUTBOX, &range.name).await? {
                tracing::warn!(
                    partition = range.name,
                    "an open transaction keeps an outbox partition from being closed"
                );
            }
        }
        let mut dropped = Vec::new();
        for name in names(query::rows(&client, SELECT_CLOSED, &[]).await?) {
            if self.ask(DROP_OUTBOX, &name).await? {
                dropped.push(name);
            }
        }
        Ok(dropped)
    }

    /// Forgets idempotency keys by dropping the partitions that ended by `before`: each key was first sent before it,
    /// and those that are kept still may have been, by up to a day. Returns the names of what was dropped.
    ///
    /// # Errors
    /// When the database does not answer; what was forgotten until then is.
    pub async fn forget_idempotency_keys(&self, before: DateTime<Utc>) -> Result<Vec<String>, Error> {
        let mut dropped = Vec::new();
        for range in self.ended(ranged("idempotency_keys"), before).await? {
            if self.ask(DROP_PARTITION, &range.name).await? {
                dropped.push(range.name);
            }
        }
        let client = self.client().await?;
        query::execute(&client, FORGET_STRAY_KEYS, &[&before]).await?;
        Ok(dropped)
    }

    /// The partitions of a table that ended by `before`, oldest first.
    async fn ended(&self, ranged: &Ranged, before: DateTime<Utc>) -> Result<Vec<Range>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, SELECT_RANGES, &[&ranged.table]).await?;
        let ranges = rows.iter().filter_map(|row| {
            let name: String = row.get(0);
            let start = start_of(ranged, &name)?;
            Some(Range { name, start })
        });
        Ok(ranges
            .filter(|range| range.start + ranged.length() <= before)
            .collect())
    }

    /// Calls a function on a partition that answers whether it did what it is called.
    async fn ask(&self, sql: &'static str, name: &str) -> Result<bool, Error> {
        let client = self.client().await?;
        Ok(query::row(&client, sql, &[&name])
            .await?
            .is_some_and(|row| row.get(0)))
    }
}

fn ranged(table: &str) -> &'static Ranged {
    RANGED
        .iter()
        .find(|ranged| ranged.table == table)
        .expect("the callers name tables of the list")
}

/// When a partition begins, by its name; none for the default partition and for what somebody else made.
fn start_of(ranged: &Ranged, name: &str) -> Option<DateTime<Utc>> {
    let digits = name.strip_prefix(ranged.table)?.strip_prefix('_')?;
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0..4)?).ok()?, number(4..6)?, number(6..8)?)?;
    let start = date
        .and_hms_opt(number(8..10).unwrap_or_default(), 0, 0)?
        .and_utc();
    (ranged.name(start) == name).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_read_back_from_names_and_other_names_are_left_alone() {
        for ranged in &RANGED {
            let start = "2026-11-24T00:00:00Z".parse().unwrap();
            assert_eq!(start_of(ranged, &ranged.name(start)), Some(start));
            for name in ["default", "20261340", "2026", "202611240", "20261124x", ""] {
                assert_eq!(
                    start_of(ranged, &format!("{}_{name}", ranged.table)),
                    None,
                    "{name}"
                );
            }
        }
    }
}
