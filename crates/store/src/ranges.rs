//! Which partitions there must be, and making those ahead of time. Dropping old ones is another module's.

use chrono::{DateTime, DurationRound as _, NaiveDate, TimeDelta, Utc};
use tokio_postgres::types::ToSql;

use crate::first_id::first_id_of;
use crate::row::Columns;
use crate::{Error, Store, query};

const ADD_PARTITION: &str = "-- add_partition
select posthaste.add_partition($1, $2, $3, $4, $5, $6)";

const SELECT_PARTITIONS: &str = "-- select_partitions
select child.relname::text from pg_inherits
join pg_class child on child.oid = inhrelid
join pg_class parent on parent.oid = inhparent
where parent.relnamespace = 'posthaste'::regnamespace";

/// Minutes.
const DAY: i64 = 24 * 60;
/// As many as anybody asks for.
const UNBOUNDED: i64 = 366 * 24;

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
    /// Minutes in one partition; divides a day.
    minutes: i64,
    /// Partitions are made at most so many hours ahead.
    ahead_hours_max: i64,
    /// Storage parameters.
    options: &'static str,
}

/// `tasks` leaves room in each page for the two updates of a task's life: 99 % of them are HOT, where half a page gave
/// 83 %. `outbox` is read by nobody and never changes, so vacuuming and analysing it would be for nothing; its partitions
/// are short, so that it holds minutes of rows beyond what the slot has confirmed, and few of them are made ahead, since the
/// net under them is put aside whole and costs no row. Idempotency keys never change either, and are only ever looked up
/// whole; their days are those of `posthaste.idempotency_bucket`.
pub(crate) const RANGED: [Ranged; 5] = [
    Ranged {
        table: "tasks",
        key: "id",
        bound: Bound::Id,
        minutes: DAY,
        ahead_hours_max: UNBOUNDED,
        options: "fillfactor = 30",
    },
    Ranged {
        table: "outbox",
        key: "created_at",
        bound: Bound::Time,
        minutes: 5,
        ahead_hours_max: 6,
        options: "autovacuum_enabled = off, toast.autovacuum_enabled = off",
    },
    Ranged {
        table: "task_history",
        key: "task_id",
        bound: Bound::Id,
        minutes: DAY,
        ahead_hours_max: UNBOUNDED,
        options: "",
    },
    Ranged {
        table: "webhook_attempts",
        key: "id",
        bound: Bound::Id,
        minutes: DAY,
        ahead_hours_max: UNBOUNDED,
        options: "",
    },
    Ranged {
        table: "idempotency_keys",
        key: "bucket",
        bound: Bound::Time,
        minutes: DAY,
        ahead_hours_max: UNBOUNDED,
        options: "autovacuum_enabled = off, toast.autovacuum_enabled = off",
    },
];

impl Ranged {
    pub(crate) fn length(&self) -> TimeDelta {
        TimeDelta::minutes(self.minutes)
    }

    /// The name of the partition that begins at `start`.
    pub(crate) fn name(&self, start: DateTime<Utc>) -> String {
        self.name_of(self.length(), start)
    }

    /// The names of all partitions that may hold `start`: its own, and the hour that earlier versions made of the outbox.
    fn names_over(&self, start: DateTime<Utc>) -> [String; 2] {
        let hour = TimeDelta::hours(1);
        let longer = self.length().max(hour);
        let start_of_longer = start
            .duration_trunc(longer)
            .expect("hours and days divide the range of times");
        [self.name(start), self.name_of(longer, start_of_longer)]
    }

    fn name_of(&self, length: TimeDelta, start: DateTime<Utc>) -> String {
        let format = match length.num_minutes() {
            ..60 => "%Y%m%d%H%M",
            60..1440 => "%Y%m%d%H",
            _ => "%Y%m%d",
        };
        format!("{}_{}", self.table, start.format(format))
    }

    /// From when to when a partition is, by its name; none for the net and for what somebody else made.
    pub(crate) fn span(&self, name: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let digits = name.strip_prefix(self.table)?.strip_prefix('_')?;
        let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
        let date = NaiveDate::from_ymd_opt(i32::try_from(number(0..4)?).ok()?, number(4..6)?, number(6..8)?)?;
        let (hour, minute) = (
            number(8..10).unwrap_or_default(),
            number(10..12).unwrap_or_default(),
        );
        let start = date.and_hms_opt(hour, minute, 0)?.and_utc();
        let longer = self.length().max(TimeDelta::hours(1));
        let length = [self.length(), longer].into_iter().find(|length| {
            self.name_of(*length, start) == name && start.duration_trunc(*length) == Ok(start)
        })?;
        Some((start, start + length))
    }

