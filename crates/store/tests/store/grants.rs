//! Rights of the roles that the parts run as: what the owner's functions let them do, and what not.

use posthaste_runtime::{Clock as _, SystemClock};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::world::with_world;

const PARTS: [&str; 5] = ["ingest", "connector", "worker", "delivery", "scheduler"];

/// Why a statement was refused to a role.
async fn refused(database: &Client, role: &str, sql: &str) -> SqlState {
    database.batch_execute(&format!("set role {role}")).await.unwrap();
    let error = database.batch_execute(sql).await.expect_err(sql);
    database.batch_execute("reset role").await.unwrap();
    error.code().cloned().unwrap()
}

async fn allowed(database: &Client, role: &str, sql: &str) {
    database.batch_execute(&format!("set role {role}")).await.unwrap();
    database.batch_execute(sql).await.expect(sql);
    database.batch_execute("reset role").await.unwrap();
}

#[test]
fn each_part_may_do_its_part_and_no_more() {
    with_world("grants", async |world| {
        let database = &world.database;
        let grant = "select posthaste.grant_roles('g')";
        let told =
            |rows: Vec<tokio_postgres::Row>| -> Vec<String> { rows.iter().map(|row| row.get(0)).collect() };
        assert!(
            told(world.query(grant, &[]).await)
                .iter()
                .all(|line| line.ends_with("there is no such role"))
        );
        for part in PARTS {
            database
                .batch_execute(&format!("create role g_{part}"))
                .await
                .unwrap();
        }
        // What somebody gave by hand is taken back, and twice is once.
        database
            .batch_execute("grant select on posthaste.endpoints to g_worker")
            .await
            .unwrap();
        for _ in 0..2 {
            let lines = told(world.query(grant, &[]).await);
            assert_eq!(lines.len(), PARTS.len());
            assert!(lines.iter().all(|line| line.ends_with("granted")), "{lines:?}");
        }

        let denied = SqlState::INSUFFICIENT_PRIVILEGE;
        for (role, sql) in [
            ("g_worker", "select secret from posthaste.endpoints"),
            ("g_worker", "select hash from posthaste.api_keys"),
            ("g_worker", "delete from posthaste.tasks"),
            (
                "g_worker",
                "insert into posthaste.tasks (id) values (gen_random_uuid())",
            ),
            ("g_connector", "select from posthaste.tasks"),
            ("g_connector", "delete from posthaste.outbox"),
            ("g_ingest", "select secret from posthaste.endpoints"),
            ("g_ingest", "select payload from posthaste.outbox"),
            ("g_delivery", "update posthaste.tasks set state = 'DONE'"),
            ("g_delivery", "delete from posthaste.audit"),
            ("g_scheduler", "select hash from posthaste.api_keys"),
            ("g_scheduler", "drop table posthaste.tasks"),
            ("g_worker", "select posthaste.drop_tasks('tasks_20200101')"),
            ("g_worker", "select posthaste.grant_roles('g')"),
        ] {
            assert_eq!(refused(database, role, sql).await, denied, "{role}: {sql}");
        }
        for part in PARTS {
            allowed(
                database,
                &format!("g_{part}"),
                "select from posthaste.schema_migrations",
            )
            .await;
        }
        allowed(database, "g_connector", "select from posthaste.outbox").await;
        database
            .batch_execute(
                &PARTS
                    .map(|part| format!("drop owned by g_{part}; drop role g_{part};"))
                    .concat(),
            )
            .await
            .unwrap();
    });
}

#[test]
fn the_scheduler_deletes_what_is_old_of_access_and_sees_no_more_than_that_takes() {
    with_world("grants_prune", async |world| {
        let (database, role) = (&world.database, "p_scheduler");
        database
            .batch_execute("create role p_scheduler; select posthaste.grant_roles('p')")
            .await
            .unwrap();
        for sql in [
            "delete from posthaste.api_keys where id = any (array(
                select id from posthaste.api_keys where least(revoked_at, expires_at) < now()))",
            "delete from posthaste.audit where id = any (array(select id from posthaste.audit))",
        ] {
            allowed(database, role, sql).await;
        }
        for sql in [
            "select name from posthaste.api_keys",
            "update posthaste.api_keys set revoked_at = null",
            "select details from posthaste.audit",
        ] {
            let code = refused(database, role, sql).await;
            assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}");
        }
        database
            .batch_execute("drop owned by p_scheduler; drop role p_scheduler")
            .await
            .unwrap();
    });
}

