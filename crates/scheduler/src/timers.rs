//! The loop that fires timers. It looks ahead to the next one and sleeps until then, or for the longest interval.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::Counter;
use posthaste_runtime::{Backoff, Clock, Stopper, chain, metric};
use posthaste_store::{Error, Store};

/// Shorter waits are not worth another look.
const WAIT_MIN: Duration = Duration::from_millis(1);

pub(crate) struct Timers {
    store: Store,
    clock: Arc<dyn Clock>,
    poll: Duration,
    ready: Counter,
    expired: Counter,
}

impl Timers {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, poll: Duration) -> Self {
        Self {
            store,
            clock,
            poll,
            ready: metrics::counter!(metric::TIMERS_FIRED, "kind" => "due"),
            expired: metrics::counter!(metric::TIMERS_FIRED, "kind" => "deadline"),
        }
    }

    /// Fires timers until stopped.
    pub(crate) async fn run(self, stopper: &Stopper) {
        let mut backoff = Backoff::dependency();
        let mut is_away = false;
        while !stopper.is_stopped() {
            match self.round().await {
                Ok(wait) => {
                    if std::mem::take(&mut is_away) {
                        tracing::info!("timers fire again");
                    }
                    backoff.reset();
                    stopper.unless_stopped(tokio::time::sleep(wait)).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(
                            error = %chain(&error),
                            "timers wait for the database"
                        );
                    }
                    backoff.wait(stopper).await;
                }
            }
        }
    }

    /// Fires what is due, and says how long to wait.
    async fn round(&self) -> Result<Duration, Error> {
        let fired = self.store.fire_timers(self.clock.now()).await?;
        self.ready.increment(fired.ready_count as u64);
        self.expired.increment(fired.expired_count as u64);
        if fired.is_full {
            return Ok(Duration::ZERO);
        }
        let next = self.store.next_timer().await?;
        Ok(wait(next, self.clock.now(), self.poll))
    }
}

fn wait(next: Option<DateTime<Utc>>, now: DateTime<Utc>, poll: Duration) -> Duration {
    let until_next = next.map_or(poll, |next| (next - now).to_std().unwrap_or_default());
    // One that is due and was not taken is held by another scheduler.
    until_next.clamp(WAIT_MIN, poll.max(WAIT_MIN))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn waits_for_the_next_timer_but_never_longer_than_the_interval_nor_not_at_all() {
        let now = DateTime::UNIX_EPOCH;
        let poll = Duration::from_millis(200);
        let at = |ms| Some(now + TimeDelta::milliseconds(ms));
        assert_eq!(wait(None, now, poll), poll);
        assert_eq!(wait(at(50), now, poll), Duration::from_millis(50));
        assert_eq!(wait(at(5_000), now, poll), poll);
        assert_eq!(wait(at(-50), now, poll), WAIT_MIN);
    }
}
