//! Members of consumer groups.

use std::collections::BTreeSet;

use posthaste_broker::{GroupConsumer, GroupConsumerOptions, GroupEvent, Record, TopicPartition};
use tokio::sync::mpsc::Receiver;

use crate::{Fixture, name, with_broker, within};

fn join(broker: &Fixture, group: &str, topic: &str) -> (GroupConsumer, Receiver<GroupEvent>) {
    let options = GroupConsumerOptions {
        group: group.to_owned(),
        instance_id: None,
        topics: vec![topic.to_owned()],
        session_timeout_ms: 6000,
        queued_bytes_max: 8 * 1024 * 1024,
    };
    GroupConsumer::start(&broker.kafka, options).unwrap()
}

async fn records(events: &mut Receiver<GroupEvent>, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let read = async {
        while records.len() < count {
            if let GroupEvent::Records(batch) = events.recv().await.unwrap() {
                records.extend(batch);
            }
        }
    };
    within("records of the group", read).await;
    records
}

fn values(records: &[Record]) -> BTreeSet<String> {
    records
        .iter()
        .map(|record| String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap())
        .collect()
}

#[test]
fn stored_offsets_are_committed_on_close_and_the_next_member_goes_on_there() {
    with_broker(|broker| async move {
        let (topic, group) = (broker.topic(1, &[]).await, name("group"));
        for value in ["1", "2", "3"] {
            broker.write(&topic, 0, value).await;
        }
        let (consumer, mut events) = join(&broker, &group, &topic);
        let read = records(&mut events, 3).await;
        assert_eq!(read[0].header("who"), Some(&b"test"[..]));
        consumer.store_offset(&read[1].topic_partition(), read[1].offset + 1);
        consumer.close().await;
        let (consumer, mut events) = join(&broker, &group, &topic);
        assert_eq!(
            values(&records(&mut events, 1).await),
            BTreeSet::from(["3".to_owned()])
        );
        consumer.close().await;
    });
}

#[test]
fn a_revoked_partition_waits_for_the_guard_and_its_new_owner_goes_on_after_what_was_stored() {
    with_broker(|broker| async move {
        let (topic, group) = (broker.topic(2, &[]).await, name("group"));
        for partition in 0..2 {
            broker
                .write(&topic, partition, &format!("{partition}-done"))
                .await;
        }
        let (first, mut events) = join(&broker, &group, &topic);
        let read = records(&mut events, 2).await;
        let (second, mut second_events) = join(&broker, &group, &topic);
        let (revoked, guard) = loop {
            if let GroupEvent::Revoked(partitions, guard) = within("revocation", events.recv()).await.unwrap()
            {
                break (partitions, guard);
            }
        };
        assert_eq!(revoked.len(), 1);
        assert!(!guard.is_lost());
        // Stored only now: what a handler finishes while the rebalance waits counts.
        for record in read
            .iter()
            .filter(|record| record.partition == revoked[0].partition)
        {
            first.store_offset(&record.topic_partition(), record.offset + 1);
        }
        drop(guard);
        broker.write(&topic, revoked[0].partition, "new").await;
        assert_eq!(
            values(&records(&mut second_events, 1).await),
            BTreeSet::from(["new".to_owned()])
        );
        second.close().await;
        first.close().await;
    });
}

#[test]
fn a_paused_partition_holds_its_records_until_it_is_resumed() {
    with_broker(|broker| async move {
        let (topic, group) = (broker.topic(2, &[]).await, name("group"));
        broker.write(&topic, 0, "a").await;
        broker.write(&topic, 1, "b").await;
        let (consumer, mut events) = join(&broker, &group, &topic);
        records(&mut events, 2).await;
        let paused = [TopicPartition {
            topic: topic.as_str().into(),
            partition: 0,
        }];
        consumer.pause(&paused);
        broker.write(&topic, 0, "held").await;
        broker.write(&topic, 1, "free").await;
        assert_eq!(
            values(&records(&mut events, 1).await),
            BTreeSet::from(["free".to_owned()])
        );
        consumer.resume(&paused);
        assert_eq!(
            values(&records(&mut events, 1).await),
            BTreeSet::from(["held".to_owned()])
        );
        consumer.close().await;
    });
}

#[test]
fn the_channel_ends_when_the_member_has_left() {
    with_broker(|broker| async move {
        let (topic, group) = (broker.topic(1, &[]).await, name("group"));
        let (consumer, mut events) = join(&broker, &group, &topic);
        assert!(matches!(
            within("assignment", events.recv()).await,
            Some(GroupEvent::Assigned(_))
        ));
        consumer.close().await;
        assert!(within("the end", events.recv()).await.is_none());
    });
}
