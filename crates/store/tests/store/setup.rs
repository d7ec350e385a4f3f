//! Migrations, partitions and registered schemas.

use chrono::{TimeDelta, Utc};
use posthaste_schema::{SchemaId, TASK_EVENT};
use posthaste_store::{ErrorKind, ReplicationNames, check_migrated, migrate};
use posthaste_types::topics;

use crate::world::{new, task, with_store, with_world};

#[test]
fn migrating_twice_and_at_once_applies_each_migration_once() {
    with_store("migrate_twice", async |store, _database| {
        let error = check_migrated(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setup);
        assert!(error.to_string().contains("posthaste migrate"));
        let (one, other) = tokio::join!(migrate(&store), migrate(&store));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.applied.is_empty() != other.applied.is_empty());
        assert_eq!(
            one.present + one.applied.len(),
            other.present + other.applied.len()
        );
        assert!(one.partitions + other.partitions > 0);
        check_migrated(&store).await.unwrap();
        let again = migrate(&store).await.unwrap();
        assert!(again.applied.is_empty() && again.partitions == 0);
    });
}

#[test]
fn a_migration_may_take_long_but_waits_for_tables_as_briefly_as_all() {
    with_store("migrate_bounds", async |store, database| {
        let note = "create table seen (statement_timeout text, lock_timeout text);
            create function note() returns event_trigger language plpgsql as $$ begin
                insert into public.seen values (current_setting('statement_timeout'), current_setting('lock_timeout'));
            end $$;
            create event trigger note on ddl_command_start when tag in ('CREATE TABLE', 'CREATE INDEX')
                execute function note()";
        database.batch_execute(note).await.unwrap();
        migrate(&store).await.unwrap();
        // Partitions, which come after, are made within the bounds of all statements.
        let seen = "select distinct statement_timeout, lock_timeout from seen order by 1";
        let seen = database.query(seen, &[]).await.unwrap();
        let seen: Vec<(&str, &str)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(seen, [("0", "10s"), ("30s", "10s")]);
    });
}

#[test]
fn a_migration_that_was_applied_with_another_text_is_named() {
    with_world("migrate_checksum", async |world| {
        world
            .query(
                "update posthaste.schema_migrations set checksum = 'other' where version = 1",
                &[],
            )
            .await;
        for error in [
            migrate(&world.store).await.unwrap_err(),
            check_migrated(&world.store).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Setup);
            assert!(error.to_string().contains("migration 1 (tasks)"), "{error}");
        }
    });
}

