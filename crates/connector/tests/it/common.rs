//! An outbox of a test's own with its slot, topics and connector, on a real Postgres and Kafka.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use posthaste_broker::{Admin, ErrorKind, KafkaOptions, Record, Registry, StartAt, Tail, TopicSpec};
use posthaste_connector::{Connectors, Deps, Health, Options, Service};
use posthaste_runtime::{Stopper, SystemClock};
use posthaste_stack::{Part, Stack};
use posthaste_store::{Store, StoreOptions};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// Nothing here takes so long, not even a broker that was stopped for a minute, beside all other tests; past it a test has
/// failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

static NAME_COUNT: AtomicU32 = AtomicU32::new(0);

/// One outbox and what reads it.
pub(crate) struct Outbox {
    pub(crate) kafka: KafkaOptions,
    pub(crate) admin: Admin,
    pub(crate) client: Client,
    pub(crate) options: Options,
    /// Makes Avro of JSON.
    pub(crate) registry: Option<Registry>,
    database_url: String,
    name: String,
}

/// A connector that runs.
pub(crate) struct Running {
    pub(crate) health: Health,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stopper.stop();
        within("the connector to stop", self.task).await.unwrap();
    }

    /// Ends without settling or telling anybody, as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Waits for `future`, with a bound.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn store(url: &str) -> Store {
    let options = StoreOptions {
        url: url.to_owned(),
        ca: None,
        pool_size: 2,
        application_name: "test".to_owned(),
    };
    Store::new(&options).unwrap()
}

/// Waits until `is_so`, with a bound.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, wait).await;
}

