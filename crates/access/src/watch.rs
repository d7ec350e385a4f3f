//! Keeps the directory up to date: asks the record for its revision, and for what is past the one that it knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Clock, Stopper, chain};
use posthaste_store::{Error, Store};
use posthaste_types::limits::{ACCESS_POLL_MS, ACCESS_STALE_S_MAX, OPEN_TASKS_POLL_MS};
use tokio::sync::Mutex;

use crate::directory::{Directory, dead_since};
use crate::quotas::Quotas;

/// The directory and how old it is.
pub(crate) struct Watch {
    store: Store,
    clock: Arc<dyn Clock>,
    quotas: Arc<Quotas>,
    /// Held while reading, so that no older state takes a newer one's place.
    turn: Mutex<()>,
    present: ArcSwap<Directory>,
    /// The record was as `present` says at this time, microseconds since 1970.
    read_at: AtomicI64,
}

impl Watch {
    /// One that knows nobody yet.
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, quotas: Arc<Quotas>) -> Self {
        Self {
            store,
            clock,
            quotas,
            turn: Mutex::default(),
            present: ArcSwap::default(),
            read_at: AtomicI64::new(i64::MIN),
        }
    }

    /// The directory, however old.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.present.load_full()
    }

    /// The directory, unless it is too old to say whom to let in.
    pub(crate) fn fresh_directory(&self, now: DateTime<Utc>) -> Option<Guard<Arc<Directory>>> {
        const STALE: TimeDelta = TimeDelta::seconds(ACCESS_STALE_S_MAX.cast_signed());
        let read_at = DateTime::from_timestamp_micros(self.read_at.load(Ordering::Relaxed))?;
        (now.signed_duration_since(read_at) <= STALE).then(|| self.present.load())
    }

    /// Reads what has changed, if something has.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        let known = self.present.load().revision;
        if known < 0 || self.store.access_revision().await? != known {
            let changes = self.store.access_changes(known, dead_since(now)).await?;
            self.quotas.change(&changes.tenants);
            let changed = self.directory().changed(changes, &self.quotas, now);
            changed.end_dead(now);
            self.present.store(Arc::new(changed));
        }
        self.read_at.store(now.timestamp_micros(), Ordering::Relaxed);
        Ok(())
    }

    /// Refreshes until stopped. A failure is told once and tried again at the usual pace: the sooner a revocation is
    /// seen the better, and one look costs little.
    pub(crate) async fn run(&self, stopper: &Stopper) {
        let mut is_away = false;
        loop {
            match stopper.unless_stopped(self.refresh()).await {
                None => return,
                Some(Ok(())) => is_away = false,
                Some(Err(error)) => {
                    if !is_away {
                        tracing::warn!(
                            error = %chain(&error),
                            "keys cannot be read; those known are taken for a while"
                        );
                    }
                    is_away = true;
                }
            }
            if !pause(ACCESS_POLL_MS, stopper).await {
                return;
            }
        }
    }

    /// Ends what is open with keys that expire, until stopped. Apart from the rest, since it must not wait for a
    /// database that hangs.
    pub(crate) async fn run_expiry(&self, stopper: &Stopper) {
        let (mut revision, mut next) = (-1, None);
        while pause(ACCESS_POLL_MS, stopper).await {
            let directory = self.directory();
            let now = self.clock.now();
            if directory.revision != revision || next.is_some_and(|at| at <= now) {
                revision = directory.revision;
                next = directory.end_dead(now);
            }
        }
    }

    /// Tells quotas how many tasks are open, until stopped; asks only when a tenant has that limit.
    pub(crate) async fn run_open_tasks(&self, stopper: &Stopper) {
        while pause(OPEN_TASKS_POLL_MS, stopper).await {
            if !self.quotas.bound_open_tasks() {
                continue;
            }
            match self.store.open_tasks().await {
                Ok(counts) => self.quotas.set_open_tasks(counts),
                // The count of a second ago is the best there is; that the database is away is told elsewhere.
                Err(error) => tracing::debug!(error = %chain(&error), "open tasks cannot be counted"),
            }
        }
    }
}

/// Waits; `false` when stopped.
async fn pause(ms: u64, stopper: &Stopper) -> bool {
    let pause = tokio::time::sleep(Duration::from_millis(ms));
    stopper.unless_stopped(pause).await.is_some()
}
