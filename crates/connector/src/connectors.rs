//! Looking at connectors and pausing them: for the routes and for `posthaste connector` alike. All of it is in the
//! database, so it works from any process, and whether a connector runs or not.

use std::sync::Arc;

use posthaste_api::{Connector, ConnectorInstance, ConnectorLog, Problem};
use posthaste_runtime::Clock;
use posthaste_store::{Act, ConnectorRecord, Error, SlotState, Store};
use posthaste_types::ErrorCode;
use serde_json::json;

use crate::health::{PAUSED, STANDBY, STREAMING, WAITING};
use crate::options::OnWalLimit;

/// The connectors of the record. Every problem tells what to do about it.
#[derive(Clone)]
pub struct Connectors {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Connectors {
    /// Those of a record.
    pub const fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// All of them, by slot.
    ///
    /// # Errors
    /// 503 when the record cannot be read.
    pub async fn list(&self) -> Result<Vec<Connector>, Problem> {
        let records = self.store.connectors().await.map_err(unavailable)?;
        Ok(records.into_iter().map(view).collect())
    }

    /// The one of a slot.
    ///
    /// # Errors
    /// 404 when there is none, 503 when the record cannot be read.
    pub async fn one(&self, slot: &str) -> Result<Connector, Problem> {
        let found = self.store.connector(slot).await.map_err(unavailable)?;
        found.map(view).ok_or_else(|| {
            let detail = "no connector has ever read this slot; `posthaste migrate` makes it known";
            Problem::new(ErrorCode::NotFound, detail)
        })
    }

    /// Lets the connectors of a slot stand still until they are resumed. What is on its way ends, and the slot is kept.
    /// `tenant` and `actor` are for the audit log, which tells of a change alone.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub async fn pause(&self, tenant: &str, actor: String, slot: &str) -> Result<Connector, Problem> {
        self.set_paused(true, self.act(tenant, actor, "connector.pause"), slot)
            .await
    }

    /// Lets the connector of a slot go on.
    ///
    /// # Errors
    /// As [`Self::one`].
    pub async fn resume(&self, tenant: &str, actor: String, slot: &str) -> Result<Connector, Problem> {
        self.set_paused(false, self.act(tenant, actor, "connector.resume"), slot)
            .await
    }

    fn act<'act>(&self, tenant: &'act str, actor: String, action: &'static str) -> Act<'act> {
        Act {
            tenant,
            actor,
            action,
            details: json!({}),
            at: self.clock.now(),
        }
    }

    async fn set_paused(&self, is_paused: bool, act: Act<'_>, slot: &str) -> Result<Connector, Problem> {
        let set = self.store.set_connector_paused(slot, is_paused, &act).await;
        set.map_err(unavailable)?;
        self.one(slot).await
    }
}

/// A connector as operators see it.
fn view(record: ConnectorRecord) -> Connector {
    let said = |state: &str| {
        let mut instances = record.instances.iter();
        instances.find(|instance| instance.state == state)
    };
    let holder = said(STREAMING);
    let speaker = holder
        .or_else(|| said(PAUSED))
        .or_else(|| said(WAITING))
        .or_else(|| said(STANDBY));
    let lag_s = speaker.map(|_| {
        let behind = record.instances.iter().filter_map(|instance| instance.behind_s);
        behind.max().unwrap_or(0)
    });
    let asked = &record.asked;
    Connector {
        state: speaker.map_or("away", |instance| &instance.state).to_owned(),
        is_paused: asked.is_paused,
        paused_at: asked.changed_at.filter(|_| asked.is_paused),
        paused_by: asked.changed_by.clone().filter(|_| asked.is_paused),
        waits_for: speaker.and_then(|instance| instance.waits_for.clone()),
        holder: holder.map(|instance| instance.name.clone()),
        delivery: speaker.map(|instance| instance.delivery.clone()),
        on_wal_limit: record.is_closing.map(|is_closing| {
            let policy = if is_closing {
                OnWalLimit::Refuse
            } else {
                OnWalLimit::Release
            };
            policy.as_str().to_owned()
        }),
        log: record
            .slot_state
            .as_ref()
            .map(|slot| log_view(slot, record.bytes_max, lag_s)),
        instances: record
            .instances
            .into_iter()
            .map(|instance| ConnectorInstance {
                name: instance.name,
                state: instance.state,
                waits_for: instance.waits_for,
                delivery: instance.delivery,
                since: instance.since,
            })
            .collect(),
        slot: record.slot,
    }
}

fn log_view(slot: &SlotState, bytes_max: Option<u64>, lag_s: Option<u64>) -> ConnectorLog {
    let by_server = slot
        .safe_wal_bytes
        .map(|safe| slot.kept_bytes().saturating_add_signed(safe.max(0)));
    ConnectorLog {
        lag_bytes: slot.lag_bytes(),
        lag_s,
        retained_bytes: slot.kept_bytes(),
        retained_bytes_max: by_server.into_iter().chain(bytes_max).min(),
        wal_share: slot.wal_share(bytes_max),
        safe_wal_bytes: slot.safe_wal_bytes,
        is_failover: slot.is_failover,
        server_pid: slot.active_pid,
        wal_status: slot.wal_status.clone(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_err`")]
fn unavailable(error: Error) -> Problem {
    let (code, detail) = error.refusal();
    Problem::new(code, detail)
}

#[cfg(test)]
mod tests;
