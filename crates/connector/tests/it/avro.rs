//! JSON outboxes whose topics have a schema.

use posthaste_broker::{Record, Registry, RegistryOptions};
use posthaste_types::topics;

use crate::common::Outbox;
use crate::with_stack;

const AVSC: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "number", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": null}]}"#;

/// The body of `{"number": 7}` under that schema.
const SEVEN: [u8; 2] = [14, 0];

#[test]
fn json_becomes_avro_where_the_subject_has_a_schema_and_what_does_not_fit_is_a_dead_letter() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        let registry = Registry::new(&RegistryOptions::at(stack.registry_url())).unwrap();
        let typed = outbox.topic("typed", 1, &[]).await;
        let free = outbox.topic("free", 1, &[]).await;
        let id = registry
            .register(&topics::value_subject(&typed), AVSC)
            .await
            .unwrap();
        let name = outbox.name().to_owned();
        let create = format!(
            "create table {name}.orders (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text,
                 payload jsonb)"
        );
        outbox.client.batch_execute(&create).await.unwrap();
        outbox.options.table = format!("{name}.orders");
        outbox.options.slot = format!("{name}_orders");
        outbox.options.publication = format!("{name}_orders");
        outbox.registry = Some(registry);
        let names = outbox.options.names().unwrap();
        outbox.store().ensure_replication(&names).await.unwrap();
        let connector = outbox.streaming().await;
        for (topic, json) in [
            (&typed, r#"{"number": 7}"#),
            (&typed, r#"{"number": "seven"}"#),
            (&typed, r#"{"number": 7, "more": 1}"#),
            (&free, r#"{"number": "seven"}"#),
            (&typed, r#"{"number": 7, "note": null}"#),
        ] {
            let insert =
                format!("insert into {name}.orders values (default, $1, 'key', 'made', $2::text::jsonb)");
            outbox.client.execute(&insert, &[topic, &json]).await.unwrap();
        }
        let records = outbox.read(&free, |records| !records.is_empty()).await;
        assert_eq!(records[0].value.as_deref(), Some(&br#"{"number": "seven"}"#[..]));
        let mut frame = vec![0];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(&SEVEN);
        let records = outbox.read(&typed, |records| records.len() >= 2).await;
        assert!(
            records
                .iter()
                .all(|record| record.value.as_deref() == Some(&frame[..]))
        );
        let reason = format!("not published to `{typed}`: schema {id}");
        let is_misfit = |record: &Record| {
            let text = record.header(topics::HEADER_DEAD_REASON);
            text.is_some_and(|text| text.starts_with(reason.as_bytes()))
        };
        let dead = outbox
            .read("dead-letters", |records| {
                records.iter().filter(|record| is_misfit(record)).count() >= 2
            })
            .await;
        let mut values = dead
            .iter()
            .filter(|record| is_misfit(record))
            .map(|record| record.value.clone().unwrap());
        assert_eq!(values.next().unwrap(), r#"{"number": "seven"}"#);
        connector.stop().await;
    });
}
