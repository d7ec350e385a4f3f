//! A connector that is paused stands still, and so does whichever comes after it, until it is resumed.

use posthaste_api::Connector;
use posthaste_connector::Delivery;
use posthaste_stack::Stack;
use posthaste_store::migrate;

use crate::common::{Outbox, eventually, values_of};
use crate::lost::{insert, own_outbox, write_log};
use crate::with_stack;

/// An outbox whose connector can be paused: the database has the schema.
async fn outbox(stack: &Stack, delivery: Delivery) -> Outbox {
    let mut outbox = Outbox::new(stack).await;
    outbox.options.delivery = delivery;
    migrate(&outbox.store()).await.unwrap();
    outbox
}

async fn status(outbox: &Outbox) -> Connector {
    outbox.connectors().one(&outbox.options.slot).await.unwrap()
}

/// Waits until the connectors of the slot say that they are in this state.
async fn until(outbox: &Outbox, state: &str) -> Connector {
    eventually(&format!("the state to be {state}"), async || {
        status(outbox).await.state == state
    })
    .await;
    status(outbox).await
}

async fn pause(outbox: &Outbox) -> Connector {
    let (connectors, slot) = (outbox.connectors(), &outbox.options.slot);
    let paused = connectors.pause("default", "cli".to_owned(), slot).await.unwrap();
    assert!(paused.is_paused);
    until(outbox, "paused").await
}

async fn resume(outbox: &Outbox) {
    let (connectors, slot) = (outbox.connectors(), &outbox.options.slot);
    let resumed = connectors
        .resume("default", "cli".to_owned(), slot)
        .await
        .unwrap();
    assert!(!resumed.is_paused);
}

/// Writes a row that goes no further: nobody reads the slot.
async fn write_in_vain(outbox: &Outbox, topic: &str, value: &str, published: usize) {
    outbox.insert(topic, &[("a", value.as_bytes())]).await;
    let log = status(outbox).await.log.unwrap();
    assert!(log.lag_bytes > 0 && log.server_pid.is_none(), "{log:?}");
    let records = outbox.read(topic, |records| records.len() >= published).await;
    assert_eq!(records.len(), published);
}

#[test]
fn a_pause_holds_over_restart_and_takeover_and_nothing_is_lost() {
    hold_pause(Delivery::AtLeastOnce);
}

#[test]
fn a_pause_holds_over_restart_and_takeover_and_nothing_is_lost_in_transactions() {
    hold_pause(Delivery::ExactlyOnce);
}

fn hold_pause(delivery: Delivery) {
    with_stack(move |stack| async move {
        let outbox = outbox(stack, delivery).await;
        let topic = outbox.topic("paused", 1, &[]).await;
        let first = outbox.streaming().await;
        let standby = outbox.start();
        outbox.insert(&topic, &[("a", b"before")]).await;
        outbox.read(&topic, |records| !records.is_empty()).await;
        let paused = pause(&outbox).await;
        assert_eq!(paused.paused_by.as_deref(), Some("cli"));
        assert_eq!(paused.delivery.as_deref(), Some(delivery.as_str()));
        write_in_vain(&outbox, &topic, "while both live", 1).await;

        first.crash().await;
        eventually("the standby to be left", async || {
            status(&outbox).await.instances.len() == 1
        })
        .await;
        until(&outbox, "paused").await;
        write_in_vain(&outbox, &topic, "after the holder's end", 1).await;

        standby.stop().await;
        until(&outbox, "away").await;
        let last = outbox.start();
        assert_eq!(until(&outbox, "paused").await.paused_at, paused.paused_at);
        write_in_vain(&outbox, &topic, "after the restart", 1).await;

        resume(&outbox).await;
        let records = outbox.read_all(&topic).await;
        assert_eq!(
            values_of(&records, "a"),
            [
                "before",
                "while both live",
                "after the holder's end",
                "after the restart"
            ]
        );
        until(&outbox, "streaming").await;
        last.stop().await;
        assert_eq!(until(&outbox, "away").await.instances, []);
    });
}

#[test]
fn pausing_and_resuming_under_load_loses_repeats_and_reorders_nothing() {
    with_stack(|stack| async {
        let outbox = outbox(stack, Delivery::AtLeastOnce).await;
        let topic = outbox.topic("toggled", 2, &[]).await;
        let connector = outbox.streaming().await;
        let wanted: Vec<String> = (0..600).map(|number| number.to_string()).collect();
        let write = async {
            for value in &wanted {
                outbox
                    .insert(&topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
                    .await;
            }
        };
        let toggle = async {
            for _ in 0..2 {
                pause(&outbox).await;
                resume(&outbox).await;
                until(&outbox, "streaming").await;
            }
        };
        tokio::join!(write, toggle);
        let records = outbox.read_all(&topic).await;
        for key in ["a", "b"] {
            assert_eq!(values_of(&records, key), wanted);
        }
        connector.stop().await;
    });
}

#[test]
fn a_connector_that_waits_says_for_what_and_one_that_stands_by_that_it_does() {
    with_stack(|stack| async {
        let outbox = outbox(stack, Delivery::AtLeastOnce).await;
        let holder = outbox.streaming().await;
        let standby = outbox.start();
        eventually("both to be told of", async || {
            let seen = status(&outbox).await;
            let mut states: Vec<_> = seen.instances.iter().map(|one| one.state.as_str()).collect();
            states.sort_unstable();
            states == ["standby", "streaming"]
        })
        .await;
        assert_eq!(status(&outbox).await.on_wal_limit.as_deref(), Some("refuse"));
        holder.stop().await;
        standby.stop().await;
        let spoil = format!(
            "drop publication {0}; create publication {0} for table {0}.outbox with (publish = 'update')",
            outbox.name()
        );
        outbox.client.batch_execute(&spoil).await.unwrap();
        let waits = outbox.start();
        let seen = until(&outbox, "waiting").await;
        eventually("the reason", async || {
            let reason = status(&outbox).await.waits_for.unwrap_or_default();
            reason.contains("alter publication")
        })
        .await;
        assert!(seen.holder.is_none());
        waits.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_while_it_is_paused_is_made_anew_when_it_is_resumed() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let outbox = own_outbox(&stack).await;
    let topic = outbox.topic("let_go", 1, &[]).await;
    let connector = outbox.streaming().await;
    pause(&outbox).await;
    insert(&outbox, &topic, 1, 10).await;
    // Log is removed by a checkpoint alone.
    let is_lost = async || {
        status(&outbox)
            .await
            .log
            .is_some_and(|log| log.wal_status == "lost")
    };
    while !is_lost().await {
        write_log(&outbox, 16).await;
        outbox
            .client
            .batch_execute("select pg_switch_wal(); checkpoint")
            .await
            .unwrap();
    }
    assert_eq!(status(&outbox).await.state, "paused");
    let repeated = "select count(*) from posthaste.outbox";
    let rows: i64 = outbox.client.query_one(repeated, &[]).await.unwrap().get(0);
    assert_eq!(rows, 10);
    resume(&outbox).await;
    let records = outbox.read(&topic, |records| records.len() >= 10).await;
    let wanted: Vec<String> = (1..=10).map(|number| number.to_string()).collect();
    assert_eq!(values_of(&records, "key"), wanted);
    connector.stop().await;
    stack.stop().await.unwrap();
}
