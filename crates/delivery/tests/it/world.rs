//! What the tests share: the stack, the topic, and a hand that publishes events and stores tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{SubsecRound as _, Utc};
use posthaste_broker::{
    Admin, KafkaOptions, OutRecord, Producer, Registry, RegistryOptions, TopicSpec, partition_of,
};
use posthaste_delivery::{Deps, Options, Service};
use posthaste_http::{Authenticator, Front};
use posthaste_runtime::{Stopper, SystemClock, ids};
use posthaste_schema::{SchemaId, TASK_EVENT, TaskEvent};
use posthaste_stack::Stack;
use posthaste_store::{AuditEntry, AuditFilter, Store, StoreOptions};
use posthaste_types::{EventKind, TaskId, TaskState, topics};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::door::Door;

/// Nothing here takes so long; past it a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PARTITION_COUNT: i32 = 3;

static NAME_COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct World {
    stack: Stack,
    kafka: KafkaOptions,
    producer: Producer,
    schema_id: SchemaId,
    admin: Client,
}

/// A test's own database and consumer group, so that no test posts another's webhooks.
pub(crate) struct Place<'world> {
    world: &'world World,
    url: String,
    group: String,
    pub(crate) database: Client,
}

/// A delivery process.
pub(crate) struct Delivery {
    pub(crate) url: String,
    pub(crate) door: Arc<Door>,
    stopper: Stopper,
    tasks: Vec<JoinHandle<()>>,
}

/// Waits for `future`, with a bound.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A name that no other test has.
pub(crate) fn fresh(what: &str) -> String {
    format!("{what}-{}", NAME_COUNT.fetch_add(1, Ordering::Relaxed))
}

impl World {
    pub(crate) async fn new() -> Self {
        let stack = posthaste_stack::temporary().await.unwrap();
        let kafka = KafkaOptions {
            bootstrap: stack.kafka_bootstrap().to_owned(),
            ..KafkaOptions::default()
        };
        let config = BTreeMap::new();
        let spec = TopicSpec {
            name: topics::RESULTS.to_owned(),
            partitions: PARTITION_COUNT,
            config,
        };
        Admin::new(&kafka).unwrap().ensure_topic(&spec).await.unwrap();
        let registry = Registry::new(&RegistryOptions::at(stack.registry_url())).unwrap();
        let id = registry
            .register(&topics::value_subject(topics::RESULTS), TASK_EVENT.avsc)
            .await
            .unwrap();
        let admin = connect(stack.database_tcp_url()).await;
        let producer = Producer::new(&kafka).unwrap();
        Self {
            stack,
            kafka,
            producer,
            schema_id: SchemaId(id),
            admin,
        }
    }

    /// A fresh place.
    pub(crate) async fn place(&self) -> Place<'_> {
        let name = format!("test_{}", NAME_COUNT.fetch_add(1, Ordering::Relaxed));
        self.admin
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let (base, _) = self.stack.database_tcp_url().rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        posthaste_store::migrate(&store(&url)).await.unwrap();
        Place {
            world: self,
            group: fresh("group"),
            database: connect(&url).await,
            url,
        }
    }

    /// Publishes an event as the connector would; answers its partition.
    pub(crate) async fn publish(&self, event: &TaskEvent) -> i32 {
        let key = event.task_id.to_string();
        let partition = partition_of(key.as_bytes(), PARTITION_COUNT);
        let header = |name: &'static str, value: &str| (name.into(), Some(Bytes::from(value.to_owned())));
        let record = OutRecord {
            topic: topics::RESULTS.to_owned(),
            partition: Some(partition),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(event.encode(self.schema_id))),
            headers: vec![header(topics::HEADER_EVENT_TYPE, event.kind.as_str())],
        };
        self.producer.send(record).await.unwrap();
        partition
    }

    /// Publishes a value that is no event.
    pub(crate) async fn publish_garbage(&self) {
        let record = OutRecord {
            topic: topics::RESULTS.to_owned(),
            partition: Some(0),
            key: None,
            value: Some(Bytes::from_static(b"garbage")),
            headers: Vec::new(),
        };
        self.producer.send(record).await.unwrap();
    }

    /// Publishes `count` ends of tasks on a channel, numbered in their results.
    pub(crate) async fn publish_many(&self, channel: &str, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let mut event = done(channel);
            event.result = Some(number.to_string());
            self.publish(&event).await;
        }
    }
}

