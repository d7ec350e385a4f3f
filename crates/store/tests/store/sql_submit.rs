//! `posthaste.submit`: tasks submitted in SQL, in somebody else's transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_schema::{SchemaId, TASK_REQUESTED, TaskRequested, WriterSchemas};
use posthaste_types::{RetryPolicy, TaskId, TaskState};
use proptest::collection::btree_map;
use proptest::option::of;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::world::{REQUESTED_ID, World, with_world};

const CASE_COUNT: usize = 500;

fn any_text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[^\u{0}]{0,150}").unwrap()
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    (-62_135_596_800_000_000i64..253_402_300_800_000_000)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
}

prop_compose! {
    fn any_retry()(
        max_attempts in 1u32..=100, base_s in 0.0..1e9, factor in 1.0..100.0, max_s in 0.0..1e-9,
    ) -> RetryPolicy {
        RetryPolicy { max_attempts, base_s, factor, max_s }
    }
}

prop_compose! {
    fn any_request()(
        names in [any_text(), any_text(), any_text(), any_text()],
        options in [of(any_text()), of(any_text()), of(any_text())],
        times in (of(any_time()), of(any_time()), any_time()),
        id: u128, priority: i16, run: i32, timeout_ms in of(any::<i64>()),
        retry in of(any_retry()), tags in btree_map(any_text(), any_text(), 0..6),
    ) -> TaskRequested {
        let [tenant, task_type, queue, payload] = names;
        let [key, channel, traceparent] = options;
        let (not_before, deadline, created_at) = times;
        TaskRequested {
            task_id: TaskId::from_uuid(Uuid::from_u128(id)), tenant, task_type, queue, key, channel, payload,
            priority, run, not_before, deadline, timeout_ms, retry, tags, traceparent, created_at,
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_programs_encoder() {
    with_world("sql_bytes", async |world| {
        let sql = "select posthaste.task_requested($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
            $14::text::jsonb, $15::text::jsonb, $16, $17)";
        let statement = world.database.prepare(sql).await.unwrap();
        let (mut runner, strategy) = (TestRunner::deterministic(), any_request());
        for _ in 0..CASE_COUNT {
            let request = strategy.new_tree(&mut runner).unwrap().current();
            let retry = request.retry.map(|retry| serde_json::to_string(&retry).unwrap());
            let tags = serde_json::to_string(&request.tags).unwrap();
            let params: [&(dyn ToSql + Sync); 17] = [
                &77,
                &request.task_id.uuid(),
                &request.tenant,
                &request.task_type,
                &request.queue,
                &request.key,
                &request.channel,
                &request.payload,
                &i32::from(request.priority),
                &request.run,
                &request.not_before,
                &request.deadline,
                &request.timeout_ms,
                &retry,
                &tags,
                &request.traceparent,
                &request.created_at,
            ];
            let row = world.database.query_one(&statement, &params).await.unwrap();
            assert_eq!(
                row.get::<_, Vec<u8>>(0),
                request.encode(SchemaId(77)),
                "{request:?}"
            );
        }
    });
}

/// Submits as the owner.
pub(crate) async fn submit(world: &World, arguments: &str) -> TaskId {
    let sql = format!("select posthaste.submit({arguments})");
    world.query(&sql, &[]).await[0]
        .get::<_, String>(0)
        .parse()
        .unwrap()
}

#[test]
fn a_submitted_task_is_as_if_it_had_come_over_http() {
    with_world("sql_task", async |world| {
        let arguments = r#"'invoice.render', '{"total": 1.10, "big": 1e400}', key => 'customer-17',
            channel => 'orders', priority => 9, deadline => now() + interval '1 hour', timeout_s => 1.5,
            retry => '{"max_attempts": 2}', tags => '{"b": "1", "a": "é"}'"#;
        let id = submit(&world, arguments).await;
        let stored = world.store.task("default", id).await.unwrap().unwrap();
        assert_eq!(stored.payload, r#"{"total": 1.10, "big": 1e400}"#);
        assert_eq!(
            (stored.state, stored.priority, stored.version),
            (TaskState::Init, 9, 1)
        );
        let retry = RetryPolicy {
            max_attempts: 2,
            ..RetryPolicy::default()
        };
        assert_eq!((stored.timeout_ms, stored.retry), (Some(1_500), Some(retry)));
        let tags = [("a", "é"), ("b", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(stored.tags, BTreeMap::from(tags));
        let outbox =
            "select payload, aggregatetype, aggregateid, type, traceparent, id from posthaste.outbox";
        let row = &world.query(outbox, &[]).await[0];
        assert_eq!(
            row.get::<_, Vec<u8>>(0),
            TaskRequested::of(&stored).encode(REQUESTED_ID)
        );
        assert_eq!(
            [row.get::<_, &str>(1), row.get(2), row.get(3)],
            ["tasks.default", "customer-17", "invoice.render"]
        );
        assert_eq!(row.get::<_, Option<String>>(4), stored.traceparent);
        assert_eq!(row.get::<_, Uuid>(5).get_version_num(), 7);
        assert_eq!(id.uuid().get_version_num(), 7);
        let delayed = submit(&world, "'a', delay_s => 60").await;
        let delayed = world.store.task("default", delayed).await.unwrap().unwrap();
        assert_eq!(delayed.state, TaskState::Scheduled);
        let timers = "select kind, due_at from posthaste.timers order by due_at";
        let timers: Vec<(String, Option<DateTime<Utc>>)> = world
            .query(timers, &[])
            .await
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        let wanted = [("due", delayed.not_before), ("deadline", stored.deadline)];
        assert_eq!(timers, wanted.map(|(kind, at)| (kind.to_owned(), at)));
        assert_eq!(
            world.store.open_tasks().await.unwrap(),
            [("default".to_owned(), 2)]
        );
    });
}

#[test]
fn what_is_rolled_back_never_was() {
    with_world("sql_rollback", async |world| {
        world.database.batch_execute("begin").await.unwrap();
        let id = submit(&world, "'a', idempotency_key => 'k'").await;
        assert!(world.store.task("default", id).await.unwrap().is_none());
        world.database.batch_execute("rollback").await.unwrap();
        assert!(world.store.task("default", id).await.unwrap().is_none());
        for table in [
            "tasks",
            "outbox",
            "timers",
            "idempotency_keys",
            "open_task_changes",
        ] {
            let count = format!("select count(*) from posthaste.{table}");
            assert_eq!(world.count(&count, &[]).await, 0, "{table}");
        }
        assert_ne!(submit(&world, "'a', idempotency_key => 'k'").await, id);
    });
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    with_world("sql_refused", async |world| {
        let deep = format!("'a', ('{}' || '{}')::json", "[".repeat(129), "]".repeat(129));
        let long = |argument: &str, bytes: usize| format!("'a', {argument} => repeat('é', {bytes} / 2)");
        for (arguments, named) in [
            ("'A'", "type"),
            ("null", "type"),
            ("'a', tenant => 'Bad Tenant!'", "tenant"),
            ("'a', tenant => null", "tenant"),
            ("'a', queue => 'nowhere'", "queue"),
            ("'a', queue => 'No'", "queue"),
            ("'a', key => ''", "key"),
            (&long("key", 258), "key"),
            (&long("channel", 258), "channel"),
            (&long("idempotency_key", 256), "idempotency_key"),
            ("'a', priority => 10", "priority"),
            ("'a', priority => null", "priority"),
            ("'a', delay_s => 1, not_before => now()", "delay_s"),
            ("'a', delay_s => -1", "delay_s"),
            ("'a', delay_s => 'NaN'", "delay_s"),
            ("'a', not_before => 'infinity'", "not_before"),
            ("'a', deadline => now() - interval '2 years'", "deadline"),
            (
                "'a', deadline => now() + interval '1 s', delay_s => 2",
                "deadline",
            ),
            ("'a', timeout_s => 0", "timeout_s"),
            ("'a', retry => '7'", "retry"),
            (r#"'a', retry => '{"max_attempts": 1.5}'"#, "retry"),
            (r#"'a', retry => '{"base_s": 400}'"#, "retry"),
            (r#"'a', retry => '{"tries": 4}'"#, "retry"),
            (r#"'a', tags => '["a"]'"#, "tags"),
            (r#"'a', tags => '{"a": 1}'"#, "tags"),
            (r#"'a', tags => '{"": "1"}'"#, "tags"),
            ("'a', traceparent => 'x'", "traceparent"),
            (&deep, "payload"),
            (r#"'a', '{"a": [{"b": 1, "\u0062": 2}]}'"#, "payload"),
            (r#"'a', '"\\\ud800"'"#, "payload"),
            ("'a', to_json(repeat('x', 1048576))", "payload"),
        ] {
            let sql = format!("select posthaste.submit({arguments})");
            let error = world.database.query(&sql, &[]).await.unwrap_err();
            let error = error.as_db_error().unwrap_or_else(|| panic!("{arguments}"));
            assert_eq!(
                *error.code(),
                SqlState::INVALID_PARAMETER_VALUE,
                "{arguments}: {error}"
            );
            assert!(
                error
                    .message()
                    .starts_with(&format!("posthaste.submit: {named} "))
                    && error.hint().is_some(),
                "{arguments}: {error}"
            );
        }
        submit(
            &world,
            r#"'a', '{"a": [{"b": 1}, {"b": 2}], "c": "\\ud800 \ud83d\ude00 {[\"{"}'"#,
        )
        .await;
        assert_eq!(world.count("select count(*) from posthaste.tasks", &[]).await, 1);
    });
}

/// What is written is what the program reads.
#[test]
fn its_record_decodes_as_any_other() {
    with_world("sql_decodes", async |world| {
        let id = submit(&world, r#"'a', '[0.1000, -0, 123456789012345678901234567890]'"#).await;
        let writers = WriterSchemas::new();
        writers.add(REQUESTED_ID, TASK_REQUESTED.avsc).unwrap();
        let row = &world.query("select payload from posthaste.outbox", &[]).await[0];
        let requested = TaskRequested::decode(row.get(0), &writers).unwrap();
        assert_eq!(requested.task_id, id);
        assert_eq!(requested.payload, "[0.1000, -0, 123456789012345678901234567890]");
    });
}
