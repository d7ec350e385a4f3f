//! Ids of our schemas in the registry, as `posthaste migrate` noted them: a writer asks no registry.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::RwLock;
use posthaste_schema::{SCHEMAS, SchemaId};
use posthaste_types::limits::{SCHEMAS_REFRESH_MS_MIN, STORE_WAIT_MS_MAX};
use posthaste_types::topics;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

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
/// often than once in [`SCHEMAS_REFRESH_MS_MIN`], and nobody waits for longer than [`STORE_WAIT_MS_MAX`].
#[derive(Clone)]
pub struct Schemas {
    leases: Leases,
    known: Arc<RwLock<Arc<HashMap<String, SchemaId>>>>,
    /// The last look at the table; holding it keeps others from looking at the same time.
    looked: Arc<Mutex<Option<Look>>>,
}

/// A look at the table of schemas.
struct Look {
    at: Instant,
    /// One that failed answers those who come right after it, too: each would wait for as long.
    outcome: Result<(), Arc<Error>>,
}

impl Schemas {
    pub(crate) fn new(leases: Leases) -> Self {
        Self {
            leases,
            known: Arc::default(),
            looked: Arc::default(),
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
        let end = Instant::now() + Duration::from_millis(STORE_WAIT_MS_MAX);
        let late = |_| Error::TimedOut("select_schemas");
        let mut looked = timeout_at(end, self.looked.lock()).await.map_err(late)?;
        let fresh = Duration::from_millis(SCHEMAS_REFRESH_MS_MIN);
        let is_fresh = |look: &Look| look.at.elapsed() < fresh;
        let look = match looked.take().filter(is_fresh) {
            Some(look) => look,
            None => {
                let read = timeout_at(end, self.read()).await;
                Look {
                    outcome: read.map_err(late).flatten().map_err(Arc::new),
                    at: Instant::now(),
                }
            }
        };
        looked.insert(look).outcome.clone().map_err(Error::Group)
    }

    async fn read(&self) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::future::join_all;

    use super::*;
    use crate::{ErrorKind, StoreOptions};

    /// A store on a database that takes connections and says nothing.
    fn silent() -> (TcpListener, Store) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = StoreOptions {
            url: format!("postgresql://a@127.0.0.1:{port}/a?sslmode=disable"),
            ca: None,
            pool_size: 4,
            application_name: "silent".to_owned(),
        };
        (listener, Store::new(&options).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_database_keeps_nobody_who_asks_for_a_schema_past_the_bound() {
        let (_listener, store) = silent();
        let bound = Duration::from_millis(STORE_WAIT_MS_MAX);
        let asks = (0..40).map(|n| {
            let store = &store;
            async move {
                // Over three bounds, so that some come while one looks and some after it.
                tokio::time::sleep(bound * n / 13).await;
                let began = Instant::now();
                let error = store.schema_id(&format!("tasks.{n}")).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                began.elapsed()
            }
        });
        let waited = join_all(asks).await;
        // A timer may be a millisecond late.
        let longest = waited.iter().max().unwrap();
        assert!(*longest <= bound + Duration::from_millis(1), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_failed_answers_those_who_ask_right_after_it_and_no_others() {
        let (_listener, store) = silent();
        store.schema_id("tasks.a").await.unwrap_err();
        let began = Instant::now();
        let told = store.schema_id("tasks.b").await.unwrap_err();
        assert!(
            matches!(told, Error::Group(_)) && began.elapsed().is_zero(),
            "{told}"
        );
        tokio::time::advance(Duration::from_millis(SCHEMAS_REFRESH_MS_MIN)).await;
        let began = Instant::now();
        store.schema_id("tasks.b").await.unwrap_err();
        assert!(!began.elapsed().is_zero(), "it was looked for again");
    }
}
