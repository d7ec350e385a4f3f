//! Ids of our schemas in the registry, as `posthaste migrate` noted them: a writer asks no registry.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use posthaste_schema::{SCHEMAS, SchemaId};
use posthaste_types::limits::SCHEMAS_REFRESH_MS_MIN;
use posthaste_types::topics;

use crate::lease::Leases;
use crate::row::Columns;
use crate::{Error, Store, query};

/// Of each subject the id of this version's schema; a newer version's row stands beside it.
const SELECT_SCHEMAS: &str = "-- select_schemas
select subject, id from posthaste.schemas where fingerprint = any($1)";

const RECORD_SCHEMA: &str = "-- record_schema
insert into posthaste.schemas (subject, id, name, fingerprint) values ($1, $2, $3, $4)
on conflict (subject, fingerprint) do update set id = excluded.id, registered_at = now()";

const PING: &str = "-- ping
select 1";

static FINGERPRINTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    SCHEMAS
        .iter()
        .map(posthaste_schema::SchemaText::fingerprint)
        .collect()
});

/// The schema ids of topics. Clones share what they know; a topic that is missing is looked for again, but not more
/// often than once in [`SCHEMAS_REFRESH_MS_MIN`].
#[derive(Clone)]
pub struct Schemas {
    leases: Leases,
    known: Arc<RwLock<Arc<HashMap<String, SchemaId>>>>,
    /// When the table was last read; holding it keeps others from reading it at the same time.
    refreshed: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

impl Schemas {
    pub(crate) fn new(leases: Leases) -> Self {
        Self {
            leases,
            known: Arc::default(),
            refreshed: Arc::default(),
        }
    }

    /// The id for values on `topic`, as far as is known without asking the database.
    pub fn known(&self, topic: &str) -> Option<SchemaId> {
        self.known.read().get(topic).copied()
    }

    /// The id for values on `topic`.
    ///
    /// # Errors
    /// [`Error::Setup`] when none is registered, [`crate::ErrorKind::Unavailable`] when it cannot be looked up.
    pub async fn id(&self, topic: &str) -> Result<SchemaId, Error> {
        if let Some(id) = self.known(topic) {
            return Ok(id);
        }
        self.refresh().await?;
        self.known(topic).ok_or_else(|| {
            Error::Setup(format!(
                "no schema is registered for topic `{topic}`: add its queue to the configuration and run `posthaste migrate`"
            ))
        })
    }

    /// The topics with a registered schema, sorted.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.known.read().keys().cloned().collect();
        topics.sort_unstable();
        topics
    }

    async fn refresh(&self) -> Result<(), Error> {
        let mut refreshed = self.refreshed.lock().await;
        let fresh = Duration::from_millis(SCHEMAS_REFRESH_MS_MIN);
        if refreshed.is_some_and(|at| at.elapsed() < fresh) {
            return Ok(());
        }
        let client = self.leases.client().await?;
        let rows = query::rows(&client, SELECT_SCHEMAS, &[&*FINGERPRINTS]).await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            if let Some(topic) = topics::topic_of_subject(columns.take()?) {
                known.insert(topic.to_owned(), SchemaId(columns.take()?));
            }
        }
        *self.known.write() = Arc::new(known);
        *refreshed = Some(Instant::now());
        Ok(())
    }
}

impl Store {
    /// The ids of registered schemas, read now if they never were or not lately.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] or [`crate::ErrorKind::Setup`] when they cannot be read.
    pub async fn schemas(&self) -> Result<Schemas, Error> {
        self.schema_ids().refresh().await?;
        Ok(self.schema_ids().clone())
    }

    /// The schema id for values on `topic`; asks the database only when it is not known yet.
    ///
    /// # Errors
    /// As [`Schemas::id`].
    pub async fn schema_id(&self, topic: &str) -> Result<SchemaId, Error> {
        self.schema_ids().id(topic).await
    }

    /// Notes the id that the registry gave to a schema of ours. `fingerprint` is
    /// [`posthaste_schema::SchemaText::fingerprint`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record_schema(
        &self,
        subject: &str,
        id: SchemaId,
        name: &str,
        fingerprint: &str,
    ) -> Result<(), Error> {
        let client = self.client().await?;
        query::execute(&client, RECORD_SCHEMA, &[&subject, &id.0, &name, &fingerprint])
            .await
            .map(drop)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        let client = self.client().await?;
        query::one(&client, PING, &[]).await.map(drop)
    }
}
