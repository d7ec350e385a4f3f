//! The connector's configuration.

use std::time::Duration;

use posthaste_store::ReplicationNames;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::layout::{Layout, OutboxOptions};

/// How often a row may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Once, over crashes too; more than once only where two connectors overlap.
    AtLeastOnce,
    /// Once for readers with `isolation.level=read_committed`, whatever happens; it costs some milliseconds.
    ExactlyOnce,
}

impl Delivery {
    /// Its word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once",
        }
    }
}

/// What happens when the log that waits to be published is about to outgrow what the server may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnWalLimit {
    /// Ingest refuses tasks until it is published.
    Refuse,
    /// The server lets the slot go; afterwards what the outbox still holds is published anew.
    Release,
}

impl OnWalLimit {
    /// Its word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Release => "release",
        }
    }
}

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
    /// Further outbox tables, in any layout; they go through the same slot.
    pub outboxes: Vec<OutboxOptions>,
    /// How often the server is told what has been published, milliseconds, 10 to 1000. Log is kept until then.
    pub status_interval_ms: u64,
    /// How often a row may come.
    pub delivery: Delivery,
    /// What happens when the log that waits to be published is about to outgrow its bound.
    pub on_wal_limit: OnWalLimit,
    /// Bytes of log that may wait to be published, beside the server's own `max_slot_wal_keep_size`; 0: only that counts.
    pub wal_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot: "posthaste".to_owned(),
            publication: "posthaste_outbox".to_owned(),
            table: "posthaste.outbox".to_owned(),
            outboxes: Vec::new(),
            status_interval_ms: 100,
            delivery: Delivery::AtLeastOnce,
            on_wal_limit: OnWalLimit::Refuse,
            wal_bytes_max: 0,
        }
    }
}

impl Options {
    /// The names, checked. Set-up uses them to make publication and slot (`Store::ensure_replication`).
    ///
    /// # Errors
    /// A name that would need quotes.
    pub fn names(&self) -> Result<ReplicationNames, Error> {
        let names = ReplicationNames::new(&self.slot, &self.publication, &self.table)?;
        let further = self.outboxes.iter().map(|outbox| outbox.table.as_str());
        Ok(names.with_tables(further)?)
    }

    /// How the tables are laid out.
    pub(crate) fn layouts(&self) -> Result<Vec<Layout>, Error> {
        let mut layouts = vec![Layout::plain(&self.table)?];
        for outbox in &self.outboxes {
            layouts.push(Layout::of(outbox)?);
        }
        Ok(layouts)
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
