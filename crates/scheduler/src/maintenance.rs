//! The loop that makes partitions ahead of time and drops, or deletes, what has been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Backoff, Clock, Stopper, chain};
use posthaste_store::{Error, Store};
use posthaste_types::limits::{AUDIT_DAYS, DEAD_KEY_DAYS};

use crate::Options;

/// Time between two looks at the outbox. Together with the length of its partitions and the time until they are closed it
/// bounds what it holds beyond what is not published.
const OUTBOX_EVERY: Duration = Duration::from_secs(30);

/// Dead keys are kept for so many days: well past the time for which processes remember them.
const DEAD_KEY_KEPT_DAYS: i64 = 3 * DEAD_KEY_DAYS;

/// What is kept in order at one pace.
#[derive(Debug, Clone, Copy)]
enum Duty {
    Outbox,
    Rest,
}

pub(crate) struct Maintenance {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
}

impl Maintenance {
    /// Keeps the tables in order until stopped: at once, and then every so often.
    pub(crate) async fn run(self, stopper: &Stopper) {
        let every = Duration::from_secs(self.options.maintenance_s);
        tokio::join!(
            self.keep(Duty::Outbox, OUTBOX_EVERY.min(every), stopper),
            self.keep(Duty::Rest, every, stopper),
        );
    }

    /// One round after the other until stopped; while the database is away, further apart.
    async fn keep(&self, duty: Duty, every: Duration, stopper: &Stopper) {
        let mut backoff = Backoff::dependency();
        let mut missing = Vec::new();
        while !stopper.is_stopped() {
            let round = match duty {
                Duty::Outbox => self.outbox(&mut missing).await,
                Duty::Rest => self.round().await,
            };
            match round {
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

    /// The outbox alone: it grows fastest, and is empty again soonest. `missing` are the slots that were missing before.
    async fn outbox(&self, missing: &mut Vec<String>) -> Result<(), Error> {
        let now = self.clock.now();
        let made = self.store.ensure_outbox(now, self.options.days_ahead).await?;
        let dropped = self.store.drop_published(now).await?;
        if made > 0 || !dropped.is_empty() {
            let dropped = dropped.join(" ");
            tracing::debug!(
                partitions.made = made,
                partitions.dropped = dropped,
                "outbox kept in order"
            );
        }
        let was_missing = std::mem::replace(missing, self.store.missing_slots().await?);
        if !missing.is_empty() && *missing != was_missing {
            tracing::warn!(
                slots = missing.join(" "),
                "no part of the outbox is dropped while a slot is missing that a connector has read: its connector makes it \
                 anew; one that no connector is to read any more is forgotten by `delete from posthaste.wal_guards where slot \
                 = '…'`"
            );
        }
        Ok(())
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
        let mut dropped = self
            .store
            .forget_idempotency_keys(now - TimeDelta::hours(idempotency_hours.into()))
            .await?;
        dropped.extend(
            self.store
                .drop_expired(now, TimeDelta::days(retention_days.into()))
                .await?,
        );
        self.prune_access(now).await?;
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

    async fn prune_access(&self, now: DateTime<Utc>) -> Result<(), Error> {
        let keys = self
            .store
            .prune_keys(now - TimeDelta::days(DEAD_KEY_KEPT_DAYS))
            .await?;
        let entries = self.store.prune_audit(now - TimeDelta::days(AUDIT_DAYS)).await?;
        if keys > 0 || entries > 0 {
            tracing::info!(
                keys.deleted = keys,
                audit.deleted = entries,
                "what is long past of access was forgotten"
            );
        }
        Ok(())
    }
}
