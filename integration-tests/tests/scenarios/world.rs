//! What the scenarios share: the stack, the executable, and eyes on the database and the topics that are not ours to
//! ask through the executable.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use posthaste_broker::{Admin, KafkaOptions, StartAt, Tail};
use posthaste_schema::{SCHEMAS, SchemaId, TaskEvent, WriterSchemas};
use posthaste_stack::Stack;
use posthaste_types::topics;
use tempfile::TempDir;

/// How long anything may take before a scenario fails; far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The stack and what is known of it.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) executable: PathBuf,
    pub(crate) http: reqwest::Client,
    /// Further arguments of every `posthaste dev`.
    pub(crate) dev_arguments: Mutex<Vec<String>>,
    /// What the processes log, a file for each port that one listens on.
    pub(crate) logs: TempDir,
}

impl World {
    /// Builds the executable where it is stale and starts the stack.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let executable = build_executable()?;
        let stack = posthaste_stack::temporary().await?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self {
            stack,
            executable,
            http,
            dev_arguments: Mutex::default(),
            logs: tempfile::tempdir()?,
        })
    }

    /// Stops the stack and removes its data, and the logs unless `POSTHASTE_TEST_LOG` is set, which keeps them and
    /// tells where.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if std::env::var_os("POSTHASTE_TEST_LOG").is_some() {
            eprintln!("logs are kept in {}", self.logs.keep().display());
        }
        Ok(self.stack.stop().await?)
    }

    pub(crate) fn kafka(&self) -> KafkaOptions {
        KafkaOptions {
            bootstrap: self.stack.kafka_bootstrap().to_owned(),
            properties: std::collections::BTreeMap::new(),
            client_id: "scenarios".to_owned(),
        }
    }

    /// A connection of the scenario's own.
    pub(crate) async fn database(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) =
            tokio_postgres::connect(self.stack.database_tcp_url(), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Every event in the results topic from its beginning to its present end.
    pub(crate) async fn results(&self) -> anyhow::Result<Vec<TaskEvent>> {
        let writers = WriterSchemas::new();
        for row in self
            .database()
            .await?
            .query("select id, name from posthaste.schemas", &[])
            .await?
        {
            let name: String = row.get(1);
            let schema = SCHEMAS
                .iter()
                .find(|schema| schema.name == name)
                .context("a schema of ours")?;
            writers.add(SchemaId(row.get(0)), schema.avsc)?;
        }
        let mut events = Vec::new();
        for record in self.records(topics::RESULTS).await? {
            // Poison that a scenario put there is not an event.
            if let Some(Ok(event)) = record
                .value
                .as_ref()
                .map(|value| TaskEvent::decode(value, &writers))
            {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Every record of a topic from its beginning to its present end.
    pub(crate) async fn records(&self, topic: &str) -> anyhow::Result<Vec<posthaste_broker::Record>> {
        let kafka = self.kafka();
        let admin = Admin::new(&kafka)?;
        let mut missing: HashMap<i32, i64> = HashMap::new();
        let mut from = Vec::new();
        for partition in admin.partitions(topic).await? {
            let (low, high) = admin.watermarks(topic, partition).await?;
            if high > low {
                missing.insert(partition, high);
                from.push((partition, StartAt::Offset(low)));
            }
        }
        let mut records = Vec::new();
        if from.is_empty() {
            return Ok(records);
        }
        let (_tail, mut batches) = Tail::start(&kafka, topic, from, 16 * 1024 * 1024)?;
        while !missing.is_empty() {
            let batch = tokio::time::timeout(PATIENCE, batches.recv())
                .await
                .context("the topic's end")?;
            for record in batch.context("the reader goes on")?? {
                if missing
                    .get(&record.partition)
                    .is_some_and(|&high| record.offset + 1 >= high)
                {
                    missing.remove(&record.partition);
                }
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Final events of each task of a channel.
    pub(crate) async fn final_events(
        &self,
        channel: &str,
    ) -> anyhow::Result<HashMap<String, Vec<TaskEvent>>> {
        let mut found: HashMap<String, Vec<TaskEvent>> = HashMap::new();
        for event in self.results().await? {
            if event.channel.as_deref() == Some(channel) && event.kind.is_final() {
                found.entry(event.task_id.to_string()).or_default().push(event);
            }
        }
        Ok(found)
    }

    /// Waits until every task of the channel is final in the record and the connector has confirmed all of it.
    pub(crate) async fn settled(&self, channel: &str) -> anyhow::Result<()> {
        let unfinished = "select count(*) from posthaste.tasks where channel = $1 \
                          and state not in ('DONE', 'FAILED', 'CANCELLED', 'EXPIRED')";
        let unconfirmed = "select count(*) from pg_replication_slots where slot_type = 'logical' \
                           and confirmed_flush_lsn < $1::text::pg_lsn";
        let database = self.database().await?;
        eventually("every task reaches a final state", async || {
            let count: i64 = database.query_one(unfinished, &[&channel]).await?.get(0);
            if count > 0 {
                bail!("{count} tasks are not final");
            }
            Ok(())
        })
        .await?;
        let end: String = database
            .query_one("select pg_current_wal_lsn()::text", &[])
            .await?
            .get(0);
        eventually("the connector confirms everything", async || {
            let count: i64 = database.query_one(unconfirmed, &[&end]).await?.get(0);
            if count > 0 {
                bail!("the slot is behind {end}");
            }
            Ok(())
        })
        .await
    }
}

/// Asks until it holds; fails with the last reason when patience ends.
pub(crate) async fn eventually(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match check().await {
            Ok(()) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > end => {
                return Err(error.context(format!("waited {PATIENCE:?} until {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The executable of this build, made by the same cargo: `cargo test -p` alone would not refresh it. `TEST_EXECUTABLE`
/// names another, which is taken as it is.
fn build_executable() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("TEST_EXECUTABLE") {
        return Ok(given.into());
    }
    let tests = std::env::current_exe()?;
    let folder = tests
        .parent()
        .and_then(|deps| deps.parent())
        .context("target/<profile>/deps")?;
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "posthaste"]);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    anyhow::ensure!(cargo.status()?.success(), "the executable does not build");
    Ok(folder.join("posthaste"))
}
