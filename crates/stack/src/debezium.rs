//! Debezium in the place of Posthaste's own connector: the files of `connectors/debezium`, as they are shipped.

use crate::connect::ConnectOptions;

const POM: &str = include_str!("../../../connectors/debezium/pom.xml");
const WORKER: &str = include_str!("../../../connectors/debezium/worker.properties");
const CONNECTOR: &str = include_str!("../../../connectors/debezium/connector.properties");
const TUNED: &str = include_str!("../../../connectors/debezium/tuned.properties");
const LOW_LATENCY: &str = include_str!("../../../connectors/debezium/low-latency.properties");

/// Enough for its queue full of ordinary rows, and little where most is idle.
const JVM: [&str; 4] = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData"];

/// Between which database and which broker Debezium moves the rows.
#[derive(Clone)]
pub struct DebeziumPlaces {
    /// The database's host; a Unix socket will not do.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The role's password.
    pub password: String,
    /// The database.
    pub database: String,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// The outbox, as `schema.table`.
    pub table: String,
    /// Kafka's bootstrap servers.
    pub kafka: String,
}

/// How Debezium is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebeziumTuning {
    /// As it comes.
    Default,
    /// For throughput, and a latency of tens of milliseconds: `tuned.properties`.
    Tuned,
    /// For latency, at the cost of a busy processor: `low-latency.properties`.
    LowLatency,
}

impl ConnectOptions {
    /// Debezium, alone in its worker.
    pub fn debezium(places: DebeziumPlaces, tuning: DebeziumTuning) -> Self {
        let more = match tuning {
            DebeziumTuning::Default => "",
            DebeziumTuning::Tuned => TUNED,
            DebeziumTuning::LowLatency => LOW_LATENCY,
        };
        let environment = [
            ("DATABASE_HOST", places.host),
            ("DATABASE_PORT", places.port.to_string()),
            ("DATABASE_USER", places.user),
            ("DATABASE_PASSWORD", places.password),
            ("DATABASE_NAME", places.database),
            ("SLOT", places.slot),
            ("PUBLICATION", places.publication),
            ("OUTBOX", places.table),
            ("KAFKA_BOOTSTRAP", places.kafka),
        ];
        Self {
            title: "Debezium 3.6.3.Final".to_owned(),
            pom: POM.to_owned(),
            worker: WORKER.to_owned(),
            connector: format!("{CONNECTOR}\n{more}"),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            jvm: JVM.map(str::to_owned).into(),
            is_distributed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_names_the_version_that_is_fetched() {
        let places = DebeziumPlaces {
            host: String::new(),
            port: 0,
            user: String::new(),
            password: String::new(),
            database: String::new(),
            slot: String::new(),
            publication: String::new(),
            table: String::new(),
            kafka: String::new(),
        };
        let options = ConnectOptions::debezium(places, DebeziumTuning::Default);
        let version = options.title.rsplit(' ').next().unwrap();
        assert!(POM.contains(&format!("<version>{version}</version>")));
        for (name, _) in &options.environment {
            let variable = format!("${{env:{name}}}");
            assert!(
                WORKER.contains(&variable) || CONNECTOR.contains(&variable),
                "{name}"
            );
        }
    }
}
