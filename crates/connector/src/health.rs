//! What the connector does now, for those who ask the process.

use tokio::sync::watch;

/// What the connector does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It holds the slot.
    Streaming,
    /// It was asked to stand still.
    Paused,
    /// Another connector holds the slot.
    Standby,
    /// Something keeps it from the slot or from the broker.
    Waiting(String),
}

impl State {
    /// Its word for operators, and what it waits for.
    pub(crate) fn told(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Streaming => (STREAMING, None),
            Self::Paused => (PAUSED, None),
            Self::Standby => (STANDBY, None),
            Self::Waiting(what) => (WAITING, Some(what)),
        }
    }
}

pub(crate) const STREAMING: &str = "streaming";
pub(crate) const PAUSED: &str = "paused";
pub(crate) const STANDBY: &str = "standby";
pub(crate) const WAITING: &str = "waiting";

/// Tells whether the connector is well.
#[derive(Debug, Clone)]
pub struct Health(pub(crate) watch::Receiver<State>);

impl Health {
    /// `Ok`: it streams, or stands still as it was asked to, or stands by for another that does.
    ///
    /// # Errors
    /// What it waits for.
    pub fn check(&self) -> Result<(), String> {
        match &*self.0.borrow() {
            State::Streaming | State::Paused | State::Standby => Ok(()),
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
