//! API keys as they are stored: by their hash. Which keys may come in is not decided here.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use posthaste_types::limits::KEY_COUNT_MAX;
use posthaste_types::{KeyHash, KeyId, Scope, Scopes};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::audit::Act;
use crate::row::Columns;
use crate::tenants::{ensure_tenant, next_revision};
use crate::{Error, Store, query};

macro_rules! key_columns {
    () => {
        "k.id, k.tenant, k.name, k.prefix, k.hash, k.scopes, k.created_at, k.expires_at, k.revoked_at, \
         k.last_used_at, k.rotated_from"
    };
}

const ADD_KEY: &str = "-- add_key
    insert into posthaste.api_keys (id, tenant, name, prefix, hash, scopes, created_at, expires_at, rotated_from, revision)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const COUNT_USABLE_KEYS: &str = "-- count_usable_keys
    select count(*) from posthaste.api_keys k
    where k.tenant = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > $2)
        and ($3::text is null or $3 = any (k.scopes))";

const KEYS: &str = concat!(
    "-- keys\nselect ",
    key_columns!(),
    " from posthaste.api_keys k where k.tenant = $1 and ($2::uuid is null or k.id < $2) order by k.id desc limit $3"
);

const KEY: &str = concat!(
    "-- key\nselect ",
    key_columns!(),
    " from posthaste.api_keys k where k.tenant = $1 and k.id = $2"
);

const KEY_TENANT: &str = "-- key_tenant
select tenant from posthaste.api_keys where id = $1";

/// Of [`Store::access_changes`]. A change is told however old the death that it stamps: who knows the key must hear of
/// it. Who knows nothing yet need not hear of the dead. `least` passes over what is null.
pub(crate) const CHANGED_KEYS: &str = concat!(
    "-- changed_keys\nselect ",
    key_columns!(),
    " from posthaste.api_keys k where k.revision > $1
        and ($1 >= 0 or coalesce(least(k.revoked_at, k.expires_at), 'infinity') > $2)
    order by k.id"
);

const REVOKE_KEY: &str = "-- revoke_key
    update posthaste.api_keys k set revoked_at = clock_timestamp(), revision = $3
    where k.tenant = $1 and k.id = $2 and k.revoked_at is null";

const EXPIRE_KEY: &str = "-- expire_key
    update posthaste.api_keys k set expires_at = least(k.expires_at, $3), revision = $4
    where k.tenant = $1 and k.id = $2 and k.revoked_at is null and (k.expires_at is null or k.expires_at > $5)";

// Held in one order: two processes that note the same keys must not wait for each other.
const NOTE_KEY_USE: &str = "-- note_key_use
    with held as materialized (
        select k.id from posthaste.api_keys k where k.id = any ($1) order by k.id for no key update
    )
    update posthaste.api_keys k set last_used_at = greatest(k.last_used_at, used.at)
    from unnest($1::uuid[], $2::timestamptz[]) used (id, at), held
    where k.id = used.id and k.id = held.id";

const ANY_KEY: &str = "-- any_key
    select from posthaste.api_keys limit 1";

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: String,
    /// For people.
    pub name: String,
    /// The part that may be shown.
    pub prefix: String,
    /// What the whole key is known by.
    pub hash: KeyHash,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Refused from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// Refused since then.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The key that it takes the place of.
    pub rotated_from: Option<KeyId>,
}

/// What came of an act on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// Done.
    Done,
    /// The tenant has no such key, or not in a state that allows it.
    NoSuchKey,
    /// The tenant has [`KEY_COUNT_MAX`] usable keys already.
    TooMany,
}

impl Store {
    /// Stores a new key, and its tenant when that is new.
    ///
    /// # Errors
    /// When the database does not answer. A prefix that is taken is a bad row: make another key.
    pub async fn add_key(&self, key: &ApiKeyRow, act: &Act<'_>) -> Result<KeyChange, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let revision = next_revision(&transaction).await?;
        ensure_tenant(&transaction, &key.tenant, revision, key.created_at).await?;
        if count_usable(&transaction, &key.tenant, key.created_at).await? >= COUNT_MAX {
            return Ok(KeyChange::TooMany);
        }
        insert(&transaction, key, revision).await?;
        act.note(&transaction, key.id).await?;
        transaction.commit().await.map_err(Error::database("commit"))?;
        Ok(KeyChange::Done)
    }

