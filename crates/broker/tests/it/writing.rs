//! The producers.

use posthaste_broker::{
    BulkOptions, BulkProducer, BulkRecord, Deliveries, Delivery, ErrorKind, OutRecord, Record, partition_of,
};
use posthaste_types::topics;

use crate::{Fixture, with_broker, within};

const OPTIONS: BulkOptions = BulkOptions {
    record_count_max: 10_000,
    byte_count_max: 16 * 1024 * 1024,
};

fn record<'a>(topic: &'a str, value: &'a [u8], tag: usize) -> BulkRecord<'a> {
    BulkRecord {
        topic,
        partition: 0,
        key: b"key",
        value,
        headers: &[("name", b"value")],
        tag,
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

async fn last(broker: &Fixture, topic: &str) -> Option<Vec<u8>> {
    let pick = |record: &Record| record.value.as_deref().map(<[u8]>::to_vec);
    broker
        .admin
        .last_matching(topic, vec![0], 10, pick)
        .await
        .unwrap()
        .remove(&0)
}

#[test]
fn keys_go_to_the_partition_that_we_compute() {
    with_broker(|broker| async move {
        let topic = broker.topic(7, &[]).await;
        for key in ["a", "task_01h2e8kqvbfwea724h75qc655w", "some longer key", ""] {
            let record = OutRecord {
                topic: topic.clone(),
                partition: None,
                key: Some(key.into()),
                value: Some("value".into()),
                headers: Vec::new(),
            };
            let (partition, _) = broker.producer.send(record).await.unwrap();
            assert_eq!(partition, partition_of(key.as_bytes(), 7), "{key}");
        }
    });
}

#[test]
fn a_dead_letter_says_where_it_came_from_and_why() {
    with_broker(|broker| async move {
        let source = broker.topic(1, &[]).await;
        let spec = posthaste_broker::TopicSpec {
            name: topics::DEAD_LETTERS.to_owned(),
            partitions: 1,
            config: [].into(),
        };
        broker.admin.ensure_topic(&spec).await.unwrap();
        broker.write(&source, 0, "odd").await;
        let record = broker
            .admin
            .last_matching(&source, vec![0], 10, |record| Some(record.clone()))
            .await
            .unwrap();
        broker
            .producer
            .dead_letter(&record[&0], "not decodable")
            .await
            .unwrap();
        let dead = broker
            .admin
            .last_matching(topics::DEAD_LETTERS, vec![0], 10, |record| Some(record.clone()));
        let dead = dead.await.unwrap().remove(&0).unwrap();
        assert_eq!(dead.value.as_deref(), Some(&b"odd"[..]));
        assert_eq!(dead.header("who"), Some(&b"test"[..]));
        assert_eq!(
            dead.header(topics::HEADER_DEAD_SOURCE),
            Some(format!("{source}/0/0").as_bytes())
        );
        assert_eq!(
            dead.header(topics::HEADER_DEAD_REASON),
            Some(&b"not decodable"[..])
        );
    });
}

#[test]
fn each_record_of_a_bulk_producer_is_delivered_once() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let (producer, mut landed) = BulkProducer::start(&broker.kafka, OPTIONS).unwrap();
        for tag in 0..1000 {
            assert!(
                producer
                    .enqueue(&record(&topic, tag.to_string().as_bytes(), tag))
                    .unwrap()
            );
        }
        let mut tags: Vec<usize> = Vec::new();
        for delivery in deliveries(&mut landed, 1000).await {
            assert!(delivery.error.is_none());
            tags.push(delivery.tag);
        }
        tags.sort_unstable();
        assert_eq!(tags, (0..1000).collect::<Vec<_>>());
        assert_eq!(broker.admin.watermarks(&topic, 0).await.unwrap(), (0, 1000));
    });
}

#[test]
fn a_full_bulk_producer_says_so_and_takes_more_later() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let options = BulkOptions {
            record_count_max: 1,
            byte_count_max: 1 << 20,
        };
        let (producer, mut landed) = BulkProducer::start(&broker.kafka, options).unwrap();
        assert!(producer.enqueue(&record(&topic, b"1", 1)).unwrap());
        let mut is_taken = producer.enqueue(&record(&topic, b"2", 2)).unwrap();
        assert!(!is_taken);
        deliveries(&mut landed, 1).await;
        while !is_taken {
            is_taken = producer.enqueue(&record(&topic, b"2", 2)).unwrap();
        }
        deliveries(&mut landed, 1).await;
    });
}

#[test]
fn a_record_above_the_producers_bound_is_refused_at_once_and_harms_nothing() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let (producer, mut landed) = BulkProducer::start(&broker.kafka, OPTIONS).unwrap();
        let large = vec![0; 8 * 1024 * 1024];
        assert_eq!(
            producer.enqueue(&record(&topic, &large, 1)).unwrap_err().kind(),
            ErrorKind::BadRecord
        );
        assert!(producer.enqueue(&record(&topic, b"small", 2)).unwrap());
        assert_eq!(deliveries(&mut landed, 1).await[0].tag, 2);
        assert!(producer.fatal().is_none());
    });
}

#[test]
fn nothing_is_written_behind_a_record_that_the_broker_refuses() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[("max.message.bytes", "1000")]).await;
        let (producer, mut landed) = BulkProducer::start(&broker.kafka, OPTIONS).unwrap();
        assert!(producer.enqueue(&record(&topic, b"before", 0)).unwrap());
        assert!(deliveries(&mut landed, 1).await[0].error.is_none());
        assert!(producer.enqueue(&record(&topic, &[0; 5000], 1)).unwrap());
        let mut taken = 0;
        for tag in 2..200 {
            // Once the refusal is known the producer takes nothing.
            taken += usize::from(producer.enqueue(&record(&topic, b"behind", tag)).unwrap_or(false));
        }
        let mut all = deliveries(&mut landed, 1).await;
        producer.give_up_queued();
        let others = 1 + taken - all.len();
        all.extend(deliveries(&mut landed, others).await);
        // The refusal is of the whole batch that the record was in.
        assert!(all.iter().all(|delivery| delivery.error.is_some()));
        let refused = all
            .iter()
            .find(|delivery| delivery.tag == 1)
            .and_then(|delivery| delivery.error.as_ref());
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::BadRecord));
        assert!(producer.fatal().is_some());
        assert_eq!(last(&broker, &topic).await.as_deref(), Some(&b"before"[..]));
    });
}

#[test]
fn nulls_and_empty_values_stay_apart_in_records() {
    with_broker(|broker| async move {
        let topic = broker.topic(1, &[]).await;
        let headers = [
            ("null", None),
            ("empty", Some("")),
            ("twice", None),
            ("twice", Some("2")),
        ];
        let record = OutRecord {
            topic: topic.clone(),
            partition: Some(0),
            key: Some("".into()),
            value: None,
            headers: headers
                .map(|(name, value)| (name.into(), value.map(Into::into)))
                .into(),
        };
        broker.producer.send(record.clone()).await.unwrap();
        let read = broker
            .admin
            .last_matching(&topic, vec![0], 10, |record| Some(record.clone()));
        let read = read.await.unwrap().remove(&0).unwrap();
        assert_eq!(
            (&read.key, &read.value, &read.headers),
            (&record.key, &record.value, &record.headers)
        );
        assert_eq!(read.header("null"), None);
        assert_eq!(read.header("empty"), Some(&b""[..]));
        assert_eq!(read.header("twice"), Some(&b"2"[..]));
    });
}