#[test]
fn no_function_is_ever_the_publics() {
    const PUBLIC: &str = "select count(*) from pg_proc where pronamespace = 'posthaste'::regnamespace
        and has_function_privilege('migrate_public', oid, 'execute')";
    with_store("migrate_revoke", async |store, database| {
        // What stands in the way of a late migration, so that those before it are committed and none after.
        let in_the_way =
            "create schema posthaste; create table posthaste.wal_guards (); create role migrate_public";
        database.batch_execute(in_the_way).await.unwrap();
        migrate(&store).await.unwrap_err();
        let public = async || database.query_one(PUBLIC, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(public().await, 0, "after a migration that failed");
        database
            .batch_execute("drop table posthaste.wal_guards")
            .await
            .unwrap();
        migrate(&store).await.unwrap();
        let given = "grant execute on all functions in schema posthaste to public";
        database.batch_execute(given).await.unwrap();
        assert!(public().await > 0);
        assert!(migrate(&store).await.unwrap().applied.is_empty());
        assert_eq!(public().await, 0, "after one that had nothing to do");
        database.batch_execute("drop role migrate_public").await.unwrap();
    });
}

#[test]
fn a_newer_programs_migration_does_not_stop_an_older_one() {
    with_world("migrate_newer", async |world| {
        world
            .query(
                "insert into posthaste.schema_migrations values (9999, 'later', 'x')",
                &[],
            )
            .await;
        check_migrated(&world.store).await.unwrap();
    });
}

#[test]
fn rows_that_the_net_caught_move_into_their_partition() {
    with_world("partitions_net", async |world| {
        let later = Utc::now() + TimeDelta::days(30);
        let mut task = task();
        let bits = (u128::try_from(later.timestamp_millis()).unwrap() << 80) | (7 << 76) | (2 << 62) | 1;
        task.id = posthaste_types::TaskId::from_uuid(uuid::Uuid::from_u128(bits));
        assert!(world.submitter.submit(new(&task)).await.is_ok());
        let place = "select relname::text from posthaste.tasks task join pg_class on pg_class.oid = task.tableoid where id = $1";
        let place = async || world.query(place, &[&task.id.uuid()]).await[0].get::<_, String>(0);
        assert_eq!(place().await, "tasks_default");
        let made = world.store.ensure_partitions(later, 0).await.unwrap();
        assert_eq!(made, 5);
        assert_eq!(place().await, later.format("tasks_%Y%m%d").to_string());
        assert_eq!(world.stored(&task).await, task);
        assert_eq!(world.store.ensure_partitions(later, 0).await.unwrap(), 0);
    });
}

#[test]
fn a_schema_is_known_by_its_topic_once_it_is_recorded() {
    with_world("schemas", async |world| {
        assert_eq!(world.store.schema_id(topics::RESULTS).await.unwrap(), SchemaId(2));
        let subject = topics::value_subject(topics::RESULTS);
        world
            .store
            .record_schema(&subject, SchemaId(40), TASK_EVENT.name, "of a newer program")
            .await
            .unwrap();
        let schemas = world.store.schemas().await.unwrap();
        assert_eq!(schemas.known(topics::RESULTS), Some(SchemaId(2)));
        assert_eq!(schemas.topics(), ["results", "tasks.default"]);
        world.store.ping().await.unwrap();
    });
}

#[test]
fn a_slot_that_is_not_for_events_is_refused() {
    with_world("slot_physical", async |world| {
        let make = "select pg_create_physical_replication_slot('slot_physical', true)";
        world.query(make, &[]).await;
        let error = world.store.slot_state("slot_physical").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setup);
        assert!(error.to_string().contains("not of pgoutput"), "{error}");
        let drop = "select pg_drop_replication_slot('slot_physical')";
        world.query(drop, &[]).await;
    });
}

#[test]
fn a_slot_that_was_lost_is_made_anew_before_what_the_outbox_holds() {
    with_world("slot_anew", async |world| {
        let names = ReplicationNames::new("slot_anew", "slot_anew", "posthaste.outbox").unwrap();
        world.store.ensure_replication(&names).await.unwrap();
        let task = task();
        world.submit(&task).await;
        let events = "select count(*) from posthaste.outbox";
        world.store.ensure_replication(&names).await.unwrap();
        assert_eq!(world.count(events, &[]).await, 1, "nothing was lost");
        // Events that came while there was no partition for them.
        let net = "with put as (insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, created_at)
                select gen_random_uuid(), 'results', n::text, 'task.done', '', 'default', now() + interval '9 days'
                from generate_series(1, 10001) n returning 1)
            select count(*) from put";
        assert_eq!(world.count(net, &[]).await, 10_001);
        world.query("select posthaste.put_outbox_net_aside()", &[]).await;
        assert_eq!(world.count(events, &[]).await, 1);
        let drop = "select pg_drop_replication_slot('slot_anew')";
        world.query(drop, &[]).await;
        let (one, other) = tokio::join!(
            world.store.ensure_replication(&names),
            world.store.ensure_replication(&names)
        );
        assert_eq!(one.unwrap().active_pid, other.unwrap().active_pid);
        assert_eq!(world.count(events, &[]).await, 10_003, "once more, and not twice");
        let inserts = "select count(*) from pg_logical_slot_peek_binary_changes('slot_anew', null, null,
            'proto_version', '1', 'publication_names', 'slot_anew') where get_byte(data, 0) = ascii('I')";
        assert_eq!(world.count(inserts, &[]).await, 10_002);
        // The server keeps the log for it no longer than for the test.
        world.query(drop, &[]).await;
    });
}
