//! What the connector does when Postgres or Kafka goes away. It has a stack of its own to break.

use std::time::Duration;

use posthaste_connector::Delivery;
use posthaste_stack::{Part, Stack};

use crate::common::{Outbox, connect, values_of};

/// Much longer than the server waits for a silent client, and than the broker waits for an open transaction.
const STALL: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn outages_end_by_themselves_and_neither_lose_nor_repeat() {
    outages(Delivery::AtLeastOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_end_by_themselves_and_neither_lose_nor_repeat_in_transactions() {
    outages(Delivery::ExactlyOnce).await;
}

async fn outages(delivery: Delivery) {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = Outbox::new(&stack).await;
    outbox.options.delivery = delivery;
    let topic = outbox.topic("outage", 2, &[]).await;
    // Bytes need no registry.
    stack.kill(Part::Registry).await.unwrap();
    let connector = outbox.streaming().await;
    let mut written = 0;
    write_more(&outbox, &topic, &mut written).await;
    // A session that still looks at its topic's ends for the first time needs an answer of the broker, and ends without.
    await_all(&outbox, &topic, written).await;

    stalled_broker_does_not_cut_the_stream(&stack, &outbox, &topic, &mut written).await;

    stack.kill(Part::Kafka).await.unwrap();
    write_more(&outbox, &topic, &mut written).await;
    crate::common::restart(&stack, Part::Kafka).await;
    write_more(&outbox, &topic, &mut written).await;
    await_all(&outbox, &topic, written).await;

    stack.kill(Part::Postgres).await.unwrap();
    crate::common::restart(&stack, Part::Postgres).await;
    outbox.client = connect(stack.database_url()).await;
    write_more(&outbox, &topic, &mut written).await;
    await_all(&outbox, &topic, written).await;

    let records = outbox.read_all(&topic).await;
    let wanted: Vec<String> = (0..written).map(|number| number.to_string()).collect();
    for key in ["a", "b"] {
        assert_eq!(values_of(&records, key), wanted);
    }
    connector.stop().await;
    stack.stop().await.unwrap();
}

async fn write_more(outbox: &Outbox, topic: &str, written: &mut usize) {
    for _ in 0..200 {
        let value = written.to_string();
        outbox
            .insert(topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
            .await;
        *written += 1;
    }
}

async fn await_all(outbox: &Outbox, topic: &str, written: usize) {
    outbox.read(topic, |records| records.len() >= 2 * written).await;
}

async fn stalled_broker_does_not_cut_the_stream(
    stack: &Stack,
    outbox: &Outbox,
    topic: &str,
    written: &mut usize,
) {
    let holder = "select active_pid from pg_replication_slots where slot_name = $1";
    let before: Option<i32> = outbox
        .client
        .query_one(holder, &[&outbox.options.slot])
        .await
        .unwrap()
        .get(0);
    stack.pause(Part::Kafka).await.unwrap();
    // More than may be on its way, so that reading stops.
    let large = vec![b'x'; 1024 * 1024];
    for _ in 0..80 {
        outbox.insert(topic, &[("large", &large)]).await;
    }
    write_more(outbox, topic, written).await;
    tokio::time::sleep(STALL).await;
    let after: Option<i32> = outbox
        .client
        .query_one(holder, &[&outbox.options.slot])
        .await
        .unwrap()
        .get(0);
    stack.resume(Part::Kafka).await.unwrap();
    assert!(before.is_some() && before == after, "{before:?} {after:?}");
    let count = 2 * *written + 80;
    outbox.read(topic, |records| records.len() >= count).await;
}
