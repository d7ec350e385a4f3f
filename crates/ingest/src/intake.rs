//! Whether tasks are taken in at all: not while so much of the database's log waits to be published that its disk would
//! fill. How much that is says the connector's configuration; here it is only asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use posthaste_api::Problem;
use posthaste_runtime::{Stopper, chain};
use posthaste_store::Store;
use posthaste_types::ErrorCode;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// When a caller is to come again, seconds: log is published, or somebody has looked, by then.
const RETRY_AFTER_S: u64 = 10;

/// A cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Intake {
    is_closed: Arc<AtomicBool>,
}

impl Intake {
    /// Looks once a second until `stopper` stops. While the database is away the last answer holds: nothing can be
    /// stored then anyway.
    pub(crate) fn start(store: Store, stopper: Stopper) -> Self {
        let intake = Self::default();
        let watched = intake.clone();
        tokio::spawn(async move {
            while stopper
                .unless_stopped(tokio::time::sleep(INTERVAL))
                .await
                .is_some()
            {
                match store.is_intake_closed().await {
                    Ok(is_closed) => watched.set(is_closed),
                    Err(error) => {
                        tracing::debug!(error = %chain(&error), "whether tasks may be taken in is not known");
                    }
                }
            }
        });
        intake
    }

    fn set(&self, is_closed: bool) {
        if self.is_closed.swap(is_closed, Ordering::Relaxed) == is_closed {
            return;
        }
        if is_closed {
            tracing::error!(
                "no tasks are taken in: too much log waits to be published; see what holds the connector up"
            );
        } else {
            tracing::info!("tasks are taken in again");
        }
    }

    /// 503 while tasks are not taken in.
    ///
    /// # Errors
    /// 503 `unavailable`.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if !self.is_closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let detail =
            "no tasks are taken in now: those before them cannot be passed on; nothing was stored, try again";
        Err(Problem::new(ErrorCode::Unavailable, detail).with_retry_after(RETRY_AFTER_S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_refused_while_it_is_closed_and_taken_after() {
        let intake = Intake::default();
        assert!(intake.check().is_ok());
        intake.set(true);
        assert_eq!(intake.check().unwrap_err().status, 503);
        intake.set(false);
        assert!(intake.check().is_ok());
    }
}
