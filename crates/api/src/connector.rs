//! Connectors: who carries the record's outbox to Kafka, how that goes, and whether it is to stand still.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::shapes;

/// A replication slot and the connectors that read it: one that holds it, and any number that stand by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Connector {
    /// The replication slot, by which the connector is named.
    #[schema(value_type = shapes::Slot)]
    pub slot: String,
    /// What comes of the rows now.
    #[schema(value_type = shapes::ConnectorState)]
    pub state: String,
    /// Whether it is to stand still. It obeys within a second or so, and so does whichever connector comes later.
    pub is_paused: bool,
    /// Since when it is to stand still.
    #[schema(required = true)]
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it: a key's id, `cli`, or `open` where no key is asked for.
    #[schema(required = true)]
    pub paused_by: Option<String>,
    /// What it waits for, when the state is `waiting`.
    #[schema(required = true)]
    pub waits_for: Option<String>,
    /// The connector that holds the slot, by its name among `instances`.
    #[schema(required = true)]
    pub holder: Option<String>,
    /// How often a row may come; null: no connector lives that would tell.
    #[schema(value_type = Option<shapes::ConnectorDelivery>, required = true)]
    pub delivery: Option<String>,
    /// What happens when too much log waits; null: no connector has ever said.
    #[schema(value_type = Option<shapes::OnWalLimit>, required = true)]
    pub on_wal_limit: Option<String>,
    /// The connectors that live.
    pub instances: Vec<ConnectorInstance>,
    /// The log that waits; null: the slot is not there.
    #[schema(required = true)]
    pub log: Option<ConnectorLog>,
}

/// A process that is a connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorInstance {
    /// Its host, process and something random.
    pub name: String,
    /// What it does.
    #[schema(value_type = shapes::ConnectorInstanceState)]
    pub state: String,
    /// What it waits for.
    #[schema(required = true)]
    pub waits_for: Option<String>,
    /// How often a row may come.
    #[schema(value_type = shapes::ConnectorDelivery)]
    pub delivery: String,
    /// When it came into this state.
    pub since: DateTime<Utc>,
}

/// The database's log as far as it waits to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorLog {
    /// The slot's `wal_status`.
    #[schema(value_type = shapes::WalStatus)]
    pub wal_status: String,
    /// Bytes written since what is known to be published.
    pub lag_bytes: u64,
    /// Age of the oldest that is not known to be published, seconds, to about ten; 0: a few at most; null: no connector
    /// lives that would tell.
    #[schema(required = true)]
    pub lag_s: Option<u64>,
    /// Bytes that the server keeps.
    pub retained_bytes: u64,
    /// Bytes that it may keep, the smaller of its own bound and the connector's; null: any amount.
    #[schema(required = true)]
    pub retained_bytes_max: Option<u64>,
    /// Which share of that it keeps; null: it may keep any amount.
    #[schema(required = true)]
    pub wal_share: Option<f64>,
    /// `safe_wal_size`: bytes that may still be written before the server lets the slot go; null: any amount.
    #[schema(required = true)]
    pub safe_wal_bytes: Option<i64>,
    /// Whether standbys of the server get a copy of the slot; null: the server is older than that (17).
    #[schema(required = true)]
    pub is_failover: Option<bool>,
    /// The server's process that streams from the slot, whoever is at the other end.
    #[schema(required = true)]
    pub server_pid: Option<i32>,
}

/// `GET /v1/connectors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorList {
    /// By slot; as a rule there is one.
    pub connectors: Vec<Connector>,
}
