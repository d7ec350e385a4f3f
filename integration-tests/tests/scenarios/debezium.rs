//! Debezium in our connector's place: the round trips are the same, the records are the same, and a slot moves from one
//! to the other and back without loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use posthaste_broker::{Admin, Record, TopicSpec};
use posthaste_stack::{Connect, ConnectOptions, DebeziumPlaces, DebeziumTuning};
use posthaste_types::topics;
use tokio_postgres::Client;

use crate::process::{Process, migrate};
use crate::round_trip;
use crate::world::{World, eventually};

const OUR_SLOT: &str = "posthaste";
const THEIR_SLOT: &str = "posthaste_debezium";
const BATCH: i32 = 100;

/// Whether Debezium can be run here; says why not.
pub(crate) async fn is_possible(world: &World) -> bool {
    let fetched = world.stack.fetch_connect(&options(world, OUR_SLOT)).await;
    if let Err(error) = &fetched {
        eprintln!("scenarios with Debezium are ignored, it cannot be fetched: {error}");
    }
    fetched.is_ok()
}

fn options(world: &World, slot: &str) -> ConnectOptions {
    let port = world.stack.database_tcp_url().rsplit(':').next();
    let port = port.and_then(|end| end.split('/').next()?.parse().ok());
    let places = DebeziumPlaces {
        host: "127.0.0.1".to_owned(),
        port: port.expect("the stack's URL ends with a port and a database"),
        user: "posthaste".to_owned(),
        password: "unused".to_owned(),
        database: "posthaste".to_owned(),
        slot: slot.to_owned(),
        publication: "posthaste_outbox".to_owned(),
        table: "posthaste.outbox".to_owned(),
        kafka: world.stack.kafka_bootstrap().to_owned(),
    };
    ConnectOptions::debezium(places, DebeziumTuning::Tuned)
}

async fn debezium(world: &World, slot: &str) -> anyhow::Result<Connect> {
    Ok(Box::pin(world.stack.connect(&options(world, slot))).await?)
}

/// A topic that no worker reads.
async fn topic(world: &World, name: &str) -> anyhow::Result<()> {
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions: 4,
        config: BTreeMap::new(),
    };
    Admin::new(&world.kafka())?.ensure_topic(&spec).await?;
    Ok(())
}

pub(crate) async fn round_trips_are_the_same_with_debezium(world: Arc<World>) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let database = format!("database.url={}", world.stack.database_tcp_url());
    let folder = data.path().to_str().context("a plain path")?;
    let arguments = [
        "--connector",
        "debezium",
        "--data-dir",
        folder,
        "--set",
        &database,
    ];
    *world.dev_arguments.lock().expect("no scenario panics here") = arguments.map(str::to_owned).into();
    let result = round_trips(&world).await;
    world
        .dev_arguments
        .lock()
        .expect("no scenario panics here")
        .clear();
    result
}

async fn round_trips(world: &Arc<World>) -> anyhow::Result<()> {
    round_trip::result_comes_by_short_poll(Arc::clone(world)).await?;
    round_trip::result_comes_by_long_poll(Arc::clone(world)).await?;
    round_trip::result_comes_with_the_submission_when_the_caller_waits(Arc::clone(world)).await?;
    round_trip::result_comes_by_server_sent_events(Arc::clone(world)).await?;
    round_trip::task_stream_ends_after_the_final_event(Arc::clone(world)).await?;
    round_trip::result_comes_by_webhook(Arc::clone(world)).await?;
    round_trip::delayed_task_runs_when_due(Arc::clone(world)).await?;
    round_trip::cancelled_task_never_runs(Arc::clone(world)).await?;
    round_trip::stream_resumes_without_gap_or_repeat(Arc::clone(world)).await
}

/// What a reader sees of a record. Not our position, which Debezium cannot know, nor the event's id, which both write in
/// their own way; a header without a value is what Debezium makes of a column without one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    partition: i32,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: BTreeMap<String, Vec<u8>>,
}

impl From<&Record> for Seen {
    fn from(record: &Record) -> Self {
        let bytes = |part: &Option<_>| part.as_deref().map(<[u8]>::to_vec).unwrap_or_default();
        let headers = record.headers.iter().filter_map(|(name, value)| {
            let is_seen = ![topics::HEADER_POSITION, topics::HEADER_EVENT_ID].contains(&name.as_ref());
            Some((name, value.as_ref().filter(|_| is_seen)?))
        });
        Self {
            partition: record.partition,
            key: bytes(&record.key),
            value: bytes(&record.value),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_vec()))
                .collect(),
        }
    }
}

