//! Webhook endpoints: their settings, and whether they are enabled. What is wrong with a setting is not decided here.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use posthaste_types::limits::ENDPOINT_COUNT_MAX;
use posthaste_types::{EndpointId, EventKind};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::row::Columns;
use crate::{Act, Error, Store, query};

macro_rules! endpoint_columns {
    () => {
        "e.id, e.tenant, e.url, e.events, e.channels, e.types, e.description, e.headers, e.rate_per_s, \
         e.max_in_flight, e.ordered, e.signing, e.secret, e.enabled, e.disabled_reason, e.created_at, e.updated_at"
    };
}

// Two callers at once may exceed the limit by one; it bounds and does not promise.
const ADD_ENDPOINT: &str = "-- add_endpoint
    insert into posthaste.endpoints (id, tenant, url, events, channels, types, description, headers, rate_per_s,
        max_in_flight, ordered, signing, secret, enabled, created_at, updated_at)
    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, true, $14, $14
    where (select count(*) from posthaste.endpoints e where e.tenant = $2) < $15";

const ENDPOINTS: &str = concat!(
    "-- endpoints\nselect ",
    endpoint_columns!(),
    " from posthaste.endpoints e where e.tenant = $1 order by e.id desc limit $2"
);

const ENDPOINT: &str = concat!(
    "-- endpoint\nselect ",
    endpoint_columns!(),
    " from posthaste.endpoints e where e.tenant = $1 and e.id = $2"
);

const ENABLED_ENDPOINTS: &str = concat!(
    "-- enabled_endpoints\nselect ",
    endpoint_columns!(),
    " from posthaste.endpoints e where e.enabled order by e.id"
);

// Every change of a row gives it a new xmin, and no order of commits can hide one, as it could with a time of change.
const ENDPOINTS_FINGERPRINT: &str = "-- endpoints_fingerprint
    select coalesce(bit_xor(hashtextextended(e.id::text || e.xmin::text, 0)), 0) from posthaste.endpoints e";

const UPDATE_ENDPOINT: &str = "-- update_endpoint
    update posthaste.endpoints e
    set url = $3, events = $4, channels = $5, types = $6, description = $7, headers = $8, rate_per_s = $9,
        max_in_flight = $10, ordered = $11, updated_at = $12
    where e.tenant = $1 and e.id = $2 and e.updated_at = $13";

// What waits for a disabled endpoint is kept and never due; enabling makes it due, spread over the coming minute.
const SET_ENDPOINT_ENABLED: &str = concat!(
    "-- set_endpoint_enabled
    with e as (
        update posthaste.endpoints e
        set enabled = $3, disabled_reason = $4, updated_at = $5
        where e.tenant = $1 and e.id = $2
        returning *
    ), held as (
        update posthaste.webhook_retries r
        set due_at = case when $3 then $5 + random() * interval '1 minute' else 'infinity' end
        from e
        where r.endpoint_id = e.id and (not $3 or r.due_at = 'infinity')
    )
    select ",
    endpoint_columns!(),
    " from e"
);

const DELETE_ENDPOINT: &str = "-- delete_endpoint
    delete from posthaste.endpoints e where e.tenant = $1 and e.id = $2";

/// A key to sign with; its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Wraps the key's bytes.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The key's bytes: for signing, and for its owner alone.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(hidden)")
    }
}

