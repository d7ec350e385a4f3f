//! A rate with a burst: the generic cell rate algorithm on one atomic. Knows no tenant and reads no clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use posthaste_api::Problem;
use posthaste_types::ErrorCode;

const SECOND_NS: u64 = 1_000_000_000;

/// The slowest rate that is told apart from none, as the time of one unit: a day.
const INTERVAL_NS_MAX: u64 = 86_400 * SECOND_NS;

/// Units a second, and units at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    interval_ns: u64,
    burst: u64,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Units that can be taken now.
    pub(crate) units: u64,
    /// Until all of them are there again or, when none is left, until there is one.
    pub(crate) wait: Duration,
}

/// Why units were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// They are there after this time.
    Wait(Duration),
    /// More than there can be at once.
    Never,
}

impl Rate {
    /// `burst` in place of one second's worth. A rate that is not above zero lets nothing through.
    pub(crate) fn new(per_s: f64, burst: Option<u32>) -> Self {
        if per_s.is_nan() || per_s <= 0.0 {
            return Self {
                interval_ns: INTERVAL_NS_MAX,
                burst: 0,
            };
        }
        // `as` takes what is out of range to the nearest end of it.
        let interval_ns = ((SECOND_NS as f64 / per_s) as u64).clamp(1, INTERVAL_NS_MAX);
        let burst = burst.map_or(per_s as u64, u64::from);
        // A year's worth at most, so that no sum of times overflows.
        let burst = burst.clamp(1, (365 * INTERVAL_NS_MAX) / interval_ns);
        Self { interval_ns, burst }
    }

    /// Units that there can be at once.
    pub(crate) const fn burst(self) -> u64 {
        self.burst
    }

    /// Time in which a burst that was used up is there again, whole seconds.
    pub(crate) const fn window_s(self) -> u64 {
        let window_s = (self.burst * self.interval_ns).div_ceil(SECOND_NS);
        if window_s == 0 { 1 } else { window_s }
    }

    const fn burst_ns(self) -> u64 {
        self.burst * self.interval_ns
    }
}

/// What was taken of a rate.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When everything will be there again, nanoseconds since the owner's epoch: the algorithm's theoretical arrival
    /// time.
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// Takes `count` units at once, or none.
    pub(crate) fn take(&self, rate: Rate, count: u64, now_ns: u64) -> Result<(), Refusal> {
        if count > rate.burst {
            return Err(Refusal::Never);
        }
        // Relaxed: the number alone is shared, and nothing else is read because of it.
        let taken = self
            .full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
                let next_ns = full_at_ns.max(now_ns) + count * rate.interval_ns;
                (next_ns - now_ns <= rate.burst_ns()).then_some(next_ns)
            });
        taken.map(|_| ()).map_err(|full_at_ns| {
            let next_ns = full_at_ns.max(now_ns) + count * rate.interval_ns;
            Refusal::Wait(Duration::from_nanos(next_ns - now_ns - rate.burst_ns()))
        })
    }

    /// Takes a unit in any case, and tells after which time it is there, `wait_max` at most.
    pub(crate) fn queue(&self, rate: Rate, wait_max: Duration, now_ns: u64) -> Duration {
        let wait_max_ns = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX);
        let next_ns = |full_at_ns: u64| {
            let next_ns = full_at_ns.max(now_ns) + rate.interval_ns;
            next_ns.min((now_ns + rate.burst_ns()).saturating_add(wait_max_ns))
        };
        let full_at_ns = self
            .full_at_ns
            .update(Ordering::Relaxed, Ordering::Relaxed, next_ns);
        Duration::from_nanos(next_ns(full_at_ns).saturating_sub(now_ns + rate.burst_ns()))
    }

    /// What could be taken at `now_ns`.
    pub(crate) fn left(&self, rate: Rate, now_ns: u64) -> Left {
        let used_ns = self.used_ns(now_ns);
        let free_ns = rate.burst_ns().saturating_sub(used_ns);
        let units = free_ns / rate.interval_ns;
        let wait_ns = if units == 0 {
            (used_ns + rate.interval_ns).saturating_sub(rate.burst_ns())
        } else {
            used_ns
        };
        Left {
            units,
            wait: Duration::from_nanos(wait_ns),
        }
    }

    /// Carries what is used of `old` over into `new`, unit for unit.
    pub(crate) fn convert(&self, old: Rate, new: Rate, now_ns: u64) {
        let used = (self.used_ns(now_ns) / old.interval_ns).min(new.burst);
        self.full_at_ns
            .store(now_ns + used * new.interval_ns, Ordering::Relaxed);
    }

    /// Forgets what is used.
    pub(crate) fn clear(&self) {
        self.full_at_ns.store(0, Ordering::Relaxed);
    }

    fn used_ns(&self, now_ns: u64) -> u64 {
        self.full_at_ns.load(Ordering::Relaxed).saturating_sub(now_ns)
    }
}