#[test]
fn ingest_asks_a_connector_to_stand_still_and_the_connector_obeys_and_asks_nothing() {
    with_world("grants_pause", async |world| {
        let database = &world.database;
        database
            .batch_execute(
                "create role c_ingest; create role c_connector; create role c_delivery; create role c_worker;
                 select posthaste.grant_roles('c')",
            )
            .await
            .unwrap();
        for (role, sql) in [
            ("c_connector", "select posthaste.enter_connector('s', 'i', 'd')"),
            (
                "c_connector",
                "select from posthaste.tell_connector('s', 'i', 'paused', 'x', 7)",
            ),
            (
                "c_ingest",
                "update posthaste.connectors set is_paused = true where slot = 's'",
            ),
            (
                "c_ingest",
                "select posthaste.connector_lives(slot, instance), state from posthaste.connector_instances",
            ),
        ] {
            allowed(database, role, sql).await;
        }
        for (role, sql) in [
            ("c_connector", "update posthaste.connectors set is_paused = false"),
            ("c_worker", "update posthaste.connectors set is_paused = true"),
            ("c_delivery", "select from posthaste.connectors"),
            ("c_ingest", "insert into posthaste.connectors (slot) values ('t')"),
            ("c_ingest", "select posthaste.enter_connector('s', 'i', 'd')"),
        ] {
            let code = refused(database, role, sql).await;
            assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{role}: {sql}");
        }
        let drop = "drop owned by c_ingest, c_connector, c_delivery, c_worker;
            drop role c_ingest, c_connector, c_delivery, c_worker";
        database.batch_execute(drop).await.unwrap();
    });
}

#[test]
fn functions_with_the_owner_s_rights_touch_nothing_but_partitions() {
    with_world("definer", async |world| {
        let database = &world.database;
        database
            .batch_execute("create role d_scheduler; select posthaste.grant_roles('d')")
            .await
            .unwrap();
        let invalid = SqlState::INVALID_PARAMETER_VALUE;
        for sql in [
            "select posthaste.drop_partition('tasks_20200101')",
            "select posthaste.drop_partition('outbox_2020010100')",
            "select posthaste.drop_partition('endpoints')",
            "select posthaste.drop_partition('task_history_default')",
            "select posthaste.drop_partition('x\"; drop table posthaste.tasks; --_20200101')",
            "select posthaste.drop_tasks('tasks_default')",
            "select posthaste.drop_tasks('endpoints')",
            "select posthaste.drop_outbox('tasks_20200101')",
            "select posthaste.close_outbox('outbox')",
            "select posthaste.add_partition('endpoints', 'endpoints_20200101', 'id', '1', '2', '')",
            "select posthaste.add_partition('tasks', 'outbox_2020010100', 'id', '1', '2', '')",
            "select posthaste.add_partition('tasks', 'tasks_20200101', 'payload', '1', '2', '')",
            "select posthaste.add_partition('tasks', 'tasks_20200101', 'id', '1', '2', 'fillfactor = 30); drop table x; --')",
        ] {
            assert_eq!(refused(database, "d_scheduler", sql).await, invalid, "{sql}");
        }

        // Its work it can do: far from today, so that the partition is not there.
        let day = SystemClock.now() + chrono::TimeDelta::days(400);
        let add = format!(
            "select posthaste.add_partition('outbox', 'outbox_{}', 'created_at', '{}', '{}', 'autovacuum_enabled = off')",
            day.format("%Y%m%d%H"),
            day.format("%Y-%m-%d %H:00Z"),
            (day + chrono::TimeDelta::hours(1)).format("%Y-%m-%d %H:00Z"),
        );
        allowed(database, "d_scheduler", &add).await;
        database
            .batch_execute("drop owned by d_scheduler; drop role d_scheduler")
            .await
            .unwrap();
    });
}
