//! A scheduler's parts put together.

use std::sync::Arc;
use std::time::Duration;

use posthaste_runtime::{Clock, Stopper};
use posthaste_store::Store;

use crate::maintenance::Maintenance;
use crate::timers::Timers;
use crate::{Error, Options};

/// What a scheduler needs from its process.
pub struct Parts {
    /// The record.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A scheduler.
pub struct Service {
    timers: Timers,
    maintenance: Maintenance,
    stopper: Stopper,
}

impl Service {
    /// Puts the parts together; connects to nothing.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    pub fn start(options: Options, parts: Parts, stopper: Stopper) -> Result<Self, Error> {
        options.check()?;
        let Parts { store, clock } = parts;
        let timers = Timers::new(
            store.clone(),
            Arc::clone(&clock),
            Duration::from_millis(options.poll_ms),
        );
        Ok(Self {
            timers,
            maintenance: Maintenance {
                store,
                clock,
                options,
            },
            stopper,
        })
    }

    /// Works until stopped. What is in progress then is one transaction, which ends or never was.
    pub async fn run(self) {
        tokio::join!(
            self.timers.run(&self.stopper),
            self.maintenance.run(&self.stopper)
        );
    }
}
