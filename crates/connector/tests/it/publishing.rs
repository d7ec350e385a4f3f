//! What becomes of a row.

use std::collections::BTreeMap;

use posthaste_broker::{Record, partition_of};
use posthaste_connector::{ColumnNames, OutboxOptions};
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

#[test]
fn outboxes_of_any_layout_go_through_one_slot() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        let topic = outbox.topic("shop.order.v1", 2, &[]).await;
        let forbidden = outbox.topic("shop.secret.v1", 1, &[]).await;
        let plain = outbox.topic("plain", 1, &[]).await;
        let name = outbox.name().to_owned();
        let create = format!(
            "create table {name}.\"events\" (seq bigint primary key, what text not null, subject integer not null,
                 kind varchar(40), body jsonb, region text, urgent boolean);
             create table {name}.texts (id uuid, aggregatetype text, aggregateid text, type text, payload text)"
        );
        outbox.client.batch_execute(&create).await.unwrap();
        outbox.options.outboxes = shop_outboxes(&name, &topic);
        outbox.options.slot = format!("{name}_any");
        outbox.options.publication = format!("{name}_any");
        outbox
            .store()
            .ensure_replication(&outbox.options.names().unwrap())
            .await
            .unwrap();
        let connector = outbox.streaming().await;
        let insert = format!(
            "begin;
             insert into {name}.events values (7, 'order', 4711, 'placed', '{{\"a\": 1}}', 'north', true);
             insert into {name}.events values (8, 'secret', 4711, 'told', '{{}}', null, false);
             insert into {name}.texts values (gen_random_uuid(), '{plain}', 'key', 'made', 'words');
             commit"
        );
        outbox.client.batch_execute(&insert).await.unwrap();
        let records = outbox.read(&topic, |records| !records.is_empty()).await;
        let record = &records[0];
        assert_eq!(record.key.as_deref(), Some(&b"4711"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"{\"a\": 1}"[..]));
        for (name, value) in [
            ("id", "7"),
            ("type", "placed"),
            ("region", "north"),
            ("x-urgent", "true"),
        ] {
            assert_eq!(record.header(name), Some(value.as_bytes()), "{name}");
        }
        let records = outbox.read(&plain, |records| !records.is_empty()).await;
        assert_eq!(records[0].value.as_deref(), Some(&b"words"[..]));
        // Its topic exists, but this outbox may not write to it.
        let is_refused = |record: &Record| {
            let reason = record.header(topics::HEADER_DEAD_REASON);
            reason.is_some_and(|reason| {
                reason.starts_with(format!("not published to `{forbidden}`").as_bytes())
            })
        };
        outbox
            .read("dead-letters", |records| records.iter().any(is_refused))
            .await;
        connector.stop().await;
    });
}

/// One table in a layout of its own, which may write to `topic` alone, and one in Debezium's.
fn shop_outboxes(schema: &str, topic: &str) -> Vec<OutboxOptions> {
    let columns = ColumnNames {
        id: "seq".to_owned(),
        key: "subject".to_owned(),
        kind: "kind".to_owned(),
        payload: "body".to_owned(),
    };
    let headers = [("region", "region"), ("x-urgent", "urgent")];
    let own = OutboxOptions {
        table: format!("{schema}.events"),
        columns,
        topic: format!("{schema}.shop.{{what}}.v1"),
        topics: vec![topic.to_owned()],
        headers: headers
            .map(|(name, column)| (name.to_owned(), column.to_owned()))
            .into(),
    };
    let plain = OutboxOptions {
        table: format!("{schema}.texts"),
        columns: ColumnNames::default(),
        topic: "{aggregatetype}".to_owned(),
        topics: Vec::new(),
        headers: BTreeMap::new(),
    };
    vec![own, plain]
}
