//! The database's log goes back, or goes on on another timeline. It has a stack of its own to break.

use std::path::PathBuf;
use std::process::Command;

use posthaste_stack::{Part, Stack};
use tokio_postgres::Client;

use crate::common::{Outbox, connect, values_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_put_back_to_an_earlier_state_has_all_its_rows_published() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = Outbox::new(&stack).await;
    // What is published is confirmed late, so that it comes from the log again.
    outbox.options.status_interval_ms = 1000;
    let topic = outbox.topic("back", 2, &[]).await;
    let connector = outbox.streaming().await;
    write(&outbox, &topic, "common", 20).await;
    outbox.read(&topic, |records| records.len() >= 40).await;
    connector.crash().await;

    let data = data_directory(&outbox.client).await;
    let kept = data.with_extension("kept");
    stack.kill(Part::Postgres).await.unwrap();
    run("cp", &["-a".as_ref(), data.as_os_str(), kept.as_os_str()]);
    restart(&stack, &mut outbox).await;
    let connector = outbox.streaming().await;
    write(&outbox, &topic, "first", 100).await;
    outbox.read(&topic, |records| records.len() >= 240).await;
    connector.crash().await;

    // The same system, the same timeline, the same places in the log: only the rows are others.
    stack.kill(Part::Postgres).await.unwrap();
    run("rm", &["-r".as_ref(), data.as_os_str()]);
    run("mv", &[kept.as_os_str(), data.as_os_str()]);
    restart(&stack, &mut outbox).await;
    write(&outbox, &topic, "second", 500).await;
    let connector = outbox.streaming().await;
    let records = outbox.read_all(&topic).await;
    for key in ["a", "b"] {
        let of = |name: &str| -> Vec<String> {
            let values = values_of(&records, key).into_iter();
            values.filter(|value| value.starts_with(name)).collect()
        };
        assert_eq!(
            of("second"),
            (0..500)
                .map(|number| format!("second {number}"))
                .collect::<Vec<_>>()
        );
        assert_eq!(of("first").len(), 100);
        assert!(of("common").len() >= 20);
    }
    connector.stop().await;
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_neither_loses_nor_repeats_what_both_timelines_share() {
    let stack = posthaste_stack::temporary().await.unwrap();
    let mut outbox = Outbox::new(&stack).await;
    outbox.options.status_interval_ms = 1000;
    let topic = outbox.topic("timelines", 2, &[]).await;
    let connector = outbox.streaming().await;
    write(&outbox, &topic, "one", 100).await;
    outbox.read(&topic, |records| records.len() >= 200).await;
    connector.crash().await;

    // Recovery from an archive that holds nothing more ends in a new timeline, as a promotion does.
    let data = data_directory(&outbox.client).await;
    stack.kill(Part::Postgres).await.unwrap();
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    let settings = data.join("posthaste.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, text + "restore_command = 'false'\n").unwrap();
    restart(&stack, &mut outbox).await;
    let timeline = "select timeline_id from pg_control_checkpoint()";
    while outbox
        .client
        .query_one(timeline, &[])
        .await
        .unwrap()
        .get::<_, i32>(0)
        < 2
    {
        outbox.client.batch_execute("checkpoint").await.unwrap();
    }
    let connector = outbox.streaming().await;
    write(&outbox, &topic, "two", 100).await;
    let records = outbox.read_all(&topic).await;
    let wanted: Vec<String> = ["one", "two"]
        .iter()
        .flat_map(|name| (0..100).map(move |number| format!("{name} {number}")))
        .collect();
    for key in ["a", "b"] {
        assert_eq!(values_of(&records, key), wanted);
    }
    connector.stop().await;
    stack.stop().await.unwrap();
}

async fn write(outbox: &Outbox, topic: &str, name: &str, count: usize) {
    for number in 0..count {
        let value = format!("{name} {number}");
        outbox
            .insert(topic, &[("a", value.as_bytes()), ("b", value.as_bytes())])
            .await;
    }
}

pub(crate) async fn data_directory(client: &Client) -> PathBuf {
    let row = client.query_one("show data_directory", &[]).await.unwrap();
    row.get::<_, String>(0).into()
}

async fn restart(stack: &Stack, outbox: &mut Outbox) {
    crate::common::restart(stack, Part::Postgres).await;
    outbox.client = connect(stack.database_url()).await;
}

pub(crate) fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success());
}