/// Starts a part again that was killed. Its children may take a moment to follow it, and the last try tells why it fails.
pub(crate) async fn restart(stack: &Stack, part: Part) {
    for _ in 0..10 {
        if stack.restart(part).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stack.restart(part).await.unwrap();
}

impl Outbox {
    /// A fresh outbox table of Posthaste's shape.
    pub(crate) async fn new(stack: &Stack) -> Self {
        let name = format!(
            "t{}_{}",
            std::process::id(),
            NAME_COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let kafka = KafkaOptions {
            bootstrap: stack.kafka_bootstrap().to_owned(),
            ..KafkaOptions::default()
        };
        let client = connect(stack.database_url()).await;
        let create = format!(
            "create schema {name};
             create table {name}.outbox (
                 id uuid not null default gen_random_uuid(), aggregatetype text not null, aggregateid text not null,
                 type text not null, payload bytea not null, tenant text not null, traceparent text,
                 created_at timestamptz not null default clock_timestamp()
             ) partition by range (created_at);
             create table {name}.outbox_all partition of {name}.outbox default"
        );
        client.batch_execute(&create).await.unwrap();
        let options = Options {
            slot: name.clone(),
            publication: name.clone(),
            table: format!("{name}.outbox"),
            ..Options::default()
        };
        let admin = Admin::new(&kafka).unwrap();
        let outbox = Self {
            kafka,
            admin,
            client,
            options,
            registry: None,
            database_url: stack.database_url().to_owned(),
            name,
        };
        outbox.ensure_topic("dead-letters", 2, &[]).await;
        outbox
            .store()
            .ensure_replication(&outbox.options.names().unwrap())
            .await
            .unwrap();
        outbox
    }

    pub(crate) fn store(&self) -> Store {
        store(&self.database_url)
    }

    /// What `posthaste connector` works with.
    pub(crate) fn connectors(&self) -> Connectors {
        Connectors::new(self.store(), SystemClock::shared())
    }

    /// Makes a topic of this test's own.
    pub(crate) async fn topic(&self, suffix: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let topic = format!("{}.{suffix}", self.name);
        self.ensure_topic(&topic, partitions, config).await;
        topic
    }

    async fn ensure_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let config: BTreeMap<String, String> = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.admin
            .ensure_topic(&TopicSpec {
                name: name.to_owned(),
                partitions,
                config,
            })
            .await
            .unwrap();
    }

    /// Starts a connector and does not wait for it.
    pub(crate) fn start(&self) -> Running {
        self.start_at(&self.database_url)
    }

    /// Starts a connector that reaches the database by another way.
    pub(crate) fn start_at(&self, database_url: &str) -> Running {
        let stopper = Stopper::new();
        let deps = Deps {
            store: store(database_url),
            kafka: self.kafka.clone(),
            clock: SystemClock::shared(),
        };
        let mut service = Service::start(&self.options, deps, stopper.clone()).unwrap();
        if let Some(registry) = self.registry.clone() {
            service = service.with_registry(registry);
        }
        let health = service.health();
        let task = tokio::spawn(async move { service.run().await.unwrap() });
        Running {
            health,
            stopper,
            task,
        }
    }

    /// Starts a connector and waits until it holds the slot.
    pub(crate) async fn streaming(&self) -> Running {
        let mut running = self.start();
        assert!(within("the connector to stream", running.health.streaming()).await);
        running
    }

    /// Writes rows in one transaction; each payload is its value.
    pub(crate) async fn insert(&self, topic: &str, rows: &[(&str, &[u8])]) {
        insert(&self.client, &self.name, topic, rows).await;
    }

    /// The schema's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads a topic from its beginning until `is_enough`.
    pub(crate) async fn read(&self, topic: &str, is_enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let from = self
            .admin
            .partitions(topic)
            .await
            .unwrap()
            .into_iter()
            .map(|id| (id, StartAt::Earliest))
            .collect();
        let (_tail, mut items) = Tail::start(&self.kafka, topic, from, 8 * 1024 * 1024).unwrap();
        let mut records = Vec::new();
        let read = async {
            while !is_enough(&records) {
                match items.recv().await.unwrap() {
                    Ok(batch) => records.extend(batch),
                    // The tail goes on by itself once the broker is back.
                    Err(error) if error.kind() == ErrorKind::Unavailable => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, read).await.is_err() {
            panic!("only {} records came to {topic}", records.len());
        }
        records
    }

    /// Writes one more row after everything and reads the topic until it comes: what came before is then all that comes.
    pub(crate) async fn read_all(&self, topic: &str) -> Vec<Record> {
        const LAST: &[u8] = b"the last one";
        for partition in self.admin.partitions(topic).await.unwrap() {
            let count = i32::try_from(self.admin.partitions(topic).await.unwrap().len()).unwrap();
            let key = (0..).map(|n| format!("last-{n}"));
            let key = key
                .into_iter()
                .find(|key| posthaste_broker::partition_of(key.as_bytes(), count) == partition);
            self.insert(topic, &[(&key.unwrap(), LAST)]).await;
        }
        let count = self.admin.partitions(topic).await.unwrap().len();
        let is_last = |record: &Record| record.value.as_deref() == Some(LAST);
        let records = self
            .read(topic, |records| {
                records.iter().filter(|record| is_last(record)).count() >= count
            })
            .await;
        records.into_iter().filter(|record| !is_last(record)).collect()
    }
}

pub(crate) async fn insert(client: &Client, schema: &str, topic: &str, rows: &[(&str, &[u8])]) {
    let keys: Vec<&str> = rows.iter().map(|(key, _)| *key).collect();
    let payloads: Vec<&[u8]> = rows.iter().map(|(_, payload)| *payload).collect();
    let statement = format!(
        "insert into {schema}.outbox (aggregatetype, aggregateid, type, payload, tenant, traceparent)
         select $1, key, 'test.made', payload, 'default', '00-1-2-01' from unnest($2::text[], $3::bytea[]) as t (key, payload)"
    );
    client
        .execute(&statement, &[&topic, &keys, &payloads])
        .await
        .unwrap();
}

/// The values of one key, in the order of the topic.
pub(crate) fn values_of(records: &[Record], key: &str) -> Vec<String> {
    let of_key = records
        .iter()
        .filter(|record| record.key.as_deref() == Some(key.as_bytes()));
    of_key
        .map(|record| String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap())
        .collect()
}
