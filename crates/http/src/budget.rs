//! A number of bytes that several share, and how many of them are held. Who holds them, and what one is told who gets none,
//! is not known here.

use std::sync::atomic::{AtomicUsize, Ordering};

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
