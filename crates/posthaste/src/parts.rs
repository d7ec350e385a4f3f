//! What the roles of one process share, made once. Making it connects to nothing.

use std::sync::{Arc, OnceLock};

use posthaste_broker::{Admin, KafkaOptions, Registry, RegistryOptions};
use posthaste_runtime::{Clock, SystemClock};
use posthaste_store::Store;

use crate::config::Config;

/// The record, the transport, the registry, the time.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) kafka: KafkaOptions,
    pub(crate) clock: Arc<dyn Clock>,
    registry_options: RegistryOptions,
    made: Arc<Made>,
}

/// What costs threads and memory, and not every role needs.
#[derive(Default)]
struct Made {
    admin: OnceLock<Admin>,
    registry: OnceLock<Registry>,
}

impl Parts {
    /// `process` names this process to the database and to Kafka. To be called inside a tokio runtime.
    pub(crate) fn new(config: &Config, process: &str) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::new(&config.database.store(process))?,
            kafka: config.kafka.options(process),
            clock: SystemClock::shared(),
            registry_options: config.registry.options(),
            made: Arc::default(),
        })
    }

    /// Kafka's administration, made at the first call.
    pub(crate) fn admin(&self) -> anyhow::Result<Admin> {
        if let Some(admin) = self.made.admin.get() {
            return Ok(admin.clone());
        }
        let admin = Admin::new(&self.kafka)?;
        Ok(self.made.admin.get_or_init(|| admin).clone())
    }

    /// The registry's client, made at the first call.
    pub(crate) fn registry(&self) -> anyhow::Result<Registry> {
        if let Some(registry) = self.made.registry.get() {
            return Ok(registry.clone());
        }
        let registry = Registry::new(&self.registry_options)?;
        Ok(self.made.registry.get_or_init(|| registry).clone())
    }
}
