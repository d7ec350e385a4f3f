//! Rows that cannot be published do not hold up those that can.

use posthaste_broker::Record;
use posthaste_connector::Delivery;
use posthaste_types::topics;

use crate::common::{Outbox, values_of};
use crate::with_stack;

/// The dead letters for rows of this topic.
fn dead_of<'a>(records: &'a [Record], topic: &str) -> Vec<&'a Record> {
    let reason = format!("not published to `{topic}`");
    let is_ours = |record: &&Record| {
        record
            .header(topics::HEADER_DEAD_REASON)
            .is_some_and(|text| text.starts_with(reason.as_bytes()))
    };
    records.iter().filter(is_ours).collect()
}

#[test]
fn a_row_without_a_topic_goes_to_the_dead_letters_and_the_stream_goes_on() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("known", 1, &[]).await;
        let unknown = format!("{}.unknown", outbox.name());
        let connector = outbox.streaming().await;
        outbox.insert(&unknown, &[("a", b"lost?")]).await;
        outbox.insert(&topic, &[("a", b"kept")]).await;
        outbox.read(&topic, |records| !records.is_empty()).await;
        let dead = outbox
            .read("dead-letters", |records| !dead_of(records, &unknown).is_empty())
            .await;
        let dead = dead_of(&dead, &unknown);
        assert_eq!((dead.len(), dead[0].value.as_deref()), (1, Some(&b"lost?"[..])));
        assert!(dead[0].header(topics::HEADER_POSITION).is_some());
        assert!(!outbox.admin.topics().await.unwrap().contains(&unknown));
        connector.stop().await;
    });
}

#[test]
fn a_row_that_the_broker_refuses_is_buried_and_its_neighbours_come_once_in_order() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("narrow", 1, &[("max.message.bytes", "2000")]).await;
        let connector = outbox.streaming().await;
        let large = vec![b'x'; 5000];
        for number in 0..20 {
            let value = number.to_string();
            let value = if number == 10 {
                &large[..]
            } else {
                value.as_bytes()
            };
            outbox.insert(&topic, &[("a", value)]).await;
        }
        let records = outbox.read_all(&topic).await;
        let wanted: Vec<String> = (0..20)
            .filter(|number| *number != 10)
            .map(|number| number.to_string())
            .collect();
        assert_eq!(values_of(&records, "a"), wanted);
        let dead = outbox
            .read("dead-letters", |records| !dead_of(records, &topic).is_empty())
            .await;
        let dead = dead_of(&dead, &topic);
        assert_eq!((dead.len(), dead[0].value.as_deref()), (1, Some(&large[..])));
        connector.stop().await;
    });
}

#[test]
fn a_row_too_large_for_any_topic_is_buried_cut() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("large", 1, &[]).await;
        let connector = outbox.streaming().await;
        let large = vec![b'x'; 5 * 1024 * 1024];
        outbox
            .insert(&topic, &[("a", b"before"), ("a", &large), ("a", b"after")])
            .await;
        let records = outbox.read_all(&topic).await;
        assert_eq!(values_of(&records, "a"), ["before", "after"]);
        let dead = outbox
            .read("dead-letters", |records| !dead_of(records, &topic).is_empty())
            .await;
        let value = dead_of(&dead, &topic)[0].value.clone().unwrap();
        assert!(!value.is_empty() && large.starts_with(&value));
        connector.stop().await;
    });
}

#[test]
fn rows_that_the_broker_refuses_together_come_one_by_one() {
    refused_together(Delivery::AtLeastOnce);
}

#[test]
fn rows_that_the_broker_refuses_together_come_one_by_one_in_transactions() {
    refused_together(Delivery::ExactlyOnce);
}

/// Each row fits the topic, and a batch of them does not.
fn refused_together(delivery: Delivery) {
    with_stack(move |stack| async move {
        let mut outbox = Outbox::new(stack).await;
        outbox.options.delivery = delivery;
        let topic = outbox.topic("small", 1, &[("max.message.bytes", "2000")]).await;
        let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let rows: Vec<(&str, &[u8])> = values.iter().map(|value| ("a", value.as_bytes())).collect();
        outbox.insert(&topic, &rows).await;
        let connector = outbox.streaming().await;
        let records = outbox.read_all(&topic).await;
        assert_eq!(values_of(&records, "a"), values);
        connector.stop().await;
    });
}