/// A webhook endpoint as it is stored; its debug form hides the URL and the headers' values, which may be or hold
/// credentials.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: String,
    /// Where events are posted.
    pub url: String,
    /// Kinds of event; never empty.
    pub events: Vec<EventKind>,
    /// Only these channels; empty means all.
    pub channels: Vec<String>,
    /// Only these task types; empty means all.
    pub types: Vec<String>,
    /// For people.
    pub description: String,
    /// Sent with each request.
    pub headers: BTreeMap<String, String>,
    /// Requests a second; none means no limit.
    pub rate_per_s: Option<f64>,
    /// Requests at once.
    pub max_in_flight: i32,
    /// One at a time.
    pub ordered: bool,
    /// `v1`.
    pub signing: String,
    /// What requests are signed with.
    pub key: SigningKey,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Why it is not, where the system decided so.
    pub disabled_reason: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("header_names", &self.headers.keys())
            .field("enabled", &self.enabled)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Stores a new, enabled endpoint; `false` when the tenant has `count_max` already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn add_endpoint(
        &self,
        endpoint: &Endpoint,
        count_max: u32,
        act: &Act<'_>,
    ) -> Result<bool, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let added = query::execute(
            &transaction,
            ADD_ENDPOINT,
            &[
                &endpoint.id.uuid(),
                &endpoint.tenant,
                &endpoint.url,
                &names(&endpoint.events),
                &endpoint.channels,
                &endpoint.types,
                &endpoint.description,
                &Json(&endpoint.headers),
                &endpoint.rate_per_s,
                &endpoint.max_in_flight,
                &endpoint.ordered,
                &endpoint.signing,
                &endpoint.key.expose(),
                &endpoint.created_at,
                &i64::from(count_max),
            ],
        )
        .await?;
        commit_one(transaction, added, act, endpoint.id).await
    }

    /// A tenant's endpoints, newest first.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn endpoints(&self, tenant: &str) -> Result<Vec<Endpoint>, Error> {
        let client = self.client().await?;
        query::rows(&client, ENDPOINTS, &[&tenant, &COUNT_MAX])
            .await?
            .iter()
            .map(endpoint_of_row)
            .collect()
    }

    /// One endpoint, if it is this tenant's.
    ///
    /// # Errors
    /// As [`Self::endpoints`].
    pub async fn endpoint(&self, tenant: &str, id: EndpointId) -> Result<Option<Endpoint>, Error> {
        let client = self.client().await?;
        query::row(&client, ENDPOINT, &[&tenant, &id.uuid()])
            .await?
            .as_ref()
            .map(endpoint_of_row)
            .transpose()
    }

    /// Every tenant's enabled endpoints.
    ///
    /// # Errors
    /// As [`Self::endpoints`].
    pub async fn enabled_endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let client = self.client().await?;
        query::rows(&client, ENABLED_ENDPOINTS, &[])
            .await?
            .iter()
            .map(endpoint_of_row)
            .collect()
    }

    /// A number that changes whenever an endpoint is added, changed or deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn endpoints_fingerprint(&self) -> Result<i64, Error> {
        let client = self.client().await?;
        let row = query::row(&client, ENDPOINTS_FINGERPRINT, &[]).await?;
        row.map_or(Ok(0), |row| Columns::of(&row).take())
    }

    /// Stores changed settings; `false` when the endpoint is gone or was changed after `read_at`, the `updated_at` that
    /// the change was made from.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn update_endpoint(
        &self,
        endpoint: &Endpoint,
        read_at: DateTime<Utc>,
        act: &Act<'_>,
    ) -> Result<bool, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let updated = query::execute(
            &transaction,
            UPDATE_ENDPOINT,
            &[
                &endpoint.tenant,
                &endpoint.id.uuid(),
                &endpoint.url,
                &names(&endpoint.events),
                &endpoint.channels,
                &endpoint.types,
                &endpoint.description,
                &Json(&endpoint.headers),
                &endpoint.rate_per_s,
                &endpoint.max_in_flight,
                &endpoint.ordered,
                &endpoint.updated_at,
                &read_at,
            ],
        )
        .await?;
        commit_one(transaction, updated, act, endpoint.id).await
    }

    /// Enables or disables an endpoint, with the reason where the system decided so; none when it is gone. Deliveries
    /// that wait for it are kept: while it is disabled none is due.
    ///
    /// # Errors
    /// As [`Self::endpoints`].
    pub async fn set_endpoint_enabled(
        &self,
        id: EndpointId,
        enabled: bool,
        reason: Option<&str>,
        act: &Act<'_>,
    ) -> Result<Option<Endpoint>, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let row = query::row(
            &transaction,
            SET_ENDPOINT_ENABLED,
            &[&act.tenant, &id.uuid(), &enabled, &reason, &act.at],
        )
        .await?;
        let Some(row) = row else { return Ok(None) };
        commit_one(transaction, 1, act, id).await?;
        endpoint_of_row(&row).map(Some)
    }

    /// Deletes an endpoint and what waits for it; `false` when there is none. Its attempts stay until retention takes
    /// them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_endpoint(&self, id: EndpointId, act: &Act<'_>) -> Result<bool, Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let deleted = query::execute(&transaction, DELETE_ENDPOINT, &[&act.tenant, &id.uuid()]).await?;
        commit_one(transaction, deleted, act, id).await
    }
}

/// Commits a write of one row with its entry in the audit log; `false`, and nothing, when no row was written.
async fn commit_one(
    transaction: Transaction<'_>,
    row_count: u64,
    act: &Act<'_>,
    id: EndpointId,
) -> Result<bool, Error> {
    if row_count != 1 {
        return Ok(false);
    }
    act.note(&transaction, id).await?;
    transaction.commit().await.map_err(Error::database("commit"))?;
    Ok(true)
}

const COUNT_MAX: i64 = ENDPOINT_COUNT_MAX as i64;

fn names(kinds: &[EventKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

/// A kind of event from its text.
pub(crate) fn kind_of(text: &str) -> Result<EventKind, Error> {
    text.parse()
        .map_err(|error| Error::Corrupt(format!("kind of event: {error}")))
}

fn endpoint_of_row(row: &Row) -> Result<Endpoint, Error> {
    let mut columns = Columns::of(row);
    Ok(Endpoint {
        id: EndpointId::from_uuid(columns.take::<Uuid>()?),
        tenant: columns.take()?,
        url: columns.take()?,
        events: columns
            .take::<Vec<&str>>()?
            .into_iter()
            .map(kind_of)
            .collect::<Result<_, _>>()?,
        channels: columns.take()?,
        types: columns.take()?,
        description: columns.take()?,
        headers: columns.take::<Json<_>>()?.0,
        rate_per_s: columns.take()?,
        max_in_flight: columns.take()?,
        ordered: columns.take()?,
        signing: columns.take()?,
        key: SigningKey(columns.take()?),
        enabled: columns.take()?,
        disabled_reason: columns.take()?,
        created_at: columns.take()?,
        updated_at: columns.take()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_debug_form_names_its_headers_and_shows_no_credentials() {
        let endpoint = Endpoint {
            id: EndpointId::from_uuid(Uuid::nil()),
            tenant: "acme".to_owned(),
            url: "https://user:hidden@example.com/hidden?token=hidden".to_owned(),
            events: vec![EventKind::Done],
            channels: Vec::new(),
            types: Vec::new(),
            description: String::new(),
            headers: BTreeMap::from([("authorization".to_owned(), "Bearer hidden".to_owned())]),
            rate_per_s: None,
            max_in_flight: 1,
            ordered: false,
            signing: "v1".to_owned(),
            key: SigningKey::new(b"hidden".to_vec()),
            enabled: true,
            disabled_reason: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let shown = format!("{endpoint:?}");
        assert!(
            shown.contains("authorization") && shown.contains("acme"),
            "{shown}"
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
