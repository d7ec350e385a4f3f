//! Keeps the directory up to date: asks the record for its revision, and for what is past the one that it knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use posthaste_runtime::{Clock, Stopper, chain};
use posthaste_store::Store;
use posthaste_types::limits::{
    ACCESS_LOOK_MS_MAX, ACCESS_POLL_MS, ACCESS_READ_MS_MAX, ACCESS_STALE_S_MAX, OPEN_TASKS_POLL_MS,
};
use tokio::sync::Mutex;

use crate::directory::{Directory, UNREAD};
use crate::quotas::Quotas;

/// Why the record was not looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// The database refused or is away.
    #[error(transparent)]
    Store(#[from] posthaste_store::Error),
    /// It did not answer in time.
    #[error("the database did not answer within {0} ms")]
    Late(u64),
}

/// The directory and how old it is.
pub(crate) struct Watch {
    store: Store,
    /// One connection that nobody else uses: a revocation must not wait behind slow reads.
    own: Store,
    clock: Arc<dyn Clock>,
    quotas: Arc<Quotas>,
    /// Held while reading, so that no older state takes a newer one's place.
    turn: Mutex<()>,
    present: ArcSwap<Directory>,
    /// What `read_ms` is counted from. No wall clock: setting one forward or back must shut nobody out or in.
    epoch: Instant,
    /// The record was as `present` says then; [`NEVER`] before anything was read.
    read_ms: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// Whether what was read at one time says at another whom to let in.
fn is_fresh(read_ms: u64, now_ms: u64) -> bool {
    read_ms != NEVER && now_ms.saturating_sub(read_ms) <= 1000 * ACCESS_STALE_S_MAX
}

impl Watch {
    /// One that knows nobody yet.
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, quotas: Arc<Quotas>) -> Self {
        Self {
            own: store.apart(1),
            store,
            clock,
            quotas,
            turn: Mutex::default(),
            present: ArcSwap::default(),
            epoch: Instant::now(),
            read_ms: AtomicU64::new(NEVER),
        }
    }

    /// The directory, however old.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.present.load_full()
    }

    /// The directory, unless it is too old to say whom to let in.
    pub(crate) fn fresh_directory(&self) -> Option<Guard<Arc<Directory>>> {
        is_fresh(self.read_ms.load(Ordering::Relaxed), self.now_ms()).then(|| self.present.load())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// Reads what has changed, if something has.
    ///
    /// # Errors
    /// When the record cannot be read, or not in time.
    pub(crate) async fn refresh(&self) -> Result<(), LookError> {
        let _turn = self.turn.lock().await;
        let now_ms = self.now_ms();
        let known = self.present.load().revision;
        if known == UNREAD {
            self.read(UNREAD).await?;
        } else {
            let present = self
                .bounded(ACCESS_LOOK_MS_MAX, self.own.access_revision())
                .await?;
            if present < known {
                tracing::warn!("the record is older than what was read of it before, so keys are read anew");
                self.read(UNREAD).await?;
            } else if present > known {
                self.read(known).await?;
            }
        }
        self.read_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Puts what is past a revision in force: everything, when that is [`UNREAD`].
    async fn read(&self, after: i64) -> Result<(), LookError> {
        let now = self.clock.now();
        let changes = self
            .bounded(ACCESS_READ_MS_MAX, self.own.access_changes(after, now))
            .await?;
        let before = self.directory();
        let next = if after == UNREAD {
            self.quotas.replace(&changes.tenants);
            before.replaced(changes, &self.quotas, now)
        } else {
            self.quotas.change(&changes.tenants);
            before.changed(changes, &self.quotas, now)
        };
        let next = Arc::new(next);
        // First: whoever comes back because something ended finds that the key is refused.
        self.present.store(Arc::clone(&next));
        next.end_dead(now);
        before.end_missing(&next);
        Ok(())
    }

    async fn bounded<T>(
        &self,
        ms_max: u64,
        asking: impl Future<Output = Result<T, posthaste_store::Error>>,
    ) -> Result<T, LookError> {
        let Ok(answer) = tokio::time::timeout(Duration::from_millis(ms_max), asking).await else {
            // The next look must not wait for this one.
            self.own.close_idle();
            return Err(LookError::Late(ms_max));
        };
        Ok(answer?)
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
        let (mut revision, mut next) = (UNREAD, None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_fresh_up_to_the_bound_and_never_before() {
        const BOUND_MS: u64 = 1000 * ACCESS_STALE_S_MAX;
        assert!(!is_fresh(NEVER, 0) && !is_fresh(NEVER, NEVER - 1));
        assert!(is_fresh(5, 5) && is_fresh(5, 5 + BOUND_MS));
        assert!(!is_fresh(5, 6 + BOUND_MS));
    }
}
