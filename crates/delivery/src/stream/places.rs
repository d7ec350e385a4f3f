//! The places for readers of old events: a bounded number for all tenants and for each; who finds none waits in line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use posthaste_types::limits::{CATCH_UP_READER_COUNT_MAX, CATCH_UP_TENANT_READER_COUNT_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A cheap handle on the places.
#[derive(Clone)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    /// The lines of tenants; one is gone when nobody stands in it or has a place through it.
    by_tenant: Arc<Mutex<HashMap<Box<str>, Weak<Semaphore>>>>,
}

/// One of the places; dropping it lets the next reader in.
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// As many as the limits allow.
    pub(crate) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(CATCH_UP_READER_COUNT_MAX)),
            by_tenant: Arc::default(),
        }
    }

    /// Waits in line for a place: first among the tenant's own readers, so that no more of them than may have places
    /// stand before others'.
    pub(crate) fn take(&self, tenant: &str) -> impl Future<Output = Place> + Send + use<> {
        let (own, all) = (self.line(tenant), Arc::clone(&self.all));
        async move {
            Place {
                _own: permit(own).await,
                _of_all: permit(all).await,
            }
        }
    }

    fn line(&self, tenant: &str) -> Arc<Semaphore> {
        let mut lines = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(tenant).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Semaphore::new(CATCH_UP_TENANT_READER_COUNT_MAX));
        lines.insert(tenant.into(), Arc::downgrade(&line));
        line
    }
}

async fn permit(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_tenants_readers_wait_for_each_other_and_keep_no_other_tenant_waiting() {
        let places = Places::new();
        let mut slow: Vec<Place> = (0..CATCH_UP_TENANT_READER_COUNT_MAX)
            .map(|_| places.take("slow").now_or_never().unwrap())
            .collect();
        let mut waiting: Vec<_> = (0..CATCH_UP_READER_COUNT_MAX)
            .map(|_| Box::pin(places.take("slow")))
            .collect();
        assert!(waiting.iter_mut().all(|place| place.now_or_never().is_none()));
        let other = places.take("other").now_or_never();
        assert!(other.is_some(), "there are places left for others");
        drop(slow.pop());
        let let_in: Vec<Option<Place>> = waiting.iter_mut().map(|place| place.now_or_never()).collect();
        assert!(let_in[0].is_some(), "the first in line");
        assert!(let_in[1..].iter().all(Option::is_none));
    }

    #[test]
    fn tenants_together_have_no_more_places_than_there_are_and_are_forgotten_once_gone() {
        let places = Places::new();
        let held: Vec<Place> = (0..CATCH_UP_READER_COUNT_MAX)
            .map(|index| places.take(&format!("tenant-{index}")).now_or_never().unwrap())
            .collect();
        assert!(places.take("late").now_or_never().is_none());
        drop(held);
        drop(places.take("last").now_or_never().unwrap());
        assert_eq!(places.by_tenant.lock().unwrap().len(), 1);
    }
}
