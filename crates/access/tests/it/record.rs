//! A record that another version wrote, that was brought back from a backup, or that is slow.

use std::collections::HashSet;

use chrono::TimeDelta;
use posthaste_runtime::ids;
use posthaste_types::limits::DEAD_KEY_COUNT_MAX;
use posthaste_types::{ApiKey, KeyId, Scope, TenantLimits};
use serde_json::json;

use crate::world::{Process, World, eventually, run, within};

/// Why the key is refused.
fn refusal(process: &Process, key: &ApiKey) -> Option<String> {
    process.caller(key).err().map(|problem| problem.detail)
}

/// Changes the record by hand, as one change that every process sees.
async fn change(world: &World, sql: &str) {
    let count_up = "update posthaste.access_revision set revision = revision + 1";
    let sql = sql.replace("$revision", "(select revision from posthaste.access_revision)");
    let client = world.client().await;
    client
        .batch_execute(&format!("begin; {count_up}; {sql}; commit"))
        .await
        .unwrap();
}

#[test]
fn what_a_newer_version_wrote_shuts_nobody_out() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let known = world.process().await;
        let sql = format!(
            r#"update posthaste.tenants set limits = '{{"streams": 3, "colours": 9}}', revision = $revision;
            update posthaste.api_keys set scopes = '{{read,paint}}', revision = $revision where id = '{}'"#,
            id.uuid()
        );
        change(&world, &sql).await;
        let (_, later) = world.key("acme", &[Scope::Read]).await;
        for process in [known, world.process().await] {
            process.knows(&later).await;
            let caller = process
                .caller(&key)
                .expect("the scope that is known still lets it in");
            assert!(caller.require(Scope::Read).is_ok() && caller.require(Scope::Submit).is_err());
            assert_eq!(caller.quota().limits().streams, Some(3));
        }
        let changes = posthaste_access::LimitChanges {
            streams: Some(Some(4)),
            ..Default::default()
        };
        let set =
            posthaste_access::set_limits(&world.store, &*world.clock(), "acme", "cli".to_owned(), &changes)
                .await
                .unwrap();
        assert_eq!(set.streams, Some(4));
        let row = world.client().await;
        let row = row
            .query_one("select limits::text from posthaste.tenants", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), r#"{"colours": 9, "streams": 4}"#);
    });
}

#[test]
fn a_row_that_cannot_be_read_concerns_its_key_or_tenant_alone() {
    run(async {
        let world = World::new().await;
        let (broken, broken_key) = world.key("acme", &[Scope::Read]).await;
        let (_, other) = world.key("other", &[Scope::Read]).await;
        let limits = TenantLimits {
            streams: Some(5),
            ..TenantLimits::default()
        };
        let known = world.process_with(limits).await;
        let open = known.caller(&broken_key).unwrap();
        let sql = format!(
            r#"update posthaste.tenants set limits = '{{"streams": "many"}}', revision = $revision where name = 'other';
            update posthaste.api_keys set hash = 'short', revision = $revision where id = '{}'"#,
            broken.uuid()
        );
        change(&world, &sql).await;
        within("what its holder has open ends", open.ended().stopped()).await;
        for process in [known, world.process_with(limits).await] {
            eventually("the broken key is unknown", || {
                refusal(&process, &broken_key).is_some_and(|detail| detail.contains("no such key"))
            })
            .await;
            assert_eq!(process.caller(&other).unwrap().quota().limits(), limits);
        }
    });
}

#[test]
fn a_key_that_cannot_be_read_is_named_in_the_list_and_can_be_revoked() {
    run(async {
        let world = World::new().await;
        let (broken, _) = world.key("acme", &[Scope::Read]).await;
        let (admin, key) = world.key("acme", &[Scope::Admin]).await;
        let sql = format!(
            "update posthaste.api_keys set hash = 'short', revision = $revision where id = '{}'",
            broken.uuid()
        );
        change(&world, &sql).await;
        let process = world.process().await;
        let page = process.call(&key, "GET", "/v1/keys", None).await.json(200);
        assert_eq!(page["unreadable"], json!([broken]));
        assert_eq!(page["keys"][0]["id"], json!(admin));
        assert_eq!(page["keys"].as_array().unwrap().len(), 1);
        let first = process
            .call(&key, "GET", "/v1/keys?limit=1", None)
            .await
            .json(200);
        let next = format!("/v1/keys?limit=1&cursor={}", first["next"].as_str().unwrap());
        let second = process.call(&key, "GET", &next, None).await.json(200);
        assert_eq!(second["unreadable"], json!([broken]));
        assert_eq!(world.keys().owner(broken).await.unwrap(), "acme");
        let path = format!("/v1/keys/{broken}");
        assert_eq!(process.call(&key, "DELETE", &path, None).await.status(), 204);
    });
}

#[test]
fn the_owner_of_a_key_is_found_by_its_id_alone() {
    run(async {
        let world = World::new().await;
        let (id, _) = world.key("acme", &[Scope::Read]).await;
        world.key("default", &[Scope::Admin]).await;
        world.key("zeta", &[Scope::Admin]).await;
        let keys = world.keys();
        keys.revoke("acme", "cli".to_owned(), id).await.unwrap();
        assert_eq!(keys.owner(id).await.unwrap(), "acme", "a dead one's too");
        assert_eq!(keys.owner(ids::key_id()).await.unwrap_err().status, 404);
    });
}

