//! The configuration tree: a section for each thing that can be set. Sections of roles are the roles' own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use posthaste_broker::KafkaOptions;
use posthaste_runtime::Secret;
use posthaste_runtime::telemetry::LogOptions;
use posthaste_store::StoreOptions;
use posthaste_types::TenantLimits;
use posthaste_types::task::DEFAULT_TENANT;
use posthaste_types::topics::DEFAULT_QUEUE;
use serde::{Deserialize, Deserializer, Serialize};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) log: LogOptions,
    pub(crate) http: HttpOptions,
    /// What a tenant may use that has no limits of its own.
    pub(crate) limits: TenantLimits,
    pub(crate) database: DatabaseOptions,
    pub(crate) kafka: KafkaSection,
    pub(crate) registry: RegistryOptions,
    pub(crate) topics: TopicsOptions,
    pub(crate) ingest: posthaste_ingest::Options,
    pub(crate) connector: posthaste_connector::Options,
    pub(crate) worker: posthaste_worker::Options,
    pub(crate) delivery: posthaste_delivery::Options,
    pub(crate) scheduler: posthaste_scheduler::Options,
}

/// Where a role serves its routes, health and metrics, and whom it lets in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpOptions {
    #[serde(deserialize_with = "ip_and_port")]
    pub(crate) listen: SocketAddr,
    /// Whom the routes below `/v1` are for.
    pub(crate) access: Access,
    /// The tenant whose admin keys may do what concerns all tenants: see how connectors are, pause and resume them. Empty:
    /// nobody may over HTTP.
    pub(crate) operators: String,
    /// A line in the log for each request.
    pub(crate) access_log: bool,
    /// Connections at once; further ones are closed.
    pub(crate) connections_max: usize,
    /// Connections at once from one address; further ones are closed.
    pub(crate) connections_per_address_max: usize,
    pub(crate) tls: TlsFiles,
    pub(crate) cors: CorsOptions,
}

/// No name: which of a host's addresses is meant is not for a look-up to decide.
fn ip_and_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "`{text}` is not IP:PORT: write 127.0.0.1:8080 for this machine alone, 0.0.0.0:8080 or [::]:8080 for all"
        ))
    })
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    /// Who has an API key.
    Keys,
    /// Everybody, as the tenant `default`; on loopback alone.
    Open,
}

/// Encryption of the HTTP interface: both files, or neither.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsFiles {
    /// PEM file with the certificate and those between it and the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
}

/// Which web pages may call from a browser.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CorsOptions {
    /// As `https://app.example.com`; `*` lets all.
    pub(crate) origins: Vec<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        let serve = posthaste_http::ServeOptions::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            access: Access::Keys,
            operators: DEFAULT_TENANT.to_owned(),
            access_log: false,
            connections_max: serve.connections_max,
            connections_per_address_max: serve.connections_per_address_max,
            tls: TlsFiles::default(),
            cors: CorsOptions::default(),
        }
    }
}

/// The record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseOptions {
    /// A libpq URL or key-value string; `sslmode=verify-full` for TLS that proves the server.
    pub(crate) url: Secret,
    /// PEM file of the authority that signed the server's certificate.
    pub(crate) ca: Option<PathBuf>,
    /// Connections for reads and rare writes; grouped writes have connections of their own.
    pub(crate) pool_size: usize,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            url: Secret::new("postgresql://posthaste@127.0.0.1:5432/posthaste"),
            ca: None,
            pool_size: 8,
        }
    }
}

impl DatabaseOptions {
    pub(crate) fn store(&self, role: &str) -> StoreOptions {
        StoreOptions {
            url: self.url.expose().to_owned(),
            ca: self.ca.clone(),
            pool_size: self.pool_size,
            application_name: format!("posthaste-{role}"),
        }
    }
}

/// The transport.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KafkaSection {
    /// `host:port`, several separated by commas.
    pub(crate) bootstrap: String,
    /// Properties of librdkafka, set last: TLS, SASL. Shown nowhere, as they may be passwords.
    pub(crate) properties: BTreeMap<String, Secret>,
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaSection {
    pub(crate) fn options(&self, role: &str) -> KafkaOptions {
        let properties = self
            .properties
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()));
        KafkaOptions {
            bootstrap: self.bootstrap.clone(),
            properties: properties.collect(),
            client_id: format!("posthaste-{role}"),
        }
    }
}

/// The schema registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistryOptions {
    /// Base of its Confluent-compatible API; `user:password@` before the host is sent as basic authentication.
    pub(crate) url: Secret,
    /// PEM file of the authority that signed the registry's certificate.
    pub(crate) ca: Option<PathBuf>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            url: Secret::new("http://127.0.0.1:8081/apis/ccompat/v7"),
            ca: None,
        }
    }
}

impl RegistryOptions {
    pub(crate) fn options(&self) -> posthaste_broker::RegistryOptions {
        posthaste_broker::RegistryOptions {
            url: self.url.expose().to_owned(),
            ca: self.ca.clone(),
        }
    }
}

/// What `posthaste migrate` makes; topics that exist are left as they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TopicsOptions {
    /// Queues that tasks may name; each is the topic `tasks.<queue>`.
    pub(crate) queues: Vec<String>,
    /// Partitions of each topic: the bound of how many workers share a queue.
    pub(crate) partitions: i32,
    /// Replicas of each partition; absent means the broker's default.
    pub(crate) replication_factor: Option<i32>,
    /// How long tasks are kept on their topics, hours; a worker that is away for longer misses them.
    pub(crate) tasks_retention_h: u32,
    /// How long events are kept, hours; an older cursor gets `reset`.
    pub(crate) results_retention_h: u32,
    /// Keep the last event of each task beyond the retention too.
    pub(crate) results_compact: bool,
    /// How long dead letters are kept, hours.
    pub(crate) dead_letters_retention_h: u32,
}

impl Default for TopicsOptions {
    fn default() -> Self {
        Self {
            queues: vec![DEFAULT_QUEUE.to_owned()],
            partitions: 8,
            replication_factor: None,
            tasks_retention_h: 7 * 24,
            results_retention_h: 7 * 24,
            results_compact: false,
            dead_letters_retention_h: 30 * 24,
        }
    }
}

#[cfg(test)]
mod tests;
