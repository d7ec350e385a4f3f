//! What becomes of a row.

use posthaste_broker::partition_of;
use posthaste_types::{EventId, topics};

use crate::common::{Outbox, values_of};
use crate::with_stack;

#[test]
fn a_row_becomes_a_record_with_its_headers() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("plain", 3, &[]).await;
        let connector = outbox.streaming().await;
        outbox.insert(&topic, &[("key", b"\x00binary\xff")]).await;
        let records = outbox.read(&topic, |records| !records.is_empty()).await;
        let record = &records[0];
        assert_eq!(record.value.as_deref(), Some(&b"\x00binary\xff"[..]));
        assert_eq!(record.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(record.partition, partition_of(b"key", 3));
        let header = |name: &str| std::str::from_utf8(record.header(name).unwrap()).unwrap();
        assert!(header(topics::HEADER_EVENT_ID).parse::<EventId>().is_ok());
        assert_eq!(header(topics::HEADER_EVENT_TYPE), "test.made");
        assert_eq!(header(topics::HEADER_TENANT), "default");
        assert_eq!(header(topics::HEADER_TRACEPARENT), "00-1-2-01");
        assert_eq!(header(topics::HEADER_POSITION).split(':').count(), 5);
        connector.stop().await;
    });
}

#[test]
fn rows_of_a_key_keep_their_order_within_and_across_transactions() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("ordered", 4, &[]).await;
        let connector = outbox.streaming().await;
        let mut expected = Vec::new();
        for transaction in 0..50 {
            let payloads: Vec<String> = (0..20).map(|index| format!("{transaction}-{index}")).collect();
            let keys: Vec<String> = (0..20).map(|index| format!("key-{}", index % 7)).collect();
            let rows: Vec<(&str, &[u8])> = keys
                .iter()
                .zip(&payloads)
                .map(|(key, value)| (key.as_str(), value.as_bytes()))
                .collect();
            outbox.insert(&topic, &rows).await;
            expected.extend(keys.into_iter().zip(payloads));
        }
        let records = outbox.read_all(&topic).await;
        assert_eq!(records.len(), expected.len());
        for key in (0..7).map(|key| format!("key-{key}")) {
            let wanted: Vec<&String> = expected
                .iter()
                .filter(|(of, _)| *of == key)
                .map(|(_, value)| value)
                .collect();
            assert_eq!(values_of(&records, &key).iter().collect::<Vec<_>>(), wanted);
        }
        connector.stop().await;
    });
}

#[test]
fn an_outbox_in_the_bare_debezium_shape_is_read_too() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        let topic = outbox.topic("debezium", 1, &[]).await;
        let name = outbox.name().to_owned();
        let create = format!(
            "create table {name}.events (id uuid primary key, aggregatetype varchar(255) not null,
                 aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb)"
        );
        outbox.client.batch_execute(&create).await.unwrap();
        outbox.options.table = format!("{name}.events");
        outbox.options.publication = format!("{name}_events");
        outbox.options.slot = format!("{name}_events");
        outbox
            .store()
            .ensure_replication(&outbox.options.names().unwrap())
            .await
            .unwrap();
        let connector = outbox.streaming().await;
        let insert = format!(
            "insert into {name}.events values (gen_random_uuid(), '{topic}', 'key', 'made', '{{\"a\": 1}}')"
        );
        outbox.client.batch_execute(&insert).await.unwrap();
        let records = outbox.read(&topic, |records| !records.is_empty()).await;
        assert_eq!(records[0].value.as_deref(), Some(&b"{\"a\": 1}"[..]));
        assert_eq!(records[0].header(topics::HEADER_TENANT), None);
        connector.stop().await;
    });
}