    /// Stores a key that takes another's place: that one, which `new.rotated_from` names, expires at `old_expires_at`
    /// unless it does before.
    ///
    /// # Errors
    /// As [`Self::add_key`].
    pub async fn rotate_key(
        &self,
        new: &ApiKeyRow,
        old_expires_at: DateTime<Utc>,
        act: &Act<'_>,
    ) -> Result<KeyChange, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let revision = next_revision(&transaction).await?;
        let old = new.rotated_from.map(KeyId::uuid);
        let expired = query::execute(
            &transaction,
            EXPIRE_KEY,
            &[&new.tenant, &old, &old_expires_at, &revision, &new.created_at],
        )
        .await?;
        if expired == 0 {
            return Ok(KeyChange::NoSuchKey);
        }
        if count_usable(&transaction, &new.tenant, new.created_at).await? >= COUNT_MAX {
            return Ok(KeyChange::TooMany);
        }
        insert(&transaction, new, revision).await?;
        act.note(&transaction, new.id).await?;
        transaction.commit().await.map_err(Error::database("commit"))?;
        Ok(KeyChange::Done)
    }

    /// Revokes a key, at the database's time. One that is revoked already stays as it is, and no entry of the audit log
    /// is made.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_key(&self, id: KeyId, act: &Act<'_>) -> Result<KeyChange, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let revision = next_revision(&transaction).await?;
        let (tenant, uuid) = (act.tenant, id.uuid());
        let revoked = query::execute(&transaction, REVOKE_KEY, &[&tenant, &uuid, &revision]).await?;
        if revoked == 0 {
            let found = query::row(&transaction, KEY, &[&tenant, &uuid]).await?;
            return Ok(found.map_or(KeyChange::NoSuchKey, |_| KeyChange::Done));
        }
        act.note(&transaction, id).await?;
        transaction.commit().await.map_err(Error::database("commit"))?;
        Ok(KeyChange::Done)
    }

    /// Up to `limit` keys of a tenant, the newest first, dead ones among them; only older ones than `before`. One that
    /// this program cannot read is an id alone, and the log has the reason.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keys(
        &self,
        tenant: &str,
        before: Option<KeyId>,
        limit: i64,
    ) -> Result<Vec<Result<ApiKeyRow, KeyId>>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, KEYS, &[&tenant, &before.map(KeyId::uuid), &limit]).await?;
        rows.iter().map(known_key).collect()
    }

    /// One key, if it is this tenant's.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn key(&self, tenant: &str, id: KeyId) -> Result<Option<ApiKeyRow>, Error> {
        let client = self.client().await?;
        query::row(&client, KEY, &[&tenant, &id.uuid()])
            .await?
            .as_ref()
            .map(key_of_row)
            .transpose()
    }

    /// The tenant whose key it is, dead or not, and whether it can be read or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn key_tenant(&self, id: KeyId) -> Result<Option<String>, Error> {
        let client = self.client().await?;
        let row = query::row(&client, KEY_TENANT, &[&id.uuid()]).await?;
        row.map(|row| Columns::of(&row).take()).transpose()
    }

    /// How many keys of a tenant with the scope `admin` can be used at `now`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_usable_admin_keys(&self, tenant: &str, now: DateTime<Utc>) -> Result<u64, Error> {
        let client = self.client().await?;
        let admin = Some(Scope::Admin.as_str());
        let row = query::row(&client, COUNT_USABLE_KEYS, &[&tenant, &now, &admin]).await?;
        let count: i64 = row
            .as_ref()
            .map(|row| Columns::of(row).take())
            .transpose()?
            .unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether any tenant has a key, dead or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_keys(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        Ok(query::row(&client, ANY_KEY, &[]).await?.is_some())
    }

    /// Notes when keys were used last, in one statement; a later time that is noted already stays.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_key_use(&self, used: &[(KeyId, DateTime<Utc>)]) -> Result<(), Error> {
        let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) =
            used.iter().map(|(id, at)| (id.uuid(), *at)).unzip();
        let client = self.client().await?;
        query::execute(&client, NOTE_KEY_USE, &[&ids, &times])
            .await
            .map(drop)
    }
}

const COUNT_MAX: i64 = KEY_COUNT_MAX as i64;

async fn count_usable(transaction: &Transaction<'_>, tenant: &str, now: DateTime<Utc>) -> Result<i64, Error> {
    let any: Option<&str> = None;
    let row = query::row(transaction, COUNT_USABLE_KEYS, &[&tenant, &now, &any]).await?;
    row.as_ref().map_or(Ok(0), |row| Columns::of(row).take())
}

async fn insert(transaction: &Transaction<'_>, key: &ApiKeyRow, revision: i64) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(Scope::as_str).collect();
    query::execute(
        transaction,
        ADD_KEY,
        &[
            &key.id.uuid(),
            &key.tenant,
            &key.name,
            &key.prefix,
            &key.hash.0.as_slice(),
            &scopes,
            &key.created_at,
            &key.expires_at,
            &key.rotated_from.map(KeyId::uuid),
            &revision,
        ],
    )
    .await
    .map(drop)
}

/// The id in a row selected with `key_columns!`.
fn key_id_of_row(row: &Row) -> Result<KeyId, Error> {
    Columns::of(row).take().map(KeyId::from_uuid)
}

/// The key in a row selected with `key_columns!`, or the id of one that nobody comes in with.
pub(crate) fn known_key(row: &Row) -> Result<Result<ApiKeyRow, KeyId>, Error> {
    match key_of_row(row) {
        Ok(key) => Ok(Ok(key)),
        Err(error) => {
            let id = key_id_of_row(row)?;
            tracing::error!(%error, key.id = %id, "a key in the record cannot be read; nobody comes in with it");
            Ok(Err(id))
        }
    }
}

/// The key in a row selected with `key_columns!`. Scopes that a newer version gave it allow nothing here.
fn key_of_row(row: &Row) -> Result<ApiKeyRow, Error> {
    let mut columns = Columns::of(row);
    Ok(ApiKeyRow {
        id: KeyId::from_uuid(columns.take()?),
        tenant: columns.take()?,
        name: columns.take()?,
        prefix: columns.take()?,
        hash: columns
            .take::<&[u8]>()?
            .try_into()
            .map(KeyHash)
            .map_err(|_| Error::Corrupt("a key's hash has not 32 bytes".to_owned()))?,
        scopes: columns
            .take::<Vec<&str>>()?
            .into_iter()
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect(),
        created_at: columns.take()?,
        expires_at: columns.take()?,
        revoked_at: columns.take()?,
        last_used_at: columns.take()?,
        rotated_from: columns.take::<Option<Uuid>>()?.map(KeyId::from_uuid),
    })
}
