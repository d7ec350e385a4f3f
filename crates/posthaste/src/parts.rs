//! What the roles of one process share, made once. Making it connects to nothing.

use std::sync::Arc;

use posthaste_broker::{Admin, KafkaOptions, Registry};
use posthaste_runtime::{Clock, SystemClock};
use posthaste_store::Store;

use crate::config::Config;

/// The record, the transport, the registry, the time.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) kafka: KafkaOptions,
    pub(crate) admin: Admin,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    /// `process` names this process to the database and to Kafka. To be called inside a tokio runtime.
    pub(crate) fn new(config: &Config, process: &str) -> anyhow::Result<Self> {
        let kafka = config.kafka.options(process);
        Ok(Self {
            store: Store::new(&config.database.store(process))?,
            admin: Admin::new(&kafka)?,
            kafka,
            registry: Registry::new(&config.registry.options())?,
            clock: SystemClock::shared(),
        })
    }
}
