//! When keys were used last: noted in memory, and written now and then in one statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Stopper, chain};
use posthaste_store::Store;
use posthaste_types::KeyId;
use posthaste_types::limits::KEY_USE_WRITE_S;

use crate::directory::Entry;
use crate::watch::Watch;

/// Uses nearer to each other than this count as one, so that requests at once do not pass the number from core to core.
const APART: TimeDelta = TimeDelta::seconds(1);

/// When a key was used last, microseconds since 1970; 0: not in this process.
#[derive(Debug, Default)]
pub(crate) struct LastUse {
    seen: AtomicI64,
    written: AtomicI64,
}

impl LastUse {
    /// Notes a use.
    pub(crate) fn note(&self, now: DateTime<Utc>) {
        let now = now.timestamp_micros();
        if now - self.seen.load(Ordering::Relaxed) >= APART.num_microseconds().unwrap_or(0) {
            self.seen.store(now, Ordering::Relaxed);
        }
    }

    fn unwritten(&self) -> Option<i64> {
        let seen = self.seen.load(Ordering::Relaxed);
        (seen > self.written.load(Ordering::Relaxed)).then_some(seen)
    }
}

/// Writes until stopped, and then once more.
pub(crate) async fn run(watch: &Watch, store: &Store, stopper: &Stopper) {
    let pause = Duration::from_secs(KEY_USE_WRITE_S);
    while stopper.unless_stopped(tokio::time::sleep(pause)).await.is_some() {
        write(watch, store).await;
    }
    write(watch, store).await;
}

async fn write(watch: &Watch, store: &Store) {
    let directory = watch.directory();
    let unwritten = |entry: &Arc<Entry>| {
        let micros = entry.last_use.unwritten()?;
        Some((Arc::clone(&entry.last_use), entry.id, micros))
    };
    let used: Vec<_> = directory.entries().filter_map(unwritten).collect();
    let rows: Vec<(KeyId, DateTime<Utc>)> = used
        .iter()
        .filter_map(|(_, id, micros)| Some((*id, DateTime::from_timestamp_micros(*micros)?)))
        .collect();
    if rows.is_empty() {
        return;
    }
    match store.note_key_use(&rows).await {
        Ok(()) => used
            .iter()
            .for_each(|(last, _, micros)| last.written.store(*micros, Ordering::Relaxed)),
        // Nothing hangs on it, and the next time tries again.
        Err(error) => tracing::debug!(error = %chain(&error), "the last use of keys cannot be written"),
    }
}
