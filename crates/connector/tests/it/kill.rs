//! Connectors are killed at random points under load, with brokers and databases restarted in between. `bench/connector-kill`
//! runs many rounds of it, and proves with a connector that acknowledges early that a loss would be seen.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use posthaste_broker::{KafkaOptions, Record};
use posthaste_connector::{Delivery, Deps, Options, Service};
use posthaste_runtime::{Stopper, SystemClock};
use posthaste_stack::{Part, Stack};
use tokio_postgres::{Client, NoTls};

use crate::common::{Outbox, connect, store, within};

/// What this process is to be, for [`connector_process`].
const PROCESS: &str = "POSTHASTE_TEST_CONNECTOR";
/// How many rounds are run.
const ROUNDS: &str = "POSTHASTE_KILL_ROUNDS";
const KEYS: [&str; 3] = ["a", "b", "c"];

/// A connector in a process of its own, so that it can be killed. Not a test: without being told so by the environment, it
/// does nothing.
#[test]
fn connector_process() {
    let Ok(text) = std::env::var(PROCESS) else { return };
    let parts: Vec<&str> = text.split('\n').collect();
    let [database_url, bootstrap, name, delivery] = parts[..] else {
        panic!("{text}")
    };
    let options = Options {
        slot: name.to_owned(),
        publication: name.to_owned(),
        table: format!("{name}.outbox"),
        // Much of what is published is not confirmed when it is killed.
        status_interval_ms: 500,
        delivery: if delivery == "ExactlyOnce" {
            Delivery::ExactlyOnce
        } else {
            Delivery::AtLeastOnce
        },
        ..Options::default()
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let deps = Deps {
            store: store(database_url),
            kafka: KafkaOptions {
                bootstrap: bootstrap.to_owned(),
                ..KafkaOptions::default()
            },
            clock: SystemClock::shared(),
        };
        let service = Service::start(&options, deps, Stopper::new()).unwrap();
        service.run().await.unwrap();
    });
}

/// A killed process leaves nothing behind.
struct Process(Child);

impl Process {
    fn start(stack: &Stack, outbox: &Outbox) -> Self {
        let what = format!(
            "{}\n{}\n{}\n{:?}",
            stack.database_url(),
            stack.kafka_bootstrap(),
            outbox.name(),
            outbox.options.delivery
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::connector_process", "--nocapture"])
            .env(PROCESS, what)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Numbers rows of one key until told to stop; answers how many were committed. A commit whose answer was lost is looked up.
async fn write(
    url: String,
    schema: String,
    topic: String,
    key: &'static str,
    is_over: Arc<AtomicBool>,
) -> usize {
    let (mut written, mut client) = (0, connect(&url).await);
    let insert = format!(
        "insert into {schema}.outbox (aggregatetype, aggregateid, type, payload, tenant)
         select $1, $2, 'test.made', convert_to(n::text, 'utf8'), 'default' from generate_series($3::int, $4::int) n"
    );
    let find = format!(
        "select exists (select from {schema}.outbox where aggregateid = $1 and payload = convert_to($2::int::text, 'utf8'))"
    );
    while !is_over.load(Ordering::Relaxed) {
        let next = i32::try_from(written).unwrap();
        // Single rows and multi-row statements in turns.
        let last = next + next % 7;
        if client
            .execute(&insert, &[&topic, &key, &next, &last])
            .await
            .is_err()
        {
            client = reconnect(&url).await;
            if !client
                .query_one(&find, &[&key, &next])
                .await
                .unwrap()
                .get::<_, bool>(0)
            {
                continue;
            }
        }
        written = usize::try_from(last).unwrap() + 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    written
}

async fn reconnect(url: &str) -> Client {
    let wait = async {
        loop {
            if let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the database to come back", wait).await
}

/// What came of one key: numbers that never came, came again, or came after a later one.
#[derive(Debug, Default, PartialEq)]
struct Damage {
    lost: usize,
    repeated: usize,
    disordered: usize,
}

fn damage_of(records: &[Record], written: &BTreeMap<&'static str, usize>) -> Damage {
    let mut damage = Damage::default();
    for (key, count) in written {
        let mut times = vec![0_usize; *count];
        let mut latest = 0;
        let of_key = records
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        for record in of_key {
            let text = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
            let number: usize = text.parse().unwrap();
            damage.disordered += usize::from(number < latest && times[number] == 0);
            latest = latest.max(number);
            times[number] += 1;
        }
        damage.lost += times.iter().filter(|times| **times == 0).count();
        damage.repeated += times.iter().map(|times| times.saturating_sub(1)).sum::<usize>();
    }
    damage
}

/// Kills connectors for so many rounds and tells what became of the rows.
async fn rounds(delivery: Delivery, count: usize) -> Damage {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = Outbox::new(&stack).await;
    outbox.options.delivery = delivery;
    let topic = outbox.topic("killed", 3, &[]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = KEYS.map(|key| {
        let (url, schema) = (stack.database_url().to_owned(), outbox.name().to_owned());
        (
            key,
            tokio::spawn(write(url, schema, topic.clone(), key, Arc::clone(&is_over))),
        )
    });
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..count {
        // Xorshift: another moment in each round, the same ones in each run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let connector = Process::start(&stack, &outbox);
        tokio::time::sleep(Duration::from_millis(150 + random % 1500)).await;
        let broken = match round % 10 {
            2 => Some(Part::Kafka),
            4 => Some(Part::Postgres),
            _ => None,
        };
        if let Some(part) = broken {
            stack.kill(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(random % 700)).await;
        }
        drop(connector);
        if let Some(part) = broken {
            crate::common::restart(&stack, part).await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut written = BTreeMap::new();
    for (key, writer) in writers {
        written.insert(key, within("a writer", writer).await.unwrap());
    }
    outbox.client = reconnect(stack.database_url()).await;
    let _connector = Process::start(&stack, &outbox);
    let records = outbox.read_all(&topic).await;
    eprintln_rows(delivery, count, &written);
    let damage = damage_of(&records, &written);
    stack.stop().await.unwrap();
    damage
}

#[expect(
    clippy::print_stderr,
    reason = "how much was written tells whether the rounds meant anything"
)]
fn eprintln_rows(delivery: Delivery, count: usize, written: &BTreeMap<&'static str, usize>) {
    eprintln!(
        "{count} rounds, {delivery:?}: {} rows",
        written.values().sum::<usize>()
    );
}

fn round_count() -> usize {
    std::env::var(ROUNDS).map_or(6, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connectors_neither_lose_nor_repeat_nor_disorder() {
    assert_eq!(
        rounds(Delivery::AtLeastOnce, round_count()).await,
        Damage::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connectors_neither_lose_nor_repeat_nor_disorder_in_transactions() {
    assert_eq!(
        rounds(Delivery::ExactlyOnce, round_count()).await,
        Damage::default()
    );
}

/// With the connector made to acknowledge what is not published.
#[cfg(feature = "mutant")]
#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_acknowledges_early_is_seen_to_lose() {
    assert!(rounds(Delivery::AtLeastOnce, round_count().min(10)).await.lost > 0);
}