impl Place<'_> {
    /// Starts a delivery process that can be called.
    pub(crate) async fn deliver(&self, options: Options) -> Delivery {
        let stopper = Stopper::new();
        let deps = Deps {
            store: store(&self.url),
            kafka: self.world.kafka.clone(),
            registry: Registry::new(&RegistryOptions::at(self.world.stack.registry_url())).unwrap(),
            clock: SystemClock::shared(),
        };
        let service = Service::start(
            Options {
                webhook_group: self.group.clone(),
                ..options
            },
            deps,
            stopper.clone(),
        )
        .unwrap();
        let routes = posthaste_http::finish(service.routes());
        let readiness = service.readiness();
        let listener = posthaste_http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", listener.local_addr());
        let serving = stopper.clone();
        let door = Arc::<Door>::default();
        let front = Front::new(Arc::clone(&door) as Arc<dyn Authenticator>);
        let tasks = vec![
            tokio::spawn(async move { listener.serve(routes, front, serving).await.unwrap() }),
            tokio::spawn(async move { service.run().await.unwrap() }),
        ];
        within("the process to be ready", async {
            while readiness
                .check()
                .await
                .iter()
                .any(|(_, outcome)| outcome.is_err())
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Delivery {
            url,
            door,
            stopper,
            tasks,
        }
    }

    /// Stores a task as `event` leaves it, or changes a stored one so.
    pub(crate) async fn store_task(&self, event: &TaskEvent) {
        let statement = "insert into posthaste.tasks (id, tenant, type, queue, payload, priority, state, run, attempt,
                version, result, created_at, started_at, finished_at)
            values ($1, $2, $3, $4, '{}', 5, ($5::text)::posthaste.task_state, 1, 1, $6, ($7::text)::json, $8, $9, $10)
            on conflict (id) do update set state = excluded.state, version = excluded.version,
                result = excluded.result, finished_at = excluded.finished_at";
        self.database
            .execute(
                statement,
                &[
                    &event.task_id.uuid(),
                    &event.tenant,
                    &event.task_type,
                    &event.queue,
                    &event.state.as_str(),
                    &event.version,
                    &event.result,
                    &event.created_at,
                    &event.started_at,
                    &event.finished_at,
                ],
            )
            .await
            .unwrap();
    }
}

impl Place<'_> {
    /// Gives a stored task the channel of its event.
    pub(crate) async fn set_channel(&self, event: &TaskEvent) {
        let statement = "update posthaste.tasks set channel = $2 where id = $1";
        let task = event.task_id.uuid();
        self.database
            .execute(statement, &[&task, &event.channel])
            .await
            .unwrap();
    }

    /// A tenant's audit log, the newest first.
    pub(crate) async fn audited(&self, tenant: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter {
            tenant: Some(tenant.to_owned()),
            ..AuditFilter::default()
        };
        store(&self.url).audit(&filter, 100).await.unwrap()
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn store(url: &str) -> Store {
    let options = StoreOptions {
        url: url.to_owned(),
        ca: None,
        pool_size: 4,
        application_name: "test".to_owned(),
    };
    Store::new(&options).unwrap()
}

impl Delivery {
    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stopper.stop();
        for task in self.tasks {
            within("the process to stop", task).await.unwrap();
        }
    }
}

/// Options of a process that may post to this machine.
pub(crate) fn open_options() -> Options {
    Options {
        allow_private_addresses: true,
        allow_http: true,
        ..Options::default()
    }
}

/// The end of a fresh task.
pub(crate) fn done(channel: &str) -> TaskEvent {
    let now = Utc::now().trunc_subsecs(6);
    TaskEvent {
        event_id: ids::event_id(),
        kind: EventKind::Done,
        timestamp: now,
        task_id: ids::task_id(),
        tenant: "default".to_owned(),
        task_type: "echo".to_owned(),
        queue: "default".to_owned(),
        key: None,
        channel: Some(channel.to_owned()),
        state: TaskState::Done,
        run: 1,
        attempt: 1,
        version: 3,
        priority: 5,
        tags: BTreeMap::new(),
        progress: None,
        result: Some("1".to_owned()),
        error: None,
        created_at: now,
        not_before: None,
        started_at: Some(now),
        finished_at: Some(now),
        traceparent: None,
    }
}

/// An event of a task that is still running.
pub(crate) fn running(task_id: TaskId, version: i32) -> TaskEvent {
    TaskEvent {
        kind: EventKind::Running,
        state: TaskState::Running,
        version,
        task_id,
        result: None,
        finished_at: None,
        ..done("unused")
    }
}

/// Shares a value between a test and a server of it.
pub(crate) fn shared<T>(value: T) -> Arc<parking_lot::Mutex<T>> {
    Arc::new(parking_lot::Mutex::new(value))
}
