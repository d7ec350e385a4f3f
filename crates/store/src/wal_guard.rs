//! What keeps the server's log from filling its disk: how much of it slots may keep, and ingest that closes before.

use crate::row::Columns;
use crate::{Error, Store, query};

const LOG_BOUND: &str = "-- replication_log_bound
select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'";

const GUARD: &str = "-- replication_guard
select posthaste.guard_wal($1, $2, $3, $4)";

const IS_INTAKE_CLOSED: &str = "-- is_intake_closed
select posthaste.is_intake_closed()";

impl Store {
    /// Whether the server bounds how much log it keeps for slots. Where it does not, a connector that stands still fills
    /// the disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_kept_log_bounded(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        let row = query::one(&client, LOG_BOUND, &[]).await?;
        Ok(Columns::of(&row).take::<i64>()? >= 0)
    }

    /// Says from which share of the log that the slot may keep on ingest is to refuse tasks; `is_closing`: whether it is
    /// at all. `bytes_max` bounds what may be kept beside the server's own bound.
    ///
    /// # Errors
    /// The database is away.
    pub async fn guard_wal(
        &self,
        slot: &str,
        is_closing: bool,
        bytes_max: Option<u64>,
        share_max: f64,
    ) -> Result<(), Error> {
        let client = self.client().await?;
        let bytes_max = bytes_max.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
        let guarded = query::execute(&client, GUARD, &[&slot, &is_closing, &bytes_max, &share_max]).await;
        match guarded {
            // A database that holds somebody else's outbox has no ingest.
            Err(error) if error.is_undefined_function() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether so much log waits to be published that no further task is to be taken (503, later again).
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_intake_closed(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        let row = query::one(&client, IS_INTAKE_CLOSED, &[]).await?;
        Columns::of(&row).take()
    }
}
