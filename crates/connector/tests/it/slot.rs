//! Who holds the slot, and what it keeps.

use crate::common::{Outbox, eventually, values_of, within};
use crate::with_stack;

#[test]
fn a_standby_takes_over_when_the_slot_is_free() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let topic = outbox.topic("standby", 2, &[]).await;
        let first = outbox.streaming().await;
        let mut second = outbox.start();
        outbox.insert(&topic, &[("a", b"1")]).await;
        outbox.read(&topic, |records| !records.is_empty()).await;
        assert!(first.health.is_streaming() && !second.health.is_streaming());
        first.crash().await;
        assert!(within("the standby", second.health.streaming()).await);
        outbox.insert(&topic, &[("a", b"2")]).await;
        let records = outbox.read_all(&topic).await;
        assert_eq!(values_of(&records, "a"), ["1", "2"]);
        second.stop().await;
    });
}

#[test]
fn an_idle_slot_keeps_no_log() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let connector = outbox.streaming().await;
        let other = format!(
            "create table {0}.other as select generate_series(1, 10000) as n",
            outbox.name()
        );
        outbox.client.batch_execute(&other).await.unwrap();
        let written = "select pg_current_wal_flush_lsn()::text";
        let written: String = outbox.client.query_one(written, &[]).await.unwrap().get(0);
        let confirmed =
            "select confirmed_flush_lsn >= $1::text::pg_lsn from pg_replication_slots where slot_name = $2";
        eventually("the slot to be confirmed", async || {
            let slot = &outbox.options.slot;
            let row = outbox.client.query_one(confirmed, &[&written, slot]).await;
            row.unwrap().get(0)
        })
        .await;
        connector.stop().await;
    });
}

#[test]
fn rows_of_two_outboxes_come_through_one_topic() {
    with_stack(|stack| async {
        let (first, second) = (Outbox::new(stack).await, Outbox::new(stack).await);
        let topic = first.topic("shared", 1, &[]).await;
        first.insert(&topic, &[("a", b"committed first")]).await;
        second.insert(&topic, &[("a", b"published first")]).await;
        let ahead = second.streaming().await;
        second.read(&topic, |records| !records.is_empty()).await;
        let behind = first.streaming().await;
        let records = first.read(&topic, |records| records.len() == 2).await;
        assert_eq!(values_of(&records, "a"), ["published first", "committed first"]);
        ahead.stop().await;
        behind.stop().await;
    });
}

#[test]
fn standbys_of_the_server_get_a_copy_of_the_slot_where_it_can_give_them_one() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let connector = outbox.streaming().await;
        let version = "select current_setting('server_version_num')::int";
        let version: i32 = outbox.client.query_one(version, &[]).await.unwrap().get(0);
        let state = outbox
            .store()
            .slot_state(&outbox.options.slot)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(state.is_failover, (version >= 170_000).then_some(true));
        connector.stop().await;
    });
}

#[test]
fn what_is_missing_is_named_with_the_sql_that_mends_it() {
    with_stack(|stack| async {
        let outbox = Outbox::new(stack).await;
        let (name, store) = (outbox.name(), outbox.store());
        let mut options = outbox.options.clone();
        options.publication = format!("{name}_other");
        let spoil =
            format!("create publication {name}_other for table {name}.outbox with (publish = 'update')");
        outbox.client.batch_execute(&spoil).await.unwrap();
        let error = store
            .ensure_replication(&options.names().unwrap())
            .await
            .unwrap_err();
        let text = error.to_string();
        let cure = text.split('`').find(|part| part.starts_with("alter publication"));
        outbox.client.batch_execute(cure.expect(&text)).await.unwrap();
        store.ensure_replication(&options.names().unwrap()).await.unwrap();
    });
}
