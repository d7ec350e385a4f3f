//! The server keeps no more log than it may. It has a stack of its own, whose log is bounded.

use std::collections::BTreeSet;

use posthaste_broker::Record;
use posthaste_connector::OnWalLimit;
use posthaste_stack::{Part, Stack};
use posthaste_store::migrate;
use posthaste_types::topics;

use crate::common::{Outbox, Running, connect, eventually, values_of};

/// Rows that fill the connector, the client library and the sockets between.
const ROW_COUNT: i32 = 60_000;
/// What may wait to be published.
const BOUND: &str = "alter system set max_slot_wal_keep_size = '64MB'";

/// The outbox of a database that Posthaste has to itself.
pub(crate) async fn own_outbox(stack: &Stack) -> Outbox {
    let mut outbox = Outbox::new(stack).await;
    migrate(&outbox.store()).await.unwrap();
    outbox.options.table = "posthaste.outbox".to_owned();
    outbox.options.slot = "own".to_owned();
    outbox.options.publication = "own".to_owned();
    outbox.client.batch_execute(BOUND).await.unwrap();
    outbox
        .client
        .batch_execute("select pg_reload_conf()")
        .await
        .unwrap();
    outbox
}

pub(crate) async fn insert(outbox: &Outbox, topic: &str, from: i32, to: i32) {
    let statement = "insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant)
         select gen_random_uuid(), $1, 'key', 'made', convert_to(n::text, 'utf8'), 'default' from generate_series($2::int, $3::int) n";
    outbox
        .client
        .execute(statement, &[&topic, &from, &to])
        .await
        .unwrap();
}

/// Log that is not for the outbox.
pub(crate) async fn write_log(outbox: &Outbox, megabytes: i32) {
    let write = "select pg_logical_emit_message(false, 'test', repeat('x', 1024 * 1024)) from generate_series(1, $1::int)";
    outbox.client.query(write, &[&megabytes]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_closes_before_the_slot_is_lost_and_opens_when_it_is_read() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let outbox = own_outbox(&stack).await;
    let topic = outbox.topic("bounded", 1, &[]).await;
    let connector = outbox.streaming().await;
    let store = outbox.store();
    assert!(!store.is_intake_closed().await.unwrap());
    stack.pause(Part::Kafka).await.unwrap();
    insert(&outbox, &topic, 1, 10).await;
    let mut written = 0;
    while !store.is_intake_closed().await.unwrap() {
        write_log(&outbox, 1).await;
        written += 1;
        assert!(written < 200, "nothing closes the intake");
    }
    let slot = store.slot_state("own").await.unwrap().unwrap();
    assert!(!slot.is_lost() && slot.wal_share(None).is_some_and(|share| share >= 0.95));
    stack.resume(Part::Kafka).await.unwrap();
    // The server keeps log from where the oldest running transaction was at a checkpoint or so.
    eventually("the intake to open", async || {
        outbox.client.batch_execute("checkpoint").await.unwrap();
        !store.is_intake_closed().await.unwrap()
    })
    .await;
    assert_eq!(outbox.read(&topic, |records| records.len() >= 10).await.len(), 10);
    connector.stop().await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_let_go_comes_back_by_itself_and_nothing_is_lost() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = own_outbox(&stack).await;
    outbox.options.on_wal_limit = OnWalLimit::Release;
    let topic = outbox.topic("released", 1, &[]).await;
    outbox.streaming().await.stop().await;
    insert(&outbox, &topic, 1, 1000).await;
    lose_slot(&outbox).await;
    assert!(!outbox.store().is_intake_closed().await.unwrap());
    let connector = outbox.streaming().await;
    insert(&outbox, &topic, 1001, 1100).await;
    let records = outbox.read(&topic, |records| records.len() >= 1100).await;
    let values = crate::common::values_of(&records, "key");
    assert_eq!(
        values,
        (1..=1100).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    assert!(
        records
            .iter()
            .all(|record| record.header(topics::HEADER_POSITION).is_some())
    );
    connector.stop().await;
    stack.stop().await.unwrap();
}

/// Writes log until the server lets the slot go.
async fn lose_slot(outbox: &Outbox) {
    let store = outbox.store();
    eventually("the slot to be lost", async || {
        write_log(outbox, 32).await;
        outbox.client.batch_execute("checkpoint").await.unwrap();
        store.slot_state("own").await.unwrap().unwrap().is_lost()
    })
    .await;
}

/// A connector whose server's process stands in the midst of sending it something, because the broker takes nothing.
async fn stalled(stack: &Stack, outbox: &Outbox, topic: &str) -> Running {
    let connector = outbox.streaming().await;
    insert(outbox, topic, 1, 1).await;
    outbox.read(topic, |records| !records.is_empty()).await;
    stack.pause(Part::Kafka).await.unwrap();
    insert(outbox, topic, 2, ROW_COUNT).await;
    let sends = "select count(*) from pg_stat_activity where backend_type = 'walsender' and wait_event = 'WalSenderWriteData'";
    eventually("the server's process to wait for the connector", async || {
        outbox
            .client
            .query_one(sends, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 1
    })
    .await;
    connector
}

/// Waits until every row has come, some more than once.
async fn await_all(outbox: &Outbox, topic: &str) {
    let is_all = |records: &[Record]| {
        let values: BTreeSet<_> = values_of(records, "key").into_iter().collect();
        values.len() >= usize::try_from(ROW_COUNT).unwrap()
    };
    outbox.read(topic, is_all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_lets_the_slot_of_a_connector_go_whose_broker_stalls() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let outbox = own_outbox(&stack).await;
    let topic = outbox.topic("stalled", 1, &[]).await;
    let connector = stalled(&stack, &outbox, &topic).await;
    lose_slot(&outbox).await;
    stack.resume(Part::Kafka).await.unwrap();
    await_all(&outbox, &topic).await;
    connector.stop().await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_of_the_server_does_not_wait_for_a_connector_whose_broker_stalls() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = own_outbox(&stack).await;
    let topic = outbox.topic("stalled", 1, &[]).await;
    // What is not logged is kept over a shutdown in order alone.
    let mark = "create unlogged table mark as select 1; checkpoint";
    outbox.client.batch_execute(mark).await.unwrap();
    let connector = stalled(&stack, &outbox, &topic).await;
    stack.restart(Part::Postgres).await.unwrap();
    outbox.client = connect(stack.database_url()).await;
    let marks = outbox.client.query_one("select count(*) from mark", &[]).await;
    assert_eq!(marks.unwrap().get::<_, i64>(0), 1, "the server was killed");
    stack.resume(Part::Kafka).await.unwrap();
    await_all(&outbox, &topic).await;
    connector.stop().await;
    stack.stop().await.unwrap();
}
