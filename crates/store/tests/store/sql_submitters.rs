//! Who may call `posthaste.submit`, and for which tenants.

use posthaste_store::AuditFilter;
use posthaste_types::is_tenant_name;
use posthaste_types::limits::TENANT_BYTES_MAX;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::world::{World, with_world};

/// A connection as a role that may log in and nothing else.
async fn application(world: &World, role: &str) -> Client {
    let sql = format!("create role {role} login password 'x'");
    world.database.batch_execute(&sql).await.unwrap();
    let mut config: tokio_postgres::Config = world.options("application").url.parse().unwrap();
    config.user(role).password("x");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[test]
fn a_role_that_may_submit_may_do_nothing_else() {
    with_world("sql_roles", async |world| {
        let shop = application(&world, "sql_roles_shop").await;
        let submit_for = |tenant: &str| format!("select posthaste.submit('a', tenant => '{tenant}')");
        let refused = SqlState::INSUFFICIENT_PRIVILEGE;
        let code = |outcome: Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>| {
            outcome.unwrap_err().code().cloned()
        };
        assert_eq!(
            code(shop.query(&submit_for("default"), &[]).await),
            Some(refused.clone())
        );
        let allow = "select posthaste.allow_submit('sql_roles_shop', 'default')";
        world.query(allow, &[]).await;
        shop.query(&submit_for("default"), &[]).await.unwrap();
        assert_eq!(
            code(shop.query(&submit_for("other"), &[]).await),
            Some(refused.clone())
        );
        assert_eq!(code(shop.query(allow, &[]).await), Some(refused.clone()));
        for row in world.query("select relname::text from pg_class where relnamespace = 'posthaste'::regnamespace and relkind in ('r', 'p')", &[]).await {
            let table: &str = row.get(0);
            for sql in [
                format!("select from posthaste.{table}"),
                format!("insert into posthaste.{table} default values"),
                format!("delete from posthaste.{table}"),
            ] {
                assert_eq!(code(shop.query(&sql, &[]).await), Some(refused.clone()), "{sql}");
            }
        }
        let executable = "select count(*) from pg_proc where pronamespace = 'posthaste'::regnamespace
            and has_function_privilege('sql_roles_shop', oid, 'execute') and proname <> 'submit'";
        assert_eq!(world.count(executable, &[]).await, 0);
        world
            .query("select posthaste.forbid_submit('sql_roles_shop', 'default')", &[])
            .await;
        assert_eq!(code(shop.query(&submit_for("default"), &[]).await), Some(refused));
        drop(shop);
    });
}

#[test]
fn a_role_of_a_dropped_roles_name_has_none_of_its_tenants() {
    with_world("sql_dropped", async |world| {
        let act = async |sql: &str| world.database.batch_execute(sql).await;
        drop(application(&world, "sql_dropped_shop").await);
        let allow = |tenant: &str| format!("select posthaste.allow_submit('sql_dropped_shop', '{tenant}')");
        act(&allow("default")).await.unwrap();
        let dropped = "drop owned by sql_dropped_shop; drop role sql_dropped_shop";
        act(dropped).await.unwrap();
        let shop = application(&world, "sql_dropped_shop").await;
        act(&allow("beta")).await.unwrap();
        let submit = |tenant: &str| format!("select posthaste.submit('a', tenant => '{tenant}')");
        shop.batch_execute(&submit("beta")).await.unwrap();
        let error = shop.batch_execute(&submit("default")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        drop(shop);
        act(dropped).await.unwrap();
        // There is nothing left to take back, and nobody to give anything to.
        act("select posthaste.forbid_submit('sql_dropped_shop', 'beta')")
            .await
            .unwrap();
        let left = "select count(*) from posthaste.submitters";
        assert_eq!(world.count(left, &[]).await, 0);
        let error = act(&allow("beta")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_OBJECT));
    });
}

/// A pooler logs in as one role and takes each application's own by `set role`.
#[test]
fn the_role_that_counts_is_the_one_that_the_session_has_taken() {
    with_world("sql_taken", async |world| {
        let pool = application(&world, "sql_taken_pool").await;
        world
            .database
            .batch_execute(
                "create role sql_taken_shop; create role sql_taken_beta;
                alter role sql_taken_pool noinherit;
                grant sql_taken_shop, sql_taken_beta to sql_taken_pool;
                create role sql_taken_part in role sql_taken_shop;
                create role sql_taken_alone noinherit in role sql_taken_shop;
                select posthaste.allow_submit('sql_taken_shop', 'acme');
                select posthaste.allow_submit('sql_taken_beta', 'beta');
                select posthaste.allow_submit('sql_taken_pool', 'own');
                create function public.submit_for(tenant text) returns text language sql security definer
                return posthaste.submit('a', tenant => tenant);",
            )
            .await
            .unwrap();
        for (client, take, allowed) in [
            (&pool, "reset role", vec!["own"]),
            (&pool, "set role sql_taken_shop", vec!["acme"]),
            (&pool, "set role sql_taken_beta", vec!["beta"]),
            // Whoever may do everything has less when he has taken less.
            (&world.database, "set role sql_taken_shop", vec!["acme"]),
            (&world.database, "set role sql_taken_part", vec!["acme"]),
            (&world.database, "set role sql_taken_alone", vec![]),
            // It begins anew without a role.
            (
                &world.database,
                "set session authorization sql_taken_beta",
                vec!["beta"],
            ),
            (
                &world.database,
                "set session authorization sql_taken_pool",
                vec!["own"],
            ),
            (
                &world.database,
                "reset session authorization",
                vec!["acme", "beta", "own"],
            ),
        ] {
            client.batch_execute(take).await.unwrap();
            for tenant in ["acme", "beta", "own"] {
                // Within another's function too.
                for call in ["posthaste.submit('a', tenant => $1)", "public.submit_for($1)"] {
                    let outcome = client.query(&format!("select {call}"), &[&tenant]).await;
                    let refused = outcome.err().map(|error| error.code().cloned().unwrap());
                    let wanted = (!allowed.contains(&tenant)).then_some(SqlState::INSUFFICIENT_PRIVILEGE);
                    assert_eq!(refused, wanted, "{take}: {call} for {tenant}");
                }
            }
        }
    });
}

#[test]
fn a_tenant_has_a_tenants_name() {
    with_world("sql_tenant_names", async |world| {
        world
            .database
            .batch_execute("create role sql_tenant_names_shop")
            .await
            .unwrap();
        let of_each = ('\u{1}'..'\u{250}').map(String::from);
        let of_length = [0, TENANT_BYTES_MAX, TENANT_BYTES_MAX + 1].map(|length| "x".repeat(length));
        let others = ["a b", "a\n", "\na", "acme!", "a\\b"].map(str::to_owned);
        for name in of_each.chain(of_length).chain(others) {
            let allow = "select posthaste.allow_submit('sql_tenant_names_shop', $1)";
            let refused = world.database.query(allow, &[&name]).await.err();
            let wanted = (!is_tenant_name(&name)).then_some(SqlState::INVALID_PARAMETER_VALUE);
            let code = refused.map(|error| error.code().cloned().unwrap());
            assert_eq!(code, wanted, "{name:?}");
        }
    });
}

#[test]
fn who_lets_whom_submit_is_in_the_audit_log() {
    with_world("sql_audit", async |world| {
        let act = async |sql: &str| world.database.batch_execute(sql).await.unwrap();
        act("create role \"sql_audit Shop\"; create role sql_audit_owner superuser; create role sql_audit_group superuser").await;
        act("set session authorization sql_audit_owner; set role sql_audit_group").await;
        // What changes nothing leaves no entry, and neither does what is refused or taken back.
        for _ in 0..2 {
            act("select posthaste.allow_submit('sql_audit Shop', 'acme')").await;
        }
        act("begin; select posthaste.allow_submit('sql_audit Shop', 'beta'); rollback").await;
        for _ in 0..2 {
            act("select posthaste.forbid_submit('sql_audit Shop', 'acme')").await;
        }
        act("select posthaste.forbid_submit('sql_audit Nobody', 'acme')").await;
        let filter = AuditFilter {
            tenant: Some("acme".to_owned()),
            ..AuditFilter::default()
        };
        let entries = world.store.audit(&filter, 10).await.unwrap();
        assert_eq!(
            entries,
            world.store.audit(&AuditFilter::default(), 10).await.unwrap()
        );
        let told: Vec<_> = entries
            .iter()
            .map(|entry| [&*entry.action, &entry.object, &entry.actor])
            .collect();
        let of = |action| [action, "sql_audit Shop", "role:sql_audit_owner"];
        assert_eq!(told, ["submitter.forbid", "submitter.allow"].map(of));
        for entry in &entries {
            assert_eq!(entry.details, json!({}));
            assert_eq!(entry.id.uuid().get_version_num(), 7);
            // What is old is found by the time within the id.
            let id_at = entry.id.uuid().get_timestamp().unwrap().to_unix();
            let at = u64::try_from(entry.at.timestamp_millis()).unwrap();
            assert_eq!(id_at.0 * 1_000 + u64::from(id_at.1) / 1_000_000, at);
        }
    });
}

#[test]
fn a_role_without_tenants_can_be_dropped_and_a_part_keeps_its_rights() {
    with_world("sql_drop", async |world| {
        let act = async |sql: &str| world.database.batch_execute(sql).await;
        let dependent = Some(SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
        act("create role sql_drop_shop;
            select posthaste.allow_submit('sql_drop_shop', 'acme'), posthaste.allow_submit('sql_drop_shop', 'beta')")
        .await
        .unwrap();
        for tenant in ["acme", "beta"] {
            let error = act("drop role sql_drop_shop").await.unwrap_err();
            assert_eq!(error.code().cloned(), dependent, "before {tenant} is taken back");
            act(&format!(
                "select posthaste.forbid_submit('sql_drop_shop', '{tenant}')"
            ))
            .await
            .unwrap();
        }
        act("drop role sql_drop_shop").await.unwrap();

        for part in ["ingest", "worker"] {
            act(&format!(
                "create role sql_drop_{part}; select posthaste.grant_roles('sql_drop');
                select posthaste.allow_submit('sql_drop_{part}', 'acme');
                select posthaste.forbid_submit('sql_drop_{part}', 'acme');
                set role sql_drop_{part}; select from posthaste.tasks; reset role;
                drop owned by sql_drop_{part}; drop role sql_drop_{part}"
            ))
            .await
            .unwrap();
        }
        // One right on a column alone.
        act(
            "create role sql_drop_reader; select posthaste.allow_submit('sql_drop_reader', 'acme');
            grant select (id) on posthaste.tasks to sql_drop_reader;
            select posthaste.forbid_submit('sql_drop_reader', 'acme');
            set role sql_drop_reader; select id from posthaste.tasks; reset role",
        )
        .await
        .unwrap();
    });
}
