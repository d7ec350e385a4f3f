//! A Postgres for all tests, and a database for each.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use posthaste_runtime::{Clock as _, Stopper, SystemClock, ids};
use posthaste_schema::{SchemaId, TASK_EVENT, TASK_REQUESTED, TaskEvent, WriterSchemas};
use posthaste_stack::{Stack, StackOptions};
use posthaste_store::{
    Claim, Claimed, Completed, Completion, GroupOptions, Idempotency, NewTask, Store, StoreOptions,
    Submitted, Submitter, WorkerWrites, migrate,
};
use posthaste_types::{ClaimToken, EventKind, Task, TaskError, TaskState, topics};
use tokio::sync::OnceCell;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

pub(crate) const REQUESTED_ID: SchemaId = SchemaId(1);
pub(crate) const EVENT_ID: SchemaId = SchemaId(2);

/// All tests share it, since the Postgres belongs to the runtime that started it.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// A migrated database with its writers, and a connection to look into it.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) submitter: Submitter,
    pub(crate) writes: WorkerWrites,
    pub(crate) stopper: Stopper,
    pub(crate) database: Client,
    name: String,
}

/// Runs a test on the shared runtime with a store on an empty database of its own.
pub(crate) fn with_store<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Store, Client) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK.get_or_init(start_postgres).await;
        let url = stack.database_tcp_url();
        connect(url)
            .await
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let options = options(name, "posthaste");
        test(Store::new(&options).unwrap(), connect(&options.url).await).await;
    });
}

/// How to reach a database of the shared Postgres.
fn options(database: &str, application_name: &str) -> StoreOptions {
    let url = STACK.get().expect("a test has started it").database_tcp_url();
    StoreOptions {
        url: format!("{}/{database}", url.rsplit_once('/').unwrap().0),
        ca: None,
        pool_size: 8,
        application_name: application_name.to_owned(),
    }
}

/// The same, migrated and with writers.
pub(crate) fn with_world<F: Future<Output = ()>>(name: &str, test: impl FnOnce(World) -> F) {
    with_store(name, async |store, database| {
        migrate(&store).await.unwrap();
        for (topic, id, text) in [
            ("tasks.default", REQUESTED_ID, TASK_REQUESTED),
            (topics::RESULTS, EVENT_ID, TASK_EVENT),
        ] {
            let subject = topics::value_subject(topic);
            store
                .record_schema(&subject, id, text.name, &text.fingerprint())
                .await
                .unwrap();
        }
        let stopper = Stopper::new();
        test(World {
            submitter: Submitter::start(&store, GroupOptions::default(), stopper.clone()),
            writes: WorkerWrites::start(&store, GroupOptions::default(), stopper.clone()),
            store,
            stopper,
            database,
            name: name.to_owned(),
        })
        .await;
    });
}

