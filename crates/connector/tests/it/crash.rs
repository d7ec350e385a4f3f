//! Nothing is lost and nothing comes twice when a connector crashes at any time.

use posthaste_connector::Delivery;

use crate::common::{Outbox, connect, insert, within};
use crate::with_stack;

#[test]
fn crashes_under_load_neither_lose_nor_repeat() {
    crashes_under_load(&[Delivery::AtLeastOnce]);
}

#[test]
fn crashes_under_load_neither_lose_nor_repeat_in_transactions() {
    crashes_under_load(&[Delivery::ExactlyOnce]);
}

#[test]
fn a_change_between_the_ways_of_delivery_neither_loses_nor_repeats() {
    crashes_under_load(&[Delivery::AtLeastOnce, Delivery::ExactlyOnce]);
}

/// Each life of the connector delivers in the next of `ways`.
fn crashes_under_load(ways: &'static [Delivery]) {
    with_stack(move |stack| async move {
        let mut outbox = Outbox::new(stack).await;
        // What is published is confirmed late, so that each crash leaves much that comes from the log again.
        outbox.options.status_interval_ms = 1000;
        let topic = outbox.topic("crash", 3, &[]).await;
        let (schema, writes_to) = (outbox.name().to_owned(), topic.clone());
        let client = connect(stack.database_url()).await;
        let writer = tokio::spawn(async move {
            for number in 0..3000 {
                let value = number.to_string();
                insert(
                    &client,
                    &schema,
                    &writes_to,
                    &[("a", value.as_bytes()), ("b", value.as_bytes())],
                )
                .await;
            }
        });
        for crash in 1..=6 {
            outbox.options.delivery = ways[crash % ways.len()];
            let connector = outbox.streaming().await;
            // Each life publishes something before it ends.
            outbox.read(&topic, |records| records.len() >= crash * 100).await;
            connector.crash().await;
        }
        let connector = outbox.streaming().await;
        within("the writer", writer).await.unwrap();
        let records = outbox.read_all(&topic).await;
        for key in ["a", "b"] {
            let wanted: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
            assert_eq!(crate::common::values_of(&records, key), wanted);
        }
        connector.stop().await;
    });
}

#[test]
fn an_orderly_stop_confirms_everything_that_was_published() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("stop", 1, &[]).await;
        let connector = outbox.streaming().await;
        outbox.insert(&topic, &[("a", b"1"), ("a", b"2")]).await;
        outbox.read(&topic, |records| records.len() >= 2).await;
        connector.stop().await;
        let left = "select count(*) from pg_logical_slot_peek_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', $2) where get_byte(data, 0) = ascii('I')";
        let left = outbox
            .client
            .query_one(left, &[&outbox.options.slot, &outbox.options.publication])
            .await
            .unwrap();
        assert_eq!(left.get::<_, i64>(0), 0);
    });
}

#[test]
fn connectors_that_take_the_slot_from_each_other_publish_once() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        outbox.options.delivery = Delivery::ExactlyOnce;
        let topic = outbox.topic("overlap", 3, &[]).await;
        let (first, second) = (outbox.start(), outbox.start());
        let cut = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active";
        for number in 0..1000 {
            let value = number.to_string();
            outbox
                .insert(&topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
                .await;
            if number % 50 == 49 {
                outbox.client.execute(cut, &[&outbox.options.slot]).await.unwrap();
            }
        }
        let records = outbox.read_all(&topic).await;
        let wanted: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        for key in ["a", "b"] {
            assert_eq!(crate::common::values_of(&records, key), wanted);
        }
        first.stop().await;
        second.stop().await;
    });
}
