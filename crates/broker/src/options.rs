//! How to reach Kafka and the registry, and what every Kafka client of ours sets. Shows no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;

/// How to reach Kafka.
#[derive(Clone, Default)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// librdkafka's own properties (TLS, SASL and so on), set last. May hold passwords: never log them.
    pub properties: BTreeMap<String, String>,
    /// How the broker's log and quotas name this client.
    pub client_id: String,
}

impl fmt::Debug for KafkaOptions {
    /// Shows the properties' names alone: a value may be a password, also under a name that is misspelt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaOptions")
            .field("bootstrap", &self.bootstrap)
            .field("properties", &names)
            .field("client_id", &self.client_id)
            .finish()
    }
}

/// How to reach the schema registry.
#[derive(Clone, Default)]
pub struct RegistryOptions {
    /// Base of its Confluent-compatible API (up to, not including, `/subjects`), `http://` or `https://`. What stands before
    /// an `@` is sent as basic authentication. Never log it.
    pub url: String,
    /// PEM file of the authorities that may have signed its certificate; `None`: those that this machine trusts.
    pub ca: Option<PathBuf>,
}

impl RegistryOptions {
    /// A registry whose certificate, if any, an authority has signed that this machine trusts.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca: None,
        }
    }
}

impl fmt::Debug for RegistryOptions {
    /// Leaves out the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl KafkaOptions {
    /// The configuration of one client: what all share, then its own settings, then the operator's.
    pub(crate) fn client_config(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            // A broker that comes back is found within a second; librdkafka's default is ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log.connection.close", "false");
        for (name, value) in own {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}
