//! The producer that writes in transactions.

use posthaste_broker::{
    BulkOptions, BulkRecord, Deliveries, Delivery, ErrorKind, Record, TransactionOptions,
    TransactionalProducer,
};

use crate::{Fixture, with_broker, within};

const OPTIONS: BulkOptions = BulkOptions {
    record_count_max: 10_000,
    byte_count_max: 16 * 1024 * 1024,
};

struct World<'a> {
    broker: &'a Fixture,
    topic: String,
    marks: String,
}

impl<'a> World<'a> {
    async fn new(broker: &'a Fixture, config: &[(&str, &str)]) -> Self {
        Self {
            broker,
            topic: broker.topic(1, config).await,
            marks: broker.topic(1, &[("cleanup.policy", "compact")]).await,
        }
    }

    async fn producer(&self) -> (TransactionalProducer, Deliveries) {
        let transactions = TransactionOptions {
            id: self.topic.clone(),
            marks_topic: self.marks.clone(),
            marks_key: "writer".to_owned(),
        };
        let start = TransactionalProducer::start(&self.broker.kafka, transactions, OPTIONS);
        within("the producer", start).await.unwrap()
    }

    fn record<'b>(&'b self, value: &'b [u8], tag: usize) -> BulkRecord<'b> {
        BulkRecord {
            topic: &self.topic,
            partition: 0,
            key: b"key",
            value,
            headers: &[("name", b"value")],
            tag,
        }
    }

    /// The last committed value of the topic, and the last mark.
    async fn last(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut found = Vec::new();
        for topic in [&self.topic, &self.marks] {
            let pick = |record: &Record| record.value.as_deref().map(<[u8]>::to_vec);
            let last = self
                .broker
                .admin
                .last_matching(topic, vec![0], i64::MAX, pick)
                .await;
            found.push(last.unwrap().remove(&0));
        }
        let marks = found.pop().unwrap();
        (found.pop().unwrap(), marks)
    }
}

async fn deliveries(from: &mut Deliveries, count: usize) -> Vec<Delivery> {
    let (mut all, mut some) = (Vec::new(), Vec::new());
    while all.len() < count {
        within("deliveries", from.receive(&mut some)).await;
        all.append(&mut some);
    }
    all
}

#[test]
fn records_come_in_order_with_the_mark_of_the_last() {
    with_broker(|broker| async move {
        let world = World::new(&broker, &[]).await;
        let (producer, mut landed) = world.producer().await;
        for tag in 0..500 {
            let text = tag.to_string();
            assert!(
                producer
                    .enqueue(&world.record(text.as_bytes(), tag), text.as_bytes())
                    .unwrap()
            );
        }
        let landed = deliveries(&mut landed, 500).await;
        assert!(
            landed
                .iter()
                .enumerate()
                .all(|(tag, delivery)| delivery.tag == tag && delivery.error.is_none())
        );
        // The broker shows a commit to readers a moment after it has answered for it.
        let wanted = (Some(b"499".to_vec()), Some(b"499".to_vec()));
        let shown = async {
            while world.last().await != wanted {
                tokio::task::yield_now().await;
            }
        };
        within("the last record and its mark", shown).await;
    });
}

#[test]
fn a_second_producer_ends_the_first() {
    with_broker(|broker| async move {
        let world = World::new(&broker, &[]).await;
        let (first, mut landed) = world.producer().await;
        assert!(first.enqueue(&world.record(b"1", 1), b"1").unwrap());
        deliveries(&mut landed, 1).await;
        let (second, _landed) = world.producer().await;
        assert!(first.enqueue(&world.record(b"of the first", 2), b"2").unwrap());
        assert!(deliveries(&mut landed, 1).await[0].error.is_some());
        assert!(first.enqueue(&world.record(b"again", 3), b"3").is_err());
        let (value, mark) = world.last().await;
        assert_eq!(
            (value.as_deref(), mark.as_deref()),
            (Some(&b"1"[..]), Some(&b"1"[..]))
        );
        drop(second);
    });
}

#[test]
fn a_refused_record_is_named_and_leaves_nothing_of_its_transaction() {
    with_broker(|broker| async move {
        let world = World::new(&broker, &[("max.message.bytes", "2000")]).await;
        let (producer, mut landed) = world.producer().await;
        assert!(producer.enqueue(&world.record(&[b'x'; 5000], 7), b"7").unwrap());
        let refused = deliveries(&mut landed, 1).await.remove(0);
        assert_eq!(refused.tag, 7);
        assert_eq!(refused.error.unwrap().kind(), ErrorKind::BadRecord);
        assert_eq!(world.last().await, (None, None));
    });
}
