//! The pool of connections for reads and rare writes. The grouped writes hold connections of their own.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use posthaste_types::limits::STORE_WAIT_MS_MAX;
use tokio_postgres::NoTls;

use crate::{Error, Schemas};

/// Silence of the server after which it is probed, and between two probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
/// Probes without an answer that break a connection.
const KEEPALIVE_COUNT: u32 = 4;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A libpq URL or key-value string. May hold a password: never log it.
    pub url: String,
    /// Connections of the pool, 1 or more.
    pub pool_size: usize,
    /// `application_name` of every connection, for `pg_stat_activity`.
    pub application_name: String,
}

/// A cheap handle on the record. Making one opens no connection, so a process starts while the database is away.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    config: Arc<tokio_postgres::Config>,
    schemas: Schemas,
}

impl Store {
    /// Checks the options and makes the pool.
    ///
    /// # Errors
    /// [`Error::Setup`] when the URL cannot be understood.
    pub fn new(options: &StoreOptions) -> Result<Self, Error> {
        let mut config: tokio_postgres::Config = options
            .url
            .parse()
            .map_err(|_| Error::Setup("the database URL is not a libpq connection string".to_owned()))?;
        config.application_name(&options.application_name);
        config.connect_timeout(Duration::from_millis(STORE_WAIT_MS_MAX));
        // A server that vanished without a word must not hold a caller for the hours that the system would wait.
        config.keepalives_idle(KEEPALIVE_AFTER);
        config.keepalives_interval(KEEPALIVE_AFTER);
        config.keepalives_retries(KEEPALIVE_COUNT);
        config.tcp_user_timeout(KEEPALIVE_AFTER * KEEPALIVE_COUNT);
        config.options("-c synchronous_commit=on -c statement_timeout=30s -c lock_timeout=10s");
        let manager = Manager::from_config(
            config.clone(),
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let wait = Some(Duration::from_millis(STORE_WAIT_MS_MAX));
        let pool = Pool::builder(manager)
            .max_size(options.pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(wait)
            .create_timeout(wait)
            .recycle_timeout(wait)
            .build()
            .map_err(|error| Error::Setup(format!("the pool cannot be made: {error}")))?;
        Ok(Self {
            schemas: Schemas::new(pool.clone()),
            pool,
            config: Arc::new(config),
        })
    }

    /// A connection of the pool; use `prepare_cached` on it.
    pub(crate) async fn client(&self) -> Result<deadpool_postgres::Object, Error> {
        Ok(self.pool.get().await?)
    }

    /// The ids of registered schemas, shared by all handles on this store.
    pub(crate) const fn schema_ids(&self) -> &Schemas {
        &self.schemas
    }

    /// How to open a connection of one's own (group commit, replication).
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }
}
