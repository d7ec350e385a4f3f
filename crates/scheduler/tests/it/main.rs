//! Schedulers on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hour;
mod outbox;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Clock, Stopper, SystemClock, ids};
use posthaste_scheduler::{Options, Parts, Service};
use posthaste_schema::{SchemaId, TASK_EVENT, TASK_REQUESTED, TaskEvent, TaskRequested, WriterSchemas};
use posthaste_stack::Stack;
use posthaste_store::{GroupOptions, NewTask, Store, StoreOptions, Submitted, Submitter, migrate};
use posthaste_types::{Task, TaskId, TaskState, topics};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// Nothing here takes so long; past it a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const QUEUE: &str = "default";
const REQUESTED_ID: SchemaId = SchemaId(1);
const EVENT_ID: SchemaId = SchemaId(2);

static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
    std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();

struct World {
    url: String,
    store: Store,
    submitter: Submitter,
    database: Client,
}

/// Runs a test on the shared runtime, in a database of its own.
fn with_world<F: Future<Output = ()>>(name: &str, test: impl FnOnce(World) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK
            .get_or_init(|| async { posthaste_stack::temporary().await.unwrap() })
            .await;
        test(World::new(stack, name).await).await;
    });
}

impl World {
    async fn new(stack: &Stack, name: &str) -> Self {
        let admin = connect(stack.database_tcp_url()).await;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let mut url = stack.database_tcp_url().to_owned();
        let at = url.rfind('/').unwrap();
        url.replace_range(at.., &format!("/{name}"));
        let store = Store::new(&StoreOptions {
            url: url.clone(),
            ca: None,
            pool_size: 8,
            application_name: "test".to_owned(),
        })
        .unwrap();
        migrate(&store).await.unwrap();
        for (topic, id, text) in [
            (topics::tasks_topic(QUEUE).as_str(), REQUESTED_ID, TASK_REQUESTED),
            (topics::RESULTS, EVENT_ID, TASK_EVENT),
        ] {
            store
                .record_schema(&topics::value_subject(topic), id, text.name, &text.fingerprint())
                .await
                .unwrap();
        }
        let submitter = Submitter::start(&store, GroupOptions::default(), Stopper::new());
        Self {
            database: connect(&url).await,
            url,
            store,
            submitter,
        }
    }

    fn scheduler(&self, options: Options, clock: Arc<dyn Clock>) -> (Stopper, tokio::task::JoinHandle<()>) {
        let stopper = Stopper::new();
        let parts = Parts {
            store: self.store.clone(),
            clock,
        };
        let service = Service::start(options, parts, stopper.clone()).unwrap();
        (stopper, tokio::spawn(service.run()))
    }

    async fn submit(&self, task: &Task) {
        let new = NewTask {
            task: task.clone(),
            event_id: ids::event_id(),
            idempotency: None,
        };
        assert_eq!(self.submitter.submit(new).await.unwrap(), Submitted::Stored);
    }

