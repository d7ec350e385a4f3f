//! A connector that is being measured: started, held up, killed and stopped in one way, whoever made it.

use anyhow::Context as _;
use posthaste_stack::{Connect, ConnectOptions, DebeziumPlaces, DebeziumTuning};
use tokio::process::Child;

use crate::modes::{Kind, Mode};
use crate::process;
use crate::world::World;

/// What Debezium and Kafka Connect do where nobody set anything, other than the files in connectors/debezium say.
const DEFAULT_WORKER: &str = "\noffset.flush.interval.ms=60000\n";
const DEFAULT_CONNECTOR: &str = "\nheartbeat.interval.ms=0\nstatus.update.interval.ms=10000\n";
/// Those of Kafka's own start script.
const DEFAULT_JVM: [&str; 5] = [
    "-Xms256M",
    "-Xmx2G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
];

pub(crate) struct Subject {
    running: Running,
    slot: String,
    /// The server process on the other side of its stream.
    pub(crate) walsender: u32,
}

enum Running {
    Ours(Child, &'static [(&'static str, &'static str)]),
    Debezium(Box<Connect>),
}

impl Subject {
    /// Starts it on a slot of its own and waits until it streams.
    pub(crate) async fn start(world: &World, mode: &Mode) -> anyhow::Result<Self> {
        let slot = world.name("bench_slot");
        world.make_slot(&slot).await?;
        let running = match mode.kind {
            Kind::Ours(settings) => Running::Ours(ours(world, &slot, settings)?, settings),
            Kind::Debezium {
                tuning,
                is_exactly_once,
            } => {
                let options = debezium(world, &slot, tuning, is_exactly_once);
                Running::Debezium(Box::new(world.stack.connect(&options).await?))
            }
        };
        let walsender = world.walsender(&slot, None).await?;
        Ok(Self {
            running,
            slot,
            walsender,
        })
    }

    pub(crate) async fn pid(&self) -> anyhow::Result<u32> {
        let pid = match &self.running {
            Running::Ours(child, _) => child.id(),
            Running::Debezium(connect) => connect.process_id().await,
        };
        pid.context("it runs")
    }

    /// Lets it read nothing until [`Subject::resume`]. Ours is stopped: frozen for some seconds, its stream would end, as
    /// that of a dead one should. Debezium is frozen, since it takes seconds to start.
    pub(crate) async fn pause(&mut self) -> anyhow::Result<()> {
        match &mut self.running {
            Running::Ours(child, _) => stop(child).await,
            Running::Debezium(_) => process::signal(self.pid().await?, "STOP").await,
        }
    }

    /// Lets it go on; the processor time that it and its walsender had taken before, milliseconds.
    pub(crate) async fn resume(&mut self, world: &World) -> anyhow::Result<(u64, u64)> {
        match &mut self.running {
            Running::Ours(child, settings) => {
                *child = ours(world, &self.slot, settings)?;
                self.walsender = world.walsender(&self.slot, Some(self.walsender)).await?;
                Ok((0, 0))
            }
            Running::Debezium(_) => {
                let pid = self.pid().await?;
                let before = (process::cpu_ms(pid)?, process::cpu_ms(self.walsender)?);
                process::signal(pid, "CONT").await?;
                Ok(before)
            }
        }
    }

    /// `kill -9`, and the start that follows it.
    pub(crate) async fn crash(&mut self, world: &World) -> anyhow::Result<()> {
        match &mut self.running {
            Running::Ours(child, settings) => {
                child.kill().await?;
                *child = ours(world, &self.slot, settings)?;
            }
            Running::Debezium(connect) => {
                connect.kill().await?;
                connect.restart().await?;
            }
        }
        self.walsender = world.walsender(&self.slot, Some(self.walsender)).await?;
        Ok(())
    }

    pub(crate) async fn stop(self, world: &World) -> anyhow::Result<()> {
        match self.running {
            Running::Ours(mut child, _) => stop(&mut child).await?,
            Running::Debezium(connect) => connect.stop().await,
        }
        world.drop_slot(&self.slot).await
    }
}

/// Ends it in order.
pub(crate) async fn stop(child: &mut Child) -> anyhow::Result<()> {
    process::signal(child.id().context("it runs")?, "TERM").await?;
    child.wait().await?;
    Ok(())
}

/// Starts ours on a slot.
pub(crate) fn ours(world: &World, slot: &str, settings: &[(&str, &str)]) -> anyhow::Result<Child> {
    let mut command = world.posthaste("connector");
    command.env("POSTHASTE_CONNECTOR__SLOT", slot);
    command.envs(settings.iter().copied());
    Ok(command.spawn()?)
}

fn debezium(world: &World, slot: &str, tuning: DebeziumTuning, is_exactly_once: bool) -> ConnectOptions {
    let url = world.stack.database_tcp_url();
    let port = url.rsplit(':').next().and_then(|end| end.split('/').next());
    let places = DebeziumPlaces {
        host: "127.0.0.1".to_owned(),
        port: port.and_then(|port| port.parse().ok()).unwrap_or(5432),
        user: "posthaste".to_owned(),
        password: "unused".to_owned(),
        database: "posthaste".to_owned(),
        slot: slot.to_owned(),
        publication: "posthaste_outbox".to_owned(),
        table: "posthaste.outbox".to_owned(),
        kafka: world.kafka.bootstrap.clone(),
    };
    let mut options = ConnectOptions::debezium(places, tuning);
    if tuning == DebeziumTuning::Default {
        options.worker.push_str(DEFAULT_WORKER);
        options.connector.push_str(DEFAULT_CONNECTOR);
        options.jvm = DEFAULT_JVM.map(str::to_owned).into();
    }
    if is_exactly_once {
        options.is_distributed = true;
        options.worker.push_str(&group(slot));
        options
            .connector
            .push_str("\nexactly.once.support=required\ntransaction.boundary=poll\n");
    }
    options
}

/// A group of one worker, with topics of its own. Its session is long enough for one that is frozen while rows are
/// written for it, so a killed one is missed late; then its work is given to the next at once.
fn group(name: &str) -> String {
    format!(
        "
group.id={name}
config.storage.topic={name}_config
offset.storage.topic={name}_offsets
status.storage.topic={name}_status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
exactly.once.source.support=enabled
session.timeout.ms=60000
rebalance.timeout.ms=120000
scheduled.rebalance.max.delay.ms=0
"
    )
}
