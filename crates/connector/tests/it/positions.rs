//! Each row is told apart by its position, however it was written.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::SinkExt as _;
use posthaste_types::topics;
use tokio_postgres::{Client, CopyInSink};

use crate::common::{Outbox, connect, insert, values_of, within};
use crate::with_stack;

/// Rows of the one large transaction.
const LARGE_COUNT: usize = 100_000;

#[test]
fn rows_of_every_kind_of_statement_survive_crashes_once_and_in_order() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        // What is published is confirmed late, so that each crash leaves much that comes from the log again.
        outbox.options.status_interval_ms = 1000;
        let topic = outbox.topic("kinds", 3, &[]).await;
        let writers = ["a", "b", "c"].map(|key| {
            let (schema, topic, url) = (outbox.name().to_owned(), topic.clone(), stack.database_url());
            tokio::spawn(async move {
                let mut client = connect(url).await;
                for round in 0..150 {
                    write_round(&mut client, &schema, &topic, key, round).await;
                }
            })
        });
        for crash in 1..=5 {
            let connector = outbox.streaming().await;
            outbox.read(&topic, |records| records.len() >= crash * 300).await;
            connector.crash().await;
        }
        let connector = outbox.streaming().await;
        for writer in writers {
            within("the writers", writer).await.unwrap();
        }
        let records = outbox.read_all(&topic).await;
        for key in ["a", "b", "c"] {
            let wanted: Vec<String> = (0..150 * ROWS_OF_ROUND)
                .map(|number| number.to_string())
                .collect();
            assert_eq!(values_of(&records, key), wanted);
        }
        let positions: HashSet<&[u8]> = records
            .iter()
            .map(|record| record.header(topics::HEADER_POSITION).unwrap())
            .collect();
        assert_eq!(positions.len(), records.len());
        connector.stop().await;
    });
}

/// What [`write_round`] writes.
const ROWS_OF_ROUND: usize = 21;

/// One transaction: a multi-row insert, messages in between, a COPY, a single row, part of it in a savepoint that is
/// rolled back. The values number the rows of the key.
async fn write_round(client: &mut Client, schema: &str, topic: &str, key: &str, round: usize) {
    let first = round * ROWS_OF_ROUND;
    let values: Vec<String> = (first..first + ROWS_OF_ROUND)
        .map(|number| number.to_string())
        .collect();
    client.batch_execute("begin").await.unwrap();
    let emit = "select pg_logical_emit_message(true, 'test', 'inside'), pg_logical_emit_message(false, 'test', 'outside')";
    client.batch_execute(emit).await.unwrap();
    let rows: Vec<(&str, &[u8])> = values[..10].iter().map(|value| (key, value.as_bytes())).collect();
    insert(client, schema, topic, &rows).await;
    client.batch_execute("savepoint s").await.unwrap();
    insert(client, schema, topic, &[(key, b"rolled back")]).await;
    client.batch_execute("rollback to s").await.unwrap();
    client.batch_execute(emit).await.unwrap();
    copy(client, schema, topic, key, &values[10..20]).await;
    insert(client, schema, topic, &[(key, values[20].as_bytes())]).await;
    client.batch_execute("commit").await.unwrap();
}

async fn copy(client: &Client, schema: &str, topic: &str, key: &str, values: &[String]) {
    let statement =
        format!("copy {schema}.outbox (aggregatetype, aggregateid, type, payload, tenant) from stdin");
    let sink: CopyInSink<bytes::Bytes> = client.copy_in(&statement).await.unwrap();
    let mut sink = pin!(sink);
    let lines: String = values
        .iter()
        .map(|value| format!("{topic}\t{key}\ttest.made\t{value}\tdefault\n"))
        .collect();
    sink.send(lines.into()).await.unwrap();
    sink.as_mut().finish().await.unwrap();
}

#[test]
fn a_large_transaction_that_crashes_cut_through_comes_once() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("large-transaction", 3, &[]).await;
        let statement = format!(
            "insert into {}.outbox (aggregatetype, aggregateid, type, payload, tenant)
             select $1, 'key-' || n % 50, 'test.made', convert_to(n::text, 'utf8'), 'default'
             from generate_series(1, {LARGE_COUNT}) n",
            outbox.name()
        );
        outbox.client.execute(&statement, &[&topic]).await.unwrap();
        for crash in 1..=3 {
            let connector = outbox.streaming().await;
            outbox
                .read(&topic, |records| records.len() >= crash * LARGE_COUNT / 5)
                .await;
            connector.crash().await;
        }
        let connector = outbox.streaming().await;
        let records = outbox.read_all(&topic).await;
        assert_eq!(records.len(), LARGE_COUNT);
        for of in 0..50 {
            let key = format!("key-{of}");
            let numbers: Vec<usize> = values_of(&records, &key)
                .iter()
                .map(|value| value.parse().unwrap())
                .collect();
            assert!(numbers.len() == LARGE_COUNT / 50 && numbers.is_sorted(), "{key}");
        }
        connector.stop().await;
    });
}
