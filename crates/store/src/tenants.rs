//! Tenants and their limits, and the revision by which every process learns of a change of who may come in.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use posthaste_types::{KeyId, TenantLimits};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::audit::Act;
use crate::keys::{ApiKeyRow, known_key};
use crate::lease::Runs;
use crate::row::Columns;
use crate::stream_secrets::{self, StreamSecret};
use crate::{Error, Store, keys, query};

const NEXT_REVISION: &str = "-- next_access_revision
    update posthaste.access_revision set revision = revision + 1 returning revision";

const ACCESS_REVISION: &str = "-- access_revision
    select revision from posthaste.access_revision";

const ENSURE_TENANT: &str = "-- ensure_tenant
    insert into posthaste.tenants (name, revision, created_at, updated_at) values ($1, $2, $3, $3)
    on conflict (name) do nothing";

const SET_TENANT_LIMITS: &str = "-- set_tenant_limits
    insert into posthaste.tenants (name, limits, revision, created_at, updated_at) values ($1, $2, $3, $4, $4)
    on conflict (name) do update
    set limits = excluded.limits, revision = excluded.revision, updated_at = excluded.updated_at";

const TENANTS: &str = "-- tenants
    select t.name, t.limits, t.created_at, t.updated_at from posthaste.tenants t where t.revision > $1 order by t.name";

const TENANT_LIMITS: &str = "-- tenant_limits
    select t.limits from posthaste.tenants t where t.name = $1";

/// A tenant that has keys or limits of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// What it may use; where it is silent the configuration decides.
    pub limits: TenantLimits,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When its limits were last changed.
    pub updated_at: DateTime<Utc>,
}

/// What has changed of who may come in.
#[derive(Debug, Clone)]
pub struct AccessChanges {
    /// Everything up to this revision is known once these are.
    pub revision: i64,
    /// Tenants that changed.
    pub tenants: Vec<Tenant>,
    /// Keys that changed, dead ones among them.
    pub keys: Vec<ApiKeyRow>,
    /// Keys that changed into something that this version cannot read: nobody is to come in with them.
    pub unreadable_keys: Vec<KeyId>,
    /// What stream tokens are signed with, the one that signs now first.
    pub stream_secrets: Vec<StreamSecret>,
}

/// The number of the change that `transaction` makes; nobody else makes one before it ends.
pub(crate) async fn next_revision(transaction: &Transaction<'_>) -> Result<i64, Error> {
    let row = query::row(transaction, NEXT_REVISION, &[]).await?;
    revision_of(row.as_ref())
}

/// Makes sure that there is such a tenant.
pub(crate) async fn ensure_tenant(
    transaction: &Transaction<'_>,
    name: &str,
    revision: i64,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    query::execute(transaction, ENSURE_TENANT, &[&name, &revision, &at])
        .await
        .map(drop)
}

impl Store {
    /// The number of the last change of a tenant or a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn access_revision(&self) -> Result<i64, Error> {
        revision(&self.client().await?).await
    }

    /// What has changed past a revision. When that is -1: everything, without the keys that are dead at `now`.
    ///
    /// A row that cannot be read concerns its key or its tenant alone, and is told of in the log: the key is named, and
    /// the tenant has no limits of its own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn access_changes(&self, after: i64, now: DateTime<Utc>) -> Result<AccessChanges, Error> {
        let client = self.client().await?;
        // First: what is changed during the rest is read once more the next time, and nothing is missed.
        let revision = revision(&client).await?;
        let tenants = query::rows(&client, TENANTS, &[&after]).await?;
        let keys = query::rows(&client, keys::CHANGED_KEYS, &[&after, &now]).await?;
        let stream_secrets = stream_secrets::read(&client).await?;
        let mut changes = AccessChanges {
            revision,
            tenants: tenants.iter().filter_map(known_tenant).collect(),
            keys: Vec::with_capacity(keys.len()),
            unreadable_keys: Vec::new(),
            stream_secrets,
        };
        for row in &keys {
            match known_key(row)? {
                Ok(key) => changes.keys.push(key),
                Err(id) => changes.unreadable_keys.push(id),
            }
        }
        Ok(changes)
    }

    /// Every tenant, by name.
    ///
    /// # Errors
    /// As [`Self::access_changes`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        let client = self.client().await?;
        let rows = query::rows(&client, TENANTS, &[&-1_i64]).await?;
        rows.iter().map(tenant_of_row).collect()
    }

    /// Changes a tenant's own limits; `change` gets the present ones. One that is not known yet is made. Answers with
    /// the limits that are now in force.
    ///
    /// # Errors
    /// As [`Self::access_changes`].
    pub async fn change_tenant_limits(
        &self,
        act: Act<'_>,
        change: impl FnOnce(&mut TenantLimits),
    ) -> Result<TenantLimits, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let revision = next_revision(&transaction).await?;
        // Read behind the lock, so that of two who change other fields at once none is lost.
        let row = query::row(&transaction, TENANT_LIMITS, &[&act.tenant]).await?;
        let (mut limits, rest) = match row {
            Some(row) => limits_of_record(Columns::of(&row).take::<Json<Value>>()?.0)?,
            None => (TenantLimits::default(), Map::new()),
        };
        change(&mut limits);
        let record = Json(Record { limits, rest });
        query::execute(
            &transaction,
            SET_TENANT_LIMITS,
            &[&act.tenant, &record, &revision, &act.at],
        )
        .await?;
        act.note(&transaction, act.tenant).await?;
        transaction.commit().await.map_err(Error::database("commit"))?;
        Ok(limits)
    }
}

async fn revision(client: &impl Runs) -> Result<i64, Error> {
    revision_of(query::row(client, ACCESS_REVISION, &[]).await?.as_ref())
}

fn revision_of(row: Option<&Row>) -> Result<i64, Error> {
    let row = row.ok_or_else(|| Error::Corrupt("there is no access revision".to_owned()))?;
    Columns::of(row).take()
}

/// A tenant's limits as they are written: with what a newer version wrote beside them.
#[derive(Debug, Serialize)]
struct Record {
    #[serde(flatten)]
    limits: TenantLimits,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn limits_of_record(record: Value) -> Result<(TenantLimits, Map<String, Value>), Error> {
    TenantLimits::from_record(record).map_err(|error| Error::Corrupt(format!("a tenant's limits: {error}")))
}

fn known_tenant(row: &Row) -> Option<Tenant> {
    tenant_of_row(row)
        .inspect_err(|error| tracing::error!(%error, "a tenant in the record cannot be read; its limits stay as they are"))
        .ok()
}

fn tenant_of_row(row: &Row) -> Result<Tenant, Error> {
    let mut columns = Columns::of(row);
    let name: String = columns.take()?;
    let record = columns.take::<Json<Value>>();
    let limits = record.and_then(|record| limits_of_record(record.0));
    let (limits, _) = limits.unwrap_or_else(|error| {
        tracing::error!(%error, tenant = name, "a tenant's own limits cannot be read; it has the configuration's");
        Default::default()
    });
    Ok(Tenant {
        name,
        limits,
        created_at: columns.take()?,
        updated_at: columns.take()?,
    })
}
