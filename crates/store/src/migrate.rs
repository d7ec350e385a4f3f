//! Migrations: embedded, ordered, applied once each, checked by checksum. They expand first and contract in a later
//! version, so that an older program runs on beside a newer schema.

use std::fmt::Write as _;

use posthaste_runtime::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, GenericClient, Row};

use crate::row::Columns;
use crate::{Error, Store, query};

/// Each migration once, in order; a released one never changes.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tasks",
        sql: include_str!("../migrations/0001_tasks.sql"),
    },
    Migration {
        version: 2,
        name: "partitions",
        sql: include_str!("../migrations/0002_partitions.sql"),
    },
    Migration {
        version: 3,
        name: "retention",
        sql: include_str!("../migrations/0003_retention.sql"),
    },
    Migration {
        version: 4,
        name: "access",
        sql: include_str!("../migrations/0004_access.sql"),
    },
    Migration {
        version: 5,
        name: "idempotency",
        sql: include_str!("../migrations/0005_idempotency.sql"),
    },
    Migration {
        version: 6,
        name: "open_tasks",
        sql: include_str!("../migrations/0006_open_tasks.sql"),
    },
    Migration {
        version: 7,
        name: "submit",
        sql: include_str!("../migrations/0007_submit.sql"),
    },
    Migration {
        version: 8,
        name: "grants",
        sql: include_str!("../migrations/0008_grants.sql"),
    },
    Migration {
        version: 9,
        name: "wal_guard",
        sql: include_str!("../migrations/0009_wal_guard.sql"),
    },
    Migration {
        version: 10,
        name: "tenant_index",
        sql: include_str!("../migrations/0010_tenant_index.sql"),
    },
    Migration {
        version: 11,
        name: "connectors",
        sql: include_str!("../migrations/0011_connectors.sql"),
    },
];

/// Partitions that `migrate` makes ahead; the scheduler keeps making them.
const DAYS_AHEAD: u32 = 1;

/// Any number that no other program uses on the same database.
const LOCK: &str = "-- lock_migrations
select pg_advisory_lock(7210983644130501)";

/// An index takes as long as its table is large, and who comes second waits for all of it.
const PATIENCE: &str = "-- migration_patience
set statement_timeout = 0; set lock_timeout = 0";

/// Back to the bound that all have: behind a migration that waits for a table, everybody else waits for it.
const BOUND_LOCKS: &str = "-- bound_migrations_locks
reset lock_timeout";

const PREPARE: &str = "-- prepare_migrations
create schema if not exists posthaste;
create table if not exists posthaste.schema_migrations (
    version    integer primary key,
    name       text not null,
    checksum   text not null,                  -- SHA-256 of the text that was applied, hex
    applied_at timestamptz not null default now()
)";

/// A function is everybody's when it is made, and an application that may call one (`posthaste.submit`) could call all. So
/// each migration takes back what it made before anybody sees it, and every run what was given since.
const REVOKE_FUNCTIONS: &str = "-- revoke_functions
revoke execute on all functions in schema posthaste from public";

const SELECT_APPLIED: &str = "-- select_applied
select version, checksum from posthaste.schema_migrations order by version";

const RECORD_APPLIED: &str = "-- record_applied
insert into posthaste.schema_migrations (version, name, checksum) values ($1, $2, $3)";

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> String {
        Sha256::digest(self.sql)
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The migrations that were applied now, in order.
    pub applied: Vec<&'static str>,
    /// How many were applied before.
    pub present: usize,
    /// How many partitions were made now.
    pub partitions: usize,
}

/// Brings the schema to this version and makes the first partitions. Safe twice and at once: an advisory lock lets one
/// at a time in, and each migration is one transaction. The connection is one of its own, so that its patience and the lock
/// end with it, however this ends.
///
/// # Errors
/// [`Error::Setup`] when a migration that was applied differs from ours, else what the database says.
pub async fn migrate(store: &Store) -> Result<MigrationReport, Error> {
    let (mut client, connection) = store.server().connect().await?;
    tokio::spawn(connection);
    for command in [PATIENCE, LOCK, BOUND_LOCKS] {
        let done = client.batch_execute(command).await;
        done.map_err(Error::database(query::name_of(command)))?;
    }
    let (applied, present) = apply_missing(&mut client).await?;
    drop(client);
    let partitions = store.ensure_partitions(SystemClock.now(), DAYS_AHEAD).await?;
    Ok(MigrationReport {
        applied,
        present,
        partitions,
    })
}

async fn apply_missing(client: &mut Client) -> Result<(Vec<&'static str>, usize), Error> {
    client
        .batch_execute(PREPARE)
        .await
        .map_err(Error::database("prepare_migrations"))?;
    let present = client.query(SELECT_APPLIED, &[]).await;
    let present = versions(&present.map_err(Error::database("select_applied"))?)?;
    let missing = missing(&present)?;
    let mut applied = Vec::with_capacity(missing.len());
    for migration in missing {
        let transaction = client
            .transaction()
            .await
            .map_err(Error::database("begin_migration"))?;
        transaction
            .batch_execute(migration.sql)
            .await
            .map_err(Error::database(migration.name))?;
        revoke_functions(&transaction).await?;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&migration.version, &migration.name, &migration.checksum()];
        transaction
            .execute(RECORD_APPLIED, &row)
            .await
            .map_err(Error::database("record_applied"))?;
        transaction
            .commit()
            .await
            .map_err(Error::database("commit_migration"))?;
        applied.push(migration.name);
    }
    revoke_functions(client).await?;
    Ok((applied, present.len()))
}

async fn revoke_functions(client: &impl GenericClient) -> Result<(), Error> {
    let revoked = client.batch_execute(REVOKE_FUNCTIONS).await;
    revoked.map_err(Error::database("revoke_functions"))
}

/// Versions and checksums, in order.
fn versions(rows: &[Row]) -> Result<Vec<(i32, String)>, Error> {
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok((columns.take()?, columns.take()?))
        })
        .collect()
}

/// Those of ours that are not applied. Ones that we do not know were applied by a newer program and are no concern.
fn missing(present: &[(i32, String)]) -> Result<Vec<&'static Migration>, Error> {
    let mut missing = Vec::new();
    for migration in MIGRATIONS {
        match present.iter().find(|(version, _)| *version == migration.version) {
            None => missing.push(migration),
            Some((_, checksum)) if *checksum == migration.checksum() => {}
            Some(_) => {
                return Err(Error::Setup(format!(
                    "migration {} ({}) was applied with another text: this program and the database are of different \
                     builds; restore the database or use the build that migrated it",
                    migration.version, migration.name
                )));
            }
        }
    }
    Ok(missing)
}

/// Checks that every migration of this version is applied.
///
/// # Errors
/// [`Error::Setup`] that names `posthaste migrate` when not; what the database says when it cannot be asked.
pub async fn check_migrated(store: &Store) -> Result<(), Error> {
    let client = store.client().await?;
    let present = match query::rows(&client, SELECT_APPLIED, &[]).await {
        Err(error) if error.is_undefined() => Vec::new(),
        rows => versions(&rows?)?,
    };
    match missing(&present)?.as_slice() {
        [] => Ok(()),
        missing => Err(Error::Setup(format!(
            "the database lacks {} of {} migrations: run `posthaste migrate`",
            missing.len(),
            MIGRATIONS.len()
        ))),
    }
}
