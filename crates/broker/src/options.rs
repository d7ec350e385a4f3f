//! How to reach Kafka, and what every client of ours sets.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

/// How to reach Kafka.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// librdkafka's own properties (TLS, SASL and so on), set last. May hold passwords: never log them.
    pub properties: BTreeMap<String, String>,
    /// How the broker's log and quotas name this client.
    pub client_id: String,
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
