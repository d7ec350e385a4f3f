//! The pool of connections for reads and rare writes. The grouped writes hold connections of their own.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use posthaste_types::limits::STORE_WAIT_MS_MAX;

use crate::lease::{Lease, Leases};
use crate::long_read::LongReads;
use crate::server::Server;
use crate::{Error, Schemas};

/// Silence of the server after which it is probed, and between two probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
/// Probes without an answer that break a connection.
const KEEPALIVE_COUNT: u32 = 4;

/// How long a caller waits for a connection.
const WAIT: Duration = Duration::from_millis(STORE_WAIT_MS_MAX);

/// Plans must not depend on statistics, nor on the values of one call: a fresh partition has none, and the plan of its
/// first hour would be kept; and where they know of one tenant alone, the planner expects of its rows next to none, and
/// sorts a day's tasks for a page of fifty. Compiling a query takes longer than any of these.
const PLANNER: &str = "-c plan_cache_mode=force_generic_plan -c jit=off";

/// How to reach the database.
#[derive(Clone)]
pub struct StoreOptions {
    /// A libpq URL or key-value string, with libpq's `sslmode` and `sslrootcert`. May hold a password: never log it.
    pub url: String,
    /// PEM file of the authorities that may have signed the server's certificate. With it and no `sslmode` in the URL
    /// the certificate and its name are checked (`verify-full`). `None`: `sslrootcert`, or else the public authorities.
    pub ca: Option<PathBuf>,
    /// Connections of the pool, 1 or more.
    pub pool_size: usize,
    /// `application_name` of every connection, for `pg_stat_activity`.
    pub application_name: String,
}

impl fmt::Debug for StoreOptions {
    /// Leaves out the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("ca", &self.ca)
            .field("pool_size", &self.pool_size)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// A cheap handle on the record. Making one opens no connection, so a process starts while the database is away.
#[derive(Clone)]
pub struct Store {
    leases: Leases,
    long_reads: LongReads,
    schemas: Schemas,
}

impl Store {
    /// Checks the options and makes the pool.
    ///
    /// # Errors
    /// [`Error::Setup`] when the URL cannot be understood or the authority's certificate cannot be read.
    pub fn new(options: &StoreOptions) -> Result<Self, Error> {
        let mut server = Server::new(&options.url, options.ca.as_deref())?;
        let config = &mut server.config;
        config.application_name(&options.application_name);
        config.connect_timeout(Duration::from_millis(STORE_WAIT_MS_MAX));
        // A server that vanished without a word must not hold a caller for the hours that the system would wait.
        config.keepalives_idle(KEEPALIVE_AFTER);
        config.keepalives_interval(KEEPALIVE_AFTER);
        config.keepalives_retries(KEEPALIVE_COUNT);
        config.tcp_user_timeout(KEEPALIVE_AFTER * KEEPALIVE_COUNT);
        config.options(format!(
            "-c synchronous_commit=on -c statement_timeout=30s -c lock_timeout=10s {PLANNER}"
        ));
        Ok(Self::over(Arc::new(server), options.pool_size))
    }

    /// The same database over `pool_size` connections of its own: for what must not wait behind other reads and writes.
    #[must_use]
    pub fn apart(&self, pool_size: usize) -> Self {
        Self::over(Arc::clone(self.leases.server()), pool_size)
    }

    fn over(server: Arc<Server>, pool_size: usize) -> Self {
        let leases = Leases::new(pool(&server, pool_size), server);
        Self {
            schemas: Schemas::new(leases.clone()),
            leases,
            long_reads: LongReads::new(pool_size),
        }
    }

    /// Closes the connections that nobody uses now, and those that somebody gave up. To be called when a call was given up:
    /// what it asked may still be running there, and the next one would wait for it.
    pub fn close_idle(&self) {
        self.leases.close_idle();
    }

    /// A connection of the pool; to be used by `query.rs`.
    pub(crate) async fn client(&self) -> Result<Lease, Error> {
        self.leases.client().await
    }

    /// The same, for a read that may take long.
    pub(crate) async fn client_for_long_read(&self) -> Result<Lease, Error> {
        let turn = self.long_reads.turn(WAIT).await?;
        Ok(self.client().await?.with_turn(turn))
    }

    /// The ids of registered schemas, shared by all handles on this store.
    pub(crate) const fn schema_ids(&self) -> &Schemas {
        &self.schemas
    }

    /// How to open a connection of one's own (group commit, replication).
    pub(crate) fn server(&self) -> &Server {
        self.leases.server()
    }
}

fn pool(server: &Server, size: usize) -> Pool {
    let manager = Manager::from_config(
        server.config.clone(),
        server.tls.clone(),
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let wait = Some(WAIT);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(wait)
        .create_timeout(wait)
        .recycle_timeout(wait)
        .build()
        .expect("times need a runtime, and there is one")
}
