//! Orderly shutdown: one signal that every loop can see, and nothing else.

use tokio_util::sync::CancellationToken;

/// A cheap handle on the process's (or a part's) wish to stop. A child stops with its parent, not the other way.
#[derive(Debug, Clone, Default)]
pub struct Stopper(CancellationToken);

impl Stopper {
    /// A fresh one that nobody has stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that stops with this one or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Asks everyone who holds this (or a child of it) to stop.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether stopping was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when stopping is asked for.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// Runs `future` unless stopping is asked for first; `None` means it was, and `future` was dropped.
    pub async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }
}
