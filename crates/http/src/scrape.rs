//! The page of metrics, which is served to everybody at all times, and so must not fill the memory where nobody reads it:
//! while too many are on their way, those who ask within a second share one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use posthaste_types::limits::METRICS_UNTAKEN_BYTES_MAX;
use tokio::time::Instant;

use crate::budget::Budget;

/// For how long a page may be shared.
const SHARED: Duration = Duration::from_secs(1);

/// Makes pages and counts those that somebody holds.
pub(crate) struct Scrape<F> {
    render: F,
    pages: Arc<Budget>,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl<F: Fn() -> String> Scrape<F> {
    pub(crate) fn new(render: F) -> Self {
        Self {
            render,
            pages: Arc::new(Budget::new(METRICS_UNTAKEN_BYTES_MAX)),
            last: Mutex::default(),
        }
    }

    /// The page, as it is now or was within the last second.
    pub(crate) fn page(&self) -> Bytes {
        // Held while rendering: else all who share one would make one each.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_at, page)) = &*last
            && self.pages.is_used_up()
            && made_at.elapsed() < SHARED
        {
            return page.clone();
        }
        let page = Bytes::from_owner(Page::new((self.render)(), &self.pages));
        *last = Some((Instant::now(), page.clone()));
        page
    }
}

/// A page; dropping it gives back what it was counted as.
struct Page {
    text: String,
    pages: Arc<Budget>,
}

impl Page {
    fn new(text: String, pages: &Arc<Budget>) -> Self {
        pages.take_anyway(text.len());
        Self {
            text,
            pages: Arc::clone(pages),
        }
    }
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pages.give_back(self.text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_are_shared_while_too_many_are_held_and_never_older_than_a_second() {
        let scrape = Scrape::new(|| "x".repeat(METRICS_UNTAKEN_BYTES_MAX / 4));
        let mut held: Vec<Bytes> = (0..4).map(|_| scrape.page()).collect();
        let is_shared = |page: &Bytes, other: &Bytes| page.as_ptr() == other.as_ptr();
        assert!(!is_shared(&held[2], &held[3]));
        assert!(is_shared(&held[3], &scrape.page()));
        tokio::time::advance(SHARED).await;
        let later = scrape.page();
        assert!(!is_shared(&held[3], &later) && is_shared(&later, &scrape.page()));
        drop(later);
        held.clear();
        let (first, second) = (scrape.page(), scrape.page());
        assert!(!is_shared(&first, &second));
    }
}
