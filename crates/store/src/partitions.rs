//! Retention: which partitions are old enough to go, and dropping those. Making new ones is `ranges.rs`'.

use chrono::{DateTime, TimeDelta, Utc};

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

const SELECT_MISSING_SLOTS: &str = "-- select_missing_slots
    select guard.slot::text from posthaste.wal_guards guard
    where not exists (select from pg_replication_slots server where server.slot_name = guard.slot)
    order by guard.slot";

// Those that the net caught while there was no partition for them, as a rule none.
const FORGET_STRAY_KEYS: &str = "-- forget_stray_keys
    delete from posthaste.idempotency_keys_default where bucket < posthaste.idempotency_bucket($1)";

/// How long after its end an outbox partition is closed, for clocks that differ: rows are dated by the database's as they
/// are written, and its end is told by this process's. Transactions that have written to it are waited for beside that.
const CLOSE_AFTER: TimeDelta = TimeDelta::minutes(2);

/// How long after its end an outbox partition that cannot be closed is worth a warning: transactions may take their time.
const LATE_AFTER: TimeDelta = TimeDelta::hours(1);

/// A partition that is there.
struct Range {
    name: String,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
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

    /// Closes outbox partitions whose time is over, and drops those that every replication slot has confirmed, and nets
    /// that were put aside likewise. Returns the names of what was dropped.
    ///
    /// # Errors
    /// When the database does not answer; what was dropped until then is.
    pub async fn drop_published(&self, now: DateTime<Utc>) -> Result<Vec<String>, Error> {
        let client = self.client().await?;
        let names =
            |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>();
        let closed = names(query::rows(&client, SELECT_CLOSED, &[]).await?);
        for range in self.ended(ranged("outbox"), now - CLOSE_AFTER).await? {
            let is_closed = closed.contains(&range.name) || self.ask(CLOSE_OUTBOX, &range.name).await?;
            if !is_closed && range.end <= now - LATE_AFTER {
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

    /// The slots that connectors have read and that are not there: while one is missing, no part of the outbox is dropped.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn missing_slots(&self) -> Result<Vec<String>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, SELECT_MISSING_SLOTS, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
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
            let (start, end) = ranged.span(&name)?;
            Some(Range { name, start, end })
        });
        Ok(ranges.filter(|range| range.end <= before).collect())
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
