//! The broker crate on a real Kafka and registry, which all tests share.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic as the test may")]

mod group;
mod registry;
mod registry_tls;
mod tail;
mod topics;
mod transactions;
mod writing;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use posthaste_broker::{Admin, KafkaOptions, OutRecord, Producer, TopicSpec};
use posthaste_stack::Stack;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();
static NAME_COUNT: AtomicU32 = AtomicU32::new(0);

/// What a test works with.
struct Fixture {
    kafka: KafkaOptions,
    admin: Admin,
    producer: Producer,
    registry_url: String,
}

/// Runs a test on the shared runtime, so that the stack outlives each test.
fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Fixture) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK
            .get_or_init(|| async { posthaste_stack::temporary().await.unwrap() })
            .await;
        let kafka = KafkaOptions {
            bootstrap: stack.kafka_bootstrap().to_owned(),
            ..KafkaOptions::default()
        };
        let (admin, producer) = (Admin::new(&kafka).unwrap(), Producer::new(&kafka).unwrap());
        test(Fixture {
            kafka,
            admin,
            producer,
            registry_url: stack.registry_url().to_owned(),
        })
        .await;
    });
}

/// A name that no other test uses.
fn name(prefix: &str) -> String {
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        NAME_COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Waits for `future`, with a bound.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

impl Fixture {
    async fn topic(&self, partitions: i32, config: &[(&str, &str)]) -> String {
        let config: BTreeMap<String, String> = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let name = name("topic");
        self.admin
            .ensure_topic(&TopicSpec {
                name: name.clone(),
                partitions,
                config,
            })
            .await
            .unwrap();
        name
    }

    async fn write(&self, topic: &str, partition: i32, value: &str) -> i64 {
        let record = OutRecord {
            topic: topic.to_owned(),
            partition: Some(partition),
            key: None,
            value: Some(value.to_owned().into()),
            headers: vec![("who".into(), Some("test".into()))],
        };
        self.producer.send(record).await.unwrap().1
    }
}
