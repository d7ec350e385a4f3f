//! What this connector says of itself in the database, and what operators ask of it there. It decides nothing: whoever
//! holds the slot obeys.

use std::time::Duration;

use metrics::gauge;
use posthaste_runtime::metric;
use posthaste_store::{Asked, ConnectorSession, Store};
use posthaste_types::limits::CONNECTOR_REASON_CHARS_MAX;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::Error;
use crate::health::State;
use crate::options::Delivery;
use crate::watch::SlotStatus;

/// Between two looks while nothing happens.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while the state changes.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longer than a look takes where the database answers at all.
const LOOK_WAIT: Duration = Duration::from_secs(6);
/// Between two looks whether a database has our schema by now.
const SCHEMA_INTERVAL: Duration = Duration::from_secs(30);
/// Lag that is worth telling, seconds.
const BEHIND_S_MIN: u64 = 5;

/// One connector's place among those of its slot.
pub(crate) struct Report {
    store: Store,
    slot: String,
    instance: String,
    delivery: Delivery,
    state: watch::Receiver<State>,
    seen: watch::Receiver<Option<SlotStatus>>,
    asked: watch::Sender<Asked>,
    /// Of one look at a time.
    session: Mutex<Session>,
}

/// How the database is spoken to.
#[derive(Default)]
enum Session {
    /// Not yet, or no longer.
    #[default]
    Away,
    Held(ConnectorSession),
    /// It holds somebody else's outbox, and no schema of ours, over which something could be asked.
    Foreign(Instant),
}

impl Report {
    pub(crate) fn new(
        store: Store,
        slot: &str,
        delivery: Delivery,
        state: watch::Receiver<State>,
        seen: watch::Receiver<Option<SlotStatus>>,
    ) -> Self {
        Self {
            store,
            slot: slot.to_owned(),
            instance: instance(),
            delivery,
            state,
            seen,
            asked: watch::Sender::default(),
            session: Mutex::default(),
        }
    }

    /// What was last asked.
    pub(crate) fn asked(&self) -> watch::Receiver<Asked> {
        self.asked.subscribe()
    }

    /// Looks until it is dropped. While the database does not answer, what was asked last holds.
    pub(crate) async fn run(&self) {
        let mut state = self.state.clone();
        show(self.asked.borrow().is_paused);
        loop {
            state.mark_unchanged();
            if let Err(error) = self.look().await {
                // The holder of the slot says what is wrong with the database.
                tracing::debug!(
                    error = error.chain(),
                    "what is asked of the connector cannot be read"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = state.changed() => tokio::time::sleep(INTERVAL_MIN).await,
            }
        }
    }

    /// Says how the connector is and learns what is asked of it.
    ///
    /// # Errors
    /// The database does not answer; what was asked last holds.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let look = tokio::time::timeout(LOOK_WAIT, self.exchange()).await;
        let asked = look.map_err(|_| Error::LookTimedOut)??;
        let before = self.asked.borrow().clone();
        if asked == before {
            return Ok(());
        }
        self.announce(&asked, before.is_paused);
        self.asked.send_replace(asked);
        Ok(())
    }

    async fn exchange(&self) -> Result<Asked, Error> {
        let mut held = self.session.lock().await;
        // Taken out, so that one that fails or is given up is not used again.
        let session = match std::mem::take(&mut *held) {
            Session::Held(session) => Some(session),
            Session::Foreign(at) if at.elapsed() < SCHEMA_INTERVAL => {
                *held = Session::Foreign(at);
                return Ok(Asked::default());
            }
            Session::Away | Session::Foreign(_) => self.enter().await?,
        };
        let Some(session) = session else {
            *held = Session::Foreign(Instant::now());
            return Ok(Asked::default());
        };
        let asked = self.tell(&session).await?;
        *held = Session::Held(session);
        Ok(asked)
    }

    async fn enter(&self) -> Result<Option<ConnectorSession>, Error> {
        let delivery = self.delivery.as_str();
        let session = self.store.connector_session(&self.slot, &self.instance, delivery);
        Ok(session.await?)
    }

    async fn tell(&self, session: &ConnectorSession) -> Result<Asked, Error> {
        let state = self.state.borrow().clone();
        let (state, waits_for) = state.told();
        let waits_for: Option<String> =
            waits_for.map(|what| what.chars().take(CONNECTOR_REASON_CHARS_MAX).collect());
        let lag_s = self.seen.borrow().as_ref().map(|slot| slot.lag_s);
        let behind_s = lag_s.filter(|lag_s| *lag_s >= BEHIND_S_MIN);
        Ok(session.tell(state, waits_for.as_deref(), behind_s).await?)
    }

    /// Tells the log, once for each change.
    fn announce(&self, asked: &Asked, was_paused: bool) {
        show(asked.is_paused);
        let by = asked.changed_by.as_deref().unwrap_or("nobody");
        let slot = &self.slot;
        if asked.is_paused {
            tracing::warn!(
                slot,
                paused.by = by,
                "the connector is paused: nothing is published and the server keeps its log until it is resumed \
                 (`posthaste connector resume`)"
            );
        } else if was_paused {
            tracing::warn!(slot, resumed.by = by, "the connector is resumed");
        }
    }
}

fn show(is_paused: bool) {
    gauge!(metric::CONNECTOR_PAUSED).set(if is_paused { 1.0 } else { 0.0 });
}

/// A name that no other connector has, by which a person finds the process.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    format!("{host}:{}:{:08x}", std::process::id(), rand::random::<u32>())
}