    fn bound(&self, at: DateTime<Utc>) -> String {
        match self.bound {
            Bound::Id => first_id_of(at).to_string(),
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

impl Store {
    /// Makes the partitions that are missing from `now` to `days_ahead` days later. Safe to run twice and at once;
    /// writers wait for milliseconds at most. Returns how many were made.
    ///
    /// # Errors
    /// When the database refuses or is away; what was made until then stays.
    pub async fn ensure_partitions(&self, now: DateTime<Utc>, days_ahead: u32) -> Result<usize, Error> {
        self.ensure(&RANGED, now, days_ahead).await
    }

    /// The same for the outbox alone, whose partitions are short and are wanted sooner.
    ///
    /// # Errors
    /// As [`Self::ensure_partitions`].
    pub async fn ensure_outbox(&self, now: DateTime<Utc>, days_ahead: u32) -> Result<usize, Error> {
        let outbox = RANGED.iter().position(|ranged| ranged.table == "outbox");
        let outbox = outbox.expect("it is in the list");
        self.ensure(&RANGED[outbox..=outbox], now, days_ahead).await
    }

    async fn ensure(&self, tables: &[Ranged], now: DateTime<Utc>, days_ahead: u32) -> Result<usize, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, SELECT_PARTITIONS, &[]).await?;
        let present: Vec<String> = rows
            .iter()
            .map(|row| Columns::of(row).take())
            .collect::<Result<_, _>>()?;
        let mut made = 0;
        for ranged in tables {
            let ahead = TimeDelta::days(days_ahead.into()).min(TimeDelta::hours(ranged.ahead_hours_max));
            for start in ranged.starts(now, now + ahead) {
                if ranged.names_over(start).iter().any(|name| present.contains(name)) {
                    continue;
                }
                let name = ranged.name(start);
                let (lower, upper) = (ranged.bound(start), ranged.bound(start + ranged.length()));
                let parameters: [&(dyn ToSql + Sync); 6] =
                    [&ranged.table, &name, &ranged.key, &lower, &upper, &ranged.options];
                let row = query::one(&client, ADD_PARTITION, &parameters).await?;
                made += usize::from(Columns::of(&row).take::<bool>()?);
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
            assert_eq!(starts.len(), usize::try_from(1440 / ranged.minutes).unwrap() + 1);
        }
        assert_eq!(
            RANGED[0].name(RANGED[0].starts(now, now).next().unwrap()),
            "tasks_20260228"
        );
        assert_eq!(
            RANGED[1].name(RANGED[1].starts(now, now).next().unwrap()),
            "outbox_202602282355"
        );
    }

    #[test]
    fn spans_are_read_back_from_names_and_other_names_are_left_alone() {
        for ranged in &RANGED {
            let start: DateTime<Utc> = "2026-11-24T00:00:00Z".parse().unwrap();
            assert_eq!(
                ranged.span(&ranged.name(start)),
                Some((start, start + ranged.length()))
            );
            for name in [
                "default",
                "net_20261124000000000000",
                "20261340",
                "2026",
                "202611240",
                "20261124x",
                "202611242401",
                "202611240001",
                "20261124000000",
                "",
            ] {
                assert_eq!(ranged.span(&format!("{}_{name}", ranged.table)), None, "{name}");
            }
        }
    }

    #[test]
    fn hours_of_the_outbox_that_an_earlier_version_made_are_known() {
        let outbox = RANGED.iter().find(|ranged| ranged.table == "outbox").unwrap();
        let start: DateTime<Utc> = "2026-11-24T23:00:00Z".parse().unwrap();
        let within = start + TimeDelta::minutes(55);
        assert!(
            outbox
                .names_over(within)
                .contains(&"outbox_2026112423".to_owned())
        );
        assert_eq!(
            outbox.span("outbox_2026112423"),
            Some((start, start + TimeDelta::hours(1)))
        );
    }
}
