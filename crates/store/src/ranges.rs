//! Which partitions there must be, and making those ahead of time. Dropping old ones is another module's.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use crate::{Error, Store};

const ADD_PARTITION: &str = "-- add_partition
select posthaste.add_partition($1, $2, $3, $4, $5, $6)";

const SELECT_PARTITIONS: &str = "-- select_partitions
select child.relname::text from pg_inherits
join pg_class child on child.oid = inhrelid
join pg_class parent on parent.oid = inhparent
where parent.relnamespace = 'posthaste'::regnamespace";

/// What a partition's bounds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// A UUIDv7, of which the first 48 bits are milliseconds since 1970.
    Id,
    Time,
}

/// A table that is partitioned by time.
pub(crate) struct Ranged {
    pub(crate) table: &'static str,
    key: &'static str,
    bound: Bound,
    /// Hours in one partition; divides a day.
    hours: i64,
    /// Storage parameters.
    options: &'static str,
}

/// `tasks` leaves room in each page for the two updates of a task's life: 99 % of them are HOT, where half a page gave
/// 83 %. `outbox` is read by nobody and never changes, so vacuuming and analysing it would be for nothing; its hours keep
/// little beyond what the slot has confirmed. Idempotency keys never change
/// either, and are only ever looked up whole; their hours are those of `posthaste.idempotency_bucket`.
pub(crate) const RANGED: [Ranged; 5] = [
    Ranged {
        table: "tasks",
        key: "id",
        bound: Bound::Id,
        hours: 24,
        options: "fillfactor = 30",
    },
    Ranged {
        table: "outbox",
        key: "created_at",
        bound: Bound::Time,
        hours: 1,
        options: "autovacuum_enabled = off, toast.autovacuum_enabled = off",
    },
    Ranged {
        table: "task_history",
        key: "task_id",
        bound: Bound::Id,
        hours: 24,
        options: "",
    },
    Ranged {
        table: "webhook_attempts",
        key: "id",
        bound: Bound::Id,
        hours: 24,
        options: "",
    },
    Ranged {
        table: "idempotency_keys",
        key: "bucket",
        bound: Bound::Time,
        hours: 24,
        options: "autovacuum_enabled = off, toast.autovacuum_enabled = off",
    },
];

impl Ranged {
    pub(crate) fn length(&self) -> TimeDelta {
        TimeDelta::hours(self.hours)
    }

    /// The name of the partition that begins at `start`.
    pub(crate) fn name(&self, start: DateTime<Utc>) -> String {
        let format = if self.hours < 24 { "%Y%m%d%H" } else { "%Y%m%d" };
        format!("{}_{}", self.table, start.format(format))
    }

    fn bound(&self, at: DateTime<Utc>) -> String {
        match self.bound {
            Bound::Id => least_id(at).to_string(),
            Bound::Time => at.to_rfc3339(),
        }
    }

    /// The starts of the partitions from the one that holds `now` to the one that holds `until`.
    fn starts(&self, now: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let first = now
            .duration_trunc(self.length())
            .expect("hours and days divide the range of times");
        let length = self.length();
        std::iter::successors(Some(first), move |start| Some(*start + length))
            .take_while(move |start| *start <= until)
    }
}

/// The least UUIDv7 of a moment.
pub(crate) fn least_id(at: DateTime<Utc>) -> Uuid {
    let ms = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(ms << 80)
}

impl Store {
    /// Makes the partitions that are missing from `now` to `days_ahead` days later. Safe to run twice and at once;
    /// writers wait for milliseconds at most. Returns how many were made.
    ///
    /// # Errors
    /// When the database refuses or is away; what was made until then stays.
    pub async fn ensure_partitions(&self, now: DateTime<Utc>, days_ahead: u32) -> Result<usize, Error> {
        let client = self.client().await?;
        let until = now + TimeDelta::days(days_ahead.into());
        let error = Error::database("select_partitions");
        let statement = client.prepare_cached(SELECT_PARTITIONS).await.map_err(error)?;
        let rows = client.query(&statement, &[]).await.map_err(error)?;
        let present: Vec<String> = rows
            .iter()
            .map(|row| row.try_get(0).map_err(error))
            .collect::<Result<_, _>>()?;
        let error = Error::database("add_partition");
        let statement = client.prepare_cached(ADD_PARTITION).await.map_err(error)?;
        let mut made = 0;
        for ranged in &RANGED {
            for start in ranged.starts(now, until) {
                let name = ranged.name(start);
                if present.contains(&name) {
                    continue;
                }
                let (lower, upper) = (ranged.bound(start), ranged.bound(start + ranged.length()));
                let row = client
                    .query_one(
                        &statement,
                        &[&ranged.table, &name, &ranged.key, &lower, &upper, &ranged.options],
                    )
                    .await
                    .map_err(error)?;
                made += usize::from(row.try_get::<_, bool>(0).map_err(error)?);
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_contiguous_and_hold_their_start() {
        let now = "2026-02-28T23:59:59.999Z".parse().unwrap();
        let until = now + TimeDelta::days(1);
        for ranged in &RANGED {
            let starts: Vec<_> = ranged.starts(now, until).collect();
            assert!(starts[0] <= now && now < starts[0] + ranged.length());
            assert!(starts.windows(2).all(|pair| pair[0] + ranged.length() == pair[1]));
            assert_eq!(starts.len(), usize::try_from(24 / ranged.hours).unwrap() + 1);
        }
        assert_eq!(
            RANGED[0].name(RANGED[0].starts(now, now).next().unwrap()),
            "tasks_20260228"
        );
        assert_eq!(
            RANGED[1].name(RANGED[1].starts(now, now).next().unwrap()),
            "outbox_2026022823"
        );
    }

    #[test]
    fn ids_minted_in_a_day_lie_within_its_bounds() {
        let start: DateTime<Utc> = "2026-02-28T00:00:00Z".parse().unwrap();
        let last = start + TimeDelta::days(1) - TimeDelta::milliseconds(1);
        let timestamp = |at: DateTime<Utc>| {
            uuid::Timestamp::from_unix_time(at.timestamp().cast_unsigned(), at.timestamp_subsec_nanos(), 0, 0)
        };
        for at in [start, last] {
            let id = Uuid::new_v7(timestamp(at));
            assert!(least_id(start) <= id && id < least_id(start + TimeDelta::days(1)));
        }
    }
}
