//! The loop that makes partitions ahead of time and drops what has been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use posthaste_runtime::{Backoff, Clock, Stopper, chain};
use posthaste_store::{Error, Store};

use crate::Options;

pub(crate) struct Maintenance {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
}

impl Maintenance {
    /// Keeps the tables in order until stopped: at once, and then every so often.
    pub(crate) async fn run(self, stopper: &Stopper) {
        let every = Duration::from_secs(self.options.maintenance_s);
        let mut backoff = Backoff::dependency();
        while !stopper.is_stopped() {
            match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    stopper.unless_stopped(tokio::time::sleep(every)).await;
                }
                Err(error) => {
                    if backoff.failure_count() == 0 {
                        tracing::warn!(
                            error = %chain(&error),
                            "maintenance of the tables waits for the database"
                        );
                    }
                    backoff.wait(stopper).await;
                }
            }
        }
    }

    async fn round(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let Options {
            days_ahead,
            retention_days,
            idempotency_hours,
            ..
        } = self.options;
        let made = self.store.ensure_partitions(now, days_ahead).await?;
        self.store.fold_open_tasks().await?;
        let mut dropped = self.store.drop_published(now).await?;
        dropped.extend(
            self.store
                .forget_idempotency_keys(now - TimeDelta::hours(idempotency_hours.into()))
                .await?,
        );
        dropped.extend(
            self.store
                .drop_expired(now, TimeDelta::days(retention_days.into()))
                .await?,
        );
        if made > 0 || !dropped.is_empty() {
            let dropped = dropped.join(" ");
            tracing::info!(
                partitions.made = made,
                partitions.dropped = dropped,
                "tables kept in order"
            );
        }
        Ok(())
    }
}
