//! Debezium in the connector role's place, for who wants to see both: fetched, started and stopped with the rest.

use anyhow::{bail, ensure};
use clap::ValueEnum;
use posthaste_runtime::Stopper;
use posthaste_stack::{Connect, ConnectOptions, DebeziumPlaces, DebeziumTuning, Stack};
use posthaste_store::{Store, StoreOptions, TlsMode};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::output;

const README: &str = "connectors/debezium/README.md";

/// Who moves the rows of the outbox to Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Connector {
    /// Posthaste's own, in this process
    #[default]
    Posthaste,
    /// Debezium under Kafka Connect, with the configuration of connectors/debezium
    Debezium,
}

impl Connector {
    /// Starts what is not a role of this process; the slot must be there.
    pub(crate) async fn start(
        self,
        stack: Option<&Stack>,
        config: &Config,
    ) -> anyhow::Result<Option<Connect>> {
        match (self, stack) {
            (Self::Debezium, Some(stack)) => {
                let options = ConnectOptions::debezium(places(stack, config)?, DebeziumTuning::Tuned);
                Ok(Some(Box::pin(stack.connect(&options)).await?))
            }
            _ => Ok(None),
        }
    }
}

/// What the configuration says, as far as it is said alike to both: TLS and logins are set otherwise in Java.
fn places(stack: &Stack, config: &Config) -> anyhow::Result<DebeziumPlaces> {
    ensure!(
        config.kafka.properties.is_empty(),
        "--connector debezium takes no [kafka.properties], which are librdkafka's: run it as {README} says"
    );
    let store = Store::new(&StoreOptions {
        // It knows no Unix sockets.
        url: stack.database_tcp_url().to_owned(),
        ..config.database.store("debezium")
    })?;
    let server = store.server_address()?;
    ensure!(
        !server.host.starts_with('/') && matches!(server.tls.mode, TlsMode::Disable | TlsMode::Prefer),
        "--connector debezium takes no database over a Unix socket or with `sslmode`: run it as {README} says"
    );
    let connector = &config.connector;
    Ok(DebeziumPlaces {
        host: server.host,
        port: server.port,
        user: server.user,
        password: server.password,
        database: server.database,
        slot: connector.slot.clone(),
        publication: connector.publication.clone(),
        table: connector.table.clone(),
        kafka: stack.kafka_bootstrap().to_owned(),
    })
}

/// Waits for the roles' end, and brings it about when `connect` ends by itself; then stops that too.
pub(crate) async fn wait(
    mut running: JoinHandle<anyhow::Result<()>>,
    connect: Option<Connect>,
    stopper: &Stopper,
) -> anyhow::Result<()> {
    let Some(connect) = connect else {
        return running.await?;
    };
    let log = tokio::select! {
        biased;
        ended = &mut running => {
            connect.stop().await;
            return ended?;
        }
        log = connect.died() => log,
    };
    output::note("Kafka Connect ended by itself; stopping");
    stopper.stop();
    running.await??;
    bail!("Kafka Connect ended by itself; the last lines of its log: {log}")
}
