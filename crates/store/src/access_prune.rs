//! Forgetting who could once come in and what was done long ago: dead keys and old entries of the audit log. What is old is
//! not decided here.

use chrono::{DateTime, Utc};
use posthaste_types::limits::ACCESS_PRUNE_ROW_COUNT_MAX;
use tokio_postgres::types::ToSql;

use crate::first_id::first_id_of;
use crate::{Error, Store, query};

// Keys are few, so they are all looked at. `least` passes over what is null.
const PRUNE_KEYS: &str = "-- prune_keys
    delete from posthaste.api_keys k where k.id = any (array(
        select old.id from posthaste.api_keys old where least(old.revoked_at, old.expires_at) < $1 limit $2
    ))";

// An entry's id begins with its time.
const PRUNE_AUDIT: &str = "-- prune_audit
    delete from posthaste.audit a where a.id = any (array(
        select old.id from posthaste.audit old where old.id < $1 order by old.id limit $2
    ))";

const ROW_COUNT_MAX: i64 = ACCESS_PRUNE_ROW_COUNT_MAX as i64;

impl Store {
    /// Deletes keys that have been revoked or expired before `before`, at most [`ACCESS_PRUNE_ROW_COUNT_MAX`] with each
    /// statement. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer; what was deleted until then is.
    pub async fn prune_keys(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        self.prune(PRUNE_KEYS, &before).await
    }

    /// Deletes entries of the audit log from before `before`, as [`Self::prune_keys`] does.
    ///
    /// # Errors
    /// As [`Self::prune_keys`].
    pub async fn prune_audit(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        self.prune(PRUNE_AUDIT, &first_id_of(before)).await
    }

    /// Repeats the statement until it finds fewer rows than it may delete.
    async fn prune(&self, sql: &'static str, before: &(dyn ToSql + Sync)) -> Result<u64, Error> {
        let client = self.client().await?;
        let mut deleted = 0;
        loop {
            let count = query::execute(&client, sql, &[before, &ROW_COUNT_MAX]).await?;
            deleted += count;
            if count < ROW_COUNT_MAX.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}