#[test]
fn a_revocation_is_seen_however_old_its_stamp() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        let open = process.caller(&key).unwrap();
        let sql = format!(
            "update posthaste.api_keys set revoked_at = '2001-01-01', revision = $revision where id = '{}'",
            id.uuid()
        );
        change(&world, &sql).await;
        within("what is open ends", open.ended().stopped()).await;
        assert!(process.caller(&key).is_err());
    });
}

#[test]
fn a_revocation_bears_the_time_of_the_database() {
    run(async {
        let world = World::new().await;
        let (id, _) = world.key("acme", &[Scope::Read]).await;
        world.clock.forward(TimeDelta::days(-400));
        world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        let row = world.keys().one("acme", id).await.unwrap();
        assert!(row.revoked_at.unwrap() >= row.created_at);
    });
}

#[test]
fn a_record_that_was_brought_back_is_read_anew() {
    run(async {
        let world = World::new().await;
        let (_, old) = world.key("acme", &[Scope::Read]).await;
        let (gone, gone_key) = world.key("acme", &[Scope::Read]).await;
        let limits = posthaste_access::LimitChanges {
            streams: Some(Some(4)),
            ..Default::default()
        };
        posthaste_access::set_limits(&world.store, &*world.clock(), "acme", "cli".to_owned(), &limits)
            .await
            .unwrap();
        let process = world.process().await;
        let (open, open_old) = (process.caller(&gone_key).unwrap(), process.caller(&old).unwrap());
        assert_eq!(open.quota().limits().streams, Some(4));
        let sql = format!(
            "begin; delete from posthaste.api_keys where id = '{}'; update posthaste.tenants set limits = '{{}}';
            update posthaste.access_revision set revision = 1; commit",
            gone.uuid()
        );
        world.client().await.batch_execute(&sql).await.unwrap();
        within("what is open with a vanished key ends", open.ended().stopped()).await;
        eventually("the vanished key is unknown", || {
            process.caller(&gone_key).is_err()
        })
        .await;
        process.caller(&old).expect("it was in the backup");
        assert!(!open_old.ended().is_stopped());
        assert_eq!(open_old.quota().limits().streams, None);
    });
}

#[test]
fn dead_keys_are_remembered_up_to_a_count_and_not_read_at_the_start() {
    run(async {
        let world = World::new().await;
        let (first, first_key) = world.key("acme", &[Scope::Read]).await;
        let (last, last_key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        let revoke = async |id: KeyId| world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        revoke(first).await;
        eventually("it is told of its revocation", || {
            refusal(&process, &first_key).is_some_and(|detail| detail.contains("revoked"))
        })
        .await;
        let dead: Vec<String> = (0..DEAD_KEY_COUNT_MAX)
            .map(|number| {
                let id = ids::key_id().uuid();
                format!("('{id}', 'acme', 'n', 'p{number}', sha256('{number}'), '{{read}}', now(), now(), $revision)")
            })
            .collect();
        let sql = format!(
            "insert into posthaste.api_keys (id, tenant, name, prefix, hash, scopes, created_at, revoked_at, revision)
            values {}",
            dead.join(", ")
        );
        change(&world, &sql).await;
        eventually("the oldest is forgotten", || {
            refusal(&process, &first_key).is_some_and(|detail| detail.contains("no such key"))
        })
        .await;
        revoke(last).await;
        eventually("the newest is remembered", || {
            refusal(&process, &last_key).is_some_and(|detail| detail.contains("revoked"))
        })
        .await;
        let restarted = world.process().await;
        assert!(refusal(&restarted, &last_key).unwrap().contains("no such key"));
    });
}

#[test]
fn a_revocation_is_seen_while_every_connection_for_reads_is_busy() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        let mut blocker = world.client().await;
        let lock = blocker.transaction().await.unwrap();
        lock.batch_execute("lock table posthaste.tasks in access exclusive mode")
            .await
            .unwrap();
        let reads: Vec<_> = (0..16)
            .map(|_| {
                let store = process.store.clone();
                tokio::spawn(async move { store.task("acme", ids::task_id()).await })
            })
            .collect();
        let client = world.client().await;
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        within("all connections wait", async {
            while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 4 {}
        })
        .await;
        world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        eventually("the key is refused", || process.caller(&key).is_err()).await;
        assert_eq!(client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 4);
        lock.rollback().await.unwrap();
        for read in reads {
            // Some were told that no connection was free.
            let _ = read.await.unwrap();
        }
    });
}

#[test]
fn a_look_that_hangs_is_given_up_and_holds_up_none_after_it() {
    run(async {
        let world = World::new().await;
        let process = world.process().await;
        let mut blocker = world.client().await;
        let lock = blocker.transaction().await.unwrap();
        lock.batch_execute("lock table posthaste.access_revision in access exclusive mode")
            .await
            .unwrap();
        let client = world.client().await;
        let waiting = "select pid from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%access_revision%'";
        let mut pids = HashSet::new();
        within("a second connection looks", async {
            while pids.len() < 2 {
                let rows = client.query(waiting, &[]).await.unwrap();
                pids.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
            }
        })
        .await;
        lock.rollback().await.unwrap();
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        process.knows(&key).await;
    });
}
