//! A queue of a test's own, workers that serve it, and the test in the connector's and the scheduler's place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use posthaste_broker::{
    Admin, KafkaOptions, OutRecord, Producer, Record, Registry, RegistryOptions, StartAt, Tail, TopicSpec,
};
use posthaste_runtime::{Clock as _, Stopper, SystemClock, ids};
use posthaste_schema::{SchemaId, SchemaText, TASK_EVENT, TASK_REQUESTED, TaskRequested};
use posthaste_stack::Stack;
use posthaste_store::{GroupOptions, NewTask, Store, StoreOptions, Submitted, Submitter, migrate};
use posthaste_types::{RetryPolicy, Task, TaskId, TaskState, topics};
use posthaste_worker::{Attempt, Handler, HandlerError, Handlers, JsonText, Options, Parts, Service};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// Nothing here takes so long; past it a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

static NAME_COUNT: AtomicU32 = AtomicU32::new(0);
/// Held while a world is made, as all share the topic of dead letters.
static MAKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// See the module.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) kafka: KafkaOptions,
    pub(crate) queue: String,
    registry: Registry,
    producer: Producer,
    schema_id: SchemaId,
    submitter: Submitter,
    database: tokio_postgres::Client,
}

/// A worker that runs.
pub(crate) struct Running {
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stopper.stop();
        within("the worker to stop", self.task).await.unwrap();
    }

    /// Ends without waiting for its handlers, as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A handler made of a closure.
pub(crate) struct With<F>(pub(crate) F);

#[async_trait]
impl<F, R> Handler for With<F>
where
    F: Fn(&Attempt) -> R + Send + Sync + 'static,
    R: Future<Output = Result<JsonText, HandlerError>> + Send,
{
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        self.0(attempt).await
    }
}

/// Waits for `future`, with a bound.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

impl World {
    pub(crate) async fn new(stack: &Stack) -> Self {
        let _making = MAKING.lock().await;
        let queue = format!("q{}", NAME_COUNT.fetch_add(1, Ordering::Relaxed));
        let url = database(stack, &queue).await;
        let options = StoreOptions {
            url: url.clone(),
            ca: None,
            pool_size: 4,
            application_name: "test".to_owned(),
        };
        let store = Store::new(&options).unwrap();
        migrate(&store).await.unwrap();
        let registry = Registry::new(&RegistryOptions::at(stack.registry_url())).unwrap();
        let kafka = KafkaOptions {
            bootstrap: stack.kafka_bootstrap().to_owned(),
            ..KafkaOptions::default()
        };
        let topic = topics::tasks_topic(&queue);
        register(&store, &registry, topics::RESULTS, TASK_EVENT).await;
        let schema_id = register(&store, &registry, &topic, TASK_REQUESTED).await;
        let admin = Admin::new(&kafka).unwrap();
        for name in [topic.as_str(), topics::DEAD_LETTERS] {
            let spec = TopicSpec {
                name: name.to_owned(),
                partitions: 4,
                config: BTreeMap::new(),
            };
            admin.ensure_topic(&spec).await.unwrap();
        }
        let database = connect(&url).await;
        let submitter = Submitter::start(&store, GroupOptions::default(), Stopper::new());
        let producer = Producer::new(&kafka).unwrap();
        Self {
            store,
            kafka,
            queue,
            registry,
            producer,
            schema_id,
            submitter,
            database,
        }
    }

    /// Starts a worker of this queue's group.
    pub(crate) fn worker(&self, options: Options, handlers: Handlers) -> Running {
        let options = Options {
            queues: vec![self.queue.clone()],
            group: self.queue.clone(),
            builtins: true,
            ..options
        };
        let parts = Parts {
            store: self.store.clone(),
            kafka: self.kafka.clone(),
            registry: self.registry.clone(),
            clock: SystemClock::shared(),
            handlers,
        };
        let stopper = Stopper::new();
        let service = Service::start(options, parts, stopper.clone()).unwrap();
        Running {
            stopper,
            task: tokio::spawn(async move { service.run().await.unwrap() }),
        }
    }

