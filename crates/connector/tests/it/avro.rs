//! JSON outboxes whose topics have a schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use posthaste_broker::{Record, Registry, RegistryOptions};
use posthaste_connector::{ColumnNames, OutboxOptions};
use posthaste_types::topics;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Outbox, eventually, values_of};
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

/// A registry behind a door: while it is shut, whoever comes is sent away.
struct Door {
    url: String,
    is_open: Arc<AtomicBool>,
}

impl Door {
    async fn before(registry_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let behind = registry_url.strip_prefix("http://").unwrap();
        let behind = behind.split('/').next().unwrap().to_owned();
        let url = registry_url.replace(&behind, &address);
        let is_open = Arc::new(AtomicBool::new(false));
        let may_pass = Arc::clone(&is_open);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                if may_pass.load(Ordering::Relaxed) {
                    let mut registry = TcpStream::connect(&behind).await.unwrap();
                    tokio::spawn(async move { copy_bidirectional(&mut caller, &mut registry).await });
                }
            }
        });
        Self { url, is_open }
    }
}

#[test]
fn rows_of_a_topic_that_the_registry_has_not_told_of_wait_with_all_behind_them_and_none_is_lost() {
    with_stack(|stack| async {
        let mut outbox = Outbox::new(stack).await;
        let door = Door::before(stack.registry_url()).await;
        let registry = Registry::new(&RegistryOptions::at(stack.registry_url())).unwrap();
        let (typed, own) = (
            outbox.topic("waiting", 1, &[]).await,
            outbox.topic("own", 1, &[]).await,
        );
        registry
            .register(&topics::value_subject(&typed), AVSC)
            .await
            .unwrap();
        let orders = format!("{}.orders", outbox.name());
        let create = format!(
            "create table {orders} (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text,
                 payload jsonb)"
        );
        outbox.client.batch_execute(&create).await.unwrap();
        outbox.options.outboxes = vec![OutboxOptions {
            table: orders.clone(),
            columns: ColumnNames::default(),
            topic: "{aggregatetype}".to_owned(),
            topics: Vec::new(),
            headers: [].into(),
        }];
        outbox.options.slot += "_two";
        outbox.options.publication += "_two";
        outbox.registry = Some(Registry::new(&RegistryOptions::at(&door.url)).unwrap());
        let names = outbox.options.names().unwrap();
        outbox.store().ensure_replication(&names).await.unwrap();
        let connector = outbox.streaming().await;
        outbox.insert(&own, &[("a", b"before")]).await;
        let insert = format!("insert into {orders} values (default, $1, 'key', 'made', '{{\"number\": 7}}')");
        outbox.client.execute(&insert, &[&typed]).await.unwrap();
        outbox.insert(&own, &[("a", b"behind")]).await;
        eventually("the connector to say what it waits for", async || {
            let said = connector.health.check().err().unwrap_or_default();
            said.contains(&typed) && said.contains("registry")
        })
        .await;
        let published = outbox.read(&own, |records| !records.is_empty()).await;
        assert_eq!(values_of(&published, "a"), ["before"]);
        door.is_open.store(true, Ordering::Relaxed);
        assert_eq!(values_of(&outbox.read_all(&own).await, "a"), ["before", "behind"]);
        assert_eq!(outbox.read(&typed, |records| !records.is_empty()).await.len(), 1);
        // What it told holds while it is away.
        door.is_open.store(false, Ordering::Relaxed);
        outbox.client.execute(&insert, &[&typed]).await.unwrap();
        assert_eq!(outbox.read(&typed, |records| records.len() >= 2).await.len(), 2);
        connector.stop().await;
    });
}
