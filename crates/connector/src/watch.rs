//! Watches the slot: metrics, warnings before the server lets it go, and its lag in seconds. It changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use metrics::gauge;
use posthaste_runtime::metric;
use posthaste_store::{SlotState, Store};
use posthaste_types::limits::{SLOT_SAMPLE_COUNT_MAX, SLOT_WAL_SHARE_MAX, SLOT_WAL_SHARE_WARNINGS};
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// A server that has not answered for so long is away or shutting down.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(4);
/// All that `wal_status` can be.
const STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];

/// The slot as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlotStatus {
    /// When that was.
    pub(crate) at: Instant,
    /// `reserved`, `extended`, `unreserved` (about to be lost) or `lost`.
    pub(crate) wal_status: String,
    /// Bytes of log written since what is published.
    pub(crate) lag_bytes: u64,
    /// Age of the oldest log that is not known to be published, seconds, to a second.
    pub(crate) lag_s: u64,
    /// Bytes of log that the server keeps for it.
    pub(crate) retained_bytes: u64,
    /// Bytes that may still be written before the server lets it go; `None`: any amount.
    pub(crate) safe_wal_bytes: Option<i64>,
    /// The share of the log that it may keep that it keeps; `None`: it may keep any amount.
    pub(crate) wal_share: Option<f64>,
}

impl SlotStatus {
    /// Whether the server may wait for the end of a stream that began at `since`: it is about to let the slot go, or it has
    /// not answered for a while and may be shutting down, perhaps since before the slot was ever seen.
    pub(crate) fn may_want_an_end(seen: Option<&Self>, since: Instant) -> bool {
        let answered = seen.map_or(since, |seen| seen.at);
        answered.elapsed() > ANSWER_AGE_MAX
            || seen.is_some_and(|seen| matches!(seen.wal_status.as_str(), "unreserved" | "lost"))
    }
}

/// Looks at the slot every second and shows what it sees. Never ends.
pub(crate) async fn watch_slot(
    store: &Store,
    slot: &str,
    wal_bytes_max: Option<u64>,
    seen: &watch::Sender<Option<SlotStatus>>,
) {
    let (mut lag, mut alarm) = (Lag::default(), Alarm::default());
    loop {
        // When the database is away, holding the slot says so.
        if let Ok(state) = store.slot_state(slot).await {
            let status = state.map(|state| {
                let lag = lag.look(Instant::now(), state.flushed_lsn, state.confirmed_lsn);
                status_of(state, lag, wal_bytes_max)
            });
            if let Some(status) = &status {
                show(status);
                alarm.look(status);
            }
            seen.send_replace(status);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn status_of(state: SlotState, lag: Duration, wal_bytes_max: Option<u64>) -> SlotStatus {
    SlotStatus {
        at: Instant::now(),
        lag_bytes: state.lag_bytes(),
        lag_s: lag.as_secs(),
        retained_bytes: state.kept_bytes(),
        wal_share: state.wal_share(wal_bytes_max),
        safe_wal_bytes: state.safe_wal_bytes,
        wal_status: state.wal_status,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn show(status: &SlotStatus) {
    gauge!(metric::SLOT_LAG_BYTES).set(status.lag_bytes as f64);
    gauge!(metric::SLOT_LAG_SECONDS).set(status.lag_s as f64);
    gauge!(metric::SLOT_RETAINED_BYTES).set(status.retained_bytes as f64);
    if let Some(safe) = status.safe_wal_bytes {
        gauge!(metric::SLOT_SAFE_BYTES).set(safe as f64);
    }
    if let Some(share) = status.wal_share {
        gauge!(metric::SLOT_WAL_SHARE).set(share);
    }
    for name in STATUSES {
        let is_so = if status.wal_status == name { 1.0 } else { 0.0 };
        gauge!(metric::SLOT_WAL_STATUS, "status" => name).set(is_so);
    }
}

/// Tells how old the oldest log is that is not confirmed: how far the log was at each look, from the first that is not.
#[derive(Debug, Default)]
struct Lag(VecDeque<(Instant, u64)>);

impl Lag {
    fn look(&mut self, now: Instant, flushed_lsn: u64, confirmed_lsn: u64) -> Duration {
        self.0.retain(|(_, flushed)| *flushed > confirmed_lsn);
        if self.0.back().is_none_or(|(_, flushed)| *flushed < flushed_lsn) && flushed_lsn > confirmed_lsn {
            self.0.push_back((now, flushed_lsn));
        }
        if self.0.len() > SLOT_SAMPLE_COUNT_MAX {
            // Every other one: the oldest stays, and all in between only get coarser.
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.0.front().map_or(Duration::ZERO, |(at, _)| now - *at)
    }
}

/// Warns once for each step up.
#[derive(Debug, Default)]
struct Alarm {
    level: usize,
    status: String,
}

impl Alarm {
    fn look(&mut self, status: &SlotStatus) {
        let SlotStatus {
            wal_status,
            wal_share,
            safe_wal_bytes,
            retained_bytes,
            ..
        } = status;
        let level = level_of(wal_share.unwrap_or(0.0));
        let is_lost = wal_status == "lost";
        if level > self.level && !is_lost {
            tracing::warn!(
                slot.wal_status = wal_status,
                slot.safe_wal_bytes = safe_wal_bytes,
                slot.retained_bytes = retained_bytes,
                "the log that waits to be published takes {:.0} % of what may be kept: see what holds the connector up, or \
                 raise max_slot_wal_keep_size",
                100.0 * wal_share.unwrap_or(0.0)
            );
        }
        if is_lost && self.status != *wal_status {
            tracing::warn!(
                "the server has let the slot go: what the outbox still holds is published anew as soon as the broker answers"
            );
        }
        self.level = level;
        self.status.clone_from(wal_status);
    }
}

/// How many of the steps a share has passed.
fn level_of(share: f64) -> usize {
    let steps = SLOT_WAL_SHARE_WARNINGS.iter().chain([&SLOT_WAL_SHARE_MAX]);
    steps.filter(|step| share >= **step).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_log_that_is_not_confirmed() {
        let (mut lag, begin) = (Lag::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        assert_eq!(lag.look(at(0), 100, 100), Duration::ZERO);
        assert_eq!(lag.look(at(1), 200, 100), Duration::ZERO);
        assert_eq!(lag.look(at(2), 300, 100), Duration::from_secs(1));
        assert_eq!(lag.look(at(3), 300, 200), Duration::from_secs(1));
        assert_eq!(lag.look(at(4), 300, 300), Duration::ZERO);
    }

    #[test]
    fn lag_is_told_from_a_bounded_number_of_looks() {
        let (mut lag, begin) = (Lag::default(), Instant::now());
        for second in 1..=100_000 {
            let told = lag.look(begin + Duration::from_secs(second), second, 0);
            assert_eq!(told, Duration::from_secs(second - 1));
            assert!(lag.0.len() <= SLOT_SAMPLE_COUNT_MAX);
        }
    }

    #[test]
    fn each_step_has_a_level() {
        assert_eq!(
            [0.0, 0.49, 0.5, 0.79, 0.8, 0.94, 0.95, 2.0].map(level_of),
            [0, 0, 1, 1, 2, 2, 3, 3]
        );
    }
}