    /// A task that is retried at once, three attempts in all.
    pub(crate) fn task(&self, task_type: &str, payload: &str) -> Task {
        Task {
            id: ids::task_id(),
            tenant: "default".to_owned(),
            task_type: task_type.to_owned(),
            queue: self.queue.clone(),
            key: None,
            channel: None,
            payload: payload.to_owned(),
            priority: 5,
            not_before: None,
            deadline: None,
            timeout_ms: None,
            retry: Some(RetryPolicy {
                max_attempts: 3,
                base_s: 0.0,
                factor: 1.0,
                max_s: 0.0,
            }),
            tags: BTreeMap::new(),
            traceparent: None,
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

    /// Stores the task.
    pub(crate) async fn store_only(&self, task: &Task) {
        let new = NewTask {
            task: task.clone(),
            event_id: ids::event_id(),
            idempotency: None,
        };
        assert_eq!(self.submitter.submit(new).await.unwrap(), Submitted::Stored);
    }

    /// Stores the task, and publishes it if it is ready.
    pub(crate) async fn submit(&self, task: &Task) {
        self.store_only(task).await;
        if task.state == TaskState::Init {
            self.publish(task).await;
        }
    }

    /// Writes the task's record, as the connector would.
    pub(crate) async fn publish(&self, task: &Task) {
        let key = task.key.clone().unwrap_or_else(|| task.id.to_string());
        let value = TaskRequested::encode_task(task, self.schema_id);
        self.write(Some(key), None, value).await;
    }

    /// Writes the task's record to a partition of the test's choice.
    pub(crate) async fn publish_to(&self, task: &Task, partition: i32) {
        self.write(
            None,
            Some(partition),
            TaskRequested::encode_task(task, self.schema_id),
        )
        .await;
    }

    /// Writes any record.
    pub(crate) async fn write(&self, key: Option<String>, partition: Option<i32>, value: Vec<u8>) {
        let record = OutRecord {
            topic: topics::tasks_topic(&self.queue),
            partition,
            key: key.map(Bytes::from),
            value: Some(value.into()),
            headers: Vec::new(),
        };
        self.producer.send(record).await.unwrap();
    }

    pub(crate) async fn read(&self, id: TaskId) -> Task {
        self.store.task("default", id).await.unwrap().unwrap()
    }

    /// The task once it is final. Meanwhile timers are fired and what becomes ready is published.
    pub(crate) async fn finished(&self, id: TaskId) -> Task {
        self.until(id, |task| task.state.is_final()).await
    }

    /// The task once it is as wanted; see [`Self::finished`].
    pub(crate) async fn until(&self, id: TaskId, is_wanted: impl Fn(&Task) -> bool) -> Task {
        let wait = async {
            // The first version was published with the submission, if at all.
            let mut published = 1;
            loop {
                let task = self.read(id).await;
                if is_wanted(&task) {
                    return task;
                }
                if task.state == TaskState::Init && task.version > published {
                    published = task.version;
                    self.publish(&task).await;
                }
                self.store.fire_timers(SystemClock.now()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("a task to come so far", wait).await
    }

    /// The kinds of the task's events in the outbox, oldest first.
    pub(crate) async fn events(&self, id: TaskId) -> Vec<String> {
        let sql = "select type from posthaste.outbox where aggregatetype = 'results' and aggregateid = $1 order by created_at";
        let rows = self.database.query(sql, &[&id.to_string()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The notes in the task's history, oldest first.
    pub(crate) async fn notes(&self, id: TaskId) -> Vec<String> {
        let task = self.read(id).await;
        let changes = self.store.history(&task).await.unwrap();
        changes.into_iter().filter_map(|change| change.note).collect()
    }

    /// The dead letters that came from this queue, once there are so many.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<Record> {
        let from = (0..4).map(|partition| (partition, StartAt::Earliest)).collect();
        let (_tail, mut items) = Tail::start(&self.kafka, topics::DEAD_LETTERS, from, 1024 * 1024).unwrap();
        let source = format!("{}/", topics::tasks_topic(&self.queue));
        let read = async {
            let mut records: Vec<Record> = Vec::new();
            while records.len() < count {
                let batch = items.recv().await.unwrap().unwrap();
                records.extend(batch.into_iter().filter(|record| {
                    record
                        .header(topics::HEADER_DEAD_SOURCE)
                        .is_some_and(|from| from.starts_with(source.as_bytes()))
                }));
            }
            records
        };
        within("dead letters", read).await
    }
}

/// A counter that a handler can be given.
pub(crate) fn counter() -> Arc<AtomicU32> {
    Arc::default()
}

/// A database of a world's own, so that no other fires its timers.
async fn database(stack: &Stack, name: &str) -> String {
    let url = stack.database_tcp_url();
    connect(url)
        .await
        .batch_execute(&format!("create database {name}"))
        .await
        .unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn register(store: &Store, registry: &Registry, topic: &str, text: SchemaText) -> SchemaId {
    let subject = topics::value_subject(topic);
    let id = SchemaId(registry.register(&subject, text.avsc).await.unwrap());
    store
        .record_schema(&subject, id, text.name, &text.fingerprint())
        .await
        .unwrap();
    id
}
