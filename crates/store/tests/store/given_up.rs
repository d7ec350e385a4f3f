//! Statements whose callers went away.

use std::time::Duration;

use posthaste_store::{Store, StoreOptions, TaskFilter};
use tokio_postgres::Client;

use crate::world::{World, connect, with_world};

/// A store with so many connections, told apart by its name.
fn store(world: &World, pool_size: usize) -> Store {
    Store::new(&StoreOptions {
        pool_size,
        ..world.options("given-up")
    })
    .unwrap()
}

/// Holds a table that statements need, until it is dropped.
async fn lock(world: &World, table: &str) -> Client {
    let locking = connect(&world.options("lock").url).await;
    locking
        .batch_execute(&format!("begin; lock table {table}"))
        .await
        .unwrap();
    locking
}

/// How long is waited for what has to come: past it a test fails rather than hang.
const FAR: Duration = Duration::from_secs(60);

/// Within it what nothing stands before is answered.
const SOON: Duration = Duration::from_secs(5);

/// Waits until so many statements of the store wait for a lock.
async fn until_blocked(database: &Client, count: i64) {
    let sql = "select count(*) from pg_stat_activity
        where application_name = 'given-up' and wait_event_type = 'Lock' and datname = current_database()";
    let blocked = async {
        while database.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(FAR, blocked).await;
    assert!(waited.is_ok(), "{count} statements never waited for the lock");
}

async fn list(store: Store) {
    let _page = store.tasks("default", &TaskFilter::default(), None, 500).await;
}

#[test]
fn a_read_that_is_given_up_is_cancelled_and_its_connection_serves_others() {
    with_world("given_up_read", |world| async move {
        let store = store(&world, 1);
        let _locked = lock(&world, "posthaste.tasks").await;
        let reading = tokio::spawn(list(store.clone()));
        until_blocked(&world.database, 1).await;
        reading.abort();
        store.ping().await.expect("the lock is still held");
    });
}

#[test]
fn a_look_at_the_schemas_that_is_given_up_is_cancelled_too() {
    with_world("given_up_look", |world| async move {
        let store = store(&world, 1);
        let locked = lock(&world, "posthaste.schemas").await;
        let looking = tokio::spawn({
            let store = store.clone();
            async move { drop(store.schemas().await) }
        });
        until_blocked(&world.database, 1).await;
        looking.abort();
        // Well before the bound on waits for locks would end the statement.
        let answered = tokio::time::timeout(SOON, store.ping()).await;
        answered.expect("nothing stands before it").unwrap();
        drop(locked);
    });
}

#[test]
fn reads_that_come_and_go_queue_up_no_statements_and_leave_connections_to_others() {
    with_world("given_up_reads", |world| async move {
        let store = store(&world, 8);
        let _locked = lock(&world, "posthaste.tasks").await;
        for _ in 0..5 {
            let readers: Vec<_> = (0..20).map(|_| tokio::spawn(list(store.clone()))).collect();
            until_blocked(&world.database, 2).await;
            let sql = "select count(*) from pg_stat_activity where application_name = 'given-up'
                and state = 'active' and datname = current_database()";
            let active: i64 = world.database.query_one(sql, &[]).await.unwrap().get(0);
            assert!(active <= 2, "{active} of 8 connections read lists");
            store.ping().await.expect("others are served meanwhile");
            for reader in readers {
                reader.abort();
            }
        }
    });
}
