//! What all connectors are measured on: one Postgres, one Kafka, and eyes on both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use posthaste_broker::{Admin, KafkaOptions, TopicSpec};
use posthaste_stack::Stack;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// How long anything may take before a measurement fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// Each look asks the broker for every partition's end; it should have time for the connector.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
pub(crate) const PARTITION_COUNT: i32 = 8;
/// A connector that is stopped while rows are written for it must find its stream alive afterwards.
const KEEP_SENDING: &str = "alter system set wal_sender_timeout = 0";

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) executable: PathBuf,
    pub(crate) kafka: KafkaOptions,
    pub(crate) admin: Admin,
    pub(crate) database: Client,
    serial: AtomicU32,
}

impl World {
    pub(crate) async fn start(executable: PathBuf) -> anyhow::Result<Self> {
        let stack = posthaste_stack::temporary().await?;
        let kafka = KafkaOptions {
            bootstrap: stack.kafka_bootstrap().to_owned(),
            properties: BTreeMap::new(),
            client_id: "bench".to_owned(),
        };
        let world = Self {
            admin: Admin::new(&kafka)?,
            database: connect(&stack).await?,
            stack,
            executable,
            kafka,
            serial: AtomicU32::new(0),
        };
        let migrated = world.posthaste("migrate").output().await?;
        let said = String::from_utf8_lossy(&migrated.stderr);
        ensure!(migrated.status.success(), "migrate: {said}");
        for command in [KEEP_SENDING, "select pg_reload_conf()"] {
            world.database.batch_execute(command).await?;
        }
        Ok(world)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        Ok(self.stack.stop().await?)
    }

    /// A command of the executable, pointed at this stack.
    pub(crate) fn posthaste(&self, name: &str) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .arg(name)
            .env("POSTHASTE_DATABASE__URL", self.stack.database_url())
            .env("POSTHASTE_KAFKA__BOOTSTRAP", self.stack.kafka_bootstrap())
            .env("POSTHASTE_REGISTRY__URL", self.stack.registry_url())
            .env("POSTHASTE_HTTP__LISTEN", "127.0.0.1:0")
            .env("POSTHASTE_LOG", "warn")
            .kill_on_drop(true);
        command
    }

    /// A further connection to the database.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.stack).await
    }

    /// A name that nothing here had before.
    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// A new topic, in which the broker notes when each record came.
    pub(crate) async fn topic(&self) -> anyhow::Result<String> {
        let name = self.name("bench");
        let config = [("message.timestamp.type", "LogAppendTime")];
        let config = config.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.admin
            .ensure_topic(&TopicSpec {
                name: name.clone(),
                partitions: PARTITION_COUNT,
                config: config.into(),
            })
            .await?;
        Ok(name)
    }

    /// Records in a topic, markers of transactions included.
    pub(crate) async fn len(&self, topic: &str) -> anyhow::Result<u64> {
        let mut sum = 0;
        for partition in 0..PARTITION_COUNT {
            let (low, high) = self.admin.watermarks(topic, partition).await?;
            sum += u64::try_from(high - low)?;
        }
        Ok(sum)
    }

    pub(crate) async fn make_slot(&self, slot: &str) -> anyhow::Result<()> {
        let make = "select from pg_create_logical_replication_slot($1, 'pgoutput')";
        self.database.execute(make, &[&slot]).await?;
        Ok(())
    }

    pub(crate) async fn drop_slot(&self, slot: &str) -> anyhow::Result<()> {
        let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                    where slot_name = $1 and not active";
        eventually("the slot is left", async || {
            let dropped = self.database.execute(drop, &[&slot]).await?;
            ensure!(dropped == 1, "it is in use");
            Ok(())
        })
        .await
    }

    /// The server process that streams from the slot, as soon as there is one other than `before`.
    pub(crate) async fn walsender(&self, slot: &str, before: Option<u32>) -> anyhow::Result<u32> {
        let find = "select active_pid from pg_replication_slots where slot_name = $1";
        let mut found = None;
        eventually("a connector streams", async || {
            let row = self.database.query_one(find, &[&slot]).await?;
            let pid = row.get::<_, Option<i32>>(0).context("nobody streams")?;
            let pid = u32::try_from(pid)?;
            ensure!(before != Some(pid), "the last one still streams");
            found = Some(pid);
            Ok(())
        })
        .await?;
        found.context("it was found")
    }
}

async fn connect(stack: &Stack) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(stack.database_url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Asks until it holds; fails with the last reason when patience ends.
pub(crate) async fn eventually(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match check().await {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(error.context(format!("waited {PATIENCE:?} until {what}")));
            }
            Err(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
}
