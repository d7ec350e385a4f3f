//! Readers of given partitions.

use posthaste_broker::{Error, StartAt, Tail, TailItem};
use tokio::sync::mpsc::Receiver;

use crate::{with_broker, within};

async fn values(items: &mut Receiver<TailItem>, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let batch = within("records of the tail", items.recv())
            .await
            .unwrap()
            .unwrap();
        values.extend(
            batch
                .iter()
                .map(|record| String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()),
        );
    }
    values
}

#[test]
fn reading_begins_where_it_was_asked_to() {
    with_broker(|broker| async move {
        let topic = broker.topic(2, &[]).await;
        for value in ["0", "1", "2"] {
            broker.write(&topic, 0, value).await;
            broker.write(&topic, 1, value).await;
        }
        let from = vec![(0, StartAt::Offset(1))];
        let (_tail, mut items) = Tail::start(&broker.kafka, &topic, from, 1 << 20).unwrap();
        assert_eq!(values(&mut items, 2).await, ["1", "2"]);
        let from = vec![(1, StartAt::Earliest)];
        let (_tail, mut items) = Tail::start(&broker.kafka, &topic, from, 1 << 20).unwrap();
        assert_eq!(values(&mut items, 3).await, ["0", "1", "2"]);
    });
}

#[test]
fn an_offset_that_is_not_in_the_log_is_told_and_reading_goes_on_at_the_earliest() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        broker.write(&topic, 0, "first").await;
        let from = vec![(0, StartAt::Offset(1000))];
        let (_tail, mut items) = Tail::start(&broker.kafka, &topic, from, 1 << 20).unwrap();
        let told = within("the report", items.recv()).await.unwrap();
        assert!(
            matches!(
                told,
                Err(Error::OffsetOutOfRange {
                    partition: 0,
                    earliest: 0
                })
            ),
            "{told:?}"
        );
        assert_eq!(values(&mut items, 1).await, ["first"]);
    });
}

#[test]
fn a_flood_comes_whole_and_in_order_through_a_small_bound() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let padding = "x".repeat(1000);
        let writes = (0..500).map(|number| format!("{number}-{padding}"));
        let writes: Vec<String> = writes.collect();
        for value in &writes {
            broker.write(&topic, 0, value).await;
        }
        let from = vec![(0, StartAt::Earliest)];
        let (_tail, mut items) = Tail::start(&broker.kafka, &topic, from, 16 * 1024).unwrap();
        assert_eq!(values(&mut items, writes.len()).await, writes);
    });
}

#[test]
fn dropping_the_tail_ends_the_channel() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let (tail, mut items) =
            Tail::start(&broker.kafka, &topic, vec![(0, StartAt::Latest)], 1 << 20).unwrap();
        drop(tail);
        assert!(within("the end", items.recv()).await.is_none());
    });
}
