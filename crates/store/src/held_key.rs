//! Who holds an idempotency key, and what that means for another request under it.

use chrono::{DateTime, Utc};
use posthaste_types::TaskId;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::submit_sql::SELECT_KEYS;
use crate::{Error, Idempotency, Store, Submitted, query};

/// The holder of a key.
pub(crate) struct Held {
    fingerprint: Vec<u8>,
    task_id: Uuid,
    created_at: DateTime<Utc>,
    scheduled: bool,
    answer: Option<Vec<u8>>,
}

impl Held {
    /// Of a row of [`SELECT_KEYS`], past its tenant and key.
    pub(crate) fn of_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            fingerprint: row.try_get(2)?,
            task_id: row.try_get(3)?,
            created_at: row.try_get(4)?,
            scheduled: row.try_get(5)?,
            answer: row.try_get(6)?,
        })
    }

    /// Whether it is this task's submission that holds the key.
    pub(crate) fn is_of(&self, owner: Uuid) -> bool {
        self.task_id == owner
    }

    /// What another request under the key comes to.
    pub(crate) fn outcome(&self, fingerprint: &[u8]) -> Submitted {
        if self.fingerprint != fingerprint {
            return Submitted::KeyReused;
        }
        Submitted::Replayed {
            task_id: TaskId::from_uuid(self.task_id),
            created_at: self.created_at,
            scheduled: self.scheduled,
            answer: self.answer.clone(),
        }
    }
}

impl Store {
    /// What a request of `tenant` under a key would come to, if the key has been used: [`Submitted::Replayed`] or
    /// [`Submitted::KeyReused`]. It stores nothing, and waits for nobody who is just using the key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn key_outcome(
        &self,
        tenant: &str,
        idempotency: &Idempotency,
    ) -> Result<Option<Submitted>, Error> {
        let client = self.client().await?;
        let (keys, tenants) = ([idempotency.key.as_str()], [tenant]);
        let rows = query::rows(&client, SELECT_KEYS, &[&keys.as_slice(), &tenants.as_slice()]).await?;
        let held = rows.first().map(Held::of_row).transpose();
        let held = held.map_err(Error::database("select_keys"))?;
        Ok(held.map(|held| held.outcome(&idempotency.fingerprint)))
    }
}