const EVERY_KIND_OF_ROW: &str = "
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent, created_at)
    select gen_random_uuid(), $1, key, type, payload, tenant, traceparent, at
    from (values
        ('plain', 'task.done', '\\x00'::bytea, 'default', null, now()),
        ('every byte', 'task.done',
            (select string_agg(decode(lpad(to_hex(b), 2, '0'), 'hex'), '' order by b) from generate_series(0, 255) b),
            'default', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', now()),
        ('empty', 'task.done', ''::bytea, 'default', null, now()),
        ('', 'a key of no bytes', '\\x01'::bytea, 'default', null, now()),
        ('ключ \"🔑\" {a: [1]}', '日本', '\\x02'::bytea, 'tenant ''x''', null, now()),
        ('12345', 'true', '\\x03'::bytea, '{\"a\": 1}', 'null', now()),
        ('large', 'task.done', decode(repeat('00ff7f80', 262144), 'hex'), 'default', null, now()),
        ('of another partition', 'task.done', '\\x04'::bytea, 'default', null, now() - interval '400 days')
    ) row (key, type, payload, tenant, traceparent, at)";
const ROW_COUNT: usize = 8;

pub(crate) async fn both_give_the_same_key_value_and_headers(world: Arc<World>) -> anyhow::Result<()> {
    let name = "scenario-debezium-same";
    migrate(&world).await?;
    topic(&world, name).await?;
    let database = world.database().await?;
    let make = "select from pg_create_logical_replication_slot($1, 'pgoutput')";
    database.execute(make, &[&THEIR_SLOT]).await?;
    let theirs = debezium(&world, THEIR_SLOT).await?;
    let ours = Process::role(&world, "connector").await?;
    database.execute(EVERY_KIND_OF_ROW, &[&name]).await?;
    let mut records = Vec::new();
    let wait = eventually("both have published every row", async || {
        records = world.records(name).await?;
        ensure!(records.len() == 2 * ROW_COUNT, "{} records", records.len());
        Ok(())
    });
    let waited = wait.await;
    ours.stop().await?;
    theirs.stop().await;
    let drop = "select pg_drop_replication_slot($1)";
    eventually("the slot is left", async || {
        database.execute(drop, &[&THEIR_SLOT]).await?;
        Ok(())
    })
    .await?;
    waited?;

    let (ours, theirs): (Vec<&Record>, Vec<&Record>) = records
        .iter()
        .partition(|record| record.header(topics::HEADER_POSITION).is_some());
    let seen = |records: Vec<&Record>| records.into_iter().map(Seen::from).collect::<BTreeSet<_>>();
    let (ours, theirs) = (seen(ours), seen(theirs));
    ensure!(ours.len() == ROW_COUNT, "each row is told from the others");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        ensure!(ours == theirs, "ours {ours:?}\nDebezium's {theirs:?}");
    }
    ensure!(ours == theirs, "both have as many");
    Ok(())
}

/// Adds the next rows, numbered in their keys.
async fn add(database: &Client, topic: &str, from: &mut i32) -> anyhow::Result<()> {
    let insert = "insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant)
         select gen_random_uuid(), $1, i::text, 'task.done', '\\x00', 'default' from generate_series($2::int, $3::int) i";
    database
        .execute(insert, &[&topic, &*from, &(*from + BATCH - 1)])
        .await?;
    *from += BATCH;
    Ok(())
}

async fn all_come(world: &World, topic: &str, count: i32) -> anyhow::Result<()> {
    eventually("every row has come", async || {
        let records = world.records(topic).await?;
        let keys: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        ensure!(
            keys.len() == usize::try_from(count)?,
            "{} of {count} have",
            keys.len()
        );
        Ok(())
    })
    .await
}

pub(crate) async fn a_slot_moves_to_debezium_and_back_without_loss(world: Arc<World>) -> anyhow::Result<()> {
    let name = "scenario-debezium-move";
    migrate(&world).await?;
    topic(&world, name).await?;
    let (database, mut count) = (world.database().await?, 0);
    let ours = Process::role(&world, "connector").await?;
    add(&database, name, &mut count).await?;
    all_come(&world, name, count).await?;
    ours.stop().await?;
    add(&database, name, &mut count).await?;

    let theirs = debezium(&world, OUR_SLOT).await?;
    add(&database, name, &mut count).await?;
    theirs.kill().await?;
    add(&database, name, &mut count).await?;
    theirs.restart().await?;
    add(&database, name, &mut count).await?;
    all_come(&world, name, count).await?;
    theirs.stop().await;

    add(&database, name, &mut count).await?;
    let ours = Process::role(&world, "connector").await?;
    all_come(&world, name, count).await?;
    ours.stop().await
}
