//! What others may ask of a running connector: how it is, and to stand still.

use serde::Serialize;
use tokio::sync::watch;

use crate::options::Delivery;
use crate::watch::SlotStatus;

/// What the connector does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Streaming,
    /// Another connector holds the slot.
    Standby,
    Waiting(String),
}

/// Tells whether the connector is well.
#[derive(Debug, Clone)]
pub struct Health(pub(crate) watch::Receiver<State>);

impl Health {
    /// `Ok`: it streams, or stands by for another that does.
    ///
    /// # Errors
    /// What it waits for.
    pub fn check(&self) -> Result<(), String> {
        match &*self.0.borrow() {
            State::Streaming | State::Standby => Ok(()),
            State::Waiting(what) => Err(what.clone()),
        }
    }

    /// Whether this connector holds the slot.
    pub fn is_streaming(&self) -> bool {
        *self.0.borrow() == State::Streaming
    }

    /// Waits until this connector holds the slot; `false`: it has ended.
    pub async fn streaming(&mut self) -> bool {
        self.0.wait_for(|state| *state == State::Streaming).await.is_ok()
    }
}

/// How the connector is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// `streaming`, `paused` (it holds the slot and reads nothing), `standby` (another connector holds the slot) or
    /// `waiting`.
    pub state: &'static str,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// Whether it is to stand still, now or once it holds the slot.
    pub is_paused: bool,
    /// The replication slot's name.
    pub slot: String,
    /// How often a row may come.
    pub delivery: Delivery,
    /// The slot as it was last seen; `None`: it is not there, or has not been looked at.
    pub slot_status: Option<SlotStatus>,
}

/// A cheap handle on a running connector.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) slot: String,
    pub(crate) delivery: Delivery,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) seen: watch::Receiver<Option<SlotStatus>>,
    pub(crate) paused: watch::Sender<bool>,
}

impl Control {
    /// How the connector is now; the slot as it was within the last second or so.
    pub fn status(&self) -> Status {
        let is_paused = *self.paused.borrow();
        let (state, waits_for) = match &*self.state.borrow() {
            State::Streaming if is_paused => ("paused", None),
            State::Streaming => ("streaming", None),
            State::Standby => ("standby", None),
            State::Waiting(what) => ("waiting", Some(what.clone())),
        };
        Status {
            state,
            waits_for,
            is_paused,
            slot: self.slot.clone(),
            delivery: self.delivery,
            slot_status: self.seen.borrow().clone(),
        }
    }

    /// Stands still: what is on its way ends, and nothing more is read until [`Self::resume`]. The connector keeps the
    /// slot, so that no other one takes it, and the server keeps its log meanwhile. Ends with the process.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }
}