    async fn until(&self, id: TaskId, state: TaskState) -> Task {
        let wait = async {
            loop {
                let task = self.store.task("default", id).await.unwrap().unwrap();
                if task.state == state {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the task never came so far")
    }

    /// Topic, key, type and value of the outbox rows of a key, oldest first.
    async fn outbox(&self, key: &str) -> Vec<(String, String, Vec<u8>)> {
        let sql = "select aggregatetype, type, payload from posthaste.outbox where aggregateid = $1 order by created_at";
        let rows = self.database.query(sql, &[&key]).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    async fn partitions(&self, table: &str) -> Vec<String> {
        let sql = "select inhrelid::regclass::text from pg_inherits where inhparent = $1::text::regclass order by 1";
        let rows = self
            .database
            .query(sql, &[&format!("posthaste.{table}")])
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.get::<_, String>(0).replace("posthaste.", ""))
            .collect()
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn task(state: TaskState, not_before: Option<DateTime<Utc>>, deadline: Option<DateTime<Utc>>) -> Task {
    Task {
        id: ids::task_id(),
        tenant: "default".to_owned(),
        task_type: "echo".to_owned(),
        queue: QUEUE.to_owned(),
        key: None,
        channel: None,
        payload: r#"{"n":1.0}"#.to_owned(),
        priority: 5,
        not_before,
        deadline,
        timeout_ms: None,
        retry: None,
        tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        traceparent: None,
        state,
        run: 1,
        attempt: 0,
        version: 1,
        worker: None,
        progress: None,
        result: None,
        error: None,
        created_at: SystemClock.now(),
        started_at: None,
        finished_at: None,
    }
}

fn writers() -> WriterSchemas {
    let writers = WriterSchemas::new();
    writers.add(REQUESTED_ID, TASK_REQUESTED.avsc).unwrap();
    writers.add(EVENT_ID, TASK_EVENT.avsc).unwrap();
    writers
}

fn soon(ms: i64) -> Option<DateTime<Utc>> {
    Some(SystemClock.now() + TimeDelta::milliseconds(ms))
}

#[test]
fn a_delayed_task_is_published_when_its_time_has_come() {
    with_world("delayed", async |world| {
        let task = task(TaskState::Scheduled, soon(30), None);
        world.submit(&task).await;
        assert!(world.outbox(&task.id.to_string()).await.is_empty());
        let (stopper, running) = world.scheduler(Options::default(), SystemClock::shared());
        world.until(task.id, TaskState::Init).await;
        assert!(soon(0) >= task.not_before);
        let outbox = world.outbox(&task.id.to_string()).await;
        let [(topic, kind, value)] = &outbox[..] else {
            panic!("{outbox:?}")
        };
        assert_eq!((topic.as_str(), kind.as_str()), ("tasks.default", "echo"));
        let requested = TaskRequested::decode(value, &writers()).unwrap();
        assert_eq!((requested.payload, requested.tags), (task.payload, task.tags));
        stopper.stop();
        running.await.unwrap();
    });
}

#[test]
fn a_task_past_its_deadline_expires_once_and_says_so() {
    with_world("deadline", async |world| {
        let waiting = task(TaskState::Init, None, soon(20));
        let delayed = task(TaskState::Scheduled, soon(3_600_000), soon(20));
        for task in [&waiting, &delayed] {
            world.submit(task).await;
        }
        let (stopper, running) = world.scheduler(Options::default(), SystemClock::shared());
        for task in [&waiting, &delayed] {
            let expired = world.until(task.id, TaskState::Expired).await;
            assert!(expired.finished_at.is_some());
            let outbox = world.outbox(&task.id.to_string()).await;
            let (topic, kind, value) = outbox.last().unwrap();
            assert_eq!((topic.as_str(), kind.as_str()), ("results", "task.expired"));
            let event = TaskEvent::decode(value, &writers()).unwrap();
            assert_eq!(
                (event.state, event.version),
                (TaskState::Expired, expired.version)
            );
        }
        stopper.stop();
        running.await.unwrap();
        assert!(
            world.store.next_timer().await.unwrap().is_some(),
            "the delay's own timer is left to fire in vain"
        );
    });
}

#[test]
fn schedulers_side_by_side_publish_each_task_once() {
    with_world("side_by_side", async |world| {
        let tasks: Vec<Task> = (0..1500)
            .map(|_| task(TaskState::Scheduled, soon(0), None))
            .collect();
        for chunk in tasks.chunks(500) {
            let news = chunk.iter().map(|task| NewTask {
                task: task.clone(),
                event_id: ids::event_id(),
                idempotency: None,
            });
            for stored in world.submitter.submit_each(news.collect()).await {
                assert_eq!(stored.unwrap(), Submitted::Stored);
            }
        }
        let running: Vec<_> = (0..3)
            .map(|_| world.scheduler(Options::default(), SystemClock::shared()))
            .collect();
        for task in &tasks {
            assert_eq!(world.until(task.id, TaskState::Init).await.version, 2);
        }
        for (stopper, running) in running {
            stopper.stop();
            running.await.unwrap();
        }
        for task in &tasks {
            assert_eq!(world.outbox(&task.id.to_string()).await.len(), 1);
        }
        assert_eq!(world.store.next_timer().await.unwrap(), None);
    });
}

#[test]
fn a_task_whose_queue_is_not_declared_holds_up_nobody() {
    with_world("undeclared", async |world| {
        let (lost, well) = (
            task(TaskState::Scheduled, soon(0), None),
            task(TaskState::Scheduled, soon(0), None),
        );
        for task in [&lost, &well] {
            world.submit(task).await;
        }
        let sql = "update posthaste.tasks set queue = 'gone' where id = $1";
        world.database.execute(sql, &[&lost.id.uuid()]).await.unwrap();
        let (stopper, running) = world.scheduler(Options::default(), SystemClock::shared());
        world.until(well.id, TaskState::Init).await;
        stopper.stop();
        running.await.unwrap();
        assert!(world.store.next_timer().await.unwrap() > Some(SystemClock.now()));
    });
}

#[test]
fn old_partitions_go_but_not_those_with_a_task_that_has_not_ended() {
    with_world("retention", async |world| {
        let now = SystemClock.now();
        let ended = TimeDelta::days(60);
        world.store.ensure_partitions(now - ended, 1).await.unwrap();
        let names = |table: &str, days: i64| {
            format!(
                "{table}_{}",
                (now - ended + TimeDelta::days(days)).format("%Y%m%d")
            )
        };
        let mut live = task(TaskState::Init, None, None);
        live.id = id_at(now - ended);
        live.created_at = now - ended;
        world.submit(&live).await;
        let dropped = world.store.drop_expired(now, TimeDelta::days(30)).await.unwrap();
        let mut wanted = ["tasks", "task_history", "webhook_attempts"]
            .map(|table| names(table, 1))
            .to_vec();
        // Attempts stay with the tasks of their day too.
        wanted.sort_unstable();
        let mut sorted = dropped.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, wanted);
        assert!(world.partitions("tasks").await.contains(&names("tasks", 0)));
        let sql = "update posthaste.tasks set state = 'DONE' where id = $1";
        world.database.execute(sql, &[&live.id.uuid()]).await.unwrap();
        let dropped = world.store.drop_expired(now, TimeDelta::days(30)).await.unwrap();
        assert_eq!(dropped.len(), 3);
        assert_eq!(
            world.store.drop_expired(now, TimeDelta::days(30)).await.unwrap(),
            [""; 0]
        );
    });
}

#[test]
fn idempotency_keys_go_with_their_day_once_it_ended_long_enough_ago() {
    with_world("keys", async |world| {
        let now = SystemClock.now();
        // Partitions for some of the days; the net has the rest.
        world
            .store
            .ensure_partitions(now - TimeDelta::days(2), 2)
            .await
            .unwrap();
        let sql = "insert into posthaste.idempotency_keys
                (key, tenant, bucket, guard, fingerprint, task_id, created_at, scheduled)
            select n::text, 'default', posthaste.idempotency_bucket(now() - n * interval '1 hour'), false, '',
                gen_random_uuid(), now(), false from generate_series(0, 200) n";
        world.database.execute(sql, &[]).await.unwrap();
        let before = now - TimeDelta::hours(24);
        let dropped = world.store.forget_idempotency_keys(before).await.unwrap();
        assert_eq!(
            dropped,
            [(now - TimeDelta::days(2))
                .format("idempotency_keys_%Y%m%d")
                .to_string()]
        );
        let oldest = "select max(key::integer) from posthaste.idempotency_keys";
        let oldest: i32 = world.database.query_one(oldest, &[]).await.unwrap().get(0);
        assert!(
            (24..48).contains(&oldest),
            "kept for a day at least and two at most: {oldest} h"
        );
        assert_eq!(
            world.store.forget_idempotency_keys(before).await.unwrap(),
            [""; 0]
        );
    });
}

#[test]
fn keys_that_died_long_ago_and_old_entries_of_the_audit_log_go() {
    with_world("access", async |world| {
        let fill = "insert into posthaste.tenants values ('default', '{}', 1, now(), now());
            insert into posthaste.api_keys
                (id, tenant, name, prefix, hash, scopes, created_at, expires_at, revoked_at, revision)
            select gen_random_uuid(), 'default', name, name, '', '{read}', now() - interval '2 years', expired, revoked, 1
            from (values
                ('alive', null, null),
                ('expires', now() + interval '1 day', null),
                ('expired lately', now() - interval '89 days', null),
                ('revoked lately', null, now() - interval '89 days'),
                ('expired', now() - interval '91 days', null),
                ('revoked', now() + interval '1 day', now() - interval '91 days')
            ) key (name, expired, revoked);
            insert into posthaste.audit
            select posthaste.new_id(at), at, 'default', 'cli', 'key.create', age::text, '{}'
            from generate_series(1, 2500) step, (values (399), (401)) old (age),
                lateral (select now() - age * interval '1 day' - step * interval '1 second') time (at)";
        world.database.batch_execute(fill).await.unwrap();
        let (stopper, scheduler) = world.scheduler(Options::default(), SystemClock::shared());
        let all_gone = async {
            let old = "select count(*) from posthaste.audit where object = '401'";
            while world.database.query_one(old, &[]).await.unwrap().get::<_, i64>(0) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all_gone).await.unwrap();
        stopper.stop();
        scheduler.await.unwrap();
        let kept = "select count(*) from posthaste.audit";
        let kept: i64 = world.database.query_one(kept, &[]).await.unwrap().get(0);
        assert_eq!(kept, 2500);
        let names = "select array_agg(name order by name) from posthaste.api_keys";
        let names: Vec<String> = world.database.query_one(names, &[]).await.unwrap().get(0);
        assert_eq!(names, ["alive", "expired lately", "expires", "revoked lately"]);
    });
}

/// A task id as it was minted then.
fn id_at(at: DateTime<Utc>) -> TaskId {
    let ms = u128::try_from(at.timestamp_millis()).unwrap();
    TaskId::from_uuid(uuid::Uuid::from_u128(
        ms << 80 | ids::task_id().uuid().as_u128() & ((1 << 80) - 1),
    ))
}
