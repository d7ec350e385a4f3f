//! The connector's configuration.

use std::time::Duration;

use posthaste_store::ReplicationNames;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The connector's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The replication slot; made when missing. One connector streams from it, further ones wait.
    pub slot: String,
    /// The publication; made when missing.
    pub publication: String,
    /// The outbox table as `schema.table`; any table in Debezium's shape will do.
    pub table: String,
    /// How often the server is told what has been published, milliseconds, 10 to 1000. Log is kept until then.
    pub status_interval_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot: "posthaste".to_owned(),
            publication: "posthaste_outbox".to_owned(),
            table: "posthaste.outbox".to_owned(),
            status_interval_ms: 100,
        }
    }
}

impl Options {
    /// The names, checked. Set-up uses them to make publication and slot (`Store::ensure_replication`).
    ///
    /// # Errors
    /// A name that would need quotes.
    pub fn names(&self) -> Result<ReplicationNames, Error> {
        Ok(ReplicationNames::new(&self.slot, &self.publication, &self.table)?)
    }

    /// The status interval, checked.
    pub(crate) fn status_interval(&self) -> Result<Duration, Error> {
        if !(10..=1000).contains(&self.status_interval_ms) {
            return Err(Error::Setup(
                "`status_interval_ms` of the connector must be 10 to 1000".to_owned(),
            ));
        }
        Ok(Duration::from_millis(self.status_interval_ms))
    }
}
