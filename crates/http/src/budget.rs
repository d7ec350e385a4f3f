//! A number of bytes that several share, and how many of them are held. Who holds them, and in which
//! words one is refused who gets none, is not known here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthaste_api::Problem;
use posthaste_types::ErrorCode;

use crate::rate::too_many;

/// When to come again: some of what is held is given back by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// So many bytes, and how many of them are held.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Whether there were so many; then they are taken.
    pub(crate) fn take(&self, count: usize) -> bool {
        // Relaxed: the number alone is shared, and nothing else is read because of it.
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(count).filter(|held| *held <= self.bytes_max)
            })
            .is_ok()
    }

    pub(crate) fn give_back(&self, count: usize) {
        self.held.fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes so many however few there are: for what cannot be refused any more.
    pub(crate) fn take_anyway(&self, count: usize) {
        self.held.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether there are none left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.bytes_max
    }
}

/// Whose bytes there are too few of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Short {
    Tenant,
    Process,
}

impl Short {
    /// 429 or 503, with when to come again.
    pub(crate) fn problem(self, detail: impl Into<String>) -> Problem {
        match self {
            Self::Tenant => too_many(detail, RETRY_AFTER),
            Self::Process => {
                Problem::new(ErrorCode::Unavailable, detail).with_retry_after(RETRY_AFTER.as_secs())
            }
        }
    }
}

/// Takes from a tenant's share, when there is a tenant, and from what the process has; or from neither.
///
/// # Errors
/// Where there were not so many.
pub(crate) fn take_both(share: Option<&Budget>, process: &Budget, count: usize) -> Result<(), Short> {
    if share.is_some_and(|share| !share.take(count)) {
        return Err(Short::Tenant);
    }
    if !process.take(count) {
        if let Some(share) = share {
            share.give_back(count);
        }
        return Err(Short::Process);
    }
    Ok(())
}