/// Whole seconds that are not too few, for headers.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// 429 `too_many_requests` with the time to wait.
pub(crate) fn too_many(detail: impl Into<String>, wait: Duration) -> Problem {
    Problem::new(ErrorCode::TooManyRequests, detail).with_retry_after(seconds(wait).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 5 * SECOND_NS;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_is_there_at_once_and_comes_back_at_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10.0, Some(5)));
        for _ in 0..5 {
            bucket.take(rate, 1, START).unwrap();
        }
        assert_eq!(bucket.take(rate, 1, START), Err(Refusal::Wait(ms(100))));
        assert_eq!(bucket.take(rate, 3, START), Err(Refusal::Wait(ms(300))));
        assert_eq!(
            bucket.left(rate, START),
            Left {
                units: 0,
                wait: ms(100)
            }
        );
        let later = START + SECOND_NS / 10;
        bucket.take(rate, 1, later).unwrap();
        assert_eq!(bucket.take(rate, 1, later), Err(Refusal::Wait(ms(100))));
        let rested = later + SECOND_NS / 4;
        assert_eq!(
            bucket.left(rate, rested),
            Left {
                units: 2,
                wait: ms(250)
            }
        );
        bucket.take(rate, 5, START + 60 * SECOND_NS).unwrap();
    }

    #[test]
    fn more_than_a_burst_can_never_be_taken_and_takes_nothing() {
        let (bucket, rate) = (Bucket::default(), Rate::new(2.5, None));
        assert_eq!((rate.burst(), rate.window_s()), (2, 1));
        assert_eq!(bucket.take(rate, 3, START), Err(Refusal::Never));
        bucket.take(rate, 2, START).unwrap();
    }

    #[test]
    fn what_is_used_stays_used_when_the_rate_changes() {
        let (bucket, old) = (Bucket::default(), Rate::new(0.001, Some(1000)));
        bucket.take(old, 1000, START).unwrap();
        let new = Rate::new(100.0, Some(500));
        bucket.convert(old, new, START);
        assert_eq!(
            bucket.left(new, START),
            Left {
                units: 0,
                wait: ms(10)
            }
        );
        assert_eq!(bucket.left(new, START + SECOND_NS).units, 100);
    }

    #[test]
    fn rates_that_are_no_rates_let_nothing_through_and_extreme_ones_do_not_overflow() {
        for per_s in [0.0, -1.0, f64::NAN] {
            let (bucket, rate) = (Bucket::default(), Rate::new(per_s, Some(5)));
            assert_eq!(bucket.take(rate, 1, START), Err(Refusal::Never));
            assert_eq!(bucket.left(rate, START).units, 0);
        }
        for per_s in [f64::MIN_POSITIVE, 1e-9, 1e12, f64::INFINITY] {
            for burst in [None, Some(0), Some(u32::MAX)] {
                let (bucket, rate) = (Bucket::default(), Rate::new(per_s, burst));
                bucket.take(rate, rate.burst(), START).unwrap();
                assert!(rate.window_s() >= 1);
            }
        }
    }
}