async fn start_postgres() -> Stack {
    // The next run removes what this one leaves, by the directory's name.
    let directory = std::env::temp_dir().join(format!("posthaste-stack-store-{}", std::process::id()));
    Stack::start(StackOptions::new(directory).postgres_alone())
        .await
        .unwrap()
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl World {
    /// How another process reaches the same database.
    pub(crate) fn options(&self, application_name: &str) -> StoreOptions {
        options(&self.name, application_name)
    }

    pub(crate) async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.database.query(sql, params).await.unwrap()
    }

    /// One number.
    pub(crate) async fn count(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> i64 {
        self.database.query_one(sql, params).await.unwrap().get(0)
    }

    pub(crate) async fn stored(&self, task: &Task) -> Task {
        self.store
            .task(&task.tenant, task.id)
            .await
            .unwrap()
            .expect("it was stored")
    }

    pub(crate) async fn submit(&self, task: &Task) {
        assert_eq!(self.submitter.submit(new(task)).await.unwrap(), Submitted::Stored);
    }

    pub(crate) async fn claim(&self, task: &Task, token: ClaimToken) -> Claimed {
        let claim = Claim {
            task_id: task.id,
            run: task.run,
            token,
            worker: Arc::from("worker-1"),
        };
        self.writes.claim(claim).await.unwrap()
    }

    /// Claims for a fresh token and brings `task` up to it.
    pub(crate) async fn run(&self, task: &mut Task) -> ClaimToken {
        let token = ids::claim_token();
        let claimed = self.claim(task, token).await;
        let Claimed::Granted {
            attempt,
            version,
            started_at,
            ..
        } = claimed
        else {
            panic!("{claimed:?}")
        };
        task.state = TaskState::Running;
        (task.attempt, task.version, task.started_at) = (attempt, version, Some(started_at));
        token
    }

    pub(crate) async fn complete(&self, completion: Completion) -> Completed {
        self.writes.complete(completion).await.unwrap()
    }

    /// The events of a task in the outbox, in the order they were written.
    pub(crate) async fn events(&self, task: &Task) -> Vec<TaskEvent> {
        let sql = "select payload from posthaste.outbox where aggregatetype = 'results' and aggregateid = $1
            order by created_at";
        let writers = WriterSchemas::new();
        writers.add(EVENT_ID, TASK_EVENT.avsc).unwrap();
        let rows = self.query(sql, &[&task.id.to_string()]).await;
        rows.iter()
            .map(|row| TaskEvent::decode(row.get(0), &writers).unwrap())
            .collect()
    }

    /// The notes in a task's history.
    pub(crate) async fn notes(&self, task: &Task) -> Vec<(String, i32, Option<String>)> {
        let sql =
            "select state::text, attempt, note from posthaste.task_history where task_id = $1 order by at";
        let rows = self.query(sql, &[&task.id.uuid()]).await;
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }
}

/// A submission of `task` under a key; `request` tells requests apart.
pub(crate) fn keyed(task: &Task, key: &str, request: u8) -> NewTask {
    NewTask {
        idempotency: Some(idempotency(key, request)),
        ..new(task)
    }
}

pub(crate) fn idempotency(key: &str, request: u8) -> Idempotency {
    Idempotency {
        key: key.to_owned(),
        fingerprint: [request; 32],
        answer: None,
    }
}

pub(crate) fn new(task: &Task) -> NewTask {
    NewTask {
        task: task.clone(),
        event_id: ids::event_id(),
        idempotency: None,
    }
}

/// What makes `task` DONE, FAILED or RETRYING, or tells of it RUNNING.
pub(crate) fn completion(task: &Task, token: ClaimToken, state: TaskState) -> Completion {
    let now = SystemClock.now();
    let mut task = task.clone();
    task.state = state;
    task.version += 1;
    task.finished_at = state.is_final().then_some(now);
    task.result = (state == TaskState::Done).then(|| r#"{"pages": 3}"#.to_owned());
    task.error = matches!(state, TaskState::Failed | TaskState::Retrying)
        .then(|| TaskError::new("no_paper", "tray 2 is empty", true));
    let kind = if state == TaskState::Running {
        EventKind::Progress
    } else {
        state.entry_event().unwrap()
    };
    let event = TaskEvent::of(&task, ids::event_id(), kind, now);
    Completion {
        token,
        event,
        retry_at: (state == TaskState::Retrying).then_some(now),
    }
}

pub(crate) fn task() -> Task {
    Task {
        id: ids::task_id(),
        tenant: "default".to_owned(),
        task_type: "invoice.render".to_owned(),
        queue: "default".to_owned(),
        key: Some("customer-17".to_owned()),
        channel: Some("orders".to_owned()),
        payload: r#"{"total": 1.10, "name": "Zoë"}"#.to_owned(),
        priority: 7,
        not_before: None,
        deadline: None,
        timeout_ms: Some(1_500),
        retry: Some(posthaste_types::RetryPolicy::default()),
        tags: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        state: TaskState::Init,
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
